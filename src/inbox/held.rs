//! What is held of a look back.

use std::collections::VecDeque;

use crate::wire::Row;

/// How much of a look back is held: the newest rows beyond it are listed again later.
const MAX_HELD_ROWS: usize = 5_000;
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

/// The oldest rows of a way back, page by page.
#[derive(Default)]
pub(super) struct Held {
    /// The newest page first, and in each the newest row first.
    pages: VecDeque<(Vec<Row>, usize)>,
    pub(super) rows: usize,
    bytes: usize,
    /// Whether newer ones had to go.
    pub(super) dropped: bool,
}

impl Held {
    pub(super) fn push(&mut self, rows: Vec<Row>, bytes: usize) {
        self.rows += rows.len();
        self.bytes += bytes;
        self.pages.push_back((rows, bytes));
        while self.pages.len() > 1 && (self.rows > MAX_HELD_ROWS || self.bytes > MAX_HELD_BYTES) {
            if let Some((rows, bytes)) = self.pages.pop_front() {
                self.dropped |= !rows.is_empty();
                self.rows -= rows.len();
                self.bytes -= bytes;
            }
        }
    }

    /// The oldest first.
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.pages.into_iter().rev().flat_map(|(rows, _)| rows.into_iter().rev()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// So many rows, the newest first, of which the newest is the `first`.
    fn page(first: usize, rows: usize) -> Vec<Row> {
        let row = |n: usize| Row { id: n.to_string(), at: None, fields: Map::new() };
        (0..rows).map(|n| row(first - n)).collect()
    }

    fn ids(held: Held) -> Vec<usize> {
        held.into_rows().iter().map(|row| row.id.parse().unwrap()).collect()
    }

    #[test]
    fn the_oldest_5000_rows_are_held_and_the_newest_pages_go() {
        let mut held = Held::default();
        held.push(page(9_999, 2_500), 1);
        held.push(page(7_499, 2_500), 1);
        assert_eq!((held.rows, held.dropped), (5_000, false), "to the row");
        held.push(page(4_999, 1), 1);
        assert_eq!((held.rows, held.dropped), (2_501, true));
        held.push(page(4_998, 2_499), 1);
        assert_eq!(held.rows, 5_000);
        assert_eq!(ids(held), (2_500..=7_499).collect::<Vec<_>>(), "the oldest first");
    }

    #[test]
    fn a_page_that_alone_is_too_much_is_held() {
        let mut held = Held::default();
        held.push(page(20_000, 10_000), 99 * MIB);
        assert_eq!((held.rows, held.dropped), (10_000, false));
        held.push(page(10_000, 6_000), 99 * MIB);
        assert_eq!((held.rows, held.dropped), (6_000, true), "the older one");
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let mut held = Held::default();
        held.push(page(9, 1), 20 * MIB);
        held.push(page(8, 1), 12 * MIB);
        assert_eq!((held.rows, held.dropped), (2, false), "to the byte");
        held.push(page(7, 1), 20 * MIB);
        assert_eq!((held.rows, held.dropped), (2, true));
        held.push(page(6, 1), 0);
        assert_eq!(held.rows, 3, "what has gone is no longer counted");
        held.push(page(5, 1), 1);
        assert_eq!(ids(held), [5, 6, 7], "what is left is");
    }

    #[test]
    fn a_page_of_nothing_new_is_no_loss() {
        let mut held = Held::default();
        held.push(Vec::new(), 30 * MIB);
        held.push(page(9, 1), 30 * MIB);
        assert!(!held.dropped);
    }
}
