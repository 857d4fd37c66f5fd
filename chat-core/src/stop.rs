//! Running a task until nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A token that can be looked at without a lock: every task does so whenever it is polled, and all have the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    stopped: Arc<AtomicBool>,
}

impl Stop {
    pub(crate) fn cancel(&self) {
        // First: who is woken looks at it.
        self.stopped.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Runs a future to its end or until this is cancelled, and then drops it.
    pub(crate) fn until<F: Future>(&self, future: F) -> UntilStopped<F> {
        UntilStopped {
            future,
            stopped: self.stopped.clone(),
            cancelled: self.token.clone().cancelled_owned(),
            waker: None,
        }
    }
}

pin_project! {
    /// The same as `run_until_cancelled_owned`, but that goes to the token's list of waiters whenever the future is polled, and a
    /// connection's task is for each delivery.
    pub(crate) struct UntilStopped<F> {
        #[pin]
        future: F,
        stopped: Arc<AtomicBool>,
        #[pin]
        cancelled: WaitForCancellationFutureOwned,
        // Whom the token wakes.
        waker: Option<Waker>,
    }
}

impl<F: Future> Future for UntilStopped<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.future.poll(cx) {
            return Poll::Ready(Some(value));
        }
        let known = this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let stopped = if known {
            this.stopped.load(Ordering::Acquire)
        } else {
            *this.waker = Some(cx.waker().clone());
            this.cancelled.poll(cx).is_ready()
        };
        if stopped { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(all(test, not(roomcast_loom)))]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_polled_it_last_is_woken_once_it_is_stopped() {
        let stop = Stop::default();
        let mut task = pin!(stop.until(pending::<()>()));
        let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
        for count in [&first, &first, &last, &last] {
            let waker = Waker::from(count.clone());
            assert_eq!(task.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        stop.cancel();
        assert_eq!(
            (first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed)),
            (0, 1)
        );
        let waker = Waker::from(last);
        assert_eq!(task.poll(&mut Context::from_waker(&waker)), Poll::Ready(None));
    }

    #[test]
    fn what_is_done_is_given_even_if_it_is_stopped() {
        let stop = Stop::default();
        stop.cancel();
        let task = pin!(stop.until(std::future::ready(7)));
        assert_eq!(task.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Some(7)));
    }
}
