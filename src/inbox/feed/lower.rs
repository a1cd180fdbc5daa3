//! Lists the rows up to an open anchor: the row that was the oldest of the inbox when the poller began.

use super::backward::BackwardPosition;
use super::fetcher::{Page, PageEnd};
use super::position::{RowKey, newest_first_keys};
use crate::platform::{PageRequest, RowDetail, RowsToList};
use crate::wire::{Row, RowHead, Timestamp};

/// Rows with their keys, and one that is too large.
type LowerRows = (Vec<(RowKey, Row)>, Option<(RowKey, RowHead)>);

/// Lists the rows up to the anchor, newest first. Those that are not known are late ones, or the anchor itself.
pub(super) struct LowerReader {
    /// It begins at the newest row where the anchor has no time.
    position: BackwardPosition,
    anchor: RowKey,
    /// True once the anchor's row was listed: those that follow come before it.
    has_passed_anchor: bool,
    /// The oldest row so far.
    oldest: RowKey,
    /// How much of each row is asked for: less once a row was too large and had no id in what was read of it.
    detail: RowDetail,
    is_done: bool,
}

impl LowerReader {
    pub(super) fn new(anchor: RowKey) -> Self {
        let before = (anchor.at > Timestamp::EARLIEST).then(|| anchor.up_to_its_time());
        let position = BackwardPosition::before(before);
        LowerReader {
            position,
            oldest: anchor.clone(),
            anchor,
            has_passed_anchor: false,
            detail: RowDetail::Full,
            is_done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns the oldest row that was listed: the anchor from now on.
    pub(super) fn oldest(&self) -> &RowKey {
        &self.oldest
    }

    /// Counts a request that failed.
    pub(super) fn note_failure(&mut self) {
        self.position.note_failure();
    }

    /// Returns the request for the next page.
    pub(super) fn request(&self) -> PageRequest {
        let rows = RowsToList::Newest { before: self.position.before, secs: None };
        PageRequest { rows, limit: self.position.limit(), detail: self.detail }
    }

    /// Takes the page that [`request`](Self::request) asked for. Returns the rows up to the anchor, the oldest first, and one that
    /// is too large.
    pub(super) fn step(&mut self, page: Page) -> LowerRows {
        let mut keys = newest_first_keys(&page);
        let at = keys.iter().map(|key| key.at).min();
        let Page { mut rows, oldest_malformed, end, .. } = page;
        let is_last = matches!(end, PageEnd::Complete);
        let is_cut = matches!(end, PageEnd::LargeRow(_));
        let is_unnamed = is_cut && keys.len() == rows.len();
        let large = match end {
            PageEnd::LargeRow(head) if keys.len() > rows.len() => Some((keys.remove(0), head)),
            _ => None,
        };
        rows.reverse();
        let mut rows: Vec<(RowKey, Row)> =
            keys.into_iter().zip(rows).rev().filter(|(key, _)| self.takes(key)).collect();
        rows.reverse();
        let large = large.filter(|(key, _)| self.takes(key));
        let taken = rows.iter().map(|(key, _)| key).chain(large.iter().map(|(key, _)| key));
        if let Some(oldest) = taken.min().filter(|key| **key < self.oldest) {
            self.oldest = oldest.clone();
        }
        if is_unnamed && self.detail == RowDetail::Full {
            self.detail = RowDetail::Stored;
        } else {
            self.detail = RowDetail::Full;
            self.is_done = is_last || !self.position.go_back(at, oldest_malformed, is_cut);
        }
        (rows, large)
    }

    /// Returns whether a row is the anchor or comes before it. The rows are to be asked for in the order of the listing.
    ///
    /// The others of the anchor's time are left to the head, so that they come in order.
    fn takes(&mut self, key: &RowKey) -> bool {
        let anchor = &self.anchor;
        self.has_passed_anchor |= key.id == anchor.id;
        let is_numbered = key.at == anchor.at && key.seq != 0 && anchor.seq != 0;
        self.has_passed_anchor || key.at < anchor.at || (is_numbered && key.seq < anchor.seq)
    }
}
