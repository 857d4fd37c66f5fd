//! Connecting, warming up, measuring.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::connection::Connection;
use super::latency::{STAMP, Samples};
use super::{Drive, Figures, Load};
use crate::process::{cpu_time, resident};
use crate::wire::push_masked_text;

/// So many connections are being made at the same time.
const CONNECTING: usize = 64;
/// One in so many connections tells how long its messages took.
const SAMPLED: usize = 16;
/// How long anything may take that should take no time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Run {
    load: Load,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    /// Those of a room side by side, its sender first.
    connections: Vec<Connection>,
    /// By room: messages that its sender sent.
    sent: Vec<u64>,
    samples: Samples,
    began: Instant,
    connecting: f64,
    memory: [u64; 3],
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
            sent: vec![0; load.rooms],
            samples: Samples::new(),
            began,
            connecting: 0.0,
            memory: [resident(load.pid)?, 0, 0],
            load,
        };
        let mut open = 0;
        while open < run.load.connections() {
            while run.connections.len() < (open + CONNECTING).min(run.load.connections()) {
                let number = run.connections.len();
                let room = number / run.load.members;
                run.connections
                    .push(Connection::open(run.poll.registry(), number, run.load.port, room)?);
            }
            run.turn(Some(Duration::from_millis(100)))?;
            open = run.connections.iter().filter(|connection| connection.is_open()).count();
            run.in_time(began, "connecting")?;
        }
        run.connecting = began.elapsed().as_secs_f64();
        run.until(Instant::now() + Duration::from_secs(1))?;
        run.memory[1] = resident(run.load.pid)?;
        Ok(run)
    }

    pub(super) fn measure(mut self) -> io::Result<Figures> {
        if !matches!(self.load.drive, Drive::Idle) {
            self.everybody_is_there()?;
        }
        let began = Instant::now();
        let from = began + Duration::from_millis(self.load.warm_up_ms);
        let to = from + Duration::from_millis(self.load.measured_ms);
        self.traffic(began, from)?;
        let before = (
            self.received(),
            self.sent.iter().sum::<u64>(),
            self.cpu()?,
            Instant::now(),
        );
        self.samples.forget();
        self.traffic(from, to)?;
        let (received, sent, cpu) = (self.received(), self.sent.iter().sum::<u64>(), self.cpu()?);
        let seconds = before.3.elapsed().as_secs_f64();
        let latency = self.samples.latency();
        let lost = self.missing()?;
        self.memory[2] = resident(self.load.pid)?;
        Ok(Figures {
            connections: self.connections.len(),
            sent: sent - before.1,
            deliveries: received - before.0,
            lost,
            closed: 0,
            stopped: 0,
            stopped_closed: 0,
            seconds,
            server_cpu: (cpu.0 - before.2.0).as_secs_f64(),
            own_cpu: (cpu.1 - before.2.1).as_secs_f64(),
            latency,
            connecting: self.connecting,
            memory: self.memory,
        })
    }

    /// Each room's sender speaks until all of its members heard it.
    fn everybody_is_there(&mut self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let mut missing = false;
            for room in 0..self.load.rooms {
                if self.room(room).iter().any(|connection| connection.received == 0) {
                    missing = true;
                    self.say(room, 1, self.now())?;
                }
            }
            if !missing {
                break;
            }
            self.until(Instant::now() + Duration::from_millis(300))?;
            self.in_time(began, "the first message")?;
        }
        self.until(Instant::now() + Duration::from_millis(200))?;
        // What the last to join missed isn't lost.
        for room in 0..self.load.rooms {
            let sent = self.sent[room];
            let members = self.load.members;
            for connection in &mut self.connections[room * members..(room + 1) * members] {
                connection.received = sent;
            }
        }
        Ok(())
    }

    fn traffic(&mut self, from: Instant, to: Instant) -> io::Result<()> {
        match self.load.drive {
            Drive::Idle => self.until(to),
            Drive::Rate(per_second) => {
                // The rooms take turns, spread evenly.
                let pause = Duration::from_secs(1) / per_second / self.load.rooms as u32;
                let (mut due, mut room) = (from, 0);
                while due < to {
                    self.until(due)?;
                    self.say(room, 1, due.duration_since(self.began).as_nanos() as u64)?;
                    room = (room + 1) % self.load.rooms;
                    due += pause;
                }
                self.until(to)
            }
            Drive::Window(window) => {
                while Instant::now() < to {
                    for room in 0..self.load.rooms {
                        let back = self.room(room)[0].received;
                        let under_way = self.sent[room].saturating_sub(back) as usize;
                        if under_way < window {
                            self.say(room, window - under_way, self.now())?;
                        }
                    }
                    self.turn(Some(Duration::from_millis(10)))?;
                }
                Ok(())
            }
        }
    }

    /// How many deliveries are missing, once nothing comes any more.
    fn missing(&mut self) -> io::Result<u64> {
        let mut last = u64::MAX;
        loop {
            let mut missing = 0;
            for room in 0..self.load.rooms {
                let sent = self.sent[room];
                missing += self
                    .room(room)
                    .iter()
                    .map(|connection| sent.saturating_sub(connection.received))
                    .sum::<u64>();
            }
            if missing == 0 || missing == last || matches!(self.load.drive, Drive::Idle) {
                return Ok(missing);
            }
            last = missing;
            self.until(Instant::now() + Duration::from_millis(500))?;
        }
    }

    fn say(&mut self, room: usize, count: usize, due: u64) -> io::Result<()> {
        let filling = "x".repeat(self.load.content.saturating_sub(STAMP));
        let text = format!(r#"{{"content":"{due:0width$x}{filling}"}}"#, width = STAMP);
        let mut bytes = Vec::with_capacity(count * (text.len() + 14));
        for _ in 0..count {
            push_masked_text(&mut bytes, text.as_bytes());
        }
        self.sent[room] += count as u64;
        self.connections[room * self.load.members].send(&bytes)
    }

    fn until(&mut self, end: Instant) -> io::Result<()> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(Some(left))?;
        }
    }

    /// One round of readiness.
    fn turn(&mut self, wait: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let now = self.now();
        for event in &self.events {
            let number = event.token().0;
            let connection = &mut self.connections[number];
            if event.is_writable() {
                connection.flush()?;
            }
            if event.is_readable() {
                let mut samples = (number % SAMPLED == 0).then_some(&mut self.samples);
                connection.read(&mut self.buffer, |message| {
                    if let (Some(samples), Some(message)) = (&mut samples, message) {
                        samples.arrived(now, message);
                    }
                })?;
            }
        }
        Ok(())
    }

    fn room(&self, room: usize) -> &[Connection] {
        let members = self.load.members;
        &self.connections[room * members..(room + 1) * members]
    }

    fn received(&self) -> u64 {
        self.connections.iter().map(|connection| connection.received).sum()
    }

    /// The server's, and our own.
    fn cpu(&self) -> io::Result<(Duration, Duration)> {
        Ok((cpu_time(self.load.pid)?, cpu_time(std::process::id())?))
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn in_time(&self, began: Instant, what: &str) -> io::Result<()> {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{what} took longer than {PATIENCE:?}")));
        }
        Ok(())
    }
}
