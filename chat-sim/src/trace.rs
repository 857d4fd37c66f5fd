//! What happened, as lines, as a hash, and as the last lines before a failure.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// How many lines are kept to be shown when a run fails.
const KEPT: usize = 400;

/// Every event of a run goes through here, so two runs with the same hash are the same to the last event.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    last: VecDeque<String>,
    print: bool,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            last: VecDeque::new(),
            print,
        }
    }

    /// What happens too often to be worth a line, unless all is printed: so much of something.
    pub(crate) fn note_briefly(&mut self, at: Duration, much: u64, what: fmt::Arguments<'_>) {
        for part in [at.as_nanos() as u64, much] {
            self.hash = (self.hash ^ part).wrapping_mul(0x0100_0000_01b3);
        }
        if self.print {
            println!("{:>9.3} {what}", at.as_secs_f64());
        }
    }

    pub(crate) fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        use fmt::Write;
        let mut line = if self.last.len() == KEPT {
            self.last.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        // Writing into a string can't fail.
        let _ = write!(line, "{:>9.3} {what}", at.as_secs_f64());
        // FNV-1a: the same on every platform and version, which std's hasher doesn't promise.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.print {
            println!("{line}");
        }
        self.last.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn take_last(&mut self) -> Vec<String> {
        std::mem::take(&mut self.last).into()
    }
}
