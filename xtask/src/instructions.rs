//! What the path of a message takes in instructions, counted by valgrind, and held to what it took before.
//!
//! Unlike times, these figures are the same on every run of one program. They differ a little between compilers and C libraries: so
//! there is a margin, and the record says which compiler it is of.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::report::{Outcome, output, run};
use crate::tools;
use crate::workspace::{Workspace, cargo};

/// Where the figures are recorded.
const RECORD: &str = "chat-bench/instructions.json";

/// How many percent more a delivery may take than is recorded, and how many fewer.
const MORE: f64 = 5.0;
const FEWER: f64 = 10.0;

/// The function within which instructions are counted.
const COUNTED: &str = "*hot_path*counted*";

/// Instructions of one delivery, by scenario.
type Figures = BTreeMap<String, f64>;

/// Counts, and compares with the record; with `--record`, makes it anew.
pub(crate) fn instructions(workspace: &Workspace, options: &[&str]) -> Outcome {
    let renew = match options {
        [] => false,
        ["--record"] => true,
        other => return Err(format!("there is no option {}; allowed is --record", other.join(" "))),
    };
    let valgrind = tools::valgrind()?;
    run(cargo()
        .args(["build", "--release", "--locked", "--package", "chat-bench"])
        .current_dir(&workspace.root))?;
    let program = workspace.target.join("release/chat-bench");
    let folder = workspace.target.join("instructions");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut figures = Figures::new();
    for scenario in output(Command::new(&program).arg("drive"))?.lines() {
        let profile = folder.join(format!("{scenario}.out"));
        let counted = count(&valgrind, &program, scenario, &profile)?;
        println!(
            "{scenario}: {:.0} for a delivery, {:.0} for a message; the profile is {}",
            counted.per_delivery,
            counted.per_message,
            profile.display()
        );
        figures.insert(scenario.to_owned(), round(counted.per_delivery));
    }
    let compiler = compiler()?;
    let file = workspace.root.join(RECORD);
    if renew {
        let record = json!({"compiler": compiler, "instructions_per_delivery": figures});
        let text = serde_json::to_string_pretty(&record).map_err(|error| error.to_string())? + "\n";
        return fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()));
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let record: Value = serde_json::from_str(&text).map_err(|error| format!("{RECORD}: {error}"))?;
    let recorded: Figures = serde_json::from_value(record["instructions_per_delivery"].clone())
        .map_err(|error| format!("{RECORD}: {error}"))?;
    compare(&recorded, &figures).map_err(|wrong| match record["compiler"].as_str() {
        Some(by) if by != compiler => format!("{wrong}\nThe record is of {by}, and this is {compiler}."),
        _ => wrong,
    })
}

struct Counted {
    per_delivery: f64,
    per_message: f64,
}

/// Runs a scenario under valgrind.
fn count(valgrind: &Path, program: &Path, scenario: &str, profile: &Path) -> Result<Counted, String> {
    let done = output(
        Command::new(valgrind)
            .args(["--tool=callgrind", "--collect-atstart=no"])
            .arg(format!("--toggle-collect={COUNTED}"))
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(program)
            .args(["drive", scenario]),
    )?;
    let done: Value = serde_json::from_str(&done).map_err(|error| format!("{scenario} said {done:?}: {error}"))?;
    let text = fs::read_to_string(profile).map_err(|error| format!("{}: {error}", profile.display()))?;
    let total = total(&text).ok_or_else(|| format!("valgrind has counted nothing in {COUNTED}"))?;
    let each = |what: &str| match done[what].as_f64() {
        Some(number) if number > 0.0 => Ok(total / number),
        _ => Err(format!("{scenario} did no {what}")),
    };
    Ok(Counted {
        per_delivery: each("deliveries")?,
        per_message: each("messages")?,
    })
}

/// All instructions of a profile; `None` if there are none.
fn total(profile: &str) -> Option<f64> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok().filter(|total| *total > 0.0)
}

/// With one decimal: more would change with every run.
fn round(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

/// The compiler's version, and what it builds for.
fn compiler() -> Result<String, String> {
    let text = output(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
    };
    Ok(format!("rustc {} for {}", field("release: "), field("host: ")))
}

/// Whether each figure is near the recorded one. A much better one is an error too: what was gained is to be kept.
fn compare(recorded: &Figures, counted: &Figures) -> Outcome {
    let mut wrong = Vec::new();
    for (scenario, now) in counted {
        let Some(before) = recorded.get(scenario) else {
            wrong.push(format!(
                "{scenario} takes {now} instructions for a delivery, and none are recorded"
            ));
            continue;
        };
        let percent = (now / before - 1.0) * 100.0;
        println!("{scenario}: {now} instructions for a delivery, recorded are {before} ({percent:+.1} %)");
        if percent > MORE {
            wrong.push(format!(
                "{scenario}: a delivery takes {now} instructions instead of {before}, {percent:.1} % more; allowed are {MORE} %"
            ));
        } else if percent < -FEWER {
            wrong.push(format!(
                "{scenario}: a delivery takes {now} instructions instead of {before}, {:.1} % fewer: record that",
                -percent
            ));
        }
    }
    let gone = recorded.keys().filter(|scenario| !counted.contains_key(*scenario));
    wrong.extend(gone.map(|scenario| format!("{scenario} is recorded, and there is no such scenario")));
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.push("`cargo xtask instructions --record` makes the record anew.".to_owned());
    Err(wrong.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(figures: &[(&str, f64)]) -> Figures {
        figures
            .iter()
            .map(|(name, figure)| ((*name).to_owned(), *figure))
            .collect()
    }

    #[test]
    fn what_is_far_from_the_record_is_wrong() {
        let recorded = figures(&[("a", 1000.0)]);
        for (now, says) in [
            (950.0, None),
            (1049.0, None),
            (1051.0, Some("5.1 % more")),
            (901.0, None),
            (899.0, Some("10.1 % fewer")),
        ] {
            let compared = compare(&recorded, &figures(&[("a", now)]));
            match says {
                None => assert_eq!(compared, Ok(())),
                Some(says) => assert!(compared.unwrap_err().contains(says), "{now}"),
            }
        }
    }

    #[test]
    fn a_scenario_is_both_recorded_and_there() {
        let (none, one) = (figures(&[]), figures(&[("a", 1.0)]));
        assert!(compare(&none, &one).unwrap_err().contains("none are recorded"));
        assert!(compare(&one, &none).unwrap_err().contains("no such scenario"));
    }

    #[test]
    fn a_profile_without_instructions_is_none() {
        assert_eq!(total("summary: 7\ntotals: 12\n"), Some(12.0));
        assert_eq!(total("totals: 0\n"), None);
        assert_eq!(total("events: Ir\n"), None);
    }
}
