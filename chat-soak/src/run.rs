//! A run, from the server's start to its end and the verdict.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::book::{Book, Check, Phase};
use crate::callers::Caller;
use crate::gauges::{self, Standing, Thirds};
use crate::guests::guest;
use crate::http::{get, post};
use crate::member::{Manner, Member};
use crate::mischief::{self, Rogue, Trade};
use crate::plain::Plain;
use crate::plan::{Plan, bounds};
use crate::server::Server;
use crate::table::{Figures, print};
use crate::{audit, socket};

/// How long residents may take to fill their rooms.
const FILL: Duration = Duration::from_secs(60);

/// How long everybody may take to finish what is under way, and to see the last entry.
const SETTLE: Duration = Duration::from_secs(40);

/// Runs it all. True if everything was as it has to be.
pub(crate) async fn run(plan: Plan, program: &Path, folder: &Path) -> Result<bool, String> {
    raise_limit(&plan)?;
    let folder = folder.join(format!("soak-{}-{}", plan.seed, std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // Members that come back while the server still has their old connection.
    let places = plan.connections * 3 / 2;
    let server = Server::start(program, &folder, places).await?;
    let book = Arc::new(Book::new(plan, server.address));
    let mut figures = Figures::default();
    drive(&book, &server, &mut figures).await?;
    stop(&book, server, &mut figures).await?;
    let good = print(&book, &figures);
    if good {
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    } else {
        println!("the database and the log of the server are in {}", folder.display());
    }
    Ok(good)
}

/// Both programs need as many open files.
fn raise_limit(plan: &Plan) -> Result<(), String> {
    let needed = plan.files();
    let files = rlimit::increase_nofile_limit(needed).map_err(|error| format!("the limit of open files: {error}"))?;
    if files < needed {
        return Err(format!(
            "{} connections need a limit of {needed} open files for each of the two programs; the hard limit allows {files} \
             (ulimit -Hn)",
            plan.connections
        ));
    }
    Ok(())
}

/// The load, until its last client is gone.
async fn drive(book: &Arc<Book>, server: &Server, figures: &mut Figures) -> Result<(), String> {
    let (plan, pid) = (&book.plan, server.pid);
    touch(book).await?;
    let before = Standing::read(book, pid).await?;
    figures.before = Some(before);

    let mut rng = Rng::with_seed(plan.seed);
    let mut members = JoinSet::new();
    let mut others = JoinSet::new();
    for number in 0..plan.members {
        if plan.is_resident(number) {
            let room = number % plan.talk_rooms;
            let member = Member::new(book, rng.u64(..), format!("resident-{number}"), room, Manner::Resident);
            members.spawn(member.run(Duration::from_millis(rng.u64(0..1_000))));
        }
    }
    let filled = async {
        while book.filling.load(Relaxed) > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(FILL, filled)
        .await
        .map_err(|_| "the rooms couldn't be filled in time")?;
    println!("at {:.0} s: the rooms are filled", book.start.elapsed().as_secs_f32());

    populate(book, &mut rng, &mut members, &mut others);
    let processor = gauges::processor(pid);
    let load = Instant::now();
    let samples = gauges::sample(pid, plan.load).await;
    figures.load = load.elapsed();
    figures.processor = gauges::processor(pid).zip(processor).map(|(now, before)| now - before);
    figures.samples(&samples);
    figures.most_open = book.most_open();
    match Thirds::of(&samples, plan.warm_up) {
        Some(thirds) => {
            figures.thirds = Some(thirds);
            if let Err(what) = thirds.check(bounds::GROWTH_KIB) {
                book.wrong(Check::Memory, what);
            }
        }
        None => book.wrong(Check::Memory, "memory couldn't be measured"),
    }

    println!("at {:.0} s: settling", book.start.elapsed().as_secs_f32());
    settle(book, members, others).await?;
    let heads = audit::heads(book).await?;
    for (room, head) in heads.iter().enumerate() {
        match audit::replay(book, room, *head).await {
            Ok(log) => check_log(book, room, &log),
            Err(what) => book.wrong(Check::Log, what),
        }
    }
    figures.figures_of_server = get(book, "/metrics").await?.body;
    if book.open_now() > 0 {
        book.wrong(
            Check::Load,
            format_args!("{} connections of our own are left", book.open_now()),
        );
    }
    match gauges::given_back(book, pid, &before, bounds::RETURN).await {
        Ok(took) => figures.given_back = Some(took),
        Err(what) => book.wrong(Check::Return, what),
    }
    figures.after = Standing::read(book, pid).await.ok();
    Ok(())
}

/// Everything once, so that what the server opens when it is first needed is open before it is measured.
async fn touch(book: &Arc<Book>) -> Result<(), String> {
    post(
        book,
        "/api/rooms/before/messages?user=auditor",
        &json!({ "content": "first" }),
    )
    .await?
    .expect(201)?;
    get(book, "/api/rooms/before/search?user=auditor&q=first")
        .await?
        .expect(200)?;
    drop(socket::enter(book, "/ws/before?user=auditor&last=1", true, false).await?);
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Everybody but the residents.
fn populate(book: &Arc<Book>, rng: &mut Rng, members: &mut JoinSet<()>, others: &mut JoinSet<()>) {
    let plan = &book.plan;
    let ramp = u64::try_from(plan.ramp.as_millis()).unwrap_or(u64::MAX);
    let mut member = |name: String, room: usize, manner: Manner, rng: &mut Rng| {
        let member = Member::new(book, rng.u64(..), name, room, manner);
        members.spawn(member.run(Duration::from_millis(rng.u64(0..ramp))));
    };
    for number in (0..plan.members).filter(|number| !plan.is_resident(*number)) {
        let (kind, manner) = match number % 4 {
            0 => ("vanishing", Manner::Vanishing),
            _ => ("steady", Manner::Steady),
        };
        // A few look on where others misbehave.
        let room = if number % 97 == 0 {
            plan.rogue_room()
        } else {
            number % plan.talk_rooms
        };
        member(format!("{kind}-{number}"), room, manner, rng);
    }
    for number in 0..2 {
        member(format!("loud-{number}"), plan.loud(), Manner::Loud, rng);
    }
    for number in 0..plan.pausing {
        member(format!("pausing-{number}"), plan.loud(), Manner::Pausing, rng);
    }
    for number in 0..plan.trickling {
        member(format!("trickling-{number}"), plan.loud(), Manner::Trickling, rng);
    }
    for number in 0..plan.stalling {
        member(format!("stalling-{number}"), plan.loud(), Manner::Stalling, rng);
    }
    for number in 0..plan.plain {
        let room = number % plan.talk_rooms;
        let plain = Plain::new(book, rng.u64(..), format!("plain-{number}"), room);
        others.spawn(plain.run(Duration::from_millis(rng.u64(0..ramp))));
    }
    let trades = [
        (Trade::Short, plan.rogues),
        (Trade::HalfOpen, plan.half_open),
        (Trade::Deaf, plan.deaf),
    ];
    let trades = trades
        .iter()
        .flat_map(|(trade, count)| std::iter::repeat_n(*trade, *count));
    for (number, trade) in trades.enumerate() {
        let rogue = Rogue::new(book, rng.u64(..), format!("rogue-{number}"), trade);
        others.spawn(rogue.run(Duration::from_millis(rng.u64(0..ramp))));
    }
    for number in 0..plan.callers {
        let caller = Caller::new(book, rng.u64(..), format!("caller-{number}"));
        others.spawn(caller.run(Duration::from_millis(rng.u64(0..ramp))));
    }
}

/// Has everybody finish: first what is under way, then what there is to be seen.
async fn settle(book: &Arc<Book>, mut members: JoinSet<()>, mut others: JoinSet<()>) -> Result<(), String> {
    book.phase.send_replace(Phase::Settle);
    joined(book, "of those that misbehave or have no cursor", &mut others).await;
    let quiet = async {
        while book.restless.load(Relaxed) > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(SETTLE, quiet).await.is_err() {
        let restless = book.restless.load(Relaxed);
        book.wrong(Check::Answers, format_args!("{restless} members wait for an answer"));
    }
    let heads = audit::heads(book).await?;
    book.phase.send_replace(Phase::Finish(Arc::new(heads)));
    joined(book, "members that haven't seen the last entry", &mut members).await;
    Ok(())
}

async fn joined(book: &Book, who: &str, tasks: &mut JoinSet<()>) {
    let all = async {
        while let Some(result) = tasks.join_next().await {
            if let Err(error) = result {
                book.wrong(Check::Load, format_args!("a task of our own: {error}"));
            }
        }
    };
    if timeout(SETTLE, all).await.is_err() {
        book.wrong(
            Check::Sight,
            format_args!("{} {who}, after {} s", tasks.len(), SETTLE.as_secs()),
        );
        tasks.shutdown().await;
    }
}

/// Stops the server while guests talk, and reads what it leaves.
async fn stop(book: &Arc<Book>, server: Server, figures: &mut Figures) -> Result<(), String> {
    let plan = &book.plan;
    let mut rng = Rng::with_seed(plan.seed ^ 1);
    let ready = Arc::new(Barrier::new(plan.guests + 1));
    let mut guests = JoinSet::new();
    for number in 0..plan.guests {
        guests.spawn(guest(Arc::clone(book), rng.u64(..), number, Arc::clone(&ready)));
    }
    ready.wait().await;
    sleep(Duration::from_secs(2)).await;
    book.stopping.store(true, Relaxed);
    let database = server.database.clone();
    let stopped = server.stop(bounds::STOP).await?;
    joined(book, "guests that weren't sent away", &mut guests).await;
    for fault in stopped.faults(bounds::STOP, plan.guests) {
        book.wrong(Check::Stop, fault);
    }
    for line in stopped.complaints() {
        book.wrong(Check::Output, line);
    }
    figures.stopped = stopped.took;

    match audit::read_file(&database) {
        Ok(logs) => {
            for (room, id) in book.rooms.iter().enumerate() {
                check_log(book, room, logs.get(id).map_or(&[], Vec::as_slice));
            }
            figures.stored = logs.values().map(Vec::len).sum();
        }
        Err(error) => book.wrong(Check::Log, format_args!("the file: {error}")),
    }
    for name in mischief::names() {
        if book.deeds().get(name).is_none_or(|deeds| deeds.judged == 0) {
            book.wrong(Check::Load, format_args!("nobody got to the end of \"{name}\""));
        }
    }
    if figures.most_open < plan.connections {
        let (most, wanted) = (figures.most_open, plan.connections);
        book.wrong(
            Check::Load,
            format_args!("{most} connections at once at most, where {wanted} were wanted"),
        );
    }
    Ok(())
}

fn check_log(book: &Book, room: usize, log: &[audit::Stored]) {
    let acks = book.acks.lock();
    let acks: Vec<_> = acks.iter().filter(|ack| ack.room == room).collect();
    for fault in audit::faults(log, &book.seen(room), &acks) {
        book.wrong(Check::Log, format_args!("{}: {fault}", book.rooms[room]));
    }
}
