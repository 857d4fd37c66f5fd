//! A chat server on roomcast: `cargo run --release`, open the address that it prints, and chat.

mod answers;
mod api;
mod args;
mod bus;
mod files;
mod health;
mod http;
mod identity;
mod import;
mod meter;
mod names;
mod output;
mod page;
mod store;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use roomcast_core::{Hub, Limits, OpenPolicy, ShutdownReport};
use roomcast_ws::Origins;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use args::{Args, BusChoice, Command, StoreChoice};
use output::{chain, complain, say, start_log};
use store::Opened;

/// How long clients have to be told goodbye and messages to be committed.
const DRAIN: Duration = Duration::from_secs(10);

/// How long plain HTTP requests have to end after that.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How often figures are put together. Until then each one that was measured is kept.
const UPKEEP: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(line) = start_log() {
        complain(line);
        return ExitCode::from(2);
    }
    let addresses = args.store().and_then(|store| Ok((store, args.bus()?)));
    let (store, bus) = match addresses {
        Ok(addresses) => addresses,
        Err(line) => {
            complain(line);
            return ExitCode::from(2);
        }
    };
    match run(args, store, bus).await {
        Ok(code) => code,
        Err(error) => {
            complain(chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args, store: StoreChoice, bus: Option<BusChoice>) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(Command::Import { from, collection }) = &args.command {
        let store = store::open(&store, args.retention).await?.store;
        return import::run(from, collection, store).await;
    }
    let places = files::places(args.max_connections)?;
    let listed = args.origins();
    let origins = if listed.is_empty() {
        Origins::same()
    } else {
        Origins::only(&listed)?
    };
    // The listener before the store: a taken port must not touch it.
    let listener = roomcast_ws::listen(&args.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", args.listen))?;
    let address = listener.local_addr()?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let Opened { store, mongo } = store::open(&store, args.retention).await?;
    let mut limits = Limits::default();
    limits.rate = args.rate.0;
    limits.connections = places.chat;
    let mut hub = Hub::builder(store, OpenPolicy).limits(limits);
    if let Some(choice) = &bus {
        hub = hub.bus(bus::open(choice, mongo.as_deref()).await?);
    }
    let hub = hub.build()?;
    let mut signals = Signals::new()?;

    tokio::spawn(upkeep(metrics.clone()));
    let names = names::Names::new(Some(address), &listed);
    let server = http::Server::new(
        listener,
        api::routes(hub.clone(), origins, metrics),
        &hub,
        names,
        places.http,
    );
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.serve(stopped));
    say(format_args!("chat-server is listening on http://{address}"));
    if let Some(note) = places.note {
        say(note);
    }

    signals.next().await;
    // HTTP goes on meanwhile: whoever asks is told that the server is stopping.
    let report = tokio::select! {
        report = hub.shutdown(DRAIN) => report,
        () = signals.next() => {
            complain(format_args!("stopped at once: {} connections were cut off", hub.stats().connections));
            std::process::exit(1);
        }
    };
    stop.send_replace(true);
    let _ = timeout(LAST_ANSWERS, serving).await;
    say(format_args!(
        "stopped: {} connections closed, {} cut off, {} tasks left",
        report.closed, report.cut, report.tasks_left
    ));
    Ok(match left(&report) {
        None => ExitCode::SUCCESS,
        Some(line) => {
            complain(line);
            ExitCode::FAILURE
        }
    })
}

/// What a shutdown left undone; an end at which something was left is no success.
fn left(report: &ShutdownReport) -> Option<String> {
    let mut left = Vec::new();
    if report.cut > 0 {
        left.push(format!("{} connections were cut off", report.cut));
    }
    if report.tasks_left > 0 {
        left.push(format!(
            "{} tasks are left, which may hold messages that nobody was told are stored",
            report.tasks_left
        ));
    }
    if let Some(error) = &report.store {
        left.push(format!("the store says: {}", chain(error)));
    }
    (!left.is_empty()).then(|| {
        format!(
            "not everything was done in {} s: {}",
            report.took.as_secs(),
            left.join("; ")
        )
    })
}

/// Puts figures together now and then, whether anybody reads them or not.
async fn upkeep(metrics: PrometheusHandle) {
    loop {
        sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// What asks the program to stop: Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::MemoryStore;

    use super::*;

    /// Memory of this process that is in use, in MiB.
    fn resident() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4 / 1024
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_is_said() {
        let hub = || Hub::builder(MemoryStore::new(), OpenPolicy).build().unwrap();
        assert_eq!(left(&hub().shutdown(DRAIN).await), None);
        let hub = hub();
        hub.spawn(std::future::pending::<()>());
        assert_eq!(
            left(&hub.shutdown(DRAIN).await).unwrap(),
            "not everything was done in 10 s: 1 tasks are left, which may hold messages that nobody was told are stored"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn figures_that_nobody_reads_take_no_memory() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let sizes = metrics::with_local_recorder(&recorder, || metrics::histogram!("sizes"));
        let upkeep = tokio::spawn(upkeep(recorder.handle()));
        let mut before = 0;
        for round in 0..50 {
            for n in 0..100_000_u32 {
                sizes.record(f64::from(n));
            }
            sleep(UPKEEP).await;
            if round == 4 {
                before = resident();
            }
        }
        upkeep.abort();
        // Kept as they came, 4.5 million figures take 34 MiB and more.
        let more = resident().saturating_sub(before);
        assert!(more < 16, "{more} MiB");
    }
}
