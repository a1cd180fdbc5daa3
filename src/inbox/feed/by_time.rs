//! Lists the rows of an old platform, which does not know `since_id`: page by page back in time, newest first.
//!
//! Best effort: a row that is committed late is found only while it is listed after the anchor's time.

use std::collections::HashSet;

use super::backward::BackwardPosition;
use super::fetcher::{Page, PageEnd};
use super::position::{RowKey, keys};
use super::reorder_buffer::ReorderBuffer;
use crate::platform::{PageRequest, RowsToList};
use crate::wire::{Row, RowHead, Timestamp};

/// Most pages of one listing: a million rows.
const MAX_PAGES: usize = 2_000;
/// Most rows that are kept of those that are committed during a listing, in the microsecond in which a page ended.
const MAX_COMMITTED_SINCE: usize = 100;

/// Lists the rows since a time.
pub(super) struct ByTimeReader {
    /// Rows before this time are handled. `None` lists those of the last `backlog_secs` seconds.
    floor: Option<Timestamp>,
    backlog_secs: u64,
    position: BackwardPosition,
    pages: usize,
    /// Ids of the page before, some of which the next page repeats: those of its oldest time.
    last_page: HashSet<String>,
    buffer: ReorderBuffer,
    /// Rows of the time of a page's end that were committed after that page was listed. They come last.
    committed_since: Vec<Row>,
    is_done: bool,
}

impl ByTimeReader {
    pub(super) fn new(floor: Option<Timestamp>, backlog_secs: u64) -> Self {
        ByTimeReader {
            floor,
            backlog_secs,
            position: BackwardPosition::default(),
            pages: 0,
            last_page: HashSet::new(),
            buffer: ReorderBuffer::default(),
            committed_since: Vec::new(),
            is_done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Counts a request that failed.
    pub(super) fn note_failure(&mut self) {
        self.position.note_failure();
    }

    /// Returns the request for the next page.
    pub(super) fn request(&self) -> PageRequest {
        let secs = self.floor.is_none().then_some(self.backlog_secs);
        let rows = RowsToList::Newest { before: self.position.before, secs };
        PageRequest { limit: self.position.limit(), ..PageRequest::new(rows) }
    }

    /// Takes the page that [`request`](Self::request) asked for. `is_past` says whether a row is handled. Returns a row
    /// that is too large.
    pub(super) fn step(&mut self, page: Page, is_past: impl Fn(&Row) -> bool) -> Option<(RowKey, RowHead)> {
        let Page { rows, oldest_malformed, end, .. } = page;
        let large = match &end {
            PageEnd::LargeRow(head) => RowKey::of_head(head, None).map(|key| (key, head.clone())),
            PageEnd::Full | PageEnd::Complete => None,
        };
        let large_at = large.as_ref().map(|(key, _)| key.at);
        let oldest_row = rows.iter().filter_map(|row| row.at).chain(large_at).min();
        let ids = rows.iter().map(|row| row.id.clone()).collect();
        let reached_floor = self.buffer_rows(rows, is_past);
        self.pages += 1;
        let large_is_below = large_at.is_some_and(|at| self.floor.is_some_and(|floor| at < floor));
        let is_last = reached_floor || large_is_below || matches!(end, PageEnd::Complete);
        self.is_done = is_last
            || self.pages >= MAX_PAGES
            || !self.position.go_back(oldest_row, oldest_malformed, large_at.is_some());
        self.last_page = ids;
        large.filter(|_| !large_is_below)
    }

    /// Buffers the rows of a page that are neither known, below the floor nor on the page before. Returns whether the page
    /// reached the floor.
    fn buffer_rows(&mut self, rows: Vec<Row>, is_past: impl Fn(&Row) -> bool) -> bool {
        let (mut taken, mut since, mut reached_floor) = (Vec::new(), Vec::new(), false);
        let repeated = rows.iter().rposition(|row| self.last_page.contains(&row.id)).unwrap_or_default();
        for (index, row) in rows.into_iter().enumerate() {
            // A row without a time that is listed behind a row below the floor is below it, too.
            let is_below = row.at.map_or(reached_floor, |at| self.floor.is_some_and(|floor| at < floor));
            reached_floor |= is_below;
            if !is_below && !self.last_page.contains(&row.id) && !is_past(&row) {
                // Before the rows that are repeated are those that were committed since.
                if index < repeated && self.committed_since.len() + since.len() < MAX_COMMITTED_SINCE {
                    since.push(row);
                } else {
                    taken.push(row);
                }
            }
        }
        self.committed_since.extend(since.into_iter().rev());
        self.buffer.push_older_page(taken);
        reached_floor
    }

    /// Returns the rows, oldest first, once everything was listed. Until then it returns none.
    pub(super) fn take_rows(&mut self) -> Vec<(RowKey, Row)> {
        if !self.is_done {
            return Vec::new();
        }
        let mut rows = self.buffer.take_rows();
        rows.append(&mut self.committed_since);
        keys(&rows, None).into_iter().zip(rows).collect()
    }

    /// Returns whether newer rows were dropped, which have to be listed again.
    pub(super) fn has_dropped(&self) -> bool {
        self.buffer.has_dropped
    }
}
