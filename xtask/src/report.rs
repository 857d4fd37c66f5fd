//! The parts of a run, and what became of each.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What a part came to; the text of an error says what is wrong or missing.
pub(crate) type Outcome = Result<(), String>;

#[derive(Default)]
pub(crate) struct Report {
    parts: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    /// Runs a part. A failure doesn't keep the next parts from running.
    pub(crate) fn part(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = work();
        if let Err(error) = &outcome {
            println!("{name}: {error}");
        }
        self.parts.push((name, outcome, start.elapsed()));
    }

    /// One line for each part. The code is a failure if any part failed.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n== summary");
        let mut failed = 0;
        for (name, outcome, time) in &self.parts {
            let seconds = time.as_secs_f32();
            match outcome {
                Ok(()) => println!("pass  {seconds:7.1} s  {name}"),
                Err(error) => {
                    failed += 1;
                    let first = error.lines().next().unwrap_or_default();
                    println!("FAIL  {seconds:7.1} s  {name}: {first}");
                }
            }
        }
        println!("{} parts, {failed} failed", self.parts.len());
        if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Runs a command, its output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = show(command);
    println!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}` can't be started: {error}")),
    }
}

/// Runs a command for its output.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let shown = show(command);
    let output = command
        .output()
        .map_err(|error| format!("`{shown}` can't be started: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "`{shown}` ended with {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
