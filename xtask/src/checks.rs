//! Every check that is no test.

use serde_json::Value;

use crate::report::{Outcome, Report, output, run};
use crate::workspace::{Workspace, cargo, text_of};

/// The oldest Rust that published crates promise to build with.
const MSRV: &str = "1.89";

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn all(workspace: &Workspace, report: &mut Report) {
    let root = &workspace.root;
    report.part("format", || {
        run(cargo().args(["fmt", "--all", "--check"]).current_dir(root))
    });
    report.part("lints", || {
        run(cargo()
            .args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ])
            .current_dir(root))
    });
    report.part("docs", || {
        run(cargo()
            .args(["doc", "--workspace", "--all-features", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .current_dir(root))
    });
    report.part("each crate and feature alone", || alone(workspace));
    report.part("manifests", || manifests(workspace));
    report.part("packages", || packages(workspace));
    report.part("licences and sources", || dependencies(workspace));
}

/// Builds each published crate without its neighbours, whose features would hide what it forgot to ask for.
fn alone(workspace: &Workspace) -> Outcome {
    for package in workspace.published() {
        let name = text_of(package, "name");
        let check = |features: &[&str]| {
            run(cargo()
                .args(["clippy", "--quiet", "--lib", "--package", name])
                .args(features)
                .args(["--", "-D", "warnings"])
                .current_dir(&workspace.root))
        };
        check(&["--no-default-features"])?;
        let features = package["features"].as_object();
        for feature in features.into_iter().flat_map(|features| features.keys()) {
            check(&["--no-default-features", "--features", feature])?;
        }
        check(&["--all-features"])?;
    }
    Ok(())
}

/// What a published crate's page needs, and the promised Rust version.
fn manifests(workspace: &Workspace) -> Outcome {
    let mut wrong = Vec::new();
    for package in workspace.published() {
        let name = text_of(package, "name");
        for key in [
            "description",
            "license",
            "repository",
            "readme",
            "keywords",
            "categories",
        ] {
            let value = &package[key];
            if value.as_str().is_none_or(str::is_empty) && value.as_array().is_none_or(Vec::is_empty) {
                wrong.push(format!("{name} has no {key}"));
            }
        }
        let manifest = std::path::Path::new(text_of(package, "manifest_path"));
        let readme = manifest.with_file_name(text_of(package, "readme"));
        if std::fs::read_to_string(&readme).is_ok_and(|text| text.trim().is_empty()) {
            wrong.push(format!("{} is empty", readme.display()));
        }
        if package["rust_version"] != MSRV {
            wrong.push(format!("the rust-version of {name} is not {MSRV}"));
        }
    }
    none(&wrong)
}

/// Packs all published crates together, so that those that the registry doesn't know yet find each other.
fn packages(workspace: &Workspace) -> Outcome {
    let mut command = cargo();
    command.args(["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]);
    for package in workspace.members() {
        let name = text_of(package, "name");
        if workspace.published().all(|published| published["name"] != name) {
            command.args(["--exclude", name]);
        }
    }
    run(command.current_dir(&workspace.root))
}

/// What stands among the dependencies, by the rules of `deny.toml`: with cargo-deny where it is installed; its licences and
/// sources by ourselves where it isn't, since it takes minutes to build.
fn dependencies(workspace: &Workspace) -> Outcome {
    if output(cargo().args(["deny", "--version"])).is_ok() {
        return run(cargo()
            .args(["deny", "check", "bans", "licenses", "sources"])
            .current_dir(&workspace.root));
    }
    println!("cargo-deny isn't installed: checking licences and sources alone, by what Cargo knows.");
    let rules = std::fs::read_to_string(workspace.root.join("deny.toml")).map_err(|error| error.to_string())?;
    let allowed = allowed_licenses(&rules);
    let mut wrong = Vec::new();
    let mut count = 0;
    for package in workspace.packages.iter().filter(|package| !package["source"].is_null()) {
        count += 1;
        let (name, version) = (text_of(package, "name"), text_of(package, "version"));
        let source = text_of(package, "source");
        if source != REGISTRY {
            wrong.push(format!("{name} {version} comes from {source}"));
        }
        let license = text_of(package, "license");
        if !allows(license, &allowed) {
            wrong.push(format!("the licence of {name} {version} is {license:?}"));
        }
    }
    for member in workspace.members() {
        wrong.extend(wildcards(member));
    }
    println!("{count} dependencies, allowed are {}", allowed.join(", "));
    none(&wrong)
}

/// Dependencies of any version at all.
fn wildcards(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter(|dependency| dependency["req"] == "*" && dependency["path"].is_null())
        .map(|dependency| format!("{} takes any {}", text_of(package, "name"), text_of(dependency, "name")))
        .collect()
}

/// The list `allow` of the section `[licenses]`, one licence a line.
fn allowed_licenses(rules: &str) -> Vec<&str> {
    rules
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[licenses]")
        .skip_while(|line| !line.starts_with("allow = ["))
        .skip(1)
        .take_while(|line| *line != "]")
        .map(|line| line.trim_matches([',', '"']))
        .collect()
}

/// Whether an SPDX expression can be met with these licences. `/` is the old way to write OR.
fn allows(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any(&mut rest, allowed) && rest.is_empty()
}

fn any(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut met = every(rest, allowed);
    while let ["OR", tail @ ..] = rest {
        *rest = tail;
        met |= every(rest, allowed);
    }
    met
}

fn every(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut met = one(rest, allowed);
    while let ["AND", tail @ ..] = rest {
        *rest = tail;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &[&str]) -> bool {
    match rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let met = any(rest, allowed);
            let closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            met && closed
        }
        [name, "WITH", exception, tail @ ..] => {
            let met = allowed.contains(&format!("{name} WITH {exception}").as_str());
            *rest = tail;
            met
        }
        [name, tail @ ..] => {
            let met = allowed.contains(name);
            *rest = tail;
            met
        }
        [] => false,
    }
}

fn none(wrong: &[String]) -> Outcome {
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_understood() {
        let allowed = ["MIT", "ISC", "Unicode-3.0"];
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR X) AND Unicode-3.0",
            "X WITH e OR ISC",
        ] {
            assert!(allows(good, &allowed), "{good}");
        }
        for bad in [
            "",
            "X",
            "MIT AND X",
            "(MIT OR X",
            "MIT AND (X OR Y)",
            "MIT WITH e",
            "MIT X",
        ] {
            assert!(!allows(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn the_rules_name_licences() {
        assert!(allowed_licenses(include_str!("../../deny.toml")).contains(&"MIT"));
    }
}
