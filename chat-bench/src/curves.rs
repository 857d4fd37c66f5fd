//! The lines of charts.

use serde::{Deserialize, Serialize};

/// What one part found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Curves(Vec<Curve>);

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
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a point to a line.
    pub(crate) fn point(&mut self, of: &str, name: &str, x: f64, y: f64) {
        match self.0.iter_mut().find(|curve| curve.of == of && curve.name == name) {
            Some(curve) => curve.points.push((x, y)),
            None => self.0.push(Curve {
                of: of.to_owned(),
                name: name.to_owned(),
                points: vec![(x, y)],
            }),
        }
    }

    /// Adds what an earlier run found of other lines.
    pub(crate) fn add_older(&mut self, older: Self) {
        let is_new = |curve: &Curve| !self.0.iter().any(|new| new.of == curve.of && new.name == curve.name);
        let (older, _): (Vec<_>, Vec<_>) = older.0.into_iter().partition(is_new);
        self.0.extend(older);
    }

    /// The lines of one chart.
    pub(crate) fn lines(&self, of: &str) -> impl Iterator<Item = &Curve> {
        self.0.iter().filter(move |curve| curve.of == of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_make_lines() {
        let mut curves = Curves::default();
        assert!(curves.is_empty());
        curves.point("members", "floor", 10.0, 1.5);
        curves.point("members", "roomcast", 10.0, 2.5);
        curves.point("members", "floor", 100.0, 1.25);
        let lines: Vec<_> = curves.lines("members").collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].points, [(10.0, 1.5), (100.0, 1.25)]);
        assert_eq!(curves.lines("rooms").count(), 0);
    }

    #[test]
    fn only_what_was_not_measured_again_is_older() {
        let (mut new, mut older) = (Curves::default(), Curves::default());
        new.point("members", "floor", 10.0, 1.0);
        older.point("members", "floor", 10.0, 2.0);
        older.point("rooms", "floor", 10.0, 3.0);
        new.add_older(older);
        let points = |of| new.lines(of).flat_map(|line| line.points.clone()).collect::<Vec<_>>();
        assert_eq!(
            (points("members"), points("rooms")),
            (vec![(10.0, 1.0)], vec![(10.0, 3.0)])
        );
    }
}
