//! Fuzzing with libFuzzer, on the stable toolchain and without cargo-fuzz: the flags below are all that it takes. The folder
//! `fuzz/` has the layout of cargo-fuzz, for those who have that.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::report::{Outcome, output, run};
use crate::tools::{apt, on_path};
use crate::workspace::{Workspace, cargo, files};

/// How long each target is fuzzed by a check of everything.
pub(crate) const BRIEF: Duration = Duration::from_secs(10);

/// Inputs are cut at this length, one input may take so long, and a target so much memory.
const LIMITS: [&str; 3] = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=1024"];

/// What libFuzzer needs of the compiler: a counter for each edge, and the operands of comparisons.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// A target that is covered less than this isn't instrumented.
const LEAST_COVERAGE: u64 = 100;

/// Reads `[--minutes M] [NAME]`; by itself, a minute of each target.
pub(crate) fn with(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    let (minutes, name) = match *arguments {
        [] => ("1", None),
        ["--minutes", minutes] => (minutes, None),
        ["--minutes", minutes, name] | [name, "--minutes", minutes] => (minutes, Some(name)),
        [name] if !name.starts_with('-') => ("1", Some(name)),
        _ => return Err("usage: cargo xtask fuzz [--minutes M] [NAME]".into()),
    };
    let wrong = || format!("{minutes:?} is no number of minutes");
    let number: f64 = minutes.parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(60.0 * number).map_err(|_| wrong())?;
    fuzz(workspace, time, name)
}

/// Runs all that is in the corpora, and then fuzzes for so long: each target, or the one of this name.
pub(crate) fn fuzz(workspace: &Workspace, time: Duration, name: Option<&str>) -> Outcome {
    let targets = Targets::build(workspace, name)?;
    targets.each(|target| target.replay())?;
    targets.each(|target| target.fuzz(time))
}

struct Targets(Vec<Target>);

struct Target {
    name: String,
    program: PathBuf,
    /// What is kept in the repository.
    corpus: PathBuf,
    /// What was found by earlier runs here.
    found: PathBuf,
    artifacts: PathBuf,
}

impl Targets {
    fn build(workspace: &Workspace, name: Option<&str>) -> Result<Self, String> {
        let folder = workspace.root.join("fuzz");
        let names = files(&folder.join("fuzz_targets")).into_iter().filter_map(|file| {
            let name = file.file_stem()?.to_str()?;
            (file.extension()? == "rs").then(|| name.to_owned())
        });
        let names: Vec<_> = names.filter(|known| name.is_none_or(|name| name == known)).collect();
        if names.is_empty() {
            return Err(format!("there is no target {}", name.unwrap_or_default()));
        }
        // libFuzzer itself is C++.
        if on_path("c++").is_none() {
            apt(&["g++"]).map_err(|error| format!("no C++ compiler: install g++ ({error})"))?;
        }
        let host = host()?;
        let mut build = cargo();
        build
            .args(["build", "--locked", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            // Named, so that the flags aren't those of macros and build scripts, which are the workspace's own.
            .args(["--target", &host, "--target-dir"])
            .arg(&workspace.target)
            // It would count instead.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env(
                "RUSTFLAGS",
                [&["--cfg", "fuzzing", "-Dwarnings"][..], &COVERAGE].concat().join(" "),
            );
        for name in &names {
            build.args(["--bin", name]);
        }
        run(&mut build)?;
        let kept = workspace.target.join("fuzz");
        let targets = names.into_iter().map(|name| Target {
            program: workspace.target.join(&host).join("debug").join(&name),
            corpus: folder.join("corpus").join(&name),
            found: kept.join("corpus").join(&name),
            artifacts: kept.join("artifacts").join(&name),
            name,
        });
        Ok(Self(targets.collect()))
    }

    /// Does it with every target, with as many at a time as there are processors.
    fn each(&self, work: impl Fn(&Target) -> Outcome + Sync) -> Outcome {
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let mut wrong = Vec::new();
        for targets in self.0.chunks(at_once) {
            std::thread::scope(|scope| {
                let work = &work;
                let running: Vec<_> = targets.iter().map(|target| scope.spawn(move || work(target))).collect();
                for run in running {
                    let outcome = run.join().unwrap_or_else(|_| Err("a panic".into()));
                    wrong.extend(outcome.err());
                }
            });
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }
}

impl Target {
    /// Runs everything in the corpora once.
    fn replay(&self) -> Outcome {
        for folder in [&self.found, &self.artifacts] {
            std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        if files(&self.corpus).is_empty() {
            return Err(format!("{} has no corpus", self.name));
        }
        self.run("replayed", &["-runs=0"])
    }

    fn fuzz(&self, time: Duration) -> Outcome {
        self.run(
            "fuzzed",
            &[
                &format!("-max_total_time={}", time.as_secs().max(1)),
                "-print_final_stats=1",
            ],
        )
    }

    fn run(&self, done: &str, options: &[&str]) -> Outcome {
        let mut command = Command::new(&self.program);
        // New finds go into the first.
        command.arg(&self.found).arg(&self.corpus).args(LIMITS).args(options);
        command.arg(format!("-artifact_prefix={}/", self.artifacts.display()));
        // What is printed is to end with what was wrong.
        command.env("RUST_BACKTRACE", "0");
        let said = command
            .output()
            .map_err(|error| format!("{} can't be started: {error}", self.program.display()))?;
        let log = String::from_utf8_lossy(&said.stderr);
        if !said.status.success() {
            println!("{}", tail(&log));
            let what = what_failed(&log, &self.program.to_string_lossy());
            return Err(format!("{} ended with {}\n{what}", self.name, said.status));
        }
        let coverage = log
            .lines()
            .rev()
            .find_map(|line| number_behind(line, "cov: "))
            .unwrap_or(0);
        let runs = log
            .lines()
            .rev()
            .find_map(|line| number_behind(line, "Done "))
            .unwrap_or(0);
        println!("{:14} {done}: {runs:9} inputs, {coverage:6} edges covered", self.name);
        if coverage < LEAST_COVERAGE {
            return Err(format!(
                "{} is covered nowhere: this toolchain doesn't instrument it",
                self.name
            ));
        }
        Ok(())
    }
}

/// What this toolchain builds for by itself.
fn host() -> Result<String, String> {
    let about = output(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc doesn't say what it builds for".into())
}

fn number_behind(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The end of a log, where it says what failed.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// What a target said when it failed, and the input with which it does so again.
fn what_failed(log: &str, program: &str) -> String {
    // The place and what was said, which an assertion does in several lines.
    let panic = log.lines().skip_while(|line| !line.contains(" panicked at "));
    let panic = panic
        .take_while(|line| !line.starts_with("note: ") && !line.starts_with("=="))
        .take(5);
    let summary = log.lines().filter(|line| line.starts_with("SUMMARY: "));
    let input = |line: &str| {
        line.split_once("Test unit written to ")
            .map(|(_, file)| file.to_owned())
    };
    let again = log
        .lines()
        .find_map(input)
        .map(|file| format!("once more: {program} {file}"));
    let bytes = log.lines().filter(|line| line.starts_with("Base64: "));
    let said = panic.chain(summary).chain(again.as_deref()).chain(bytes);
    let said: Vec<String> = said.map(|line| line.chars().take(400).collect()).collect();
    said.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_found_in_a_log() {
        let log = "#1 INITED\n\nthread '<unnamed>' (1) panicked at a.rs:1:2:\nno such thing\nnote: more\n\
                   SUMMARY: libFuzzer: deadly signal\nprefix='x'; Test unit written to x/crash-1\nBase64: eyI=\nstat::x: 1";
        let said = "thread '<unnamed>' (1) panicked at a.rs:1:2:\nno such thing\nSUMMARY: libFuzzer: deadly signal\n\
                    once more: t x/crash-1\nBase64: eyI=";
        assert_eq!(what_failed(log, "t"), said);
        let slow = "SUMMARY: libFuzzer: timeout\nprefix='x'; Test unit written to x/timeout-1";
        assert_eq!(
            what_failed(slow, "t"),
            "SUMMARY: libFuzzer: timeout\nonce more: t x/timeout-1"
        );
        assert_eq!(what_failed("killed", "t"), "");
    }

    #[test]
    fn figures_are_found_in_a_log() {
        let line = "#34466\tDONE   cov: 5672 ft: 14333 corp: 282/6215b lim: 2048 exec/s: 1641 rss: 61Mb";
        assert_eq!(number_behind(line, "cov: "), Some(5672));
        assert_eq!(number_behind("Done 34466 runs in 21 second(s)", "Done "), Some(34466));
        assert_eq!(number_behind("INFO: seed corpus", "cov: "), None);
    }
}
