//! The table at the end.

use std::time::Duration;

use crate::book::{Book, Check};
use crate::gauges::{Sample, Standing, Thirds, labelled};
use crate::plan::bounds;
use chat_driver::table::{latency, line};

/// How often memory is shown.
const MOMENTS: usize = 20;

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) load: Duration,
    pub(crate) most_open: usize,
    pub(crate) before: Option<Standing>,
    pub(crate) after: Option<Standing>,
    pub(crate) given_back: Option<Duration>,
    pub(crate) thirds: Option<Thirds>,
    pub(crate) most_files: usize,
    pub(crate) most_kib: u64,
    /// Memory in MiB, at so many moments of the load, and how much of the last is shared.
    pub(crate) course: Vec<u64>,
    pub(crate) shared_kib: u64,
    /// Hundredths of a second.
    pub(crate) processor: Option<u64>,
    pub(crate) stopped: Duration,
    /// Entries in the file.
    pub(crate) stored: usize,
    /// The server's figures behind the load.
    pub(crate) figures_of_server: String,
}

impl Figures {
    pub(crate) fn samples(&mut self, samples: &[Sample]) {
        self.most_files = samples.iter().map(|sample| sample.files).max().unwrap_or_default();
        self.shared_kib = samples.last().map_or(0, |sample| sample.shared_kib);
        let every = samples.len().div_ceil(MOMENTS).max(1);
        self.course = samples
            .iter()
            .step_by(every)
            .map(|sample| sample.resident_kib >> 10)
            .collect();
        self.most_kib = samples
            .iter()
            .map(|sample| sample.resident_kib)
            .max()
            .unwrap_or_default();
    }
}

/// Prints everything. True if nothing was wrong.
pub(crate) fn print(book: &Book, figures: &Figures) -> bool {
    println!(
        "\n== load: seed {}, {:.0} s",
        book.plan.seed,
        figures.load.as_secs_f32()
    );
    line("connections at once, at most", figures.most_open);
    book.counts.print();
    line("entries stored in the end", figures.stored);
    latency("from saying to hearing", &book.delivery.lock());
    latency("from saying to the ack", &book.acknowledgement.lock());

    println!("\n== ends of members' and guests' connections, as they saw them");
    book.closes.print();
    println!("== ends of all connections, as the server counts them, before it was stopped");
    for closes in labelled(&figures.figures_of_server, "roomcast_closes_total") {
        if let Some((reason, count)) = closes.rsplit_once(' ') {
            line(reason.trim_matches(['{', '}']), count);
        }
    }

    println!("\n== misbehaviours that were judged");
    for (what, deeds) in book.deeds() {
        match deeds.unfinished {
            0 => line(what, deeds.judged),
            unfinished => line(
                what,
                format_args!("{} ({unfinished} cut short by the end)", deeds.judged),
            ),
        }
    }

    println!("\n== server");
    if let Some(thirds) = figures.thirds {
        let (first, last) = (thirds.first_kib, thirds.last_kib);
        line("memory, first third after the warm-up", format_args!("{first} KiB"));
        let bound = first + bounds::GROWTH_KIB;
        line("memory, last third", format_args!("{last} KiB (at most {bound})"));
    }
    let (most, shared) = (figures.most_kib, figures.shared_kib);
    line(
        "memory, at most",
        format_args!("{most} KiB, with {shared} KiB of program and mapped files"),
    );
    line("memory over time, in MiB", format_args!("{:?}", figures.course));
    line("open files, at most", figures.most_files);
    for (when, standing) in [("before", figures.before), ("after", figures.after)] {
        if let Some(standing) = standing {
            let Standing {
                files,
                database_files,
                threads,
                tasks,
                connections,
                rooms,
            } = standing;
            line(
                when,
                format_args!(
                    "{files} files, {database_files} of the database, {threads} threads, {tasks} tasks, {connections} connections, {rooms} rooms"
                ),
            );
        }
    }
    if let Some(took) = figures.given_back {
        line("given back after", format_args!("{:.1} s", took.as_secs_f32()));
    }
    for commits in labelled(&figures.figures_of_server, "roomcast_commit_seconds") {
        if let Some((quantile, seconds)) = commits.rsplit_once(' ')
            && (quantile.contains("0.5") || quantile.contains("0.99\""))
        {
            line(
                &format!("a commit, {}", quantile.trim_matches(['{', '}'])),
                format_args!("{seconds} s"),
            );
        }
    }
    if let Some(processor) = figures.processor {
        let share = processor as f32 / figures.load.as_secs_f32().max(1.0);
        line("of one processor", format_args!("{share:.0} %"));
    }
    line("stopped after", format_args!("{:.1} s", figures.stopped.as_secs_f32()));
    let again = format_args!("--seed {}", book.plan.seed);
    book.verdict.print(&Check::ALL, again)
}
