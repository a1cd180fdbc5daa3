//! The position of a poller in its inbox. It does no I/O and reads no clock.
//!
//! The platform lists the rows after a given one, ordered by time and then by arrival. A row is committed up to
//! [`LATE`] after its time was taken, so that it may come up *before* rows that were listed earlier. A listing is
//! therefore *complete* only up to [`LATE`] before the newest row that is known. That row tells the time on the
//! platform, whatever our own clock says. A row whose time is far ahead of our clock is not trusted to tell it.
//!
//! - **Anchor**: an acked row before which there is no row left to deliver. The platform is asked for the rows after
//!   it. It moves only inside what is complete, and only over rows that follow it without a gap.
//! - **Acked rows**: the ids of the rows from the anchor's time on that are acked. They are listed again, and not
//!   delivered again.
//! - **Floor**: the time up to which all rows are handled. Without an anchor, the rows from this time on are listed.
//!   It is never below the anchor's time.
//! - **Attempts**: the number of delivery attempts of rows that are not acked yet.

mod acked;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(in crate::inbox) mod saved;

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::inbox::feed::batch::{Coverage, ListedRow, RowKey};
use crate::util::text::Untrusted;
use crate::wire::Timestamp;
use acked::AckedRows;
use saved::{AnchorRow, CursorChange, HandledRow, MAX_ATTEMPTS, MAX_HANDLED, PendingChanges, SavedCursor};

/// Longest time after its own time that a row may be committed and is still found. A later one can be missed.
pub(super) const LATE: Duration = Duration::from_secs(5);
/// Longest time by which a row may be ahead of our clock and still tell the time on the platform.
pub(super) const MAX_AHEAD: Duration = Duration::from_secs(600);
/// Number of acked rows from which those of the anchor's own time are dropped once the anchor has moved past them.
///
/// Below it they are kept, since a look back after the loss of the anchor lists them again.
const MANY_ACKED: usize = MAX_HANDLED / 2;

/// The position of a poller in its inbox: the anchor, the acked rows after it, and attempts.
#[derive(Debug, Default)]
pub(in crate::inbox) struct Cursor {
    /// The row that the next listing begins after. `None` before the first one, or after the platform pruned it.
    pub(in crate::inbox) anchor: Option<RowKey>,
    /// Time up to which all rows are handled.
    pub(in crate::inbox) floor: Option<Timestamp>,
    acked: AckedRows,
    /// Newest time of any row that was listed, other than those that are too far ahead.
    newest: Option<Timestamp>,
    /// Number of delivery attempts by row id, oldest entry first.
    attempts: Vec<(Arc<str>, u32)>,
    /// The changes that are not in the file. Added here, cleared by whoever saves.
    pub(in crate::inbox) pending: PendingChanges,
    /// The parts of the saved state that are not used here.
    unused: SavedCursor,
}

impl Cursor {
    /// Makes a cursor of its saved parts. Nothing is pending, and its newest time is the anchor's or the floor.
    ///
    /// Acked rows before the anchor, or before the floor where there is no anchor, are left out.
    pub(in crate::inbox) fn restore(
        anchor: Option<RowKey>,
        floor: Option<Timestamp>,
        acked: impl IntoIterator<Item = RowKey>,
        attempts: Vec<(Arc<str>, u32)>,
    ) -> Self {
        // Not the time of an acked row: it may be far ahead. If there are newer rows, they are listed soon.
        let newest = floor.max(anchor.as_ref().map(|anchor| anchor.at));
        let mut cursor = Cursor { floor, attempts, newest, ..Cursor::default() };
        acked.into_iter().for_each(|key| cursor.insert_acked(key));
        cursor.anchor = anchor;
        cursor.forget_old_acked();
        cursor.pending.clear();
        cursor
    }

    /// Makes a cursor of a saved state, like [`restore`](Self::restore).
    pub(in crate::inbox) fn from_saved(mut saved: SavedCursor) -> Self {
        let handled = std::mem::take(&mut saved.handled).into_iter().map(|handled| handled.row);
        let attempts = std::mem::take(&mut saved.attempts);
        let (anchor, floor) = (saved.anchor.take().map(|anchor| anchor.row), saved.floor.take());
        Cursor { unused: saved, ..Cursor::restore(anchor, floor, handled, attempts) }
    }

    /// Returns the state to save, whole.
    pub(in crate::inbox) fn to_saved(&self) -> SavedCursor {
        let handled = self.acked().map(|row| HandledRow::new(row.clone()));
        SavedCursor {
            anchor: self.anchor.clone().map(AnchorRow::new),
            floor: self.floor,
            handled: handled.collect(),
            attempts: self.attempts().to_vec(),
            ..self.unused.clone()
        }
    }

    /// Returns about how many changes a saved state has.
    pub(in crate::inbox) fn saved_len(&self) -> usize {
        self.acked.len() + self.attempts.len() + self.unused.messages.len()
    }

    /// Returns the time up to which a listing from the anchor is complete: no row at or before it can still be
    /// committed. It is 5 s before the newest time.
    ///
    /// `None` while no row is known.
    pub(super) fn complete_until(&self) -> Option<Timestamp> {
        self.newest.map(|newest| newest.minus(LATE))
    }

    /// Returns the newest time that a row was listed with, and that is not too far ahead of our clock.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Returns whether a row is acked and still remembered.
    pub(in crate::inbox) fn is_acked(&self, id: &str) -> bool {
        self.acked.contains(id)
    }

    /// Returns whether 100,000 acked rows are kept, so that no more row may be delivered.
    ///
    /// That happens if the anchor cannot move: too many rows have the same time, or none that can be read.
    pub(in crate::inbox) fn is_full(&self) -> bool {
        self.acked.len() >= MAX_HANDLED
    }

    /// Records that a batch was listed, before any of its rows is delivered. Delivers and acks nothing.
    ///
    /// Updates the newest time, like [`record_times`](Self::record_times), whose result it returns. Rows that are acked
    /// already stay remembered under the time that they have now, if it is later.
    pub(super) fn record_listed(&mut self, batch: &[ListedRow], limit: Timestamp) -> Option<Timestamp> {
        let too_far = self.record_times(batch.iter().filter(|row| row.has_own_time).map(|row| row.key.at), limit);
        // Before the anchor moves. A row without its own time, or with another time than before, may be behind all rows
        // that the anchor moves over, and would be forgotten under its old time.
        for row in batch {
            if self.is_acked(&row.key.id) {
                self.insert_acked(self.key_to_keep(row));
            }
        }
        too_far
    }

    /// Returns whether a row that is listed now is acked. If so, it stays remembered under its time now, if it is
    /// later.
    ///
    /// `at` is the time that the row is listed with. A row without a time counts as the newest.
    pub(super) fn keep_if_acked(&mut self, id: &str, at: Option<Timestamp>) -> bool {
        let is_acked = self.is_acked(id);
        if let (true, Some(at)) = (is_acked, at.or(self.newest)) {
            self.insert_acked(RowKey { at, id: id.into() });
        }
        is_acked
    }

    /// Updates the newest known time with the times of listed rows. Returns a time that is after `limit`, if there is
    /// one.
    ///
    /// A time after `limit` does not become the newest: all rows that come until then would be taken for late ones.
    /// Where all times are after it, our clock may be slow: then `limit` less twice [`MAX_AHEAD`] counts as a time.
    pub(super) fn record_times(
        &mut self,
        times: impl Iterator<Item = Timestamp> + Clone,
        limit: Timestamp,
    ) -> Option<Timestamp> {
        let too_far = times.clone().find(|at| *at > limit);
        let newest = times.filter(|at| *at <= limit).max();
        self.newest = self.newest.max(newest.or(too_far.map(|_| limit.minus(2 * MAX_AHEAD))));
        too_far
    }

    /// Acks the row at `index` of a batch, and moves the anchor to it if that is safe. All rows before it must be
    /// acked. Drops the row's attempts. The row itself may be acked already: then only the anchor can move.
    ///
    /// The anchor moves if the batch follows it without a gap, is complete up to the row's time, and has no further row
    /// of that time.
    pub(in crate::inbox) fn ack(&mut self, batch: &[ListedRow], index: usize, coverage: Coverage) {
        let Some(row) = batch.get(index) else { return };
        self.attempts.retain(|(id, _)| *id != row.key.id);
        self.insert_acked(self.key_to_keep(row));
        if !coverage.contiguous || !self.is_complete_at(row.key.at, coverage) {
            return;
        }
        // Only past all rows of one time: a platform may list none of them as a row after the anchor.
        let ends_its_time = match batch.get(index + 1) {
            Some(next) => next.key.at > row.key.at,
            // More rows of this time may follow the batch. They count as ended all the same if the anchor did not move
            // inside this batch, and so is none of its rows: else the same batch would be listed again forever.
            None => {
                !coverage.has_more
                    || self.anchor.as_ref().is_none_or(|anchor| !batch.iter().any(|row| row.key == *anchor))
            }
        };
        if ends_its_time {
            self.move_anchor_over(&batch[..=index], coverage);
        }
    }

    /// Moves the anchor to the last of these rows that has the last row's time as its own. Does nothing if none has.
    ///
    /// Rows behind it without their own time are listed again, and are known as acked. If the batch was listed by
    /// `since_id`, and 50,000 acked rows or more are kept, the other rows of that time are forgotten.
    fn move_anchor_over(&mut self, acked: &[ListedRow], coverage: Coverage) {
        let Some(at) = acked.last().map(|last| last.key.at) else { return };
        let mut of_that_time = acked.iter().rev().take_while(|row| row.key.at == at).filter(|row| row.has_own_time);
        let Some(last) = of_that_time.next() else { return };
        self.set_anchor(last.key.clone());
        if coverage.by_since_id && self.acked.len() >= MANY_ACKED {
            of_that_time.for_each(|row| self.acked.remove(&row.key));
        }
    }

    /// Records that all rows of a batch are acked: raises the floor and forgets acked rows that are not listed any
    /// more.
    ///
    /// The floor becomes the anchor's time. If the batch follows the anchor without a gap and nothing follows the
    /// batch, it becomes the time up to which that is complete, if this is later. The floor is never lowered.
    pub(in crate::inbox) fn finish_batch(&mut self, coverage: Coverage) {
        let anchor = self.anchor.as_ref().map(|anchor| anchor.at);
        let complete = self.complete_until_in(coverage);
        let reached = if coverage.contiguous && !coverage.has_more { complete.max(anchor) } else { anchor };
        if reached > self.floor {
            self.floor = reached;
            self.pending.extend(reached.map(CursorChange::Floor));
        }
        self.forget_old_acked();
    }

    /// Returns whether a batch is complete up to `at`: no row at or before it can still be committed late.
    ///
    /// The bound is 5 s before the newest known row, or that row itself if the batch is settled, and never past the
    /// batch's `contiguous_until`. `false` while no row is known.
    pub(super) fn is_complete_at(&self, at: Timestamp, coverage: Coverage) -> bool {
        self.complete_until_in(coverage).is_some_and(|complete| at <= complete)
    }

    /// Returns the time up to which a batch is complete: like [`complete_until`](Self::complete_until), but up to the
    /// newest row if the batch is settled, and not past `contiguous_until`.
    fn complete_until_in(&self, coverage: Coverage) -> Option<Timestamp> {
        let complete = if coverage.is_settled { self.newest } else { self.complete_until() };
        complete.map(|complete| coverage.contiguous_until.map_or(complete, |until| until.min(complete)))
    }

    /// Returns the key under which an acked row is kept: a row without its own time is kept as long as the newest.
    fn key_to_keep(&self, row: &ListedRow) -> RowKey {
        let newest = self.newest.filter(|_| !row.has_own_time);
        RowKey { at: newest.map_or(row.key.at, |newest| newest.max(row.key.at)), ..row.key.clone() }
    }

    /// Remembers an acked row under its time.
    fn insert_acked(&mut self, key: RowKey) {
        if self.acked.insert(key.clone()) {
            self.pending.push(CursorChange::Handled(HandledRow::new(key)));
        }
    }

    /// Makes a row the anchor: the next listing begins after it. Forgets the acked rows before its time.
    ///
    /// The caller answers for it that the row exists, and that no row before it is left to deliver.
    pub(in crate::inbox) fn set_anchor(&mut self, key: RowKey) {
        if self.anchor.as_ref() != Some(&key) {
            self.pending.push(CursorChange::Anchor(Some(AnchorRow::new(key.clone()))));
            self.anchor = Some(key);
            self.forget_old_acked();
        }
    }

    /// Drops an anchor that the platform does not know any more. The floor rises to its time.
    pub(super) fn drop_anchor(&mut self) {
        let lost = self.anchor.take().map(|anchor| anchor.at);
        self.floor = self.floor.max(lost);
        self.pending.push(CursorChange::Anchor(None));
        self.pending.extend(self.floor.map(CursorChange::Floor));
    }

    /// Forgets acked rows before the anchor, or before the floor where there is no anchor: they are not listed any
    /// more.
    fn forget_old_acked(&mut self) {
        if let Some(from) = self.anchor.as_ref().map(|anchor| anchor.at).or(self.floor) {
            self.acked.remove_before(from);
        }
    }

    /// Returns the number of delivery attempts of a row that is not acked. It is 0 for a row that is not known.
    pub(in crate::inbox) fn attempts_of(&self, id: &str) -> u32 {
        self.attempts.iter().find(|(known, _)| **known == *id).map_or(0, |(_, attempts)| *attempts)
    }

    /// Sets the number of delivery attempts of a row. Beyond 64 rows the one that was set first is dropped.
    pub(in crate::inbox) fn record_attempt(&mut self, id: &Arc<str>, attempts: u32) {
        self.attempts.retain(|(known, _)| known != id);
        if self.attempts.len() >= MAX_ATTEMPTS {
            self.attempts.remove(0);
        }
        self.attempts.push((id.clone(), attempts));
        self.pending.push(CursorChange::Attempts(id.clone(), attempts));
    }

    /// Returns the number of delivery attempts of all rows that have any and are not acked.
    pub(in crate::inbox) fn attempts(&self) -> &[(Arc<str>, u32)] {
        &self.attempts
    }

    /// Returns all acked rows that are remembered, ordered by time.
    pub(in crate::inbox) fn acked(&self) -> impl Iterator<Item = &RowKey> {
        self.acked.iter()
    }
}

/// Returns the error of a poll that stopped before row `next`, because the cursor can keep no more acked rows.
pub(in crate::inbox) fn cursor_full_error(next: &str) -> Error {
    let next = Untrusted::new(next);
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the inbox stands still before row {next}: too many rows have the same time, or none that can be read, to tell \
             new ones from delivered ones; it goes on when newer rows come, or remove the cursor file to start from the \
             backlog"
        ),
    )
}

#[cfg(test)]
mod tests;
