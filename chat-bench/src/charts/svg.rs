//! As much of SVG as charts need.

use std::fmt::Write as _;

/// Names of colours and lines, first for light pages and then for dark ones. The page is drawn as well, so that text is readable
/// whatever is behind it.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}.small{font-size:12px;fill:#59636e}
.page{fill:#fff}.rule{stroke:#d8dee4}.base{stroke:#818b98}
.line{fill:none;stroke-width:2}.stem{stroke-width:2}.apart{stroke-dasharray:5 4}
.first{stroke:#0969da}.second{stroke:#bc4c00}.quiet{stroke:#6e7781}
.dot{stroke:none}.dot.first,text.first{fill:#0969da;stroke:none}.dot.second,text.second{fill:#bc4c00;stroke:none}
.dot.quiet,text.quiet{fill:#6e7781;stroke:none}
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.page{fill:#0d1117}.rule{stroke:#2f3742}.base{stroke:#656c76}
.first{stroke:#58a6ff}.second{stroke:#f0883e}.quiet{stroke:#9198a1}
.dot.first,text.first{fill:#58a6ff}.dot.second,text.second{fill:#f0883e}.dot.quiet,text.quiet{fill:#9198a1}}
";

/// Which end of a text is at its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

pub(super) struct Drawing {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Drawing {
    /// The title is what is read out to those who don't see it.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        Self {
            width,
            height,
            title: escape(title),
            body: String::new(),
        }
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.add(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        ));
    }

    pub(super) fn dot(&mut self, (x, y): (f64, f64), class: &str) {
        self.add(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" class="dot {class}"/>"#
        ));
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(
            r#"<polyline points="{}" class="line {class}"/>"#,
            points.join(" ")
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes everything");
    }

    pub(super) fn finish(self) -> String {
        let Self {
            width,
            height,
            title,
            body,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" rx=\"6\" class=\"page\"/>\n{body}</svg>\n"
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        let mut drawing = Drawing::new(10.0, 10.0, "a & b");
        drawing.text((1.0, 2.0), Anchor::Middle, "small", "<b> \"x\"");
        let svg = drawing.finish();
        assert!(svg.contains("<title>a &amp; b</title>"));
        assert!(svg.contains(">&lt;b&gt; &quot;x&quot;</text>"));
    }
}
