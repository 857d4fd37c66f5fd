//! All members of a busy room come back at the same time, each with a cursor.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::gathering::Gathering;
use super::member::{Arrival, Heard};
use super::wrong;
use crate::process::{cpu_time, in_time};
use crate::stamp::due;
use crate::statistics::quantile;

/// So many begin to come between two looks at what has arrived.
const AT_ONCE: usize = 32;
/// How long those who stay are listened to, before the others come and from then on.
const LISTENING: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Resume {
    pub(crate) port: u16,
    pub(crate) pid: u32,
    /// Who comes.
    pub(crate) members: usize,
    pub(crate) manner: Manner,
    /// Who is there all the time. One of them speaks.
    pub(crate) staying: usize,
    pub(crate) per_second: u32,
    pub(crate) content: usize,
}

/// How they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Manner {
    /// For what is said from now on, without any protocol; that is all that some servers can do.
    Plain,
    /// The same by `chat.v1.json`.
    Fresh,
    /// With a cursor that lies so many messages back.
    Missed(u64),
}

/// Times are in seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Resumed {
    /// Until the last one had all that it missed; without a cursor, until it was there.
    pub(crate) all: f64,
    /// The same for one in two.
    pub(crate) median: f64,
    /// The 99th percentile of latency to those who stayed: before, and from when the others began to come.
    pub(crate) before: f64,
    pub(crate) meanwhile: f64,
    /// Of the server, and our own, until all had what they missed.
    pub(crate) server_cpu: f64,
    pub(crate) own_cpu: f64,
}

pub(super) fn resume(task: &Resume) -> io::Result<Resumed> {
    let mut scene = Scene::open(task)?;
    let cursor = scene.say_what_is_missed()?;
    let mut before = scene.listen(Instant::now() + LISTENING)?;
    let cpu = || io::Result::Ok((cpu_time(task.pid)?, cpu_time(std::process::id())?));
    let (began, cpu_before) = (Instant::now(), cpu()?);
    let (mut times, mut meanwhile) = scene.storm(began, cursor)?;
    let (all, cpu_after) = (began.elapsed().as_secs_f64(), cpu()?);
    meanwhile.append(&mut scene.listen(began + LISTENING)?);
    scene.check(cursor)?;
    Ok(Resumed {
        all,
        median: quantile(&mut times, 0.5),
        before: quantile(&mut before, 0.99),
        meanwhile: quantile(&mut meanwhile, 0.99),
        server_cpu: (cpu_after.0 - cpu_before.0).as_secs_f64(),
        own_cpu: (cpu_after.1 - cpu_before.1).as_secs_f64(),
    })
}

struct Scene<'a> {
    task: &'a Resume,
    crowd: Gathering,
    /// The name of the room's log, where there is one.
    epoch: String,
    /// When the next message is due.
    next: Instant,
    /// Who is there before the others come.
    early: usize,
}

impl<'a> Scene<'a> {
    /// Those who stay are in the room.
    fn open(task: &'a Resume) -> io::Result<Self> {
        let mut scene = Self {
            task,
            crowd: Gathering::new()?,
            epoch: String::new(),
            next: Instant::now(),
            early: task.staying,
        };
        let plain = scene.arrival(false, "");
        scene
            .crowd
            .come_all(task.staying, AT_ONCE, |_| plain.clone(), &mut |_, _| {})?;
        if task.manner != Manner::Plain {
            let (scout, began) = (scene.arrival(true, ""), Instant::now());
            scene.crowd.come(&scout)?;
            scene.early += 1;
            let mut epoch = None;
            while epoch.is_none() {
                scene.crowd.turn(Duration::from_millis(100), &mut |_, what| {
                    if let Heard::Frame(text) = what {
                        epoch = epoch.take().or_else(|| text_of(text, br#""epoch":""#));
                    }
                })?;
                in_time(began, "the greeting")?;
            }
            scene.epoch = epoch.unwrap_or_default();
        }
        scene.crowd.all_hear(Duration::from_millis(50), task.content)?;
        Ok(scene)
    }

    fn arrival(&self, v1: bool, query: &str) -> Arrival {
        Arrival {
            port: self.task.port,
            target: format!("/ws/room0{query}"),
            v1,
            distant: false,
        }
    }

    /// Gives the number after which it was said.
    fn say_what_is_missed(&mut self) -> io::Result<u64> {
        let count = match self.task.manner {
            Manner::Missed(count) => count,
            Manner::Plain | Manner::Fresh => 0,
        };
        // What was said until everybody was there has arrived.
        self.crowd
            .until(Instant::now() + Duration::from_millis(500), &mut |_, _| {})?;
        let cursor = self.head();
        for _ in 0..count {
            self.crowd.say(self.crowd.now(), self.task.content)?;
        }
        let began = Instant::now();
        while self.head() < cursor + count {
            self.crowd.turn(Duration::from_millis(10), &mut |_, _| {})?;
            in_time(began, "what is to be missed")?;
        }
        self.next = Instant::now();
        Ok(cursor)
    }

    /// The newest number that the speaker heard.
    fn head(&self) -> u64 {
        self.crowd.members[0].seq
    }

    /// One turn, before which is said what is due. Latencies to those who stay are added, in seconds.
    fn turn(&mut self, late: &mut Vec<f64>) -> io::Result<()> {
        let now = Instant::now();
        while self.next <= now {
            self.crowd.say(self.crowd.since_began(self.next), self.task.content)?;
            self.next += Duration::from_secs(1) / self.task.per_second;
        }
        let (wait, clock, early) = (self.next - now, self.crowd.clock(), self.early);
        self.crowd.turn(wait, &mut |member, what| {
            if let Heard::Message(text) = what
                && member < early
                && let Some(due) = due(text)
            {
                late.push((clock.elapsed().as_nanos() as u64).saturating_sub(due) as f64 / 1e9);
            }
        })
    }

    fn listen(&mut self, end: Instant) -> io::Result<Vec<f64>> {
        let mut late = Vec::new();
        while Instant::now() < end {
            self.turn(&mut late)?;
        }
        Ok(late)
    }

    /// All come, and are waited for. Gives when each of them was there, and the latencies to those who stayed.
    fn storm(&mut self, began: Instant, cursor: u64) -> io::Result<(Vec<f64>, Vec<f64>)> {
        let arrival = match self.task.manner {
            Manner::Plain => self.arrival(false, ""),
            Manner::Fresh => self.arrival(true, ""),
            Manner::Missed(_) => self.arrival(true, &format!("?since={}:{cursor}", self.epoch)),
        };
        let with_cursor = matches!(self.task.manner, Manner::Missed(_));
        let (mut times, mut late) = (Vec::new(), Vec::new());
        // Who isn't there yet, and the number up to which it has missed what was said.
        let mut missing: Vec<(usize, u64)> = Vec::new();
        let mut left = self.task.members;
        while left > 0 || !missing.is_empty() {
            for _ in 0..AT_ONCE.min(left) {
                missing.push((self.crowd.members.len(), self.head()));
                self.crowd.come(&arrival)?;
                left -= 1;
            }
            self.turn(&mut late)?;
            let members = &self.crowd.members;
            missing.retain(|(number, head)| {
                let there = members[*number].is_open() && (!with_cursor || members[*number].seq >= *head);
                if there {
                    times.push(began.elapsed().as_secs_f64());
                }
                !there
            });
            in_time(began, "coming back")?;
        }
        Ok((times, late))
    }

    /// Everybody is in the live stream, and has missed nothing.
    fn check(&mut self, cursor: u64) -> io::Result<()> {
        let (began, with_cursor) = (Instant::now(), matches!(self.task.manner, Manner::Missed(_)));
        loop {
            self.turn(&mut Vec::new())?;
            let head = self.head();
            if self.crowd.members.iter().all(|member| member.seq + 2 >= head) {
                break;
            }
            in_time(began, "hearing what is said after the storm")?;
        }
        for (number, member) in self.crowd.members.iter().enumerate() {
            let told = member.seq - cursor;
            let came_back = number >= self.early && with_cursor;
            if member.missed > 0 || (came_back && member.messages != told) {
                return Err(wrong(format!(
                    "member {number} heard {} messages up to {}, and missed {}",
                    member.messages, member.seq, member.missed
                )));
            }
        }
        Ok(())
    }
}

/// The text behind the first place where this is said.
fn text_of(text: &[u8], name: &[u8]) -> Option<String> {
    let at = text.windows(name.len()).position(|bytes| bytes == name)? + name.len();
    let end = text[at..].iter().position(|byte| *byte == b'"')? + at;
    Some(String::from_utf8_lossy(&text[at..end]).into_owned())
}
