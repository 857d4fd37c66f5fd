//! What the tests of all interleavings have in common.
//!
//! All threads of such a test are on one thread of the system, and only at a use of the types in [`sync`](crate::sync) does another
//! one get its turn. So `bug!` holds for all of them; and what loom doesn't know (tokio's types, the store) is one step
//! together with the use before it. Time stands still.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub(crate) use loom::future::block_on;
pub(crate) use loom::thread::spawn as thread;

/// Runs a test in each order in which its threads can meet, and says how many there are. With a bound on preemptions, only those
/// orders are tried in which threads are interrupted so many times at most where they needn't wait.
pub(crate) fn check(preemptions: Option<usize>, test: impl Fn() + Send + Sync + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    #[cfg(feature = "bugs")]
    has_bug();
    let mut model = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS looks further than the bound, or less far.
    model.preemption_bound = model.preemption_bound.or(preemptions);
    model.max_branches = 10_000;
    let (runs, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let count = runs.clone();
    let checked = catch_unwind(AssertUnwindSafe(|| {
        model.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            test();
            TASKS.with_borrow(|tasks| assert!(tasks.is_empty(), "a task was started and not run"));
        });
    }));
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let (runs, took) = (runs.load(Ordering::Relaxed), began.elapsed().as_secs_f32());
    println!("{name}: {runs} interleavings, {took:.1} s");
    checked.unwrap_or_else(failed);
}

fn failed(panic: Box<dyn Any + Send>) {
    // What is of loom can't be dropped outside of its runs.
    TASKS.take().into_iter().for_each(std::mem::forget);
    resume_unwind(panic);
}

#[cfg(feature = "bugs")]
pub(crate) use known::finds;
#[cfg(feature = "bugs")]
use known::has_bug;

#[cfg(feature = "bugs")]
mod known {
    use crate::bugs::{Bug, set};

    const NAME: &str = "ROOMCAST_BUG";

    const ALL: [Bug; 12] = [
        Bug::AnswersUntold,
        Bug::LeaseCountedEarly,
        Bug::LiveBeforeReplay,
        Bug::OverflowDrops,
        Bug::PlaceKept,
        Bug::RegistersLate,
        Bug::RepairsOnce,
        Bug::RestsLate,
        Bug::RingsLate,
        Bug::SpaceUntold,
        Bug::ToldMeanwhileForgotten,
        Bug::WakesEarly,
    ];

    /// The bug that this process is to have.
    pub(super) fn has_bug() {
        let name = std::env::var(NAME).unwrap_or_default();
        set(ALL.into_iter().find(|bug| format!("{bug:?}") == name));
    }

    /// With this bug, the test fails and says so. It is run in a process of its own: a deadlock in loom ends it.
    pub(crate) fn finds(bug: Bug, test: &str, says: &str) {
        assert!(ALL.contains(&bug));
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .env(NAME, format!("{bug:?}"))
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success() && said.contains(says), "{bug:?}: {said}");
        said.lines()
            .filter(|line| line.starts_with(test))
            .for_each(|line| println!("{bug:?}: {line}"));
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static TASKS: RefCell<VecDeque<Task>> = const { RefCell::new(VecDeque::new()) };
}

/// Starts a task of the engine: it is run by the thread that next comes to the end of what it [`run`]s.
pub(crate) fn start<T>(task: impl Future<Output = T> + Send + 'static) {
    let task = async {
        task.await;
    };
    TASKS.with_borrow_mut(|tasks| tasks.push_back(Box::pin(task)));
}

/// Runs a future, and then the tasks that were started.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let value = block_on(future);
    while let Some(task) = TASKS.with_borrow_mut(VecDeque::pop_front) {
        block_on(task);
    }
    value
}
