//! Lists the rows after one, page by page, around rows that are too large to read.

use std::collections::HashSet;
use std::sync::Arc;

use super::fetcher::{Page, PageEnd};
use super::position::RowKey;
use super::window::{RowState, RowWindow};
use crate::platform::{PageRequest, RowDetail, RowsToList};
use crate::wire::{RowHead, Timestamp};

/// Lists all rows after `last`, in order, up to an end.
///
/// The platform makes a whole page before it sends it, a row of 90 MB in half a second. So a page ends before a row that was
/// stepped over, and the next one begins behind it.
pub(super) struct RangeReader {
    /// Time of the row that the listing begins behind.
    from: Timestamp,
    /// The row that the next page begins behind.
    last: RowKey,
    /// Time before which rows are listed. `None` lists to the end.
    before: Option<Timestamp>,
    /// Whether the rows of the same microsecond are looked for beside each row that was stepped over: some may have been
    /// committed late.
    is_final: bool,
    /// Rows that were stepped over and are behind `last`, or at it.
    passed: HashSet<Arc<str>>,
    state: RangeState,
    /// The `seq` that may be acknowledged once everything was listed.
    settled_seq: Option<i64>,
}

/// What a range reader asks for next.
#[derive(Debug, Clone, PartialEq)]
enum RangeState {
    /// The rows behind `last`, up to the next row that was stepped over.
    Listing,
    /// The row behind `last` as it was stored. It is too large with what the platform adds to it, and its id did not come in
    /// what was read of it. The rows of the same microsecond as this one were being looked for.
    ReadingHead(Option<RowKey>),
    /// The rows behind `last` of the same microsecond as this one, which was stepped over.
    SameTime(RowKey),
    /// Everything was listed.
    Done,
}

/// The outcome of a page.
#[derive(Debug, PartialEq)]
pub(super) enum RangeStep {
    /// Go on with the next request.
    Continue,
    /// This row is too large: it is to be recorded as stepped over, and reported.
    StepOver(RowKey, RowHead),
    /// This row, which was stepped over, is gone from the platform: it is to be forgotten.
    Gone(Arc<str>),
    /// No row can be listed behind this page: its entries have no ids.
    Unreadable,
}

impl RangeReader {
    /// Begins a listing of the rows after `from` and before `before`.
    pub(super) fn new(from: RowKey, before: Option<Timestamp>, is_final: bool) -> Self {
        let passed = HashSet::from([from.id.clone()]);
        RangeReader {
            from: from.at,
            last: from,
            before,
            is_final,
            passed,
            state: RangeState::Listing,
            settled_seq: None,
        }
    }

    /// Returns the same listing with a `seq` that may be acknowledged when it is done.
    pub(super) fn with_settled_seq(self, settled_seq: Option<i64>) -> Self {
        RangeReader { settled_seq, ..self }
    }

    /// Returns the `seq` that may be acknowledged once the listing is done.
    pub(super) fn settled_seq(&self) -> Option<i64> {
        self.settled_seq
    }

    /// Returns the last row that was listed, or the one that the listing began behind.
    pub(super) fn last(&self) -> &RowKey {
        &self.last
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == RangeState::Done
    }

    /// Returns the request for the next page.
    pub(super) fn request(&self, window: &RowWindow) -> PageRequest {
        let after = |before| RowsToList::After { id: self.last.id.to_string(), before };
        match &self.state {
            RangeState::Listing | RangeState::Done => {
                let next = self.next_stepped_over(window).map(|row| row.at);
                PageRequest::new(after(next.or(self.before)))
            }
            RangeState::ReadingHead(_) => {
                // Not its first bytes only: another row may stand there by now, which is to be delivered.
                PageRequest { rows: after(self.before), limit: Some(1), detail: RowDetail::Stored }
            }
            RangeState::SameTime(row) => {
                // As it was stored, so that the head of a known row comes first, and the rest need not be read.
                let rows = after(Some(row.up_to_its_time()));
                PageRequest { rows, limit: Some(1), detail: RowDetail::Stored }
            }
        }
    }

    /// Takes the page that [`request`](Self::request) asked for: the keys of its rows are in `listed`.
    pub(super) fn step(&mut self, page: &Page, listed: &[RowKey], window: &RowWindow) -> RangeStep {
        if let Some(last) = listed.last() {
            self.last = last.clone();
        }
        let state = std::mem::replace(&mut self.state, RangeState::Listing);
        match (&page.end, state) {
            // Nothing can be listed behind entries that have no id.
            (PageEnd::Full, _) if listed.is_empty() => return RangeStep::Unreadable,
            (PageEnd::Full, RangeState::ReadingHead(row)) => self.resume(row),
            // It came whole this time.
            (PageEnd::Full, RangeState::SameTime(row)) if self.last.id == row.id => {}
            (PageEnd::Full, state) => self.state = state,
            (PageEnd::LargeRow(head), state) => return self.step_over(head, state, window),
            (PageEnd::Complete, RangeState::ReadingHead(row)) => self.resume(row),
            // It may be before the row that the listing began behind.
            (PageEnd::Complete, RangeState::SameTime(row)) if row.at == self.from && !self.is_final => {}
            (PageEnd::Complete, RangeState::SameTime(row)) => return RangeStep::Gone(row.id),
            (PageEnd::Complete, RangeState::Listing | RangeState::Done) => self.pass_stepped_over(window),
        }
        RangeStep::Continue
    }

    /// Goes on behind a row that is too large.
    fn step_over(&mut self, head: &RowHead, state: RangeState, window: &RowWindow) -> RangeStep {
        let Some(key) = RowKey::of_head(head, Some(&self.last)) else {
            self.state = RangeState::ReadingHead(match state {
                RangeState::ReadingHead(_) => return RangeStep::Unreadable,
                RangeState::SameTime(row) => Some(row),
                RangeState::Listing | RangeState::Done => None,
            });
            return RangeStep::Continue;
        };
        if let RangeState::SameTime(row) | RangeState::ReadingHead(Some(row)) = state {
            self.resume(Some(row).filter(|row| row.id != key.id));
        }
        self.passed.insert(key.id.clone());
        self.last = key.clone();
        match window.state(&key.id) {
            Some(RowState::SteppedOver) => RangeStep::Continue,
            _ => RangeStep::StepOver(key, head.clone()),
        }
    }

    /// Goes on with the rows of the same microsecond as `row`, or with the listing.
    fn resume(&mut self, row: Option<RowKey>) {
        self.state = row.map_or(RangeState::Listing, RangeState::SameTime);
    }

    /// Goes on behind the next row that was stepped over, or ends where there is none.
    fn pass_stepped_over(&mut self, window: &RowWindow) {
        let Some(row) = self.next_stepped_over(window).cloned() else {
            self.state = RangeState::Done;
            return;
        };
        self.passed.insert(row.id.clone());
        if self.is_final || row.at == self.last.at {
            self.state = RangeState::SameTime(row);
        } else {
            self.last = row;
        }
    }

    /// Returns the next row that was stepped over and lies in what is left of the range.
    fn next_stepped_over<'a>(&self, window: &'a RowWindow) -> Option<&'a RowKey> {
        let from = RowKey { at: self.last.at, seq: i64::MIN, id: "".into() };
        let in_range = |row: &&RowKey| self.before.is_none_or(|before| row.at < before);
        window.stepped_over_from(&from).take_while(in_range).find(|row| !self.passed.contains(&row.id))
    }
}
