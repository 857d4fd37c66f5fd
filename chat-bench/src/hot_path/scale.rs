//! The same path on several threads: what the engine itself gains by a second core, without a kernel and a load program that
//! would share both.

use std::error::Error;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Hall, SCENARIOS};
use crate::process::cpu_time;

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(2);
/// How long all members are given to be in their rooms, whichever thread they are on.
const SETTLING: Duration = Duration::from_secs(1);

/// So few members count together, that counting is nothing that threads wait for.
const TOGETHER: usize = 16;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scale {
    pub(crate) scenario: String,
    /// Of a runtime of several threads; 0 for one that runs in the caller's.
    pub(crate) threads: usize,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Scaled {
    pub(crate) deliveries: usize,
    pub(crate) seconds: f64,
    /// Of all threads, in seconds.
    pub(crate) cpu: f64,
}

/// Does it, and prints what came of it.
pub(crate) fn scale(text: &str) -> Result<(), Box<dyn Error>> {
    let Scale { scenario, threads } = serde_json::from_str(text)?;
    let scenario = SCENARIOS.iter().find(|one| one.name == scenario);
    let scenario = scenario.ok_or("there is no such scenario")?;
    let mut builder = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads.max(1)).enable_time().build()?;
    let mut hall = runtime.block_on(Hall::open(scenario, TOGETHER))?;
    let scaled = runtime.block_on(measure(&mut hall));
    // Members that end say so, which nobody expects to hear.
    drop(runtime);
    let (rounds, seconds, cpu) = scaled?;
    let deliveries = rounds * scenario.rooms * scenario.speakers * scenario.members;
    let scaled = Scaled {
        deliveries,
        seconds,
        cpu,
    };
    println!("{}", serde_json::to_string(&scaled)?);
    Ok(())
}

/// Gives how many rounds there were, in how many seconds and seconds of CPU.
async fn measure(hall: &mut Hall) -> Result<(usize, f64, f64), Box<dyn Error>> {
    tokio::time::sleep(SETTLING).await;
    rounds(hall, WARM_UP).await?;
    let (cpu, began) = (cpu_time(std::process::id())?, Instant::now());
    let rounds = rounds(hall, MEASURED).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok((rounds, seconds, (cpu_time(std::process::id())? - cpu).as_secs_f64()))
}

/// As many as fit into this time.
async fn rounds(hall: &mut Hall, time: Duration) -> Result<usize, Box<dyn Error>> {
    let (began, mut rounds) = (Instant::now(), 0);
    while began.elapsed() < time {
        hall.rounds(1).await?;
        rounds += 1;
    }
    Ok(rounds)
}
