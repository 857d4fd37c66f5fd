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

use crate::curves::{Curves, median};
use crate::grid::{Grid, digits};
use crate::load::{Drive, Figures};
use crate::options::Options;
use crate::process::Cores;
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

type Part = fn(&Options<'_>, &mut Curves) -> Result<Grid, Box<dyn Error>>;
const PARTS: &[(&str, Part)] = &[
    ("sqlite", on_sqlite),
    ("mongodb", on_mongodb),
    ("deliveries", deliveries),
];

/// Measures durable messages.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = Options::read(words, 3)?;
    let mut curves = Curves::of("durable");
    for (_, part) in options.wanted(PARTS)? {
        println!("{}", part(&options, &mut curves)?);
    }
    Ok(options.keep(&curves)?)
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

/// Of each round: one insert per message and one at a time, the same by each sender for itself, and through a hub.
#[derive(Default)]
struct Round {
    one: Option<Rate>,
    each: Vec<Rate>,
    hub: Vec<Rate>,
}

fn on_sqlite(options: &Options<'_>, curves: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let runtime = runtime()?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let folder = folder()?;
        let mut round = Round {
            one: Some(reference::sqlite(&folder.path().join("plain.db"))?),
            ..Round::default()
        };
        for senders in SENDERS {
            let path = folder.path().join(format!("{senders}.db"));
            let store = runtime.block_on(sqlite(&path))?;
            round
                .hub
                .push(runtime.block_on(senders::through_a_hub(store, senders))?);
        }
        rounds.push(round);
    }
    Ok(rates("SQLite, synchronous=FULL", &rounds, curves))
}

fn on_mongodb(options: &Options<'_>, curves: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let runtime = runtime()?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let set = runtime.block_on(ReplicaSet::start(&["sh"]))?;
        let mut round = Round {
            one: Some(runtime.block_on(reference::mongodb(&set.uri(), 1))?),
            ..Round::default()
        };
        for senders in SENDERS {
            round
                .each
                .push(runtime.block_on(reference::mongodb(&set.uri(), senders))?);
            let store = runtime.block_on(mongodb(&set.uri()))?;
            round
                .hub
                .push(runtime.block_on(senders::through_a_hub(store, senders))?);
        }
        rounds.push(round);
    }
    Ok(rates(
        "MongoDB, a replica set of one, majority and journal",
        &rounds,
        curves,
    ))
}

fn rates(store: &str, rounds: &[Round], curves: &mut Curves) -> Grid {
    let head = [
        "",
        "messages/s",
        "to one insert at a time",
        "to an insert by each",
        "ack p50, ms",
        "p99, ms",
    ];
    let title = format!("durable messages in one room on {store}: each sender has one message under way");
    let mut grid = Grid::new(title, &head);
    let mut row = |name: String, rate: &dyn Fn(&Round) -> Option<&Rate>, beside: &dyn Fn(&Round) -> Option<&Rate>| {
        let of = |figure: fn(&Rate) -> f64| median(rounds.iter().filter_map(rate).map(figure));
        let to = |other: &dyn Fn(&Round) -> Option<&Rate>| {
            median(
                rounds
                    .iter()
                    .filter_map(|round| Some(rate(round)?.per_second / other(round)?.per_second)),
            )
        };
        let per_second = of(|rate| rate.per_second);
        let figures = [
            per_second,
            to(&|round| round.one.as_ref()),
            to(beside),
            of(|rate| rate.median * 1e3),
            of(|rate| rate.p99 * 1e3),
        ];
        let mut cells = vec![name];
        cells.extend(figures.map(digits));
        grid.row(cells);
        per_second
    };
    let short = store.split([',', ' ']).next().unwrap_or(store);
    let one = row("one insert at a time".to_owned(), &|round| round.one.as_ref(), &|_| {
        None
    });
    for (at, senders) in SENDERS.into_iter().enumerate() {
        if rounds.iter().any(|round| !round.each.is_empty()) {
            let name = format!("{senders} senders, an insert by each");
            row(name, &|round| round.each.get(at), &|_| None);
        }
        let name = format!("{senders} senders, roomcast");
        let ours = row(name, &|round| round.hub.get(at), &|round| round.each.get(at));
        curves.point("durable", &format!("roomcast on {short}"), senders as f64, ours);
        curves.point(
            "durable",
            &format!("{short}, one insert at a time"),
            senders as f64,
            one,
        );
    }
    grid
}

/// The same traffic to servers that differ in their store alone.
fn deliveries(options: &Options<'_>, _: &mut Curves) -> Result<Grid, Box<dyn Error>> {
    let cores = Cores::find()?;
    let runtime = runtime()?;
    let mut found: [Vec<Figures>; 3] = Default::default();
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
    let cost = |figures: &Figures| figures.server_cpu * 1e6 / figures.deliveries as f64;
    for (store, rounds) in ["memory", "SQLite", "MongoDB"].into_iter().zip(&found) {
        let of = |figure: &dyn Fn(&Figures) -> f64| median(rounds.iter().map(figure));
        let pairs = rounds.iter().zip(&found[0]);
        let figures = [
            of(&cost),
            median(pairs.map(|(ours, memory)| cost(ours) / cost(memory))),
            of(&|figures| figures.deliveries as f64 / figures.seconds),
            of(&|figures| figures.latency.median / 1e3),
            of(&|figures| figures.latency.p99 / 1e3),
        ];
        let mut row = vec![store.to_owned()];
        row.extend(figures.map(digits));
        grid.row(row);
        grid.note_busy(store, of(&|figures| figures.own_cpu / figures.seconds));
    }
    Ok(grid)
}

fn saturated(name: &str, with: &[&str], cores: Cores) -> Result<Figures, Box<dyn Error>> {
    let server = start(name, with, &[cores.server])?;
    let traffic = Traffic {
        rooms: 1,
        members: 1000,
        drive: Drive::Window(64),
        warm_up_ms: 1000,
        measured_ms: 3000,
    };
    load(&server, traffic, cores)
}
