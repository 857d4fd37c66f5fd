//! The figures of a run: as tables for people, and as JSON for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::grid::too_busy;
use crate::load::{Figures, Latency};
use crate::statistics::Rounds;

/// All figures of a run, as they are kept.
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
    pub(crate) rounds: Rounds<Option<Figures>>,
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
        let at = self.rows.iter().position(|row| row.server == server);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row {
                server: server.to_owned(),
                rounds: Rounds::default(),
            });
            self.rows.len() - 1
        });
        self.rows[at].rounds.push(figures);
    }

    fn rounds(&self) -> usize {
        self.rows.first().map_or(0, |row| row.rounds.iter().count())
    }
}

impl Row {
    /// The median of its rounds.
    pub(crate) fn median(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.rounds.median(|round| round.as_ref().map_or(f64::NAN, &figure))
    }

    /// The sum over its rounds.
    fn sum(&self, figure: impl Fn(&Figures) -> u64) -> u64 {
        self.rounds.iter().flatten().map(figure).sum()
    }

    /// The cost of a delivery as a ratio to that of the other: the median of ratios of figures that were taken one after the
    /// other.
    pub(crate) fn ratio(&self, reference: &Self) -> f64 {
        let cost = |round: &Option<Figures>| round.as_ref().map_or(f64::NAN, Figures::cost);
        self.rounds.ratio(&reference.rounds, cost)
    }
}

/// With so many decimals, where there is a figure.
fn figure(value: f64, decimals: usize) -> String {
    if value.is_finite() {
        format!("{value:.decimals$}")
    } else {
        "-".to_owned()
    }
}

/// A part of the latency in microseconds, where anything was delivered.
fn latency(figures: &Figures, part: impl Fn(&Latency) -> f64) -> f64 {
    if figures.deliveries == 0 {
        return f64::NAN;
    }
    part(&figures.latency)
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
                "{:<16} {:>11} {:>6} {:>12} {:>8} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8} {:>10}",
                row.server,
                figure(row.median(Figures::cost), 2),
                figure(reference.map_or(f64::NAN, |reference| row.ratio(reference)), 2),
                figure(row.median(Figures::rate), 0),
                figure(row.median(|figures| latency(figures, |part| part.median)), 0),
                figure(row.median(|figures| latency(figures, |part| part.p99)), 0),
                figure(row.median(|figures| latency(figures, |part| part.p999)), 0),
                row.sum(|figures| figures.lost),
                row.sum(|figures| figures.closed),
                figure(row.median(|figures| memory(figures, 0, 1)), 1),
                figure(row.median(|figures| memory(figures, 1, 2)), 1),
                figure(row.median(|figures| figures.connections as f64 / figures.connecting), 0),
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
        remarks.push(format!("failed in {failed} of {} rounds", row.rounds.iter().count()));
    }
    remarks.extend(too_busy(row.median(Figures::busy)));
    let waiting = row.median(|figures| figures.own_waiting / figures.seconds);
    if waiting > 0.05 {
        let waiting = waiting * 100.0;
        remarks.push(format!(
            "others kept the load program from its core for {waiting:.0}% of the time"
        ));
    }
    let stopped = row.sum(|figures| figures.stopped as u64);
    if stopped > 0 {
        let closed = row.sum(|figures| figures.stopped_closed);
        let memory = row.median(|figures| figures.memory[2] as f64 / 1048576.0);
        remarks.push(format!(
            "closed {closed} of {stopped} that never read; {memory:.0} MB in the end"
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(deliveries: u64, server_cpu: f64) -> Figures {
        Figures {
            connections: 10,
            sent: deliveries / 10,
            deliveries,
            lost: 0,
            closed: 0,
            stopped: 0,
            stopped_closed: 0,
            seconds: 1.0,
            server_cpu,
            own_cpu: 0.5,
            own_waiting: 0.01,
            latency: Latency::default(),
            connecting: 0.1,
            memory: [1 << 20, 2 << 20, 3 << 20],
        }
    }

    #[test]
    fn ratios_are_of_one_round_and_a_failure_is_shown() {
        let mut table = Table::new("a scenario", "floor");
        for (floor, engine) in [
            (Some(figures(1000, 0.001)), Some(figures(1000, 0.002))),
            (None, Some(figures(1000, 0.5))),
            (Some(figures(1000, 0.010)), Some(figures(1000, 0.020))),
        ] {
            table.add("floor", floor);
            table.add("engine", engine);
        }
        assert_eq!(table.rows[1].ratio(&table.rows[0]), 2.0);
        let text = table.to_string();
        assert!(text.contains("medians of 3 rounds"), "{text}");
        assert!(text.contains("failed in 1 of 3 rounds"), "{text}");
    }

    #[test]
    fn what_makes_figures_worth_less_is_shown() {
        let with = |change: fn(&mut Figures)| {
            let mut figures = figures(1000, 0.001);
            change(&mut figures);
            let mut table = Table::new("a scenario", "floor");
            table.add("floor", Some(figures));
            table.to_string()
        };
        assert!(with(|figures| figures.lost = 4711).contains("4711"));
        assert!(with(|figures| figures.closed = 4712).contains("4712"));
        assert!(with(|figures| figures.own_cpu = 0.97).contains("the load program was busy for 97% of the time"));
        assert!(
            with(|figures| figures.own_waiting = 0.3).contains("others kept the load program from its core for 30%")
        );
        let stopped = with(|figures| (figures.stopped, figures.stopped_closed) = (50, 49));
        assert!(
            stopped.contains("closed 49 of 50 that never read; 3 MB in the end"),
            "{stopped}"
        );
    }

    #[test]
    fn what_is_written_as_json_can_be_read() {
        let mut table = Table::new("a scenario", "floor");
        table.add("floor", Some(figures(1000, 0.001)));
        table.add("floor", None);
        let text = serde_json::to_string(&Report { tables: vec![table] }).expect("JSON");
        let report: Report = serde_json::from_str(&text).expect("what was written");
        let rounds: Vec<_> = report.tables[0].rows[0].rounds.iter().collect();
        assert_eq!(rounds[0].as_ref().map(|figures| figures.deliveries), Some(1000));
        assert!(rounds[1].is_none());
    }
}
