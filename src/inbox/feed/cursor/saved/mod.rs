//! The saved state of a cursor, and the changes that lead from one state to the next.
//!
//! A cursor file is a list of changes: those of a snapshot give a whole state, those behind it are what happened since.
//! The state holds more than one reader of the feed needs; what a reader does not know it keeps and saves again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::inbox::feed::position::RowKey;
use crate::wire::Timestamp;

pub(in crate::inbox) use super::messages::{HandledMessage, HandledMessages, MessageKey};

/// Most handled rows that a cursor keeps. No inbox gets as many within the time by which a row may be late.
pub(super) const MAX_HANDLED: usize = 100_000;
/// Most rows whose attempts are kept. A row that was never listed again would keep its attempts forever.
pub(in crate::inbox) const MAX_ATTEMPTS: usize = 64;
/// Most rows that were stepped over, and most ids of our own uploads. Beyond it the oldest are forgotten.
const MAX_LISTED_IDS: usize = 1_000;
/// Most changes that are kept for the next save. Beyond it a save writes the whole state.
const MAX_PENDING: usize = 1_024;

/// What a cursor file says: all that a poller has to know when it starts again.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::inbox) struct SavedCursor {
    /// Key of the hashes in [`MessageKey`]. `None` where the system gave no random numbers.
    pub(in crate::inbox) hash_key: Option<u128>,
    /// The row that the next listing begins after.
    pub(in crate::inbox) anchor: Option<Anchor>,
    /// Handled rows, in the order in which they were handled. The reader forgets those that it does not need: a row
    /// that it forgot may be among them, and one that moved to a later time is among them twice.
    pub(in crate::inbox) handled: Vec<HandledRow>,
    /// Number of delivery attempts by row id, oldest entry first. At most 64.
    pub(in crate::inbox) attempts: Vec<(Arc<str>, u32)>,
    /// Rows that were stepped over and are not before the anchor. At most 1,000.
    pub(in crate::inbox) stepped_over: VecDeque<RowKey>,
    /// The row at which polls end, since its body comes too slowly.
    pub(in crate::inbox) slow_row: Option<SlowRow>,
    /// Ids of our own uploads, oldest first. At most 1,000.
    pub(in crate::inbox) uploads: VecDeque<Arc<str>>,
    /// The row that the next listing of broadcasts begins after.
    pub(in crate::inbox) broadcasts: Option<RowKey>,
    /// The `seq` that was last acknowledged to the platform.
    pub(in crate::inbox) acked_seq: Option<i64>,
    /// When the inbox was last listed, by our own clock.
    pub(in crate::inbox) last_listed: Option<Timestamp>,
    /// Handled messages of the 24 h before `last_listed`.
    pub(in crate::inbox) messages: HandledMessages,
}

/// Where the listing of the inbox begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inbox) enum Anchor {
    /// Behind this row.
    Behind(RowKey),
    /// At this row, which was the oldest of the inbox when it was found. Rows may be committed before it.
    Open(RowKey),
    /// Behind where this row was, which the platform has pruned. There was no other row.
    Pruned(RowKey),
}

impl Anchor {
    pub(in crate::inbox) fn row(&self) -> &RowKey {
        match self {
            Anchor::Behind(row) | Anchor::Open(row) | Anchor::Pruned(row) => row,
        }
    }
}

/// A row that is handled and that a listing may still contain.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::inbox) struct HandledRow {
    pub(in crate::inbox) row: RowKey,
    /// Key of the row's message. In a state it is `None`, because the key is among the state's `messages`.
    pub(in crate::inbox) message: Option<MessageKey>,
    /// When the row was first listed. `None` if that is not known.
    pub(in crate::inbox) first_listed: Option<BootTime>,
}

impl HandledRow {
    /// Makes a handled row of which no more is known.
    pub(in crate::inbox) fn new(row: RowKey) -> Self {
        HandledRow { row, message: None, first_listed: None }
    }
}

/// A row whose body came too slowly, although its head came.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::inbox) struct SlowRow {
    pub(in crate::inbox) id: Arc<str>,
    /// Number of polls in a row that ended at it.
    pub(in crate::inbox) polls: u32,
    /// When the first of them ended. `None` if that is not known.
    pub(in crate::inbox) first: Option<BootTime>,
}

/// A time that a restart of the process does not change. It only compares with times of the same boot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::inbox) struct BootTime {
    /// Random id of the system's boot.
    pub(in crate::inbox) boot: u128,
    /// Time since the boot, sleep included, in milliseconds.
    pub(in crate::inbox) millis: u64,
}

/// A change of a cursor.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::inbox) enum CursorChange {
    /// The anchor moved, or is gone.
    Anchor(Option<Anchor>),
    /// A row was handled. Ends its attempts, and remembers its message.
    Handled(HandledRow),
    /// A row's number of delivery attempts.
    Attempts(Arc<str>, u32),
    /// A row was stepped over.
    SteppedOver(RowKey),
    /// A poll ended at a row whose body came too slowly, or none does any more.
    SlowRow(Option<SlowRow>),
    /// We uploaded a file: the id of the row that it made.
    Upload(Arc<str>),
    /// The anchor of the broadcasts moved, or is gone.
    Broadcasts(Option<RowKey>),
    /// Rows were acknowledged to the platform up to this `seq`.
    AckedSeq(i64),
    /// The inbox was listed at this time of our own clock.
    Listed(Timestamp),
    /// A message was handled, whose row is no longer among the handled ones.
    Message(HandledMessage),
}

impl SavedCursor {
    /// Makes a change. Forgets what goes beyond a bound.
    pub(in crate::inbox) fn apply(&mut self, change: CursorChange) {
        match change {
            CursorChange::Anchor(anchor) => {
                if let Some(anchor) = &anchor {
                    self.stepped_over.retain(|row| row.at >= anchor.row().at);
                }
                self.anchor = anchor;
            }
            CursorChange::Handled(mut handled) => {
                self.attempts.retain(|(id, _)| *id != handled.row.id);
                if let Some(key) = handled.message.take() {
                    self.messages.insert(HandledMessage { key, at: self.last_listed.unwrap_or(handled.row.at) });
                }
                self.handled.push(handled);
                if self.handled.len() >= 2 * MAX_HANDLED {
                    self.forget_handled();
                }
            }
            CursorChange::Attempts(id, attempts) => {
                self.attempts.retain(|(known, _)| *known != id);
                if self.attempts.len() >= MAX_ATTEMPTS {
                    self.attempts.remove(0);
                }
                self.attempts.push((id, attempts));
            }
            CursorChange::SteppedOver(row) => push_bounded(&mut self.stepped_over, row, MAX_LISTED_IDS),
            CursorChange::SlowRow(row) => self.slow_row = row,
            CursorChange::Upload(id) => push_bounded(&mut self.uploads, id, MAX_LISTED_IDS),
            CursorChange::Broadcasts(anchor) => self.broadcasts = anchor,
            CursorChange::AckedSeq(seq) => self.acked_seq = Some(seq),
            CursorChange::Listed(at) => {
                self.last_listed = Some(at);
                self.messages.forget_old(at);
            }
            CursorChange::Message(message) => self.messages.insert(message),
        }
    }

    /// Forgets the handled rows before the anchor, and the first ones of those that are more than a cursor keeps.
    fn forget_handled(&mut self) {
        if let Some(anchor) = &self.anchor {
            self.handled.retain(|handled| handled.row.at >= anchor.row().at);
        }
        let excess = self.handled.len().saturating_sub(MAX_HANDLED);
        self.handled.drain(..excess);
    }

    /// Returns the changes that make this state of an empty one with the same hash key.
    pub(in crate::inbox) fn changes(&self) -> impl Iterator<Item = CursorChange> {
        let listed = self.last_listed.map(CursorChange::Listed);
        let anchor = self.anchor.clone().map(|anchor| CursorChange::Anchor(Some(anchor)));
        let broadcasts = self.broadcasts.clone().map(|anchor| CursorChange::Broadcasts(Some(anchor)));
        let single = listed.into_iter().chain(anchor).chain(broadcasts);
        let single = single.chain(self.acked_seq.map(CursorChange::AckedSeq));
        let messages = self.messages.iter().map(CursorChange::Message);
        let handled = self.handled.iter().cloned().map(CursorChange::Handled);
        let slow_row = self.slow_row.clone().map(|row| CursorChange::SlowRow(Some(row)));
        let stepped_over = self.stepped_over.iter().cloned().map(CursorChange::SteppedOver);
        let uploads = self.uploads.iter().cloned().map(CursorChange::Upload);
        let attempts = self.attempts.iter().map(|(id, attempts)| CursorChange::Attempts(id.clone(), *attempts));
        single.chain(slow_row).chain(messages).chain(handled).chain(stepped_over).chain(uploads).chain(attempts)
    }
}

/// Appends `item`, and drops the first ones beyond `max`.
fn push_bounded<T>(items: &mut VecDeque<T>, item: T, max: usize) {
    while items.len() >= max {
        items.pop_front();
    }
    items.push_back(item);
}

/// The changes of a cursor since it was last saved.
#[derive(Debug, Default)]
pub(in crate::inbox) struct PendingChanges {
    changes: Vec<CursorChange>,
    /// True if there were too many to keep them.
    is_overflowing: bool,
}

impl PendingChanges {
    /// Adds a change. A later anchor replaces an earlier one.
    pub(in crate::inbox) fn push(&mut self, change: CursorChange) {
        if self.is_overflowing {
            return;
        }
        let is_replaced =
            |old: &&mut CursorChange| matches!((&**old, &change), (CursorChange::Anchor(_), CursorChange::Anchor(_)));
        if let Some(old) = self.changes.iter_mut().rev().find(is_replaced) {
            *old = change;
        } else if self.changes.len() < MAX_PENDING {
            self.changes.push(change);
        } else {
            *self = PendingChanges { changes: Vec::new(), is_overflowing: true };
        }
    }

    /// Returns whether nothing changed.
    pub(in crate::inbox) fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.is_overflowing
    }

    /// Returns the changes, or `None` where there were more than 1,024: then the whole state has to be saved.
    pub(in crate::inbox) fn get(&self) -> Option<&[CursorChange]> {
        (!self.is_overflowing).then_some(&self.changes)
    }

    /// Forgets the changes, because they are saved.
    pub(in crate::inbox) fn clear(&mut self) {
        self.changes.clear();
        self.is_overflowing = false;
    }
}

#[cfg(test)]
pub(in crate::inbox) mod tests;
