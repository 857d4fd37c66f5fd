//! The figures of a run: as tables for people, and as JSON for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::load::Figures;

/// All figures of a run, as `--json FILE` writes them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// In the order in which they were measured.
    pub(crate) tables: Vec<Table>,
}

/// One scenario's figures, by server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    /// What was measured, in words.
    pub(crate) title: String,
    /// The server that the others are told in ratio to.
    pub(crate) reference: String,
    pub(crate) rows: Vec<Row>,
}

/// One server's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) server: String,
    /// By round. `null` is a round in which the server or the load program failed, which was told when it happened.
    pub(crate) rounds: Vec<Option<Figures>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, reference: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            reference: reference.into(),
            rows: Vec::new(),
        }
    }

    /// Adds a round; the rounds of all servers are added in the same order.
    pub(crate) fn add(&mut self, server: &str, figures: Option<Figures>) {
        match self.rows.iter_mut().find(|row| row.server == server) {
            Some(row) => row.rounds.push(figures),
            None => self.rows.push(Row {
                server: server.to_owned(),
                rounds: vec![figures],
            }),
        }
    }

    fn rounds(&self) -> usize {
        self.rows.first().map_or(0, |row| row.rounds.len())
    }
}

impl Row {
    /// The median of its rounds.
    pub(crate) fn median(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().flatten().map(figure))
    }

    /// The sum over its rounds.
    fn sum(&self, figure: impl Fn(&Figures) -> u64) -> u64 {
        self.rounds.iter().flatten().map(figure).sum()
    }

    /// The cost of a delivery as a ratio to that of the other: the median of ratios of figures that were taken one after the
    /// other.
    pub(crate) fn ratio(&self, reference: &Self) -> f64 {
        let both = self.rounds.iter().zip(&reference.rounds);
        median(both.filter_map(|(ours, other)| Some(cost(ours.as_ref()?) / cost(other.as_ref()?))))
    }
}

/// Microseconds of the server's CPU time for each delivery.
pub(crate) fn cost(figures: &Figures) -> f64 {
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

/// Of one connection, in KB, between two of the moments at which the server's memory was looked at.
fn memory(figures: &Figures, from: usize, to: usize) -> f64 {
    let grown = figures.memory[to].saturating_sub(figures.memory[from]);
    grown as f64 / figures.connections.max(1) as f64 / 1024.0
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
            "{:<16} {:>11} {:>6} {:>12} {:>8} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8} {:>10}",
            "",
            "us/delivery",
            "ratio",
            "deliveries/s",
            "p50 us",
            "p99 us",
            "p999 us",
            "lost",
            "closed",
            "KB idle",
            "KB more",
            "connects/s",
        )?;
        let reference = self.rows.iter().find(|row| row.server == self.reference);
        for row in &self.rows {
            write!(
                f,
                "{:<16} {:>11} {:>6} {:>12.0} {:>8.0} {:>8.0} {:>8.0} {:>7} {:>7} {:>8.1} {:>8.1} {:>10.0}",
                row.server,
                figure(row.median(cost)),
                figure(reference.map_or(f64::NAN, |reference| row.ratio(reference))),
                row.median(|figures| figures.deliveries as f64 / figures.seconds),
                row.median(|figures| figures.latency.median),
                row.median(|figures| figures.latency.p99),
                row.median(|figures| figures.latency.p999),
                row.sum(|figures| figures.lost),
                row.sum(|figures| figures.closed),
                row.median(|figures| memory(figures, 0, 1)),
                row.median(|figures| memory(figures, 1, 2)),
                row.median(|figures| figures.connections as f64 / figures.connecting),
            )?;
            for remark in remarks(row) {
                write!(f, "  {remark}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What makes a row's figures worth less than they look, or explains them.
fn remarks(row: &Row) -> Vec<String> {
    let mut remarks = Vec::new();
    let failed = row.rounds.iter().filter(|round| round.is_none()).count();
    if failed > 0 {
        remarks.push(format!("failed in {failed} of {} rounds", row.rounds.len()));
    }
    let busy = row.median(|figures| figures.own_cpu / figures.seconds);
    if busy > 0.95 {
        remarks.push(format!(
            "the load program was busy for {:.0}% of the time",
            busy * 100.0
        ));
    }
    let stopped = row.sum(|figures| figures.stopped as u64);
    if stopped > 0 {
        let closed = row.sum(|figures| figures.stopped_closed);
        remarks.push(format!("closed {closed} of {stopped} that never read"));
    }
    remarks
}
