//! Charts of the figures that runs have kept: `cargo xtask bench charts`. They are SVG without scripts, readable on light and on
//! dark pages.

mod axis;
mod dots;
mod lines;
mod svg;

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::curves::Curves;
use crate::kept;
use crate::report::Report;
use axis::Axis;
use dots::{Dot, Group, dots};
use lines::{Line, Panel, panels};

/// Of each scenario its title, and what the chart calls it.
const SCENARIOS: [(&str, &str); 4] = [
    (
        "1x1000, 20 messages/s, 100 bytes",
        "20 messages a second to 1,000 members",
    ),
    (
        "1x1000, 4 in flight, 100 bytes",
        "saturated, 4 under way to 1,000 members",
    ),
    (
        "1x1000, 64 in flight, 100 bytes",
        "saturated, 64 under way to 1,000 members",
    ),
    (
        "200x10, 1 in flight in each, 100 bytes",
        "saturated, 1 under way in each of 200 rooms of ten",
    ),
];

/// Draws one chart of the figures in a folder.
type Chart = fn(&Path) -> Result<String, Box<dyn Error>>;

/// Draws what there are figures of.
pub(crate) fn draw(figures: &Path, into: &Path) -> Result<(), Box<dyn Error>> {
    let charts: [(&str, Chart); 3] = [
        ("deliveries.svg", deliveries),
        ("growth.svg", growth),
        ("durable.svg", durable),
    ];
    fs::create_dir_all(into)?;
    let mut drawn = 0;
    for (name, chart) in charts {
        let path = into.join(name);
        match chart(figures) {
            Ok(svg) => {
                fs::write(&path, svg)?;
                println!("{}", path.display());
                drawn += 1;
            }
            Err(error) => println!("{name} isn't drawn: {error}"),
        }
    }
    if drawn == 0 {
        return Err("there are no figures; run the benchmarks first".into());
    }
    Ok(())
}

fn deliveries(figures: &Path) -> Result<String, Box<dyn Error>> {
    let report: Report = kept::read(figures, "deliveries")?;
    let mut groups = Vec::new();
    for (title, name) in SCENARIOS {
        let Some(table) = report.tables.iter().find(|table| table.title == title) else {
            continue;
        };
        let Some(reference) = table.rows.iter().find(|row| row.server == table.reference) else {
            continue;
        };
        let found = table.rows.iter().map(|row| Dot {
            name: row.server.clone(),
            value: row.ratio(reference),
            is_ours: row.server == "roomcast",
        });
        groups.push(Group {
            name: format!("{name}, to {}", table.reference),
            dots: found.filter(|dot| dot.value.is_finite()).collect(),
        });
    }
    if groups.is_empty() {
        return Err("its figures are of none of the scenarios".into());
    }
    Ok(dots(
        "CPU per delivery",
        "times the CPU of the reference in the same run",
        &groups,
    ))
}

fn growth(figures: &Path) -> Result<String, Box<dyn Error>> {
    let curves: Curves = kept::read(figures, "growth")?;
    let shown = [
        ("members", "CPU of a delivery", "µs", "members of the room"),
        ("connections", "Memory of an idle connection", "KB", "connections"),
        ("rooms", "CPU of a message in a room of ten", "µs", "other rooms"),
    ];
    let shown = shown.into_iter().filter_map(|(of, title, unit, along)| {
        let lines = found(&curves, of, |name| match name {
            "roomcast" => "first",
            "floor" => "quiet",
            _ => "second",
        });
        (!lines.is_empty()).then_some(Panel {
            title,
            unit,
            along,
            axis: Axis::linear,
            lines,
        })
    });
    some(shown.collect())
}

fn durable(figures: &Path) -> Result<String, Box<dyn Error>> {
    let curves: Curves = kept::read(figures, "durable")?;
    let lines = found(&curves, "durable", |name| match name {
        "roomcast on SQLite" => "first",
        "roomcast on MongoDB" => "second",
        name if name.starts_with("SQLite") => "first apart",
        _ => "second apart",
    });
    let panel = Panel {
        title: "Durable messages in one room",
        unit: "messages/s",
        along: "senders, each with one message under way",
        axis: Axis::log,
        lines,
    };
    some(
        vec![panel]
            .into_iter()
            .filter(|panel| !panel.lines.is_empty())
            .collect(),
    )
}

fn found<'a>(curves: &'a Curves, of: &str, look: impl Fn(&str) -> &'static str) -> Vec<Line<'a>> {
    let lines = curves.lines(of).map(|curve| Line {
        name: &curve.name,
        look: look(&curve.name),
        points: &curve.points,
    });
    lines.collect()
}

fn some(shown: Vec<Panel<'_>>) -> Result<String, Box<dyn Error>> {
    if shown.is_empty() {
        return Err("its figures are none that can be drawn".into());
    }
    Ok(panels(&shown))
}
