//! What durable messages cost, on SQLite and on MongoDB: beside one insert per message, and beside the store in memory.

mod reference;
mod replica_set;
mod senders;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use roomcast_core::StoreError;
use roomcast_mongo::MongoStore;
use roomcast_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::curves::Curves;
use crate::grid::Grid;
use crate::load::{Drive, Figures};
use crate::parts::{self, Options, Part};
use crate::process::Cores;
use crate::statistics::Rounds;
use crate::subject::{Traffic, load, start};
use replica_set::ReplicaSet;
use senders::Rate;

/// Each has one message under way.
const SENDERS: [usize; 4] = [1, 8, 64, 512];

/// How long each of the rates is measured.
const MEASURED: Duration = Duration::from_secs(3);

/// About as long as people write.
const CONTENT: &str =
    "A message of a length that people write, say a hundred characters or so, with a few words to search.";

const PARTS: &[(&str, Part)] = &[
    ("sqlite", on_sqlite),
    ("mongodb", on_mongodb),
    ("deliveries", deliveries),
];

/// Measures durable messages.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    parts::run("durable", words, 3, PARTS)
}

/// A store on this file.
pub(crate) async fn sqlite(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::builder(path).open().await
}

/// A store at this address.
pub(crate) async fn mongodb(uri: &str) -> Result<MongoStore, StoreError> {
    MongoStore::builder(uri).database("chat").connect().await
}

/// As many threads as there are cores for the server and the load elsewhere.
fn runtime() -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build()
}

/// Where the files of SQLite are: below the folder for temporary files, which should be on a disk.
fn folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("roomcast-bench-").tempdir()
}

/// Of all rounds: one insert per message and one at a time, and by the number of senders, the same by each of them for itself,
/// and through a hub.
#[derive(Default)]
struct Rates {
    one: Rounds<Rate>,
    each: [Rounds<Rate>; SENDERS.len()],
    hub: [Rounds<Rate>; SENDERS.len()],
}

fn on_sqlite(options: &Options<'_>, _: Cores, curves: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let runtime = runtime()?;
    let mut rates = Rates::default();
    for _ in 0..options.rounds {
        let folder = folder()?;
        rates.one.push(reference::sqlite(&folder.path().join("plain.db"))?);
        for (senders, hub) in SENDERS.into_iter().zip(&mut rates.hub) {
            let path = folder.path().join(format!("{senders}.db"));
            let store = runtime.block_on(sqlite(&path))?;
            hub.push(runtime.block_on(senders::through_a_hub(store, senders))?);
        }
    }
    Ok(rates.grid("SQLite", "synchronous=FULL", curves))
}

fn on_mongodb(options: &Options<'_>, _: Cores, curves: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let runtime = runtime()?;
    let mut rates = Rates::default();
    for _ in 0..options.rounds {
        let set = runtime.block_on(ReplicaSet::start(&["sh"]))?;
        rates.one.push(runtime.block_on(reference::mongodb(&set.uri(), 1))?);
        for ((senders, each), hub) in SENDERS.into_iter().zip(&mut rates.each).zip(&mut rates.hub) {
            each.push(runtime.block_on(reference::mongodb(&set.uri(), senders))?);
            let store = runtime.block_on(mongodb(&set.uri()))?;
            hub.push(runtime.block_on(senders::through_a_hub(store, senders))?);
        }
    }
    Ok(rates.grid("MongoDB", "a replica set of one, majority and journal", curves))
}

impl Rates {
    fn grid(&self, store: &str, durability: &str, curves: &mut Curves) -> Grid {
        let head = [
            "",
            "messages/s",
            "to one insert at a time",
            "to an insert by each",
            "ack p50, ms",
            "p99, ms",
        ];
        let title =
            format!("durable messages in one room on {store}, {durability}: each sender has one message under way");
        let mut grid = Grid::new(title, &head);
        let per_second = |rate: &Rate| rate.per_second;
        let figures = |rounds: &Rounds<Rate>, each: &Rounds<Rate>| {
            [
                rounds.median(per_second),
                rounds.ratio(&self.one, per_second),
                rounds.ratio(each, per_second),
                rounds.median(|rate| rate.median * 1e3),
                rounds.median(|rate| rate.p99 * 1e3),
            ]
        };
        let none = Rounds::default();
        grid.figures("one insert at a time", figures(&self.one, &none));
        let one = self.one.median(per_second);
        for ((senders, each), hub) in SENDERS.into_iter().zip(&self.each).zip(&self.hub) {
            if each.iter().next().is_some() {
                grid.figures(format!("{senders} senders, an insert by each"), figures(each, &none));
            }
            let ours = figures(hub, each);
            grid.figures(format!("{senders} senders, roomcast"), ours);
            curves.point("durable", &format!("roomcast on {store}"), senders as f64, ours[0]);
            curves.point(
                "durable",
                &format!("{store}, one insert at a time"),
                senders as f64,
                one,
            );
        }
        grid
    }
}

/// The same traffic to servers that differ in their store alone.
fn deliveries(options: &Options<'_>, cores: Cores, _: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let runtime = runtime()?;
    let mut found: [Rounds<Figures>; 3] = Default::default();
    for _ in 0..options.rounds {
        let folder = folder()?;
        // It is no part of the server.
        let set = runtime.block_on(ReplicaSet::start(&[
            "taskset",
            "--cpu-list",
            &cores.load.to_string(),
            "sh",
        ]))?;
        let path = folder.path().join("chat.db").display().to_string();
        let servers = [
            ("roomcast", None),
            ("roomcast-sqlite", Some(path)),
            ("roomcast-mongodb", Some(set.uri())),
        ];
        for ((name, with), figures) in servers.iter().zip(&mut found) {
            let with: Vec<&str> = with.iter().map(String::as_str).collect();
            figures.push(saturated(name, &with, cores).map_err(|error| format!("{name}: {error}"))?);
        }
    }
    let head = [
        "store",
        "us/delivery",
        "to memory",
        "deliveries/s",
        "p50, ms",
        "p99, ms",
    ];
    let mut grid = Grid::new(
        "CPU per delivery of the server by its store: saturated, 64 in flight, 1x1000",
        &head,
    );
    for (store, rounds) in ["memory", "SQLite", "MongoDB"].into_iter().zip(&found) {
        let figures = [
            rounds.median(Figures::cost),
            rounds.ratio(&found[0], Figures::cost),
            rounds.median(Figures::rate),
            rounds.median(|figures| figures.latency.median / 1e3),
            rounds.median(|figures| figures.latency.p99 / 1e3),
        ];
        grid.figures(store, figures);
        grid.note_busy(store, rounds.median(Figures::busy));
    }
    Ok(grid)
}

fn saturated(name: &str, with: &[&str], cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let server = start(name, with, &[cores.server], None)?;
    let traffic = Traffic {
        rooms: 1,
        members: 1000,
        drive: Drive::Window(64),
        warm_up_ms: 1000,
        measured_ms: 3000,
    };
    load(&server, traffic, cores)
}
