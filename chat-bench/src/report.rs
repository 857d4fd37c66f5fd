//! The tables.

use std::fmt;

use crate::load::Figures;

/// One scenario's figures, by server.
pub(crate) struct Table {
    title: &'static str,
    reference: &'static str,
    rows: Vec<(&'static str, Vec<Figures>)>,
}

impl Table {
    pub(crate) fn new(title: &'static str, reference: &'static str) -> Self {
        Self {
            title,
            reference,
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, server: &'static str, figures: Figures) {
        match self.rows.iter_mut().find(|(name, _)| *name == server) {
            Some((_, rounds)) => rounds.push(figures),
            None => self.rows.push((server, vec![figures])),
        }
    }
}

/// Microseconds of the server's CPU time for each delivery.
fn cost(figures: &Figures) -> f64 {
    figures.server_cpu * 1e6 / figures.deliveries as f64
}

/// With two decimals, where there is a figure.
fn figure(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.2}")
    } else {
        "-".to_owned()
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} (medians of {} rounds; ratios are to {})",
            self.title,
            self.rounds(),
            self.reference
        )?;
        writeln!(
            f,
            "{:<16} {:>12} {:>7} {:>13} {:>9} {:>9} {:>9} {:>9} {:>11} {:>10}  ",
            "", "us/delivery", "ratio", "deliveries/s", "p50 us", "p99 us", "p999 us", "lost", "KB/idle", "connects/s",
        )?;
        let reference = self.rows.iter().find(|(name, _)| *name == self.reference);
        for (name, rounds) in &self.rows {
            let of = |figure: &dyn Fn(&Figures) -> f64| median(rounds.iter().map(figure));
            // Of figures that were taken one after the other.
            let ratio = reference.map_or(f64::NAN, |(_, others)| {
                median(rounds.iter().zip(others).map(|(ours, other)| cost(ours) / cost(other)))
            });
            let lost: u64 = rounds.iter().map(|figures| figures.lost).sum();
            let connections = rounds.first().map_or(1, |figures| figures.connections.max(1)) as f64;
            write!(
                f,
                "{name:<16} {:>12} {:>7} {:>13.0} {:>9.0} {:>9.0} {:>9.0} {lost:>9} {:>11.2} {:>10.0}",
                figure(of(&cost)),
                figure(ratio),
                of(&|figures| figures.deliveries as f64 / figures.seconds),
                of(&|figures| figures.latency.median),
                of(&|figures| figures.latency.p99),
                of(&|figures| figures.latency.p999),
                of(&|figures| figures.memory[1].saturating_sub(figures.memory[0]) as f64 / connections / 1024.0),
                of(&|figures| connections / figures.connecting),
            )?;
            let busy = of(&|figures| figures.own_cpu / figures.seconds);
            if busy > 0.95 {
                write!(f, "  the load program was busy for {:.0}% of the time", busy * 100.0)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Table {
    fn rounds(&self) -> usize {
        self.rows.first().map_or(0, |(_, rounds)| rounds.len())
    }
}
