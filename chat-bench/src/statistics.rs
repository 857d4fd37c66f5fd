//! What several rounds come to.

use serde::{Deserialize, Serialize};

/// What came of the rounds of one subject, in the order in which they were measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rounds<F>(Vec<F>);

impl<F> Default for Rounds<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F> Rounds<F> {
    pub(crate) fn push(&mut self, round: F) {
        self.0.push(round);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &F> {
        self.0.iter()
    }

    pub(crate) fn median(&self, figure: impl Fn(&F) -> f64) -> f64 {
        median(self.iter().map(figure))
    }

    /// The median of the ratios of figures that were taken one after the other.
    pub(crate) fn ratio(&self, reference: &Self, figure: impl Fn(&F) -> f64) -> f64 {
        let pairs = self.iter().zip(reference.iter());
        median(pairs.map(|(ours, reference)| figure(ours) / figure(reference)))
    }
}

/// The middle one of those that are numbers; of an even number of them, the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2..(values.len() / 2 + 1).min(values.len());
    let count = middle.len();
    values[middle].iter().sum::<f64>() / count as f64
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
    fn medians_and_quantiles() {
        for (values, expected) in [
            (&[3.0, 1.0, 2.0][..], 2.0),
            (&[1.0, 3.0], 2.0),
            (&[f64::NAN, 7.0], 7.0),
            (&[3.0, f64::NAN, 1.0, 2.0], 2.0),
        ] {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
        assert!(median([]).is_nan());
        let mut values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.99), 99.0);
        assert_eq!(quantile(&mut values, 0.5), 50.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn ratios_are_of_one_round() {
        let (mut ours, mut reference) = (Rounds::default(), Rounds::default());
        for (one, other) in [(2.0, 1.0), (30.0, 10.0), (2.0, 2.0)] {
            ours.push(one);
            reference.push(other);
        }
        assert_eq!(ours.ratio(&reference, |figure| *figure), 2.0);
        assert_eq!(ours.median(|figure| *figure), 2.0);
    }
}
