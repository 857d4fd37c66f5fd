//! Many clients come at the same time.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::gathering::Gathering;
use super::member::Arrival;
use crate::process::cpu_time;

/// So many are on their way at the same time.
const AT_ONCE: usize = 64;
/// How often it is asked whether all are there: this long at most is counted too much.
const EVERY: Duration = Duration::from_millis(20);

/// Into one room, until all of them hear what is said there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Connect {
    pub(crate) port: u16,
    pub(crate) pid: u32,
    pub(crate) members: usize,
    pub(crate) content: usize,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Connected {
    /// Seconds until all handshakes were done.
    pub(crate) open: f64,
    /// Seconds until all have heard a message.
    pub(crate) full: f64,
    /// Seconds of the server's CPU, and of our own, until then.
    pub(crate) server_cpu: f64,
    pub(crate) own_cpu: f64,
}

pub(super) fn connect(task: &Connect) -> io::Result<Connected> {
    let mut crowd = Gathering::new()?;
    let cpu = || io::Result::Ok((cpu_time(task.pid)?, cpu_time(std::process::id())?));
    let (began, before) = (Instant::now(), cpu()?);
    let arrival = |_| Arrival {
        port: task.port,
        target: "/ws/room0".to_owned(),
        v1: false,
        distant: false,
    };
    crowd.come_all(task.members, AT_ONCE, arrival, &mut |_, _| {})?;
    let open = began.elapsed().as_secs_f64();
    crowd.all_hear(EVERY, task.content)?;
    let (full, after) = (began.elapsed().as_secs_f64(), cpu()?);
    Ok(Connected {
        open,
        full,
        server_cpu: (after.0 - before.0).as_secs_f64(),
        own_cpu: (after.1 - before.1).as_secs_f64(),
    })
}
