//! Clients that are just there, in rooms in which nobody speaks.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::gathering::Gathering;
use super::member::{Arrival, Heard};
use super::{Task, wrong};
use crate::process::{Cores, in_time};
use crate::subject::own;

/// So many connections are on their way, or joining rooms, at the same time.
const AT_ONCE: usize = 64;
const READY: &str = "ready";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) port: u16,
    pub(crate) connections: usize,
    /// Rooms that each connection is in, by `chat.v1.json`, and nobody else. With 0, it is a plain one in a room of its own.
    pub(crate) rooms_each: usize,
}

/// Holds them until standard input ends.
pub(super) fn hold(task: &Hold) -> io::Result<()> {
    let v1 = task.rooms_each > 0;
    let arrival = |number: usize| Arrival {
        port: task.port,
        target: if v1 {
            "/ws".to_owned()
        } else {
            format!("/ws/other{number}")
        },
        v1,
        distant: false,
    };
    let mut crowd = Gathering::new()?;
    while crowd.members.len() < task.connections {
        let (from, more) = (crowd.members.len(), AT_ONCE.min(task.connections - crowd.members.len()));
        crowd.come_all(more, AT_ONCE, arrival, &mut |_, _| {})?;
        join(&mut crowd, from, task.rooms_each)?;
    }
    println!("{READY}");
    static ENDED: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        // However it ends, it is over.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
    while !ENDED.load(Ordering::Relaxed) {
        crowd.turn(Duration::from_millis(200), &mut |_, _| {})?;
    }
    Ok(())
}

/// All from this one on join so many rooms each.
fn join(crowd: &mut Gathering, from: usize, rooms_each: usize) -> io::Result<()> {
    let (began, mut refused, mut joined) = (Instant::now(), None, 0);
    for room in 0..rooms_each {
        for number in from..crowd.members.len() {
            let text = format!(r#"{{"t":"join","id":{room},"room_id":"other{number}.{room}"}}"#);
            crowd.members[number].say(&text)?;
        }
        // One request of each is under way.
        let wanted = (room + 1) * (crowd.members.len() - from);
        while joined < wanted {
            crowd.turn(Duration::from_millis(100), &mut |_, what| match what {
                Heard::Frame(text) if text.starts_with(br#"{"t":"joined""#) => joined += 1,
                Heard::Frame(text) if text.starts_with(br#"{"t":"err""#) => {
                    refused = Some(String::from_utf8_lossy(text).into_owned());
                }
                _ => {}
            })?;
            if let Some(text) = refused {
                return Err(wrong(format!("a room can't be joined: {text}")));
            }
            in_time(began, "joining")?;
        }
    }
    Ok(())
}

/// A crowd that is there until this is dropped.
pub(crate) struct Crowd(Child);

impl Crowd {
    /// Comes back when all are where they should be.
    pub(crate) fn hold(task: &Hold, cores: Cores) -> Result<Self, Box<dyn Error>> {
        let mut command = own(&[cores.load])?;
        command.args(["crowd", &serde_json::to_string(&Task::Hold(task.clone()))?]);
        let mut crowd = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        if let Some(stdout) = crowd.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line.trim() != READY {
            let status = crowd.0.wait()?;
            return Err(format!("{} connections can't be held: {status}", task.connections).into());
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
