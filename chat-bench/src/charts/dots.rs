//! Ratios as dots beside the reference's, on an axis of powers of ten, where a bar would have no honest beginning.

use super::axis::{Axis, written};
use super::svg::{Anchor, Drawing};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 690.0;
const ROW: f64 = 20.0;
const TOP: f64 = 48.0;

pub(super) struct Group {
    pub(super) name: String,
    pub(super) dots: Vec<Dot>,
}

pub(super) struct Dot {
    pub(super) name: String,
    /// In ratio to the group's reference, whose value is 1.
    pub(super) value: f64,
    pub(super) is_ours: bool,
}

pub(super) fn dots(title: &str, unit: &str, groups: &[Group]) -> String {
    let rows: usize = groups.iter().map(|group| group.dots.len()).sum();
    let bottom = TOP + (rows + groups.len()) as f64 * ROW + groups.len() as f64 * 14.0;
    let mut drawing = Drawing::new(WIDTH, bottom + 48.0, title);
    drawing.text((20.0, 28.0), Anchor::Start, "title", title);
    let values: Vec<f64> = groups
        .iter()
        .flat_map(|group| group.dots.iter().map(|dot| dot.value))
        .chain([1.0])
        .collect();
    let axis = Axis::log(&values, LEFT, RIGHT);
    for tick in axis.ticks() {
        drawing.text((axis.at(tick), bottom + 18.0), Anchor::Middle, "small", &written(tick));
    }
    let one = axis.at(1.0);
    drawing.text(((LEFT + RIGHT) / 2.0, bottom + 36.0), Anchor::Middle, "small", unit);
    let mut y = TOP;
    for group in groups {
        y += ROW;
        drawing.text((20.0, y), Anchor::Start, "small", &group.name);
        // The lines of the axis don't run through names.
        let (top, end) = (y + 5.0, y + 5.0 + group.dots.len() as f64 * ROW);
        for tick in axis.ticks() {
            drawing.line((axis.at(tick), top), (axis.at(tick), end), "rule");
        }
        drawing.line((one, top), (one, end), "base");
        for dot in &group.dots {
            y += ROW;
            let (x, look) = (axis.at(dot.value), if dot.is_ours { "first" } else { "quiet" });
            drawing.text(
                (LEFT - 12.0, y),
                Anchor::End,
                if dot.is_ours { "first" } else { "" },
                &dot.name,
            );
            drawing.line((one, y - 4.5), (x, y - 4.5), &format!("stem {look}"));
            drawing.dot((x, y - 4.5), look);
            // Beyond the dot, on the side away from the reference.
            let (at, anchor) = if x < one {
                (x - 9.0, Anchor::End)
            } else {
                (x + 9.0, Anchor::Start)
            };
            drawing.text((at, y), anchor, "small", &written(rounded(dot.value)));
        }
        y += 14.0;
    }
    drawing.finish()
}

/// To three digits at most.
fn rounded(value: f64) -> f64 {
    if value < 10.0 {
        (value * 100.0).round() / 100.0
    } else {
        (value * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dot_is_named_and_has_its_figure() {
        let dot = |name: &str, value| Dot {
            name: name.to_owned(),
            value,
            is_ours: name == "roomcast",
        };
        let group = Group {
            name: "saturated".to_owned(),
            dots: vec![
                dot("floor", 1.0),
                dot("roomcast", 2.345),
                dot("ws", 46.04),
                dot("bun", 0.8),
            ],
        };
        let svg = dots("CPU", "times", &[group]);
        for text in [
            ">floor<",
            ">roomcast<",
            ">2.35<",
            ">46<",
            ">0.8<",
            ">saturated<",
            ">times<",
        ] {
            assert!(svg.contains(text), "{text} isn't in {svg}");
        }
    }
}
