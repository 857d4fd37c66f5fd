//! Drives the example server with thousands of connections, good and bad, and holds it to what it promises.
//!
//! A seed decides who does what and about when; what comes of it the machine's timing decides too, so that two runs of one
//! seed are alike but not the same.

mod audit;
mod book;
mod callers;
mod gauges;
mod guests;
mod hearing;
mod http;
mod member;
mod mischief;
mod plain;
mod plan;
mod run;
mod server;
mod socket;
mod table;
mod visit;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;

use plan::Plan;

/// Drives a chat server with thousands of connections, good and bad, and holds it to what it promises.
#[derive(Parser)]
struct Args {
    /// The server's program
    #[arg(long, value_name = "PATH")]
    server: PathBuf,

    /// Where its database and its log go; kept if anything was wrong
    #[arg(long, value_name = "PATH")]
    folder: PathBuf,

    /// How long the load lasts
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    minutes: u64,

    /// How many connections there are at once
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=20_000))]
    connections: u64,

    /// Decides who does what [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

// One thread: the server has the other core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs())
    };
    let seed = args.seed.unwrap_or_else(now);
    let connections = usize::try_from(args.connections).expect("it is in range");
    let plan = Plan::new(seed, connections, Duration::from_secs(60 * args.minutes.max(1)));
    println!(
        "soak: seed {seed}, {connections} connections, {} s of load",
        plan.load.as_secs()
    );
    match run::run(plan, &args.server, &args.folder).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
