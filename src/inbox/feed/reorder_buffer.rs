//! Puts the rows of a listing by time in order: they are listed newest first, and are delivered oldest first.

use std::collections::VecDeque;

use crate::wire::Row;

/// Most rows that are buffered. The newest rows beyond it are dropped, and listed again later.
const MAX_ROWS: usize = 5_000;
/// Most bytes of their JSON that are buffered, with the same consequence.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Collects pages that come newest first, and returns their rows oldest first.
///
/// It holds 5,000 rows or 32 MiB. Where more is pushed it drops the newest pages, but always keeps one.
#[derive(Default)]
pub(super) struct ReorderBuffer {
    /// The newest page first, and in each page the newest row first.
    pages: VecDeque<Vec<Row>>,
    rows: usize,
    bytes: usize,
    /// True if pages with rows were dropped.
    pub(super) has_dropped: bool,
}

impl ReorderBuffer {
    /// Adds the rows of a page that is older than those in the buffer, newest first, and then drops the newest pages until
    /// the bounds are kept.
    pub(super) fn push_older_page(&mut self, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        self.rows += rows.len();
        self.bytes += bytes(&rows);
        self.pages.push_back(rows);
        while (self.rows > MAX_ROWS || self.bytes > MAX_BYTES) && self.pages.len() > 1 {
            let Some(page) = self.pages.pop_front() else { break };
            self.has_dropped = true;
            self.rows -= page.len();
            self.bytes -= bytes(&page);
        }
    }

    /// Takes the rows out, oldest first.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        self.rows = 0;
        self.bytes = 0;
        std::mem::take(&mut self.pages).into_iter().rev().flat_map(|page| page.into_iter().rev()).collect()
    }
}

fn bytes(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.bytes).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Returns rows numbered from `first` downwards, as a page lists them.
    fn page(first: usize, rows: usize, bytes: usize) -> Vec<Row> {
        let row = |n: usize| Row { id: n.to_string(), at: None, bytes, fields: Map::new() };
        (0..rows).map(|n| row(first - n)).collect()
    }

    fn ids(mut buffer: ReorderBuffer) -> Vec<usize> {
        buffer.take_rows().iter().map(|row| row.id.parse().unwrap()).collect()
    }

    #[test]
    fn pages_are_turned_round() {
        let mut buffer = ReorderBuffer::default();
        buffer.push_older_page(page(9, 3, 1));
        buffer.push_older_page(page(6, 2, 1));
        assert!(!buffer.has_dropped);
        assert_eq!(ids(buffer), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn newest_pages_are_dropped_above_the_bounds() {
        for (rows, bytes) in [(2_000, 1), (4, 4 * MIB)] {
            let mut buffer = ReorderBuffer::default();
            for first in [4 * rows, 3 * rows, 2 * rows] {
                buffer.push_older_page(page(first, rows, bytes));
            }
            assert!(buffer.has_dropped);
            assert_eq!(ids(buffer), (rows + 1..=3 * rows).collect::<Vec<_>>());
        }
        let mut alone = ReorderBuffer::default();
        alone.push_older_page(page(2, 2, 40 * MIB));
        assert!(!alone.has_dropped && ids(alone) == [1, 2]);
    }
}
