//! A trial, from the start of its cluster to the verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bus::BusKind;
use crate::cluster::{Cluster, NODES, Parts};
use crate::links::Links;

use super::book::{Book, Check, Fate, Phase};
use super::client::{Client, Manner};
use super::fault::{Fault, Kind, finish};
use super::table::{Struck, print};
use super::{audit, witness};

/// Where many talk, and where few do.
const ROOMS: [&str; 5] = ["hot", "calm-1", "calm-2", "calm-3", "calm-4"];

/// With a bus, what is stored by one node is seen on the others within this time, as long as nothing fails. Without one it may take
/// until a node looks at the store, which it does every 30 s.
const ACROSS: Duration = Duration::from_secs(2);

/// How long after a fault was made good everybody may take to see everything at once again: clients may wait ten seconds and more until
/// they come back, and then be sent to a node that isn't ready yet.
const RECOVERY: Duration = Duration::from_secs(40);

/// The same without a bus.
const RECOVERY_ALONE: Duration = Duration::from_secs(90);

/// How long a quiet time is measured, and how long before the next fault that ends.
const QUIET: Duration = Duration::from_secs(4);
const BEFORE_FAULT: Duration = Duration::from_secs(2);

/// How long everybody may take to finish what is under way, and to see the last message.
const SETTLE: Duration = Duration::from_secs(90);

/// Deliveries that have to have been measured, so that their times say something.
const MEASURED: u64 = 100;

/// What is to be tried.
pub(crate) struct Trial {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) bus: BusKind,
}

/// Runs it all. True if everything was as it has to be.
pub(crate) async fn run(trial: &Trial, parts: &Parts) -> Result<bool, String> {
    let links = Links::default();
    println!("starting MongoDB, the nodes and HAProxy …");
    let mut cluster = Cluster::start(parts, 3, Some(links.clone())).await?;
    let rooms = ROOMS.map(str::to_owned).to_vec();
    let book = Arc::new(Book::new(cluster.balancer.address, rooms));
    let mut struck = Vec::new();
    let driven = drive(trial, &book, &mut cluster, &links, &mut struck).await;
    // Also if it broke off: what was wrong until then may tell why.
    let mut good = print(trial, &book, &struck);
    if let Err(error) = driven {
        eprintln!("cluster: {error}");
        good = false;
    }
    if !good {
        cluster.keeper.keep();
        println!("data and logs are in {}", cluster.keeper.folder.display());
    }
    Ok(good)
}

async fn drive(
    trial: &Trial,
    book: &Arc<Book>,
    cluster: &mut Cluster,
    links: &Links,
    struck: &mut Vec<Struck>,
) -> Result<(), String> {
    let mut rng = Rng::with_seed(trial.seed);
    let mut clients = populate(book, &mut rng);
    let first = timeout(RECOVERY_ALONE, witness::all_see(book)).await;
    first.map_err(|_| {
        format!(
            "at the start, not everybody sees what is said: {}",
            witness::behind(book)
        )
    })?;

    let begun = Instant::now();
    let mut bag: Vec<Kind> = Vec::new();
    loop {
        book.quiet.store(true, Relaxed);
        sleep(QUIET).await;
        book.quiet.store(false, Relaxed);
        if begun.elapsed() >= trial.length {
            break;
        }
        sleep(BEFORE_FAULT).await;
        if bag.is_empty() {
            bag = Kind::all(trial.bus);
            rng.shuffle(&mut bag);
        }
        let fault = Fault::new(bag.pop().expect("there are kinds"), &mut rng);
        let row = strike(trial, book, cluster, links, fault).await?;
        let lost = row.steady.is_none();
        struck.push(row);
        if lost {
            // The next one would only say so again.
            break;
        }
    }

    book.phase.send_replace(Phase::Settle);
    settle(book, cluster, &mut clients).await?;
    audit(book, cluster).await;
    for node in 0..NODES {
        cluster.nodes[node].terminate()?;
        finish(cluster, book, node).await?;
    }
    panics(book, cluster);
    assert_delivery(trial, book);
    Ok(())
}

/// Talkers and listeners, in each room from several nodes.
fn populate(book: &Arc<Book>, rng: &mut Rng) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let mut client = |name: String, room: usize, pace: Option<u64>, stays: Option<u64>| {
        let pace = pace.map(Duration::from_millis);
        let client = Client::new(book, rng.u64(..), name, room, Manner { pace, stays });
        clients.spawn(client.run());
    };
    for room in 0..book.rooms.len() {
        let (talkers, pace, listeners) = if room == 0 { (6, 200, 12) } else { (2, 1_000, 3) };
        for number in 0..talkers {
            client(format!("talker-{room}-{number}"), room, Some(pace), None);
        }
        for number in 0..listeners {
            // Every other one leaves now and then, and comes back.
            let stays = (number % 2 == 0).then_some(45);
            client(format!("listener-{room}-{number}"), room, None, stays);
        }
    }
    clients
}

/// One fault, until everything is as it was.
async fn strike(
    trial: &Trial,
    book: &Arc<Book>,
    cluster: &mut Cluster,
    links: &Links,
    fault: Fault,
) -> Result<Struck, String> {
    println!("at {:.0} s: {fault}", book.start.elapsed().as_secs_f32());
    let (within, limit) = match trial.bus {
        BusKind::None => (None, RECOVERY_ALONE),
        _ => (Some(ACROSS), RECOVERY),
    };
    let at = book.start.elapsed();
    let begun = Instant::now();
    let undo = fault.strike(cluster, links).await?;
    let witness = Arc::clone(book);
    let mut seen = tokio::spawn(async move {
        witness::all_see(&witness).await;
        begun.elapsed()
    });
    sleep(fault.holds).await;
    undo.make_good(cluster, links, book).await?;
    let good = begun.elapsed();
    let steady = timeout(limit, witness::steady(book, within)).await.ok();
    let steady = steady.map(|()| begun.elapsed());
    if steady.is_none() {
        let (limit, behind) = (limit.as_secs(), witness::behind(book));
        book.wrong(
            Check::Recovery,
            format_args!("{fault}: {limit} s after it was made good, behind are {behind}"),
        );
    }
    // It is older than what everybody has seen by now.
    let seen_after = timeout(Duration::from_secs(20), &mut seen)
        .await
        .ok()
        .and_then(Result::ok);
    if seen_after.is_none() && steady.is_some() {
        seen.abort();
        book.wrong(
            Check::Recovery,
            format_args!("{fault}: what was said then is seen by some only"),
        );
    }
    Ok(Struck {
        fault,
        at,
        good,
        seen: seen_after,
        steady,
    })
}

/// Has everybody finish: first what is under way, then what there is to be seen.
async fn settle(book: &Arc<Book>, cluster: &Cluster, clients: &mut JoinSet<()>) -> Result<(), String> {
    let begun = Instant::now();
    let pending = || {
        let said = book.said.lock();
        said.iter().filter(|said| said.fate == Fate::Pending).count()
    };
    while pending() > 0 {
        if begun.elapsed() > SETTLE {
            book.wrong(
                Check::Answers,
                format_args!("{} messages are never answered", pending()),
            );
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let heads = audit::heads(cluster.nodes[0].address, &book.rooms).await?;
    book.phase.send_replace(Phase::Finish(Arc::new(heads)));
    let all = async {
        while let Some(result) = clients.join_next().await {
            if let Err(error) = result {
                book.wrong(Check::Sight, format_args!("a task of our own: {error}"));
            }
        }
    };
    if timeout(SETTLE, all).await.is_err() {
        let (left, behind) = (clients.len(), witness::behind(book));
        book.wrong(
            Check::Sight,
            format_args!("{left} clients haven't seen the last message; behind are {behind}"),
        );
        clients.shutdown().await;
    }
    Ok(())
}

/// Reads all rooms from each node.
async fn audit(book: &Book, cluster: &Cluster) {
    let said = book.said.lock().clone();
    for (room, id) in book.rooms.iter().enumerate() {
        let mut first: Option<Vec<audit::Stored>> = None;
        for node in &cluster.nodes {
            let name = node.name();
            let log = match audit::history(node.address, id).await {
                Ok(log) => log,
                Err(what) => {
                    book.wrong(Check::Log, format_args!("{id} on {name}: {what}"));
                    continue;
                }
            };
            match &first {
                Some(first) if *first != log => {
                    book.wrong(
                        Check::Log,
                        format_args!("{id} on {name} isn't what it is on another node"),
                    );
                }
                Some(_) => {}
                None => {
                    book.counts.add_all("messages stored", log.len() as u64);
                    for fault in audit::faults(room, &log, &book.seen(room), &said) {
                        book.wrong(Check::Log, format_args!("{id}: {fault}"));
                    }
                    first = Some(log);
                }
            }
        }
    }
}

/// Nodes may complain while parts fail, but not panic.
fn panics(book: &Book, cluster: &Cluster) {
    for node in &cluster.nodes {
        let log = cluster.keeper.folder.join(format!("{}.log", node.name()));
        let log = std::fs::read_to_string(log).unwrap_or_default();
        for line in log.lines().filter(|line| line.contains("panicked")) {
            book.wrong(Check::Stop, format_args!("{}: {line}", node.name()));
        }
    }
}

fn assert_delivery(trial: &Trial, book: &Book) {
    if trial.bus == BusKind::None {
        return;
    }
    let told = book.told_quiet.lock();
    let (count, p99) = (told.count(), told.quantile(990));
    if count < MEASURED || p99 > ACROSS {
        let (p99, bound) = (p99.as_secs_f32(), ACROSS.as_secs());
        book.wrong(
            Check::Delivery,
            format_args!("p99 {p99:.2} s of {count} deliveries; allowed are {bound} s, of {MEASURED} at least"),
        );
    }
}
