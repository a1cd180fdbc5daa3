//! Tables in Markdown that can be read in a terminal, and the targets.

use std::fmt::Display;

use crate::rounds::Spread;

/// Returns a table with aligned columns: the first to the left, all others to the right.
pub fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let rule = widths.iter().enumerate().map(|(column, width)| match column {
        0 => "-".repeat(*width),
        _ => format!("{}:", "-".repeat(width - 1)),
    });
    let rule: Vec<String> = rule.collect();
    [line(&head), line(&rule)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// Formats a time with about three digits.
pub fn nanos(nanos: f64) -> String {
    match nanos {
        ..99.95 => format!("{nanos:.1} ns"),
        ..999.5 => format!("{nanos:.0} ns"),
        ..9_995.0 => format!("{:.2} µs", nanos / 1_000.0),
        _ => format!("{:.1} µs", nanos / 1_000.0),
    }
}

/// The bound that a ratio must keep.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// At most this multiple of the other's time.
    AtMost(f64),
    /// At least this many times faster than the other.
    Faster(f64),
}

impl Bound {
    /// Returns whether a ratio, rounded as it is printed, keeps the bound.
    fn holds(self, ratio: f64) -> bool {
        let ratio = (ratio * 100.0).round() / 100.0;
        match self {
            Bound::AtMost(most) => ratio <= most,
            Bound::Faster(least) => ratio >= least,
        }
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::AtMost(most) => write!(f, "at most {most}x"),
            Bound::Faster(1.0) => write!(f, "never slower"),
            Bound::Faster(least) => write!(f, "{least}x faster"),
        }
    }
}

/// The targets, with the results beside them.
#[derive(Default)]
pub struct Targets {
    met: usize,
    rows: Vec<Vec<String>>,
}

impl Targets {
    /// Adds a row. The ratio is in the direction of its bound: ours to theirs for a multiple, theirs to ours for a factor.
    ///
    /// A target without a ratio was not measured, and counts as not met.
    pub fn check(&mut self, case: &str, ours: &str, peer: (&str, &str), ratio: Option<Spread>, bound: Bound) {
        let met = ratio.is_some_and(|ratio| bound.holds(ratio.median));
        let ratio = ratio.map_or("not measured".to_owned(), |Spread { low, median, high }| {
            format!("{median:.2} ({low:.2} to {high:.2})")
        });
        self.push(case, ours, &format!("{}: {}", peer.0, peer.1), &ratio, &bound.to_string(), met);
    }

    /// Adds a row of texts.
    pub fn push(&mut self, case: &str, ours: &str, peer: &str, ratio: &str, target: &str, met: bool) {
        self.met += usize::from(met);
        let verdict = if met { "yes" } else { "NO" };
        self.rows.push([case, ours, peer, ratio, target, verdict].map(str::to_owned).to_vec());
    }

    /// Prints all rows, and their count as the last line. `ratio` is the head of the column with the ratios.
    pub fn print(&self, ratio: &str) {
        let head = ["case", "ours", "peer", ratio, "target", "met?"];
        println!("\n{}", markdown(&head, &self.rows));
        println!("targets met: {} of {}", self.met, self.rows.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_rounded_before_it_is_compared() {
        assert!(Bound::AtMost(1.25).holds(1.2549) && !Bound::AtMost(1.25).holds(1.2551));
        assert!(Bound::Faster(1.0).holds(0.9951) && !Bound::Faster(1.0).holds(0.9949));
    }

    #[test]
    fn table_has_aligned_columns() {
        let table = markdown(&["a", "of"], &[vec!["long".into(), "1".into()]]);
        assert_eq!(table, "| a    | of |\n| ---- | -: |\n| long |  1 |\n");
    }
}
