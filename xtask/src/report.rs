//! The parts of a run, and what became of each.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What a part came to; the text of an error says what is wrong or missing.
pub(crate) type Outcome = Result<(), String>;

/// So many lines of an error are in the summary.
const SHOWN: usize = 20;

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
                    let lines: Vec<_> = error.lines().take(SHOWN).collect();
                    println!("FAIL  {seconds:7.1} s  {name}: {}", lines.join("\n                 "));
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

/// So many of the lines that say what failed are said again.
const NOTED: usize = 6;

/// How long what a command said is waited for when it has ended: something that it left behind may have its streams still.
const REST: Duration = Duration::from_secs(5);

/// Runs a command that tests. What it says goes to our output, line by line; if it fails, its lines that say what failed are in the
/// error, so that the summary of a long run has them.
pub(crate) fn run_tests(command: &mut Command) -> Outcome {
    let shown = show(command);
    println!("$ {shown}");
    let (status, noted) = echo(command).map_err(|error| format!("`{shown}` can't be run: {error}"))?;
    if status.success() {
        Ok(())
    } else if noted.is_empty() {
        Err(format!("`{shown}` ended with {status}"))
    } else {
        Err(noted.join("; "))
    }
}

/// Both streams of a command, and those of its lines that say what failed.
fn echo(command: &mut Command) -> std::io::Result<(ExitStatus, Vec<String>)> {
    let (said, both) = std::io::pipe()?;
    let mut child = command.stdout(both.try_clone()?).stderr(both).spawn()?;
    // The command keeps ends of the pipe, which would stay open for as long as it lives.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let (noting, noted) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if says_what_failed(&line) {
                let _ = noting.send(line.trim().chars().take(300).collect());
            }
        }
    });
    let (status, end) = (child.wait()?, Instant::now() + REST);
    // Until there is nothing more to be said.
    let next = || noted.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    let noted: Vec<String> = std::iter::from_fn(next).collect();
    Ok((status, noted.into_iter().take(NOTED).collect()))
}

/// As Rust's tests, the page's, Python's, the simulation and the trials say it.
fn says_what_failed(line: &str) -> bool {
    (line.starts_with("test ") && line.ends_with("FAILED"))
        || ["✖ ", "FAIL: ", "ERROR: ", "FAIL  ", "seed "]
            .iter()
            .any(|start| line.starts_with(start))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_said_again() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo fine; echo 'test a::b ... FAILED' >&2; echo 'FAIL: test_x (x.Y)'; exit 3",
        ]);
        for _ in 0..2 {
            assert_eq!(
                run_tests(&mut command),
                Err("test a::b ... FAILED; FAIL: test_x (x.Y)".into())
            );
        }
        let silent = run_tests(Command::new("sh").args(["-c", "exit 3"])).expect_err("it fails");
        assert!(silent.contains("exit status: 3"), "{silent}");
        assert_eq!(run_tests(&mut Command::new("true")), Ok(()));
        // What is left behind isn't waited for.
        let began = Instant::now();
        assert_eq!(run_tests(Command::new("sh").args(["-c", "sleep 30 & exit 0"])), Ok(()));
        assert!(began.elapsed() < Duration::from_secs(20));
        assert!(run_tests(&mut Command::new("no-such-program")).is_err());
    }
}
