//! Every check that is no test.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::report::{Outcome, Report, output, run};
use crate::workspace::{Workspace, cargo, files, text_of};

/// The oldest Rust that published crates promise to build with.
const MSRV: &str = "1.89";

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn all(workspace: &Workspace, report: &mut Report) {
    let root = &workspace.root;
    report.part("format", || {
        run(cargo().args(["fmt", "--all", "--check"]).current_dir(root))?;
        run(cargo().args(["fmt", "--check"]).current_dir(root.join("fuzz")))
    });
    report.part("lints", || {
        run(cargo()
            .args([
                "clippy",
                "--locked",
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
            .args(["doc", "--locked", "--workspace", "--all-features", "--no-deps"])
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
        let check = |options: &[&str]| {
            run(cargo()
                .args(["clippy", "--locked", "--quiet", "--package", name])
                .args(options)
                .args(["--", "-D", "warnings"])
                .current_dir(&workspace.root))
        };
        check(&["--lib", "--no-default-features"])?;
        let features = package["features"].as_object();
        for feature in features.into_iter().flat_map(|features| features.keys()) {
            check(&["--lib", "--no-default-features", "--features", feature])?;
        }
        check(&["--lib", "--all-features"])?;
        // What whoever opens the crate by itself tries first: its tests too.
        check(&["--all-targets"])?;
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
        let text = std::fs::read_to_string(&readme).unwrap_or_default();
        if text.trim().is_empty() {
            wrong.push(format!("{} is empty", readme.display()));
        }
        if text_of(package, "readme").starts_with("..") {
            wrong.push(format!(
                "the readme of {name} is another folder's, where its links lead elsewhere"
            ));
        }
        // On the registry's page they would lead to nowhere.
        wrong.extend(relative_links(&text).map(|link| format!("{} links to {link}", readme.display())));
        if package["rust_version"] != MSRV {
            wrong.push(format!("the rust-version of {name} is not {MSRV}"));
        }
    }
    none(&wrong)
}

/// Where a page's links lead that aren't absolute.
fn relative_links(markdown: &str) -> impl Iterator<Item = &str> {
    let links = markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|link| !link.starts_with("https://") && !link.starts_with('#'))
}

/// Packs all published crates together, so that those that the registry doesn't know yet find each other, and builds what was
/// packed: a file that isn't in the package is missed here.
fn packages(workspace: &Workspace) -> Outcome {
    forget_packages(workspace);
    let mut command = cargo();
    command.args(["package", "--locked", "--workspace", "--allow-dirty", "--quiet"]);
    for package in workspace.members() {
        let name = text_of(package, "name");
        if workspace.published().all(|published| published["name"] != name) {
            command.args(["--exclude", name]);
        }
    }
    run(command.current_dir(&workspace.root))
}

/// Cargo takes a package of the same version for the one that it unpacked and built before, if there was one. That is right for a
/// registry; the one that packaging makes here is another each time.
fn forget_packages(workspace: &Workspace) {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    // Registries that are folders have no host in their names.
    let sources = files(&home.unwrap_or_default().join("registry/src"));
    let local = sources.iter().filter(|folder| file_name(folder).starts_with('-'));
    let unpacked = local.flat_map(|folder| files(folder));
    let built = files(&workspace.target.join("debug/.fingerprint"));
    for folder in unpacked.chain(built) {
        let name = file_name(&folder);
        let is_its = |package| {
            name.strip_prefix(text_of(package, "name"))
                .is_some_and(|rest| rest.starts_with('-'))
        };
        if workspace.published().any(is_its) {
            // If it stays, this check looks at what was: nothing else is lost.
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What stands among the dependencies, by the rules of `deny.toml`: with cargo-deny where it is installed; by ourselves where it
/// isn't, since it takes longer to build than everything else here.
fn dependencies(workspace: &Workspace) -> Outcome {
    let fuzz = workspace.root.join("fuzz");
    if output(cargo().args(["deny", "--version"])).is_ok() {
        let deny = |folder, what: &[&str]| {
            let rules = workspace.root.join("deny.toml");
            let mut command = cargo();
            command.args(["deny", "check", "--config"]).arg(rules);
            run(command.args(what).current_dir(folder))
        };
        deny(&workspace.root, &["bans", "licenses", "sources"])?;
        return deny(&fuzz, &["licenses", "sources"]);
    }
    println!("cargo-deny isn't installed: checking by what Cargo knows.");
    let rules = std::fs::read_to_string(workspace.root.join("deny.toml")).map_err(|error| error.to_string())?;
    let allowed = list(&rules, "[licenses]", "allow");
    let mut wrong = several_versions(workspace, &list(&rules, "[bans]", "skip"));
    let mut count = 0;
    let fuzz = Workspace::at(&fuzz)?;
    let packages = workspace.packages.iter().chain(&fuzz.packages);
    for package in packages.filter(|package| !package["source"].is_null()) {
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

/// Packages that come in several versions, each of which is built and shipped, unless the rules let them; and names in the
/// rules that have no such package any more.
fn several_versions(workspace: &Workspace, allowed: &[&str]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &workspace.packages {
        let of_name = versions.entry(text_of(package, "name")).or_default();
        of_name.push(text_of(package, "version"));
    }
    versions.retain(|_, versions| versions.len() > 1);
    let unknown = allowed.iter().filter(|name| !versions.contains_key(**name));
    let unknown = unknown.map(|name| format!("deny.toml lets {name} have several versions, and it has one"));
    let mut wrong: Vec<_> = unknown.collect();
    for (name, versions) in versions.iter().filter(|(name, _)| !allowed.contains(name)) {
        wrong.push(format!("{name} comes in several versions: {}", versions.join(", ")));
    }
    wrong
}

/// A list in a section of the rules, one item a line.
fn list<'a>(rules: &'a str, section: &str, name: &str) -> Vec<&'a str> {
    let begin = format!("{name} = [");
    rules
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != section)
        .skip_while(|line| *line != begin)
        .skip(1)
        .take_while(|line| *line != "]")
        .filter(|line| !line.starts_with('#'))
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
    fn the_rules_are_read() {
        let rules = include_str!("../../deny.toml");
        assert!(list(rules, "[licenses]", "allow").contains(&"MIT"));
        let skipped = list(rules, "[bans]", "skip");
        assert!(
            skipped.contains(&"syn") && skipped.iter().all(|name| !name.contains([' ', '#'])),
            "{skipped:?}"
        );
    }

    #[test]
    fn several_versions_have_to_be_let() {
        let package = |name: &str, version: &str| serde_json::json!({ "name": name, "version": version });
        let workspace = Workspace {
            root: Default::default(),
            target: Default::default(),
            packages: vec![package("a", "1.0.0"), package("b", "1.0.0"), package("a", "2.0.0")],
        };
        assert_eq!(several_versions(&workspace, &["a"]), [""; 0]);
        assert_eq!(
            several_versions(&workspace, &[]),
            ["a comes in several versions: 1.0.0, 2.0.0"]
        );
        assert_eq!(several_versions(&workspace, &["a", "b"]).len(), 1, "b has one");
    }

    #[test]
    fn relative_links_are_found() {
        let text = "[a](https://a.example) [b](#b) ![c](docs/c.png) [d](../D.md) code: x[0](y)";
        assert_eq!(relative_links(text).collect::<Vec<_>>(), ["docs/c.png", "../D.md", "y"]);
    }
}
