//! Senders in one room of a hub, in this process.

use std::error::Error;
use std::time::{Duration, Instant};

use roomcast_core::{
    Bytes, Client, CloseFrame, Connection, ConnectionError, ConnectionReader, ConnectionWriter, Draft, Hub, Inbound,
    Limits, MessageStore, OpenPolicy, RoomId, User,
};
use tokio::sync::oneshot;

use super::{CONTENT, MEASURED};
use crate::statistics::quantile;

/// How fast messages were stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    /// Seconds from a message to its acknowledgement.
    pub(super) median: f64,
    pub(super) p99: f64,
}

impl Rate {
    /// Of what was stored since then, each in so many seconds.
    pub(super) fn of(began: Instant, mut times: Vec<f64>) -> Self {
        Self {
            per_second: times.len() as f64 / began.elapsed().as_secs_f64(),
            median: quantile(&mut times, 0.5),
            p99: quantile(&mut times, 0.99),
        }
    }
}

/// Somebody who is in the room, and says nothing.
struct Silent(oneshot::Receiver<()>);

impl Connection for Silent {
    type Reader = Self;
    type Writer = Hearing;

    fn split(self) -> (Self, Hearing) {
        (self, Hearing)
    }
}

impl ConnectionReader for Silent {
    async fn recv(&mut self) -> Result<Inbound, ConnectionError> {
        // It leaves when the other end is dropped.
        let _ = (&mut self.0).await;
        Ok(Inbound::Closed)
    }
}

struct Hearing;

impl ConnectionWriter for Hearing {
    async fn send(&mut self, _: &[Bytes]) -> Result<(), ConnectionError> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, ConnectionError> {
        Ok(false)
    }

    async fn close(&mut self, _: &CloseFrame) -> Result<(), ConnectionError> {
        Ok(())
    }
}

/// So many users say one thing after the other, each as soon as the one before is acknowledged.
pub(super) async fn through_a_hub(store: impl MessageStore, senders: usize) -> Result<Rate, Box<dyn Error>> {
    let mut limits = Limits::default();
    limits.rate = None;
    let hub = Hub::builder(store, OpenPolicy).limits(limits).build()?;
    let id = RoomId::new(format!("{senders}-senders"))?;
    let room = hub.room(id.clone());
    let ann = User::named("ann")?;
    // As in any chat somebody is in the room: one in which nobody is, is looked up for each message.
    let (leave, left) = oneshot::channel();
    let member = hub.admit(Client::plain(ann.clone(), id)).await?;
    let member = tokio::spawn(member.serve(Silent(left)));
    let first = room.publish(&ann, Draft::text(CONTENT)).await;
    first.map_err(|refusal| refusal.to_string())?;
    let began = Instant::now();
    let senders: Vec<_> = (0..senders)
        .map(|_| {
            let (room, ann) = (room.clone(), ann.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while began.elapsed() < MEASURED {
                    let said = Instant::now();
                    let receipt = room.publish(&ann, Draft::text(CONTENT)).await;
                    receipt.map_err(|refusal| refusal.to_string())?;
                    times.push(said.elapsed().as_secs_f64());
                }
                Ok::<_, String>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for sender in senders {
        times.append(&mut sender.await??);
    }
    let rate = Rate::of(began, times);
    drop(leave);
    member.await?;
    let report = hub.shutdown(Duration::from_secs(10)).await;
    if !report.is_clean() {
        return Err(format!("the hub didn't stop cleanly: {report:?}").into());
    }
    Ok(rate)
}
