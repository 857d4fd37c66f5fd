//! Three chat servers on one MongoDB behind HAProxy, as real processes: to try things out on, or to hold them to what they
//! promise while parts of it fail.

mod balancer;
mod bus;
mod cluster;
mod documented;
mod keeper;
mod links;
mod node;
mod peer;
mod ports;
mod replica_set;
mod trial;
mod up;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};

use cluster::Parts;
use trial::Trial;

/// Three chat servers on one MongoDB behind HAProxy.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts them, says where they are, and ends them with Ctrl-C
    Up {
        #[command(flatten)]
        parts: Parts,

        /// Members of MongoDB's replica set
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = members)]
        members: usize,
    },

    /// Has HAProxy, nginx and NATS check the configurations that are documented
    Check {
        /// HAProxy's program
        #[arg(long, value_name = "PATH")]
        haproxy: PathBuf,

        /// Nginx's
        #[arg(long, value_name = "PATH")]
        nginx: PathBuf,

        /// The NATS server's
        #[arg(long, value_name = "PATH")]
        nats_server: PathBuf,

        /// Where files go meanwhile
        #[arg(long, value_name = "PATH")]
        folder: PathBuf,
    },

    /// Has clients talk while parts fail, and says whether all that was promised was kept
    Test {
        #[command(flatten)]
        parts: Parts,

        /// How long parts fail
        #[arg(long, value_name = "MINUTES", default_value_t = 5.0)]
        minutes: f32,

        /// Decides who does what, and what fails [default: the time]
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
    },
}

fn members(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("a replica set has 1 member or 3 here".to_owned()),
    }
}

async fn test(parts: &Parts, minutes: f32, seed: Option<u64>) -> Result<bool, String> {
    let wrong = |_| format!("{minutes} minutes are no time to run for");
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs())
    };
    let trial = Trial {
        seed: seed.unwrap_or_else(now),
        length: Duration::try_from_secs_f32(60.0 * minutes).map_err(wrong)?,
        bus: parts.bus,
    };
    println!(
        "cluster: seed {}, bus {}, {} s",
        trial.seed,
        trial.bus.name(),
        trial.length.as_secs()
    );
    trial::run(&trial, parts).await
}

// One thread: the servers need the others.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let result = match Args::parse().command {
        Command::Up { parts, members } => up::up(&parts, members).await.map(|()| true),
        Command::Check {
            haproxy,
            nginx,
            nats_server,
            folder,
        } => documented::check(&haproxy, &nginx, &nats_server, &folder).map(|()| true),
        Command::Test { parts, minutes, seed } => test(&parts, minutes, seed).await,
    };
    let good = result.unwrap_or_else(|error| {
        eprintln!("cluster: {error}");
        false
    });
    // A thread may wait for the standard input for ever, so nobody waits for it.
    std::process::exit(i32::from(!good))
}
