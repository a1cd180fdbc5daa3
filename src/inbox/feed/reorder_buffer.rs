//! What is held of a look back.

use std::collections::VecDeque;

use crate::wire::Row;

/// How much of a look back is held: the newest rows beyond it are listed again later.
const MAX_HELD_ROWS: usize = 5_000;
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

struct Page {
    rows: Vec<Row>,
    /// How many of them are not through yet.
    news: usize,
    bytes: usize,
}

/// The oldest rows of a way back, page by page.
#[derive(Default)]
pub(in crate::inbox) struct ReorderBuffer {
    /// The newest page first, and in each the newest row first.
    pages: VecDeque<Page>,
    pub(in crate::inbox) rows: usize,
    pub(in crate::inbox) news: usize,
    bytes: usize,
    /// Whether newer ones had to go.
    pub(in crate::inbox) dropped: bool,
}

impl ReorderBuffer {
    /// Adds an older page, of which so many rows are not through yet.
    pub(in crate::inbox) fn push(&mut self, rows: Vec<Row>, news: usize, bytes: usize) {
        self.rows += rows.len();
        self.news += news;
        self.bytes += bytes;
        self.pages.push_back(Page { rows, news, bytes });
        while self.rows > MAX_HELD_ROWS || self.bytes > MAX_HELD_BYTES {
            // Something new must be left, or nothing would ever come of it.
            if self.pages.front().is_none_or(|page| page.news >= self.news) {
                break;
            }
            let Some(page) = self.pages.pop_front() else { break };
            self.dropped |= !page.rows.is_empty();
            self.rows -= page.rows.len();
            self.news -= page.news;
            self.bytes -= page.bytes;
        }
    }

    /// The oldest first.
    pub(in crate::inbox) fn into_rows(self) -> Vec<Row> {
        self.pages.into_iter().rev().flat_map(|page| page.rows.into_iter().rev()).collect()
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

    fn ids(held: ReorderBuffer) -> Vec<usize> {
        held.into_rows().iter().map(|row| row.id.parse().unwrap()).collect()
    }

    /// A page of which nothing is through yet.
    fn add(held: &mut ReorderBuffer, rows: Vec<Row>, bytes: usize) {
        let news = rows.len();
        held.push(rows, news, bytes);
    }

    #[test]
    fn something_new_is_left_however_large() {
        let page = |id: &str| vec![Row { id: id.to_owned(), at: None, fields: Map::new() }];
        let mut held = ReorderBuffer::default();
        for (id, news, bytes) in [("d", 1, MAX_HELD_BYTES), ("c", 1, MAX_HELD_BYTES), ("b", 0, 7), ("a", 0, 0)] {
            held.push(page(id), news, bytes);
        }
        assert_eq!((held.rows, held.dropped), (3, true));
        assert_eq!(held.into_rows().iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn the_oldest_5000_rows_are_held_and_the_newest_pages_go() {
        let mut held = ReorderBuffer::default();
        add(&mut held, page(9_999, 2_500), 1);
        add(&mut held, page(7_499, 2_500), 1);
        assert_eq!((held.rows, held.dropped), (5_000, false), "to the row");
        add(&mut held, page(4_999, 1), 1);
        assert_eq!((held.rows, held.dropped), (2_501, true));
        add(&mut held, page(4_998, 2_499), 1);
        assert_eq!(held.rows, 5_000);
        assert_eq!(ids(held), (2_500..=7_499).collect::<Vec<_>>(), "the oldest first");
    }

    #[test]
    fn a_page_that_alone_is_too_much_is_held() {
        let mut held = ReorderBuffer::default();
        add(&mut held, page(20_000, 10_000), 99 * MIB);
        assert_eq!((held.rows, held.dropped), (10_000, false));
        add(&mut held, page(10_000, 6_000), 99 * MIB);
        assert_eq!((held.rows, held.dropped), (6_000, true), "the older one");
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let mut held = ReorderBuffer::default();
        add(&mut held, page(9, 1), 20 * MIB);
        add(&mut held, page(8, 1), 12 * MIB);
        assert_eq!((held.rows, held.dropped), (2, false), "to the byte");
        add(&mut held, page(7, 1), 20 * MIB);
        assert_eq!((held.rows, held.dropped), (2, true));
        add(&mut held, page(6, 1), 0);
        assert_eq!(held.rows, 3, "what has gone is no longer counted");
        add(&mut held, page(5, 1), 1);
        assert_eq!(ids(held), [5, 6, 7], "what is left is");
    }

    #[test]
    fn a_page_of_nothing_new_is_no_loss() {
        let mut held = ReorderBuffer::default();
        add(&mut held, Vec::new(), 30 * MIB);
        add(&mut held, page(9, 1), 30 * MIB);
        assert!(!held.dropped);
    }
}
