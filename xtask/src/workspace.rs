//! What Cargo knows of this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::report::output;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// All packages, those of others included.
    pub(crate) packages: Vec<Value>,
}

impl Workspace {
    pub(crate) fn read() -> Result<Self, String> {
        Self::at(Path::new("."))
    }

    /// The workspace of this folder.
    pub(crate) fn at(folder: &Path) -> Result<Self, String> {
        let metadata = ["metadata", "--locked", "--format-version", "1", "--all-features"];
        let text = output(cargo().args(metadata).current_dir(folder))?;
        let metadata: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(Self {
            root: PathBuf::from(text_of(&metadata, "workspace_root")),
            target: PathBuf::from(text_of(&metadata, "target_directory")),
            packages: metadata["packages"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// The packages of this workspace: those that come from no registry.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Value> {
        self.packages.iter().filter(|package| package["source"].is_null())
    }

    /// The members that go to the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Value> {
        // `publish = false` is an empty list of registries here.
        self.members().filter(|package| {
            package["publish"]
                .as_array()
                .is_none_or(|registries| !registries.is_empty())
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members().any(|package| package["name"] == name)
    }
}

pub(crate) fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The Cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A folder's files, sorted by name.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    files.sort();
    files
}
