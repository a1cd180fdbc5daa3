//! Tables that fit the terminal.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::terminal::{Paint, width};
use crate::text::cell;

const GAP: usize = 2;
/// No column is made narrower than this for the sake of another.
const NARROW: usize = 6;

pub(crate) struct Table {
    names: Vec<&'static str>,
    widths: Vec<usize>,
    /// Whether what is too wide is cut. Where nothing says how wide a line may be, it is not.
    cuts: bool,
    paint: Paint,
}

impl Table {
    /// Columns by their names and usual widths. On a narrower terminal those that come first in `yielding` are made
    /// narrower first.
    pub(crate) fn new(columns: &[(&'static str, usize)], yielding: &[usize]) -> Self {
        Table::fitted(columns, yielding, width())
    }

    fn fitted(columns: &[(&'static str, usize)], yielding: &[usize], width: Option<usize>) -> Self {
        let (names, mut widths): (Vec<_>, Vec<_>) = columns.iter().copied().unzip();
        if let Some(width) = width {
            let mut over = (widths.iter().sum::<usize>() + GAP * (columns.len() - 1)).saturating_sub(width);
            // Each down to what can still be read, and where that is not enough, to one character.
            for least in [NARROW, 1] {
                for at in yielding {
                    let cut = widths[*at].saturating_sub(least).min(over);
                    widths[*at] -= cut;
                    over -= cut;
                }
            }
        }
        Table { names, widths, cuts: width.is_some(), paint: Paint::stdout() }
    }

    pub(crate) fn heading(&self, out: &mut impl Write) -> io::Result<()> {
        let line = self.line(&self.names);
        writeln!(out, "{}", self.paint.bold(&line))
    }

    pub(crate) fn row(&self, out: &mut impl Write, cells: &[&str]) -> io::Result<()> {
        writeln!(out, "{}", self.line(cells))
    }

    fn line(&self, cells: &[&str]) -> String {
        let mut line = String::new();
        for (text, width) in cells.iter().zip(&self.widths) {
            let shown = cell(text, self.cuts.then_some(*width));
            let pad = (width + GAP).saturating_sub(shown.width()).max(GAP);
            line.push_str(&shown);
            line.extend(std::iter::repeat_n(' ', pad));
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
        Table::fitted(COLUMNS, &[1, 2, 3, 0], width)
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
    fn without_a_terminal_nothing_is_cut() {
        let (id, name) = ("x".repeat(50), "日本".repeat(40));
        assert_eq!(table(None).line(&[&id, &name, "sre", "online"]), format!("{id}  {name}  sre               online"));
        assert_eq!(table(None).line(&["a", "日本", "sre", "-"]).find("sre"), Some(36 + 2 + 28 + 2 + 2));
    }
}
