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
    let hall = runtime.block_on(Hall::open(scenario, TOGETHER))?;
    // Who makes the members speak is one of the runtime's tasks: on a thread of its own, the first message would be under way
    // before the next one is said, and fewer would share a write.
    let (hall, scaled) = runtime.block_on(runtime.spawn(measure(hall)))?;
    // Members that end say so, which nobody expects to hear.
    drop(runtime);
    drop(hall);
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

/// Gives the hall back, and how many rounds there were, in how many seconds and seconds of CPU.
async fn measure(mut hall: Hall) -> (Hall, Result<(usize, f64, f64), String>) {
    let measured = async {
        tokio::time::sleep(SETTLING).await;
        rounds(&mut hall, WARM_UP).await?;
        let cpu = || cpu_time(std::process::id()).map_err(|error| error.to_string());
        let (before, began) = (cpu()?, Instant::now());
        let rounds = rounds(&mut hall, MEASURED).await?;
        let seconds = began.elapsed().as_secs_f64();
        Ok((rounds, seconds, (cpu()? - before).as_secs_f64()))
    };
    let measured = measured.await;
    (hall, measured)
}

/// As many as fit into this time.
async fn rounds(hall: &mut Hall, time: Duration) -> Result<usize, String> {
    let (began, mut rounds) = (Instant::now(), 0);
    while began.elapsed() < time {
        hall.rounds(1).await.map_err(|error| error.to_string())?;
        rounds += 1;
    }
    Ok(rounds)
}
