//! All clients of the crowd, and the turns in which they are looked after.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::member::{Arrival, Heard, Member};
use super::wrong;
use crate::process::in_time;
use crate::stamp;

pub(super) struct Gathering {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    pub(super) members: Vec<Member>,
    /// How many of them are open.
    open: usize,
    began: Instant,
}

impl Gathering {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 << 10],
            members: Vec::new(),
            open: 0,
            began: Instant::now(),
        })
    }

    /// One more client begins to come.
    pub(super) fn come(&mut self, arrival: &Arrival) -> io::Result<()> {
        let number = self.members.len();
        let member = Member::come(self.poll.registry(), number, arrival);
        let member = member.map_err(|error| wrong(format!("connection {number}: {error}")))?;
        self.members.push(member);
        Ok(())
    }

    /// So many more clients come, of which at most `at_once` are on their way; waits until all of them are open.
    pub(super) fn come_all(
        &mut self,
        count: usize,
        at_once: usize,
        arrival: impl Fn(usize) -> Arrival,
        heard: &mut impl FnMut(usize, Heard<'_>),
    ) -> io::Result<()> {
        let (began, end) = (Instant::now(), self.members.len() + count);
        while self.open < end {
            while self.members.len() < end.min(self.open + at_once) {
                self.come(&arrival(self.members.len()))?;
            }
            self.turn(Duration::from_millis(100), heard)?;
            in_time(began, "connecting")?;
        }
        Ok(())
    }

    /// One round of readiness, for which it waits at most so long.
    pub(super) fn turn(&mut self, wait: Duration, heard: &mut impl FnMut(usize, Heard<'_>)) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let number = event.token().0;
            let member = &mut self.members[number];
            let was_open = member.is_open();
            let mut looked_after = || {
                if event.is_writable() {
                    member.flush()?;
                }
                if event.is_readable() {
                    member.read(&mut self.buffer, &mut |what| heard(number, what))?;
                }
                Ok(())
            };
            looked_after().map_err(|error: io::Error| wrong(format!("connection {number}: {error}")))?;
            self.open += usize::from(!was_open && member.is_open());
        }
        Ok(())
    }

    /// Turns until this time.
    pub(super) fn until(&mut self, end: Instant, heard: &mut impl FnMut(usize, Heard<'_>)) -> io::Result<()> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left, heard)?;
        }
    }

    /// These begin to read again, and read what has come.
    pub(super) fn read_again(&mut self) -> io::Result<()> {
        for number in 0..self.members.len() {
            let member = &mut self.members[number];
            if !member.is_reading {
                member.is_reading = true;
                member.read(&mut self.buffer, &mut |_| {})?;
            }
        }
        Ok(())
    }

    /// The first client, who is a plain one, says something of this length, stamped with the time at which it was due.
    pub(super) fn say(&mut self, due: u64, length: usize) -> io::Result<()> {
        let content = stamp::content(due, length);
        self.members[0].say(&format!(r#"{{"content":"{content}"}}"#))
    }

    /// The first client speaks until all have heard it. Some servers put clients into their room after they have answered them.
    pub(super) fn all_hear(&mut self, every: Duration, length: usize) -> io::Result<()> {
        let began = Instant::now();
        let (mut heard, mut next) = (vec![false; self.members.len()], began);
        let mut missing = heard.len();
        while missing > 0 {
            if Instant::now() >= next {
                self.say(self.now(), length)?;
                next = Instant::now() + every;
            }
            self.turn(every, &mut |member, what| {
                if matches!(what, Heard::Message(_)) && !std::mem::replace(&mut heard[member], true) {
                    missing -= 1;
                }
            })?;
            in_time(began, "the first message")?;
        }
        Ok(())
    }

    /// Nanoseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        self.since_began(Instant::now())
    }

    /// From when it counts.
    pub(super) fn clock(&self) -> Instant {
        self.began
    }

    pub(super) fn since_began(&self, at: Instant) -> u64 {
        at.duration_since(self.began).as_nanos() as u64
    }
}
