//! Members stop reading for a moment in which much is said, and then read all of it.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::gathering::Gathering;
use super::member::Arrival;
use crate::process::{in_time, resident};

const AT_ONCE: usize = 64;
/// So many messages are under way.
const WINDOW: u64 = 16;
/// How long nothing happens before memory is looked at, so that what is let go of later is let go.
const QUIET: Duration = Duration::from_secs(2);
/// Who is sent nothing for so long has been sent all.
const DRAINED: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Burst {
    pub(crate) port: u16,
    pub(crate) pid: u32,
    /// In one room; all but the one that speaks stop reading.
    pub(crate) members: usize,
    pub(crate) content: usize,
    pub(crate) messages: u64,
    /// How often.
    pub(crate) times: usize,
}

/// Resident memory of the server, in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Drained {
    pub(crate) empty: u64,
    /// With all members idle.
    pub(crate) idle: u64,
    /// For each burst: when all was said and nobody had read, and when all had read.
    pub(crate) bursts: Vec<(u64, u64)>,
    /// Deliveries that never came.
    pub(crate) lost: u64,
}

pub(super) fn burst(task: &Burst) -> io::Result<Drained> {
    let empty = resident(task.pid)?;
    let mut crowd = Gathering::new()?;
    let arrival = |number| Arrival {
        port: task.port,
        target: "/ws/room0".to_owned(),
        v1: false,
        distant: number > 0,
    };
    crowd.come_all(task.members, AT_ONCE, arrival, &mut |_, _| {})?;
    crowd.all_hear(Duration::from_millis(50), task.content)?;
    quiet(&mut crowd, QUIET)?;
    let idle = resident(task.pid)?;
    let mut bursts = Vec::new();
    let mut lost = 0;
    for _ in 0..task.times {
        let before = heard(&crowd);
        for member in &mut crowd.members[1..] {
            member.is_reading = false;
        }
        say_all(&mut crowd, task)?;
        let full = resident(task.pid)?;
        crowd.read_again()?;
        drain(&mut crowd)?;
        quiet(&mut crowd, QUIET)?;
        bursts.push((full, resident(task.pid)?));
        lost += (task.members as u64 * task.messages).saturating_sub(heard(&crowd) - before);
    }
    Ok(Drained {
        empty,
        idle,
        bursts,
        lost,
    })
}

fn heard(crowd: &Gathering) -> u64 {
    crowd.members.iter().map(|member| member.messages).sum()
}

fn quiet(crowd: &mut Gathering, time: Duration) -> io::Result<()> {
    crowd.until(Instant::now() + time, &mut |_, _| {})
}

/// The one who reads says it all, and hears it.
fn say_all(crowd: &mut Gathering, task: &Burst) -> io::Result<()> {
    let (began, from) = (Instant::now(), crowd.members[0].messages);
    let mut said = 0;
    loop {
        let back = crowd.members[0].messages - from;
        if back == task.messages {
            return Ok(());
        }
        while said < task.messages && said < back + WINDOW {
            crowd.say(crowd.now(), task.content)?;
            said += 1;
        }
        crowd.turn(Duration::from_millis(100), &mut |_, _| {})?;
        in_time(began, "a burst")?;
    }
}

/// Everybody reads until nothing comes any more.
fn drain(crowd: &mut Gathering) -> io::Result<()> {
    let began = Instant::now();
    let (mut last, mut since) = (heard(crowd), began);
    while since.elapsed() < DRAINED {
        crowd.turn(Duration::from_millis(100), &mut |_, _| {})?;
        let now = heard(crowd);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        in_time(began, "reading a burst")?;
    }
    Ok(())
}
