//! Tables of text: the first column to the left, the others to the right.

use std::fmt;

pub(crate) struct Grid {
    title: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Grid {
    pub(crate) fn new(title: impl Into<String>, head: &[&'static str]) -> Self {
        Self {
            title: title.into(),
            head: head.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A row of figures behind its name.
    pub(crate) fn figures(&mut self, name: impl Into<String>, figures: impl IntoIterator<Item = f64>) {
        self.row(std::iter::once(name.into()).chain(figures.into_iter().map(digits)));
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Notes that the load program was the bottleneck, if it was: `busy` is the share of the time that it was at work.
    pub(crate) fn note_busy(&mut self, what: impl fmt::Display, busy: f64) {
        if let Some(remark) = too_busy(busy) {
            self.note(format!("{what}: {remark}"));
        }
    }
}

/// That the load program was the bottleneck, if it was at work for so large a share of the time.
pub(crate) fn too_busy(share: f64) -> Option<String> {
    let percent = share * 100.0;
    (share > 0.95).then(|| format!("the load program was busy for {percent:.0}% of the time"))
}

/// A figure with about three digits; `-` if it is none.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
            longest.max(self.head[column].chars().count())
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let head: Vec<String> = self.head.iter().map(|&text| text.to_owned()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "{cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut grid = Grid::new("a title", &["members", "us"]);
        grid.row(["10".to_owned(), digits(1.234)]);
        grid.row(["10,000".to_owned(), digits(123.4)]);
        grid.note_busy("floor", 0.5);
        grid.note_busy("floor", 0.97);
        assert_eq!(
            grid.to_string(),
            "a title\nmembers    us\n10       1.23\n10,000    123\n  floor: the load program was busy for 97% of the time\n"
        );
        assert_eq!(digits(f64::NAN), "-");
        assert_eq!(digits(45.67), "45.7");
    }
}
