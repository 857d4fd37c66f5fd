//! Figures that runs keep for charts: a file of JSON for each part.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

fn file(folder: &Path, part: &str) -> PathBuf {
    folder.join(format!("{part}.json"))
}

pub(crate) fn write(folder: &Path, part: &str, figures: &impl Serialize) -> Result<(), String> {
    let path = file(folder, part);
    let text = serde_json::to_string_pretty(figures).map_err(|error| error.to_string())?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn read<F: DeserializeOwned>(folder: &Path, part: &str) -> Result<F, String> {
    let path = file(folder, part);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = std::env::temp_dir().join(format!("chat-bench-figures-{}", std::process::id()));
        write(&folder, "growth", &[(1.0, 2.5)]).expect("a folder for it");
        let read: Vec<(f64, f64)> = read(&folder, "growth").expect("it was written");
        let missing = super::read::<Vec<f64>>(&folder, "cores").expect_err("it wasn't");
        fs::remove_dir_all(&folder).expect("it is there");
        assert_eq!(read, [(1.0, 2.5)]);
        assert!(missing.contains("cores.json"), "{missing}");
    }
}
