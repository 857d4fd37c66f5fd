//! Figures that are kept for charts, and how those of several rounds become one.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What one part found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Curves {
    /// The name of the part, and of its file.
    pub(crate) part: String,
    pub(crate) curves: Vec<Curve>,
}

/// One line of a chart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// What is shown, such as `members`.
    pub(crate) of: String,
    /// Whose it is.
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Curves {
    pub(crate) fn of(part: &str) -> Self {
        Self {
            part: part.to_owned(),
            curves: Vec::new(),
        }
    }

    /// Adds a point to a line.
    pub(crate) fn point(&mut self, of: &str, name: &str, x: f64, y: f64) {
        let found = self
            .curves
            .iter_mut()
            .find(|curve| curve.of == of && curve.name == name);
        match found {
            Some(curve) => curve.points.push((x, y)),
            None => self.curves.push(Curve {
                of: of.to_owned(),
                name: name.to_owned(),
                points: vec![(x, y)],
            }),
        }
    }

    /// The lines of one chart.
    pub(crate) fn lines(&self, of: &str) -> Vec<&Curve> {
        self.curves.iter().filter(|curve| curve.of == of).collect()
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let path = folder.join(format!("{}.json", self.part));
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(crate) fn read(folder: &Path, part: &str) -> Result<Self, String> {
        let path = folder.join(format!("{part}.json"));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The middle one of those that are numbers.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that this share of the others doesn't exceed.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let mut figures = Curves::of("growth");
        figures.point("members", "floor", 10.0, 1.5);
        figures.point("members", "roomcast", 10.0, 2.5);
        figures.point("members", "floor", 100.0, 1.25);
        let folder = std::env::temp_dir().join(format!("chat-bench-figures-{}", std::process::id()));
        figures.write(&folder).expect("a folder for it");
        let read = Curves::read(&folder, "growth").expect("it was written");
        fs::remove_dir_all(&folder).expect("it is there");
        assert_eq!(read.lines("members").len(), 2);
        assert_eq!(read.lines("members")[0].points, [(10.0, 1.5), (100.0, 1.25)]);
        assert!(read.lines("rooms").is_empty());
    }

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert!(median([]).is_nan());
        let mut values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.99), 99.0);
        assert_eq!(quantile(&mut values, 0.5), 50.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
