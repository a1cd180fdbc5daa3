//! Puts the rows of a look back in order: they are listed newest first, and are delivered oldest first.

use std::collections::VecDeque;

use crate::wire::Row;

/// Most rows that are buffered. The newest rows beyond it are dropped, and listed again later.
const MAX_ROWS: usize = 5_000;
/// Most bytes that are buffered, with the same consequence.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Collects pages that come newest first, and returns their rows oldest first.
///
/// It holds 5,000 rows or 32 MiB. Where more is pushed it drops the newest pages, but always keeps an undelivered row.
#[derive(Default)]
pub(super) struct ReorderBuffer {
    /// The newest page first, and in each page the newest row first.
    pages: VecDeque<BufferedPage>,
    /// Number of rows in it.
    pub(super) rows: usize,
    /// Number of rows in it that are not acked yet.
    pub(super) unacked: usize,
    bytes: usize,
    /// True if pages with rows were dropped.
    pub(super) has_dropped: bool,
}

struct BufferedPage {
    rows: Vec<Row>,
    /// Number of rows that are not acked yet.
    unacked: usize,
    bytes: usize,
}

impl ReorderBuffer {
    /// Adds a page that is older than those in the buffer, and then drops the newest pages until the bounds are kept.
    ///
    /// `rows` come newest first, `unacked` of them are not acked, and they count as `bytes` bytes. A page is kept in
    /// spite of the bounds if no other page has an unacked row: without one, a look back would bring nothing to
    /// deliver.
    pub(super) fn push_older_page(&mut self, rows: Vec<Row>, unacked: usize, bytes: usize) {
        self.rows += rows.len();
        self.unacked += unacked;
        self.bytes += bytes;
        self.pages.push_back(BufferedPage { rows, unacked, bytes });
        while self.rows > MAX_ROWS || self.bytes > MAX_BYTES {
            if self.pages.front().is_none_or(|page| page.unacked >= self.unacked) {
                break;
            }
            let Some(page) = self.pages.pop_front() else { break };
            self.has_dropped |= !page.rows.is_empty();
            self.rows -= page.rows.len();
            self.unacked -= page.unacked;
            self.bytes -= page.bytes;
        }
    }

    /// Returns the rows, oldest first.
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.pages.into_iter().rev().flat_map(|page| page.rows.into_iter().rev()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Returns rows numbered from `first` downwards, as a page lists them.
    fn page(first: usize, rows: usize) -> Vec<Row> {
        let row = |n: usize| Row { id: n.to_string(), at: None, fields: Map::new() };
        (0..rows).map(|n| row(first - n)).collect()
    }

    fn ids(buffer: ReorderBuffer) -> Vec<usize> {
        buffer.into_rows().iter().map(|row| row.id.parse().unwrap()).collect()
    }

    /// Adds a page of which no row is acked.
    fn add(buffer: &mut ReorderBuffer, rows: Vec<Row>, bytes: usize) {
        let unacked = rows.len();
        buffer.push_older_page(rows, unacked, bytes);
    }

    #[test]
    fn an_unacked_row_is_kept_however_large() {
        let page = |id: &str| vec![Row { id: id.to_owned(), at: None, fields: Map::new() }];
        let mut buffer = ReorderBuffer::default();
        for (id, unacked, bytes) in [("d", 1, MAX_BYTES), ("c", 1, MAX_BYTES), ("b", 0, 7), ("a", 0, 0)] {
            buffer.push_older_page(page(id), unacked, bytes);
        }
        assert_eq!((buffer.rows, buffer.has_dropped), (3, true));
        assert_eq!(buffer.into_rows().iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn newest_pages_are_dropped_beyond_5000_rows() {
        let mut buffer = ReorderBuffer::default();
        add(&mut buffer, page(9_999, 2_500), 1);
        add(&mut buffer, page(7_499, 2_500), 1);
        assert_eq!((buffer.rows, buffer.has_dropped), (5_000, false), "to the row");
        add(&mut buffer, page(4_999, 1), 1);
        assert_eq!((buffer.rows, buffer.has_dropped), (2_501, true));
        add(&mut buffer, page(4_998, 2_499), 1);
        assert_eq!(buffer.rows, 5_000);
        assert_eq!(ids(buffer), (2_500..=7_499).collect::<Vec<_>>(), "the oldest first");
    }

    #[test]
    fn single_page_is_kept_beyond_the_bounds() {
        let mut buffer = ReorderBuffer::default();
        add(&mut buffer, page(20_000, 10_000), 99 * MIB);
        assert_eq!((buffer.rows, buffer.has_dropped), (10_000, false));
        add(&mut buffer, page(10_000, 6_000), 99 * MIB);
        assert_eq!((buffer.rows, buffer.has_dropped), (6_000, true), "the older one");
    }

    #[test]
    fn newest_pages_are_dropped_beyond_32_mib() {
        let mut buffer = ReorderBuffer::default();
        add(&mut buffer, page(9, 1), 20 * MIB);
        add(&mut buffer, page(8, 1), 12 * MIB);
        assert_eq!((buffer.rows, buffer.has_dropped), (2, false), "to the byte");
        add(&mut buffer, page(7, 1), 20 * MIB);
        assert_eq!((buffer.rows, buffer.has_dropped), (2, true));
        add(&mut buffer, page(6, 1), 0);
        assert_eq!(buffer.rows, 3, "a dropped page is not counted");
        add(&mut buffer, page(5, 1), 1);
        assert_eq!(ids(buffer), [5, 6, 7], "the rest is kept");
    }

    #[test]
    fn dropping_an_empty_page_is_no_loss() {
        let mut buffer = ReorderBuffer::default();
        add(&mut buffer, Vec::new(), 30 * MIB);
        add(&mut buffer, page(9, 1), 30 * MIB);
        assert!(!buffer.has_dropped);
    }
}
