//! Lines over powers of ten, in panels side by side. Each line is named where it ends.

use super::axis::{Axis, written};
use super::svg::{Anchor, Drawing};

const PANEL: f64 = 380.0;
/// A panel that has the drawing to itself.
const WIDE: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 246.0;
const LEFT: f64 = 64.0;
const NAME: f64 = 15.0;

/// How an axis is made of what is on it, and where it begins and ends.
type MakeAxis = fn(&[f64], f64, f64) -> Axis;

pub(super) struct Panel<'a> {
    pub(super) title: &'static str,
    /// Of the values upwards.
    pub(super) unit: &'static str,
    /// What grows to the right.
    pub(super) along: &'static str,
    pub(super) axis: MakeAxis,
    pub(super) lines: Vec<Line<'a>>,
}

pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// The classes of its style.
    pub(super) look: &'static str,
    pub(super) points: &'a [(f64, f64)],
}

/// All panels in one drawing.
pub(super) fn panels(panels: &[Panel<'_>]) -> String {
    let width = if panels.len() == 1 { WIDE } else { PANEL };
    let titles: Vec<&str> = panels.iter().map(|panel| panel.title).collect();
    let mut drawing = Drawing::new(width * panels.len() as f64, HEIGHT, &titles.join("; "));
    for (number, panel) in panels.iter().enumerate() {
        draw(&mut drawing, panel, width * number as f64, width);
    }
    drawing.finish()
}

fn draw(drawing: &mut Drawing, panel: &Panel<'_>, left: f64, width: f64) {
    // Names take some seven pixels a letter.
    let longest = panel.lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
    let (start, end) = (left + LEFT, left + width - 24.0 - longest as f64 * 6.6);
    let values = |of: fn(&(f64, f64)) -> f64| -> Vec<f64> {
        let points = panel.lines.iter().flat_map(|line| line.points);
        points.map(of).filter(|value| value.is_finite()).collect()
    };
    let x = Axis::span(&values(|(x, _)| *x), start, end);
    let y = (panel.axis)(&values(|(_, y)| *y), BOTTOM, TOP);
    drawing.text((left + 20.0, 28.0), Anchor::Start, "title", panel.title);
    drawing.text((left + 20.0, 47.0), Anchor::Start, "small", panel.unit);
    for tick in y.ticks() {
        drawing.line((start, y.at(tick)), (end, y.at(tick)), "rule");
        drawing.text((start - 8.0, y.at(tick) + 4.0), Anchor::End, "small", &written(tick));
    }
    drawing.line((start, BOTTOM), (end, BOTTOM), "base");
    let mut written_from = f64::MAX;
    // From the last, which says how far the figures go.
    for tick in x.ticks().into_iter().rev() {
        let (at, text) = (x.at(tick), written(tick));
        drawing.line((at, BOTTOM), (at, BOTTOM + 4.0), "base");
        // A number for which there is no room is left out.
        let half = text.len() as f64 * 3.5;
        if at + half < written_from - 6.0 {
            drawing.text((at, BOTTOM + 18.0), Anchor::Middle, "small", &text);
            written_from = at - half;
        }
    }
    drawing.text(
        ((start + end) / 2.0, BOTTOM + 38.0),
        Anchor::Middle,
        "small",
        panel.along,
    );
    let mut names = Vec::new();
    for line in &panel.lines {
        let points = line.points.iter().filter(|(_, value)| value.is_finite());
        let points: Vec<(f64, f64)> = points.map(|(along, value)| (x.at(*along), y.at(*value))).collect();
        drawing.path(&points, line.look);
        for point in &points {
            drawing.dot(*point, line.look);
        }
        if let Some(last) = points.last() {
            names.push((*last, line));
        }
    }
    // No name is on top of another.
    names.sort_by(|((_, one), _), ((_, other), _)| one.total_cmp(other));
    let mut lowest = f64::MIN;
    for ((at, height), line) in names {
        lowest = height.max(lowest + NAME);
        drawing.text((at + 10.0, lowest + 4.0), Anchor::Start, line.look, line.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_and_no_name_hides_another() {
        let line = |name, points| Line {
            name,
            look: "first",
            points,
        };
        let panel = Panel {
            title: "Cost",
            unit: "µs",
            along: "members",
            axis: Axis::linear,
            lines: vec![
                line("one", &[(10.0, 1.0), (1000.0, 2.0)]),
                line("two", &[(10.0, f64::NAN), (1000.0, 2.0)]),
            ],
        };
        let svg = panels(&[panel]);
        let height = |name: &str| {
            let end = svg.find(&format!(">{name}<")).expect("it is named");
            let text = &svg[svg[..end].rfind("y=\"").expect("it has a place") + 3..];
            text.split('"')
                .next()
                .and_then(|text| text.parse::<f64>().ok())
                .expect("a number")
        };
        assert!((height("one") - height("two")).abs() >= NAME);
        for text in [">10<", ">1,000<", ">µs<", ">members<"] {
            assert!(svg.contains(text), "{text} isn't in {svg}");
        }
    }
}
