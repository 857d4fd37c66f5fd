//! What the server takes, as the system and its own figures say.

use std::fs::DirEntry;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::book::Book;
use crate::http::get;
use crate::server::DATABASE;

/// A writer, two readers and the search each have the database and its log open; the log's index they share.
const DATABASE_FILES: f64 = 9.0;

/// What there is of everything that has to be given back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    /// Open files, but for those of the database.
    pub(crate) files: usize,
    /// Each of the store's threads opens these when it first has something to do, and keeps them.
    pub(crate) database_files: usize,
    pub(crate) threads: usize,
    pub(crate) tasks: f64,
    pub(crate) connections: f64,
    pub(crate) rooms: f64,
}

impl Standing {
    pub(crate) async fn read(book: &Arc<Book>, pid: u32) -> Result<Self, String> {
        let figures = get(book, "/metrics").await?.expect(200)?.body;
        let figure = |name| figure(&figures, name).ok_or_else(|| format!("/metrics has no {name}"));
        let standing = Self {
            tasks: figure("chat_server_tasks")?,
            connections: figure("roomcast_connections")?,
            rooms: figure("roomcast_rooms")?,
            threads: threads(pid)?,
            // Last, when the connection that asked is gone.
            files: 0,
            database_files: 0,
        };
        sleep(Duration::from_millis(50)).await;
        let (files, database_files) = files(pid)?;
        Ok(Self {
            files,
            database_files,
            ..standing
        })
    }

    /// What there is more of than before.
    pub(crate) fn left(&self, before: &Self) -> Vec<String> {
        let more = |what: &str, now: f64, before: f64| (now > before).then(|| format!("{now} {what}, {before} before"));
        [
            more("open files", self.files as f64, before.files as f64),
            more("files of the database", self.database_files as f64, DATABASE_FILES),
            more("threads", self.threads as f64, before.threads as f64),
            more("tasks", self.tasks, before.tasks),
            more("connections", self.connections, before.connections),
            more("rooms in use", self.rooms, before.rooms),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Waits until all is given back. Fails after the limit, with what isn't.
pub(crate) async fn given_back(
    book: &Arc<Book>,
    pid: u32,
    before: &Standing,
    limit: Duration,
) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        let left = Standing::read(book, pid).await?.left(before);
        let took = begun.elapsed();
        if left.is_empty() {
            return Ok(took);
        }
        if took > limit {
            return Err(format!(
                "{} s after the last client: {}",
                limit.as_secs(),
                left.join("; ")
            ));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A figure without labels of Prometheus's text format.
fn figure(figures: &str, name: &str) -> Option<f64> {
    figures
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The lines of a figure with labels.
pub(crate) fn labelled<'a>(figures: &'a str, name: &str) -> Vec<&'a str> {
    let lines = figures.lines();
    lines
        .filter_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with('{')))
        .collect()
}

/// How many files are open: others, and those of the database.
fn files(pid: u32) -> Result<(usize, usize), String> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).map_err(|error| error.to_string())?;
    let is_database = |file: &std::io::Result<DirEntry>| {
        let target = file.as_ref().ok().and_then(|file| std::fs::read_link(file.path()).ok());
        target.is_some_and(|target| target.to_string_lossy().contains(DATABASE))
    };
    let (database, others): (Vec<_>, Vec<_>) = folder.partition(is_database);
    Ok((others.len(), database.len()))
}

fn threads(pid: u32) -> Result<usize, String> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| error.to_string())?;
    Ok(folder.count())
}

/// Resident memory in KiB, of pages of 4 KiB, and how much of it is files and what is shared.
fn resident(pid: u32) -> Option<(u64, u64)> {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut kib = pages
        .split(' ')
        .skip(1)
        .map_while(|pages| Some(pages.parse::<u64>().ok()? * 4));
    Some((kib.next()?, kib.next()?))
}

/// Processor time that a process took, in hundredths of a second.
pub(crate) fn processor(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit(") ").next()?.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// One look at the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Since the load began.
    pub(crate) at: Duration,
    pub(crate) resident_kib: u64,
    /// Of that, the program, and files that are mapped.
    pub(crate) shared_kib: u64,
    pub(crate) files: usize,
}

/// Looks at the server every second for so long.
pub(crate) async fn sample(pid: u32, length: Duration) -> Vec<Sample> {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while begun.elapsed() < length {
        ticks.tick().await;
        if let (Some((resident_kib, shared_kib)), Ok(files)) = (resident(pid), files(pid)) {
            samples.push(Sample {
                at: begun.elapsed(),
                resident_kib,
                shared_kib,
                files: files.0,
            });
        }
    }
    samples
}

/// Memory in the first and in the last third of the time after the warm-up: the middle one of the samples, so that one peak
/// counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thirds {
    pub(crate) first_kib: u64,
    pub(crate) last_kib: u64,
}

impl Thirds {
    pub(crate) fn of(samples: &[Sample], warm_up: Duration) -> Option<Self> {
        let warm: Vec<_> = samples.iter().filter(|sample| sample.at >= warm_up).collect();
        let third = warm.len() / 3;
        let middle = |samples: &[&Sample]| {
            let mut sizes: Vec<_> = samples.iter().map(|sample| sample.resident_kib).collect();
            sizes.sort_unstable();
            sizes.get(sizes.len() / 2).copied()
        };
        Some(Self {
            first_kib: middle(&warm[..third])?,
            last_kib: middle(&warm[warm.len() - third..])?,
        })
    }

    pub(crate) fn check(&self, growth_kib: u64) -> Result<(), String> {
        let more = self.last_kib.saturating_sub(self.first_kib);
        if more <= growth_kib {
            return Ok(());
        }
        Err(format!(
            "the last third took {more} KiB more than the first one ({} KiB); allowed are {growth_kib}",
            self.first_kib
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(size: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |second| Sample {
            at: Duration::from_secs(second),
            resident_kib: size(second),
            shared_kib: 0,
            files: 0,
        };
        (0..60).map(sample).collect()
    }

    #[test]
    fn growth_is_noticed_and_a_peak_is_not() {
        let warm_up = Duration::from_secs(30);
        let flat = |second| if second < 30 { second * 1000 } else { 30_000 };
        Thirds::of(&samples(flat), warm_up).unwrap().check(0).unwrap();
        let peak = |second| if second == 55 { 900_000 } else { 30_000 };
        Thirds::of(&samples(peak), warm_up).unwrap().check(0).unwrap();
        let thirds = Thirds::of(&samples(|second| 30_000 + second * 100), warm_up).unwrap();
        assert_eq!((thirds.first_kib, thirds.last_kib), (33_500, 35_500));
        thirds.check(2000).unwrap();
        thirds.check(1999).unwrap_err();
        assert_eq!(Thirds::of(&[], warm_up), None);
    }

    #[test]
    fn whatever_is_left_is_named() {
        let before = Standing {
            files: 20,
            database_files: 7,
            threads: 8,
            tasks: 5.0,
            connections: 0.0,
            rooms: 0.0,
        };
        assert_eq!(before.left(&before), [""; 0]);
        let after = Standing {
            files: 21,
            database_files: 10,
            threads: 9,
            tasks: 6.0,
            connections: 1.0,
            rooms: 1.0,
        };
        assert_eq!(after.left(&before).len(), 6);
        let other = Standing {
            threads: 7,
            database_files: 9,
            ..before
        };
        assert_eq!(
            other.left(&before),
            [""; 0],
            "an idle thread ended, another opened the database"
        );
    }

    #[test]
    fn figures_are_read() {
        let text = "# TYPE roomcast_rooms gauge\nroomcast_rooms 3\nroomcast_closes_total{reason=\"client\"} 7\n";
        assert_eq!(figure(text, "roomcast_rooms"), Some(3.0));
        assert_eq!(figure(text, "roomcast"), None);
        assert_eq!(labelled(text, "roomcast_closes_total"), ["{reason=\"client\"} 7"]);
    }
}
