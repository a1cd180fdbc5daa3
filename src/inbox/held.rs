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
