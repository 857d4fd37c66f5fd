//! Where a value is along an axis, and which values are written beside it.

/// Values from `from` to `to`, which are at the places `start` and `end` of the drawing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    /// Between two values that get a line; `None` on an axis of powers of ten.
    step: Option<f64>,
}

impl Axis {
    /// From 0 to a round number above all of these.
    pub(super) fn linear(values: &[f64], start: f64, end: f64) -> Self {
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let step = round_step(most);
        Self {
            from: 0.0,
            to: (most / step).ceil() * step,
            start,
            end,
            step: Some(step),
        }
    }

    /// In powers of ten that have all of these between them.
    pub(super) fn log(values: &[f64], start: f64, end: f64) -> Self {
        let (least, most) = bounds(values);
        let least = least.log10().floor();
        Self {
            from: 10_f64.powf(least),
            to: 10_f64.powf(most.log10().ceil().max(least + 1.0)),
            start,
            end,
            step: None,
        }
    }

    /// From the least of these to the most, of which neither has to be a power of ten.
    pub(super) fn span(values: &[f64], start: f64, end: f64) -> Self {
        let (from, most) = bounds(values);
        Self {
            from,
            to: most.max(from * 10.0),
            start,
            end,
            step: None,
        }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.step.is_none() {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// The values that get a line.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let Some(step) = self.step else {
            // What rounding takes away is given back.
            let (first, last) = ((self.from.log10() - 1e-9).ceil(), (self.to.log10() + 1e-9).floor());
            return (first as i32..=last as i32).map(|decade| 10_f64.powi(decade)).collect();
        };
        let count = (self.to / step).round() as i32;
        (0..=count).map(|tick| f64::from(tick) * step).collect()
    }
}

/// The least and the most of some positive values.
fn bounds(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}

/// 1, 2 or 5 times a power of ten, of which `most` has four to ten.
fn round_step(most: f64) -> f64 {
    let tenth = 10_f64.powf((most / 10.0).log10().ceil());
    [0.2, 0.5, 1.0, 2.0]
        .map(|part| part * tenth)
        .into_iter()
        .find(|step| most / step <= 6.0)
        .unwrap_or(tenth)
}

/// As people write it: with commas, and no more decimals than it takes.
pub(super) fn written(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_places_and_ticks() {
        let axis = Axis::log(&[12.0, 900.0], 0.0, 200.0);
        assert_eq!(axis.ticks(), [10.0, 100.0, 1000.0]);
        assert!((axis.at(100.0) - 100.0).abs() < 1e-9);
        assert_eq!(Axis::span(&[1.0, 512.0], 0.0, 1.0).ticks(), [1.0, 10.0, 100.0]);
        assert_eq!(Axis::span(&[10.0, 10_000.0], 0.0, 1.0).ticks().len(), 4);
        let axis = Axis::linear(&[0.5, 3.7], 100.0, 0.0);
        assert_eq!(axis.ticks(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert!((axis.at(1.0) - 75.0).abs() < 1e-9);
        for most in [0.3, 1.0, 1.2, 4.9, 7.0, 55.0, 999.0] {
            let ticks = Axis::linear(&[most], 0.0, 1.0).ticks();
            assert!((3..=8).contains(&ticks.len()), "{most}: {ticks:?}");
            assert!(*ticks.last().expect("some") >= most * 0.999, "{most}: {ticks:?}");
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (12.0, "12"),
            (100_000.0, "100,000"),
            (1234.0, "1,234"),
        ] {
            assert_eq!(written(value), text);
        }
    }
}
