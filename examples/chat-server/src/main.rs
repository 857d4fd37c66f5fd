//! A chat server on roomcast: `cargo run --release`, open the address that it prints, and chat.

mod api;
mod args;
mod http;
mod identity;
mod import;
mod page;
mod store;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use metrics_exporter_prometheus::PrometheusBuilder;
use roomcast_core::{Hub, Limits, OpenPolicy};
use roomcast_ws::Origins;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

/// How long clients have to be told goodbye and messages to be committed.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("CHAT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(args).await {
        Ok(code) => code,
        Err(error) => {
            let mut line = format!("chat-server: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                line.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(Command::Import { from, collection }) = &args.command {
        let store = store::open(&args.store, args.retention).await?;
        return import::run(from, collection, store).await;
    }
    // The listener first: a taken port must not touch the store.
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", args.listen))?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let store = store::open(&args.store, args.retention).await?;
    let mut limits = Limits::default();
    limits.rate = args.rate.0;
    limits.connections = args.max_connections;
    let hub = Hub::builder(store, OpenPolicy).limits(limits).build()?;
    let origins = if args.origins.is_empty() {
        Origins::same()
    } else {
        Origins::only(&args.origins)?
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let server = http::Server::new(listener, api::routes(hub.clone(), origins, metrics), &hub);
    println!("chat-server is listening on http://{}", server.address());
    tokio::select! {
        () = server.serve() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let report = hub.shutdown(DRAIN).await;
    println!(
        "stopped: {} connections closed, {} cut off, {} tasks left",
        report.closed, report.cut, report.tasks_left
    );
    match report.store {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error.into()),
    }
}
