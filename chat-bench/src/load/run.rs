//! Connecting, warming up, measuring.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::connection::Connection;
use super::latency::Samples;
use super::{Drive, Figures, Load};
use crate::process::{cpu_time, in_time, resident, waiting_time};
use crate::stamp;
use crate::wire::push_masked_text;

/// So many connections are being made at the same time.
const CONNECTING: usize = 64;
/// One in so many connections tells how long its messages took, where as many are sent as the server can take.
const SAMPLED: usize = 16;
/// After how long without anything a message that is still missing is no longer taken for under way.
const GIVEN_UP: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 2 });
/// How long things are given to settle that should be done.
const SETTLING: Duration = Duration::from_millis(200);

pub(super) struct Run {
    load: Load,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    /// Those that are in the same rooms side by side, the one that sends first.
    connections: Vec<Connection>,
    opened: usize,
    groups: Vec<Group>,
    /// Groups whose senders heard something in the last round of readiness.
    heard: Vec<usize>,
    /// Whether those that are to stop reading did so.
    stopped: bool,
    samples: Samples,
    began: Instant,
    connecting: f64,
    memory: [u64; 3],
}

/// What the connections that are in the same rooms have in common.
#[derive(Clone, Default)]
struct Group {
    /// Messages that its sender sent.
    sent: u64,
    /// How many of them aren't waited for any more.
    given_up: u64,
    /// What the sender had received when it was last looked whether it gets anywhere.
    seen: u64,
}

impl Run {
    /// Makes the connections.
    pub(super) fn start(load: Load) -> io::Result<Self> {
        let began = Instant::now();
        let mut run = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 << 10],
            connections: Vec::with_capacity(load.connections()),
            opened: 0,
            groups: vec![Group::default(); load.groups()],
            heard: Vec::new(),
            stopped: false,
            samples: Samples::new(),
            began,
            connecting: 0.0,
            memory: [resident(load.pid)?, 0, 0],
            load,
        };
        while run.opened < run.load.connections() {
            while run.connections.len() < (run.opened + CONNECTING).min(run.load.connections()) {
                let number = run.connections.len();
                let rooms = run.rooms(number / run.load.members);
                let (registry, port, dialect) = (run.poll.registry(), run.load.port, run.load.dialect);
                run.connections
                    .push(Connection::open(registry, number, port, dialect, rooms)?);
            }
            run.turn(Duration::from_millis(100))?;
            in_time(began, "connecting")?;
        }
        run.connecting = began.elapsed().as_secs_f64();
        run.until(Instant::now() + SETTLING)?;
        run.memory[1] = resident(run.load.pid)?;
        Ok(run)
    }

    pub(super) fn measure(mut self) -> io::Result<Figures> {
        if !matches!(self.load.drive, Drive::Idle) {
            self.everybody_is_there()?;
        }
        self.stopped = true;
        let began = Instant::now();
        let from = began + Duration::from_millis(self.load.warm_up_ms);
        let to = from + Duration::from_millis(self.load.measured_ms);
        self.traffic(began, from)?;
        let before = (self.received(), self.sent(), self.cpu()?, Instant::now());
        self.samples.forget();
        self.traffic(from, to)?;
        let (received, sent, cpu) = (self.received(), self.sent(), self.cpu()?);
        let seconds = before.3.elapsed().as_secs_f64();
        let spent = |part: usize| (cpu[part] - before.2[part]).as_secs_f64();
        let latency = self.samples.latency();
        let lost = self.lost()?;
        self.memory[2] = resident(self.load.pid)?;
        let closed = self.closed(false);
        let stopped_closed = self.closed_while_stopped()?;
        Ok(Figures {
            connections: self.connections.len(),
            sent: sent - before.1,
            deliveries: received - before.0,
            lost,
            closed,
            stopped: self.load.stopped() * self.load.groups(),
            stopped_closed,
            seconds,
            server_cpu: spent(0),
            own_cpu: spent(1),
            own_waiting: spent(2),
            latency,
            connecting: self.connecting,
            memory: self.memory,
        })
    }

    /// The senders speak in each room until all members heard all of it. What is counted begins after that.
    fn everybody_is_there(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let each = self.load.rooms_each as u64;
        loop {
            for connection in &mut self.connections {
                connection.received = 0;
            }
            self.groups.fill(Group::default());
            for group in 0..self.load.groups() {
                self.say(group, self.load.rooms_each, self.now())?;
            }
            let all = |run: &Self| run.connections.iter().all(|connection| connection.received == each);
            self.until_quiet(all)?;
            if all(self) {
                break;
            }
            in_time(began, "the first message in each room")?;
        }
        for connection in &mut self.connections {
            connection.received = 0;
        }
        self.groups.fill(Group::default());
        Ok(())
    }

    fn traffic(&mut self, from: Instant, to: Instant) -> io::Result<()> {
        match self.load.drive {
            Drive::Idle => self.until(to),
            Drive::Rate(per_second) => {
                // The groups take turns, spread evenly.
                let pause = Duration::from_secs(1) / per_second / self.load.groups() as u32;
                let (mut due, mut group) = (from, 0);
                while due < to {
                    self.until(due)?;
                    self.say(group, 1, due.duration_since(self.began).as_nanos() as u64)?;
                    group = (group + 1) % self.load.groups();
                    due += pause;
                }
                self.until(to)
            }
            Drive::Window(window) => {
                let mut looked = Instant::now();
                self.heard.extend(0..self.load.groups());
                while Instant::now() < to {
                    for group in std::mem::take(&mut self.heard) {
                        let room = window.saturating_sub(self.under_way(group));
                        if room > 0 {
                            self.say(group, room, self.now())?;
                        }
                    }
                    self.turn(Duration::from_millis(10))?;
                    if looked.elapsed() > GIVEN_UP {
                        looked = Instant::now();
                        self.give_up(window);
                    }
                }
                Ok(())
            }
        }
    }

    /// Messages that the group's sender sent and hasn't got back.
    fn under_way(&self, group: usize) -> usize {
        let back = self.connections[group * self.load.members].received;
        let Group { sent, given_up, .. } = self.groups[group];
        sent.saturating_sub(back + given_up) as usize
    }

    /// A server that loses messages would keep a sender waiting for ever.
    fn give_up(&mut self, window: usize) {
        for group in 0..self.groups.len() {
            let under_way = self.under_way(group);
            let back = self.connections[group * self.load.members].received;
            let state = &mut self.groups[group];
            if under_way >= window && state.seen == back {
                state.given_up += under_way as u64;
                self.heard.push(group);
            }
            state.seen = back;
        }
    }

    /// How many deliveries are missing, or too many, once nothing comes any more. Connections that were closed are left out.
    fn lost(&mut self) -> io::Result<u64> {
        if matches!(self.load.drive, Drive::Idle) {
            return Ok(0);
        }
        self.until_quiet(|run| run.missing() == 0)?;
        // One that comes twice may have hidden one that was under way.
        self.until(Instant::now() + SETTLING)?;
        Ok(self.missing())
    }

    fn missing(&self) -> u64 {
        let counted = (0..self.connections.len()).filter(|number| !self.has_stopped(*number));
        let counted = counted.filter(|number| !self.connections[*number].is_closed());
        let missing = counted.map(|number| {
            let sent = self.groups[number / self.load.members].sent;
            sent.abs_diff(self.connections[number].received)
        });
        missing.sum()
    }

    /// Until it is `done`, or nothing has arrived for a while.
    fn until_quiet(&mut self, done: impl Fn(&Self) -> bool) -> io::Result<()> {
        let began = Instant::now();
        let (mut last, mut since) = (self.received(), began);
        while !done(self) && since.elapsed() < GIVEN_UP {
            self.until(Instant::now() + Duration::from_millis(20))?;
            if self.received() != last {
                (last, since) = (self.received(), Instant::now());
            }
            in_time(began, "what was under way")?;
        }
        Ok(())
    }

    /// How many connections the server closed: of those that stopped reading, or of the others.
    fn closed(&self, stopped: bool) -> u64 {
        let closed = (0..self.connections.len())
            .filter(|number| self.has_stopped(*number) == stopped && self.connections[*number].is_closed());
        closed.count() as u64
    }

    /// How many of those that stopped reading were closed. That is seen by reading on, up to the end.
    fn closed_while_stopped(&mut self) -> io::Result<u64> {
        let stopped: Vec<_> = (0..self.connections.len())
            .filter(|number| self.has_stopped(*number))
            .collect();
        for number in &stopped {
            self.connections[*number].read(&mut self.buffer, true, |_| {})?;
        }
        self.stopped = false;
        if !stopped.is_empty() {
            self.until(Instant::now() + Duration::from_millis(500))?;
        }
        self.stopped = true;
        Ok(self.closed(true))
    }

    /// Whether this connection doesn't read any more: the last ones of each group.
    fn has_stopped(&self, number: usize) -> bool {
        self.stopped && number % self.load.members >= self.load.members - self.load.stopped()
    }

    /// The group's sender sends so many messages, in its rooms in turn.
    fn say(&mut self, group: usize, count: usize, due: u64) -> io::Result<()> {
        let sender = group * self.load.members;
        if self.connections[sender].is_closed() {
            return Ok(());
        }
        let content = stamp::content(due, self.load.content);
        let rooms = self.rooms(group);
        let mut bytes = Vec::with_capacity(count * (content.len() + 80));
        for _ in 0..count {
            let state = &mut self.groups[group];
            let room = rooms.start + (state.sent % rooms.len() as u64) as usize;
            state.sent += 1;
            let text = self.load.dialect.message(room, rooms.len() > 1, &content);
            push_masked_text(&mut bytes, text.as_bytes());
        }
        self.connections[sender].send(&bytes)
    }

    fn until(&mut self, end: Instant) -> io::Result<()> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// One round of readiness.
    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        self.heard.clear();
        let sampled = match self.load.drive {
            Drive::Rate(_) => 1,
            _ => SAMPLED,
        };
        for event in &self.events {
            let number = event.token().0;
            if self.has_stopped(number) {
                continue;
            }
            let connection = &mut self.connections[number];
            if event.is_writable() {
                connection.flush()?;
            }
            if event.is_readable() {
                let (was_open, received) = (connection.is_open(), connection.received);
                if number.is_multiple_of(sampled) {
                    let (began, samples) = (self.began, &mut self.samples);
                    connection.read(&mut self.buffer, event.is_read_closed(), |start| {
                        samples.arrived(began.elapsed().as_nanos() as u64, start);
                    })?;
                } else {
                    connection.read(&mut self.buffer, event.is_read_closed(), |_| {})?;
                }
                self.opened += usize::from(connection.is_open() && !was_open);
                if connection.received > received && number.is_multiple_of(self.load.members) {
                    self.heard.push(number / self.load.members);
                }
            }
        }
        Ok(())
    }

    /// The rooms that the group is in.
    fn rooms(&self, group: usize) -> Range<usize> {
        let each = self.load.rooms_each;
        group * each..(group + 1) * each
    }

    fn received(&self) -> u64 {
        self.connections.iter().map(|connection| connection.received).sum()
    }

    fn sent(&self) -> u64 {
        self.groups.iter().map(|group| group.sent).sum()
    }

    /// The server's CPU time, our own, and how long we waited for a core.
    fn cpu(&self) -> io::Result<[Duration; 3]> {
        let own = std::process::id();
        Ok([cpu_time(self.load.pid)?, cpu_time(own)?, waiting_time(own)?])
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}
