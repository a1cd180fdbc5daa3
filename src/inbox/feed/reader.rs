//! The listings of the feed: each is a state machine that says which page it needs next, and takes that page.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use super::batch::{Batch, UnreadRow};
use super::by_time::ByTimeReader;
use super::cursor::Cursor;
use super::cursor::saved::Anchor;
use super::fetcher::Page;
use super::lower::LowerReader;
use super::position::{RowKey, keys};
use super::range::{RangeReader, RangeStep};
use super::start::{Start, StartReader};
use super::window::OVERLAP_BYTES;
use crate::inbox::verdict::DeadLetterReason;
use crate::platform::PageRequest;
use crate::wire::{Row, Timestamp};

/// A listing under way.
pub(super) enum Reader {
    /// There is no anchor, or the platform has pruned it: looks for one.
    Start(StartReader),
    /// The anchor is open: lists the rows up to it. `then` is the tail that follows.
    Lower { reader: LowerReader, then: AfterLower },
    /// Lists what is new.
    Head(RangeReader),
    /// Lists everything behind the anchor. When it is done, the anchor moves to `settled`. `new` has the ids of the rows
    /// that were listed and not known.
    Tail { range: RangeReader, settled: Option<RowKey>, new: HashSet<Arc<str>> },
    /// The platform does not know `since_id`, or an entry of a page has no id. When all rows since the anchor are
    /// delivered, it moves to `settled`.
    ByTime { reader: ByTimeReader, settled: Option<RowKey> },
}

/// What follows a listing of the rows up to an open anchor.
pub(super) enum AfterLower {
    /// The head: the poller has just begun.
    Head,
    /// The tail, with what was settled before.
    Tail(Settled),
}

/// What is settled when a tail begins.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The newest row that is settled.
    pub(super) row: Option<RowKey>,
    /// The largest `seq` of the handled rows that are settled.
    pub(super) seq: Option<i64>,
}

/// The outcome of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReaderStep {
    Taken,
    /// No row can be listed behind this page: its entries have no ids.
    Unreadable,
}

impl Reader {
    pub(super) fn start(backlog_secs: u64, asks_ack: bool) -> Self {
        Reader::Start(StartReader::new(backlog_secs, asks_ack))
    }

    /// Returns whether it has to be known up to where rows were acknowledged.
    pub(super) fn needs_ack(&self) -> bool {
        matches!(self, Reader::Start(start) if start.needs_ack())
    }

    /// Begins after the platform has pruned the anchor.
    pub(super) fn after_loss(anchor: &Anchor) -> Self {
        Reader::Start(match anchor {
            Anchor::Open(_) => StartReader::after_open_loss(),
            Anchor::Behind(lost) | Anchor::Pruned(lost) => StartReader::after_loss(lost.clone()),
        })
    }

    pub(super) fn lower(anchor: RowKey, then: AfterLower) -> Self {
        Reader::Lower { reader: LowerReader::new(anchor), then }
    }

    pub(super) fn head(start: RowKey) -> Self {
        Reader::Head(RangeReader::new(start, None, false))
    }

    /// Begins a head that lists everything behind the anchor. When it is done, `settled_seq` may be acknowledged.
    pub(super) fn whole_head(anchor: RowKey, settled_seq: Option<i64>) -> Self {
        Reader::Head(RangeReader::new(anchor, None, false).with_settled_seq(settled_seq))
    }

    /// Begins a tail: to the end of the feed if that is little, or else to the newest settled row. `None` if there is none.
    pub(super) fn tail(anchor: RowKey, settled: Settled, cursor: &Cursor) -> Option<Self> {
        let Settled { row, seq } = settled;
        let range = match &row {
            _ if cursor.window.bytes() < OVERLAP_BYTES => RangeReader::new(anchor, None, true).with_settled_seq(seq),
            Some(row) => RangeReader::new(anchor, Some(row.up_to_its_time()), true),
            None => return None,
        };
        Some(Reader::Tail { range, settled: row, new: HashSet::new() })
    }

    /// Begins a listing of the rows from a time on, or else of the last `backlog_secs` seconds.
    /// `settled` is where the anchor moves then, if the listing begins at the anchor.
    pub(super) fn by_time(floor: Option<Timestamp>, backlog_secs: u64, settled: Option<RowKey>) -> Self {
        Reader::ByTime { reader: ByTimeReader::new(floor, backlog_secs), settled }
    }

    /// Returns the row that the next page begins behind, if it is to begin behind one.
    pub(super) fn listed_behind(&self) -> Option<&RowKey> {
        match self {
            Reader::Head(range) | Reader::Tail { range, .. } => Some(range.last()),
            Reader::Start(_) | Reader::Lower { .. } | Reader::ByTime { .. } => None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Reader::Start(reader) => reader.is_done(),
            Reader::Lower { reader, .. } => reader.is_done(),
            Reader::Head(range) | Reader::Tail { range, .. } => range.is_done(),
            Reader::ByTime { reader, .. } => reader.is_done(),
        }
    }

    /// Counts a request that failed.
    pub(super) fn note_failure(&mut self) {
        match self {
            Reader::Start(reader) => reader.note_failure(),
            Reader::Lower { reader, .. } => reader.note_failure(),
            Reader::ByTime { reader, .. } => reader.note_failure(),
            Reader::Head(_) | Reader::Tail { .. } => {}
        }
    }

    /// Returns the request for the next page.
    pub(super) fn request(&self, cursor: &Cursor) -> PageRequest {
        match self {
            Reader::Start(reader) => reader.request(),
            Reader::Lower { reader, .. } => reader.request(),
            Reader::Head(range) | Reader::Tail { range, .. } => range.request(&cursor.window),
            Reader::ByTime { reader, .. } => reader.request(),
        }
    }

    /// Takes the page that [`request`](Self::request) asked for, and returns what is to be delivered of it. `reason` says
    /// why a row at its end was not read.
    pub(super) fn step(
        &mut self,
        mut page: Page,
        reason: DeadLetterReason,
        cursor: &mut Cursor,
    ) -> (ReaderStep, Batch) {
        let (malformed, unreadable) = (mem::take(&mut page.malformed), mem::take(&mut page.unreadable));
        let is_of_head = matches!(self, Reader::Head(_) | Reader::ByTime { .. });
        let mut step = ReaderStep::Taken;
        let (rows, large) = match self {
            Reader::Start(reader) => {
                reader.step(&page);
                (Vec::new(), None)
            }
            Reader::Lower { reader, .. } => reader.step(page),
            Reader::Head(range) | Reader::Tail { range, .. } => {
                let keys = keys(&page.rows, Some(range.last()));
                let large = match range.step(&page, &keys, &cursor.window) {
                    RangeStep::Continue => None,
                    RangeStep::StepOver(key, head) => Some((key, head)),
                    RangeStep::Gone(id) => {
                        cursor.forget(&id);
                        None
                    }
                    RangeStep::Unreadable => {
                        step = ReaderStep::Unreadable;
                        None
                    }
                };
                (keys.into_iter().zip(page.rows).collect(), large)
            }
            Reader::ByTime { reader, .. } => {
                let large = reader.step(page, |row| cursor.is_past(row));
                (reader.take_rows(), large)
            }
        };
        let mut rows: Vec<(RowKey, Row)> = rows;
        rows.retain(|(key, row)| !cursor.note_known(&key.id, row.bytes as u64));
        if let Reader::Tail { new, .. } = self {
            new.extend(rows.iter().map(|(key, _)| key.id.clone()));
        }
        let unread = large.filter(|(key, _)| !cursor.is_known(&key.id));
        let unread = unread.map(|(key, head)| UnreadRow { key, reason, head });
        (step, Batch { rows, is_of_head, unread, malformed, unreadable })
    }

    /// Ends the listing: moves the anchor. Returns what it found out.
    pub(super) fn finish(self, cursor: &mut Cursor) -> ReaderEnd {
        match self {
            Reader::Start(reader) => match reader.into_found() {
                Start::Behind { row, is_older } => {
                    cursor.set_anchor(Anchor::Behind(row.clone()));
                    ReaderEnd::Started { newest: Some(row), skips_older: is_older }
                }
                Start::At(row) => {
                    cursor.set_anchor(Anchor::Open(row));
                    ReaderEnd::Started { newest: None, skips_older: false }
                }
                Start::Empty => {
                    match cursor.anchor().cloned() {
                        Some(Anchor::Behind(row)) => cursor.set_anchor(Anchor::Pruned(row)),
                        // Rows may still be committed before it.
                        Some(Anchor::Open(_)) => cursor.set_anchor(Anchor::Pruned(RowKey::before_all())),
                        Some(Anchor::Pruned(_)) | None => {}
                    }
                    ReaderEnd::Nothing
                }
            },
            Reader::Lower { reader, then } => {
                let anchor = reader.oldest().clone();
                cursor.set_anchor(Anchor::Open(anchor.clone()));
                match then {
                    AfterLower::Head => ReaderEnd::Listed { newest: anchor },
                    AfterLower::Tail(settled) => {
                        let tail = Reader::tail(anchor.clone(), settled, cursor);
                        tail.map_or(ReaderEnd::Listed { newest: anchor }, ReaderEnd::Next)
                    }
                }
            }
            Reader::Head(range) => {
                if let Some(seq) = range.settled_seq() {
                    cursor.confirm_seq(seq);
                }
                ReaderEnd::Listed { newest: range.last().clone() }
            }
            Reader::Tail { range, settled, new } => {
                let newest = range.last().clone();
                if let Some(seq) = range.settled_seq() {
                    cursor.confirm_seq(seq);
                }
                if let Some(settled) = &settled {
                    cursor.forget_pruned(settled, &new);
                }
                Reader::Tail { range, settled, new }.settle(cursor);
                ReaderEnd::Listed { newest }
            }
            Reader::ByTime { reader, settled } => {
                let has_dropped = reader.has_dropped();
                if !has_dropped {
                    Reader::ByTime { reader, settled }.settle(cursor);
                }
                ReaderEnd::ByTime { has_dropped }
            }
        }
    }

    /// Moves the anchor to what is settled. All rows of the listing up to there were delivered.
    pub(super) fn settle(self, cursor: &mut Cursor) {
        match self {
            Reader::Tail { settled: Some(settled), .. } => cursor.settle(settled),
            Reader::ByTime { settled: Some(settled), .. } => cursor.settle_by_time(settled),
            _ => {}
        }
    }

    /// Returns whether the anchor moves over `row` when the listing ends.
    pub(super) fn settles(&self, row: &RowKey) -> bool {
        match self {
            Reader::Tail { settled: Some(settled), .. } | Reader::ByTime { settled: Some(settled), .. } => {
                row <= settled
            }
            _ => false,
        }
    }
}

/// The outcome of a listing.
#[expect(clippy::large_enum_variant, reason = "it is moved once for each page")]
pub(super) enum ReaderEnd {
    Nothing,
    /// There is an anchor now. `newest` is where the head begins; `None` at an open anchor.
    Started {
        newest: Option<RowKey>,
        skips_older: bool,
    },
    /// Everything up to `newest` is listed.
    Listed {
        newest: RowKey,
    },
    /// All rows since the anchor's time were listed, but for newer ones that were dropped.
    ByTime {
        has_dropped: bool,
    },
    /// This listing follows.
    Next(Reader),
}
