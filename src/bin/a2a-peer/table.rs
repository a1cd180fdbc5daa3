//! A table that fits the terminal.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::terminal::{Styling, width};
use crate::text::cell;

/// Number of spaces between two columns.
const GAP: usize = 2;
/// Width down to which columns are narrowed first. Below it a text is hardly readable.
const MIN_READABLE: usize = 6;

/// A table whose rows are printed as they come.
pub(crate) struct Table {
    names: Vec<&'static str>,
    widths: Vec<usize>,
    /// True where texts that are too wide are cut. False where the width of a line is not known.
    cuts: bool,
    styling: Styling,
}

impl Table {
    /// Returns a table of columns, each with its name and usual width.
    ///
    /// On a narrow terminal the columns at the indices `narrowed` are narrowed, the first of them first.
    pub(crate) fn new(columns: &[(&'static str, usize)], narrowed: &[usize]) -> Self {
        Table::with_width(columns, narrowed, width())
    }

    fn with_width(columns: &[(&'static str, usize)], narrowed: &[usize], width: Option<usize>) -> Self {
        let (names, mut widths): (Vec<_>, Vec<_>) = columns.iter().copied().unzip();
        if let Some(width) = width {
            let mut excess = (widths.iter().sum::<usize>() + GAP * (columns.len() - 1)).saturating_sub(width);
            for min in [MIN_READABLE, 1] {
                for column in narrowed {
                    let cut = widths[*column].saturating_sub(min).min(excess);
                    widths[*column] -= cut;
                    excess -= cut;
                }
            }
        }
        Table { names, widths, cuts: width.is_some(), styling: Styling::stdout() }
    }

    pub(crate) fn print_heading(&self, out: &mut impl Write) -> io::Result<()> {
        let line = self.line(&self.names);
        writeln!(out, "{}", self.styling.bold(&line))
    }

    pub(crate) fn print_row(&self, out: &mut impl Write, cells: &[&str]) -> io::Result<()> {
        writeln!(out, "{}", self.line(cells))
    }

    fn line(&self, cells: &[&str]) -> String {
        let mut line = String::new();
        for (text, width) in cells.iter().zip(&self.widths) {
            let shown = cell(text, self.cuts.then_some(*width));
            let padding = (width + GAP).saturating_sub(shown.width()).max(GAP);
            line.push_str(&shown);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[(&str, usize)] = &[("ID", 36), ("NAME", 28), ("ROLE", 16), ("STATUS", 10)];

    fn table(width: Option<usize>) -> Table {
        Table::with_width(COLUMNS, &[1, 2, 3, 0], width)
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let id = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
        for width in [10, 20, 33, 40, 79, 80, 95, 96, 200] {
            for name in ["ops", &"日本".repeat(40), &"❤\u{fe0f}".repeat(40), &"e\u{301}".repeat(90), "a\u{1b}[2J\n"]
            {
                let line = table(Some(width)).line(&[id, name, "reviewer of everything", "online"]);
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        let line = table(Some(80)).line(&[id, &"日本".repeat(40), "sre", "online"]);
        assert_eq!(line, format!("{id}  日本日本日…   sre               online"));
    }

    #[test]
    fn nothing_is_cut_without_a_width() {
        let (id, name) = ("x".repeat(50), "日本".repeat(40));
        assert_eq!(table(None).line(&[&id, &name, "sre", "online"]), format!("{id}  {name}  sre               online"));
        assert_eq!(table(None).line(&["a", "日本", "sre", "-"]).find("sre"), Some(36 + 2 + 28 + 2 + 2));
    }
}
