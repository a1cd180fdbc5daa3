//! The position of a poller in its inbox. It does no I/O and reads no clock.
//!
//! - **Anchor**: a row behind which everything is listed. It moves by settling alone: to the newest row that was first
//!   listed so long ago that no row can be committed before it any more, and never past one that is to be delivered.
//! - **Window**: the rows behind the anchor that were listed. They are listed again, and not delivered again.
//! - **Messages**: hashes of handled messages, since the platform may keep several rows of one.
//! - **Attempts**: the number of delivery attempts of rows that are not acked yet.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod messages;
pub(in crate::inbox) mod saved;
mod slow_row;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::ack_progress::AckProgress;
use super::position::RowKey;
use super::window::{MAX_ROWS, RowState, RowWindow};
use crate::util::clock::CoarseInstant;
use crate::wire::{LargeRows, Row, Timestamp};
use saved::{Anchor, BootTime, CursorChange, HandledRow, MessageKey, PendingChanges, SavedCursor};

/// Time after which the time of the last listing is recorded anew.
const LISTED_EVERY: Duration = Duration::from_secs(60);

/// The position of a poller in its inbox.
#[derive(Debug, Default)]
pub(in crate::inbox) struct Cursor {
    pub(super) window: RowWindow,
    /// What is saved of it, but for the rows of the window.
    saved: SavedCursor,
    /// The rows that were stepped over.
    large_rows: LargeRows,
    acks: AckProgress,
    /// When a row was last listed that was not known.
    last_new_row: Option<CoarseInstant>,
    /// Random id of the system's boot, which the times of the window are of. `None` where it is not known.
    boot: Option<u128>,
    /// The changes that are not in the file. Added here, cleared by whoever saves.
    pub(in crate::inbox) pending: PendingChanges,
}

impl Cursor {
    /// Makes a cursor of a saved state at `now`, in this boot of the system.
    ///
    /// A row whose first listing is not known to be of this boot counts as listed now. Rows of the anchor's time stay
    /// known: a platform that lists by time lists them again.
    pub(in crate::inbox) fn from_saved(mut saved: SavedCursor, boot: Option<u128>, now: CoarseInstant) -> Self {
        let (mut window, mut acks) = (RowWindow::default(), AckProgress::default());
        for HandledRow { row, first_listed, .. } in std::mem::take(&mut saved.handled) {
            let first_listed = first_listed.filter(|first| Some(first.boot) == boot);
            let first_listed = first_listed.map_or(now, |first| first_listed_at(first).min(now));
            acks.add(&row);
            window.restore(row, first_listed, RowState::Handled);
        }
        for row in &saved.stepped_over {
            window.restore(row.clone(), now, RowState::SteppedOver);
        }
        if let Some(Anchor::Behind(row)) = &saved.anchor {
            window.forget_before(row.at);
        }
        let mut cursor = Cursor { window, saved, acks, boot, ..Cursor::default() };
        cursor.update_large_rows();
        cursor
    }

    /// Returns the state to save, whole.
    pub(in crate::inbox) fn to_saved(&self) -> SavedCursor {
        let handled = self.window.handled().filter(|(.., state)| *state == RowState::Handled);
        let handled = handled.map(|(row, first, _)| HandledRow {
            row: row.clone(),
            message: None,
            first_listed: self.boot_time(first),
        });
        SavedCursor { handled: handled.collect(), ..self.saved.clone() }
    }

    /// Returns the number of changes that make the state to save.
    pub(in crate::inbox) fn saved_len(&self) -> usize {
        let SavedCursor { attempts, stepped_over, uploads, messages, .. } = &self.saved;
        self.window.len() + attempts.len() + stepped_over.len() + uploads.len() + messages.len()
    }

    /// Returns the key of message hashes. `None` where the system gave no random numbers: no message is remembered then.
    pub(in crate::inbox) fn hash_key(&self) -> Option<u128> {
        self.saved.hash_key
    }

    pub(in crate::inbox) fn anchor(&self) -> Option<&Anchor> {
        self.saved.anchor.as_ref()
    }

    /// Adds a row that is listed at `now` and has so many bytes. Returns what is to become of it.
    pub(in crate::inbox) fn list(&mut self, row: &RowKey, bytes: u64, now: CoarseInstant) -> RowState {
        if self.window.state(&row.id).is_none() {
            self.last_new_row = Some(now);
        }
        self.window.list(row.clone(), bytes, now)
    }

    /// Returns whether a row was handled, and is still remembered. A row that was stepped over is until the anchor passes
    /// its time.
    pub(in crate::inbox) fn is_known(&self, id: &str) -> bool {
        self.window.state(id).is_some_and(|state| state != RowState::Listed) || self.large_rows.contains(id)
    }

    /// Returns whether a row was handled: it is remembered, or is at or before the anchor by the platform's number.
    pub(super) fn is_past(&self, row: &Row) -> bool {
        let is_up_to = |anchor: &RowKey| {
            let key = RowKey::of(row, None);
            key.seq != 0 && anchor.seq != 0 && !anchor.is_before(&key)
        };
        let is_before_anchor = matches!(&self.saved.anchor, Some(Anchor::Behind(anchor)) if is_up_to(anchor));
        is_before_anchor || self.is_known(&row.id)
    }

    /// Returns whether a row was handled, and notes how many bytes it has: a cursor file does not say it.
    pub(super) fn note_known(&mut self, id: &str, bytes: u64) -> bool {
        let is_known = self.is_known(id);
        if is_known {
            self.window.note_bytes(id, bytes);
        }
        is_known
    }

    /// Returns whether no more rows can be listed before some are settled.
    pub(in crate::inbox) fn is_full(&self) -> bool {
        self.window.len() >= MAX_ROWS
    }

    /// Returns whether a message was handled, in whatever row.
    pub(in crate::inbox) fn is_handled(&self, message: MessageKey) -> bool {
        self.saved.messages.contains(message)
    }

    /// Records that a row was handled. `message` is the key of its message, if it has one.
    pub(in crate::inbox) fn handle(&mut self, row: &RowKey, message: Option<MessageKey>) {
        self.window.set_state(&row.id, RowState::Handled);
        self.acks.add(row);
        let first_listed = self.window.first_listed(&row.id).and_then(|first| self.boot_time(first));
        self.change(CursorChange::Handled(HandledRow { row: row.clone(), message, first_listed }));
    }

    /// Records that a row is not read, since it is too large: it counts as so many bytes.
    pub(in crate::inbox) fn step_over(&mut self, row: &RowKey, bytes: u64, now: CoarseInstant) {
        self.window.list(row.clone(), bytes, now);
        self.window.set_state(&row.id, RowState::SteppedOver);
        self.acks.add(row);
        self.change(CursorChange::SteppedOver(row.clone()));
        self.update_large_rows();
    }

    /// Forgets a row that was stepped over, and that the platform does not have any more.
    pub(super) fn forget(&mut self, id: &str) {
        self.window.remove(id);
        self.saved.stepped_over.retain(|row| *row.id != *id);
        self.update_large_rows();
        self.pending.push(CursorChange::Anchor(self.saved.anchor.clone()));
    }

    /// Returns the ids of the rows that were stepped over.
    pub(super) fn large_rows(&self) -> &LargeRows {
        &self.large_rows
    }

    fn update_large_rows(&mut self) {
        self.large_rows = LargeRows::new(self.saved.stepped_over.iter().map(|row| row.id.clone()).collect());
    }

    /// Records that the inbox was listed, at this time of our own clock. Within a minute after the last time it does nothing,
    /// so that a quiet inbox is not written at each poll.
    pub(in crate::inbox) fn record_listing(&mut self, at: Timestamp) {
        let is_recent = |last: Timestamp| last <= at && at < last.plus(LISTED_EVERY);
        if !self.saved.last_listed.is_some_and(is_recent) {
            self.change(CursorChange::Listed(at));
        }
    }

    /// Returns when the inbox was last listed, by our own clock.
    pub(super) fn last_listed(&self) -> Option<Timestamp> {
        self.saved.last_listed
    }

    /// Returns the row that broadcasts are listed behind.
    pub(super) fn broadcasts_anchor(&self) -> Option<&RowKey> {
        self.saved.broadcasts.as_ref()
    }

    pub(super) fn set_broadcasts_anchor(&mut self, row: RowKey) {
        self.change(CursorChange::Broadcasts(Some(row)));
    }

    /// Records that a broadcast was handled. `key` tells it from all others.
    pub(in crate::inbox) fn handle_broadcast(&mut self, row: &RowKey, key: Option<MessageKey>) {
        self.change(CursorChange::Handled(HandledRow { row: row.clone(), message: key, first_listed: None }));
    }

    pub(super) fn set_anchor(&mut self, anchor: Anchor) {
        if self.saved.anchor.as_ref() != Some(&anchor) {
            self.change(CursorChange::Anchor(Some(anchor)));
            self.update_large_rows();
        }
    }

    /// Adds the anchor's row to the handled ones, unless the anchor is open.
    pub(super) fn restore_anchor_row(&mut self, now: CoarseInstant) {
        if let Some(Anchor::Behind(row)) = self.saved.anchor.clone().filter(|anchor| !self.is_known(&anchor.row().id)) {
            self.window.restore(row, now, RowState::Handled);
        }
    }

    /// Returns the newest row that is settled: it was first listed `late` ago.
    pub(super) fn newest_settled(&self, late: Duration, now: CoarseInstant) -> Option<RowKey> {
        self.window.newest_of_age(late, now).cloned()
    }

    /// Forgets the rows that are to be delivered, come up to `end`, and are not among those that were just listed there:
    /// the platform does not have them any more, and they would hold the anchor for ever.
    pub(super) fn forget_pruned(&mut self, end: &RowKey, listed: &HashSet<Arc<str>>) {
        let gone: Vec<Arc<str>> = self
            .window
            .unhandled_up_to(end)
            .filter(|row| !listed.contains(&row.id))
            .map(|row| row.id.clone())
            .collect();
        gone.iter().for_each(|id| self.window.remove(id));
    }

    /// Moves the anchor to a settled row, or before the first row that is to be delivered. Forgets what is up to it.
    pub(super) fn settle(&mut self, settled: RowKey) {
        // The listing may have shown that the platform does not have it any more.
        if self.window.state(&settled.id).is_none() {
            return;
        }
        let row = match self.window.first_unhandled() {
            Some(first) if self.window.may_precede(first, &settled) => self.window.newest_before(first).cloned(),
            _ => Some(settled),
        };
        let Some(row) = row.filter(|row| !self.is_beside_anchor(row)) else { return };
        // After a restart, rows up to the anchor may be among the known ones.
        let is_ahead = match self.anchor() {
            Some(Anchor::Behind(anchor)) => self.window.may_precede(anchor, &row),
            Some(Anchor::Open(_) | Anchor::Pruned(_)) | None => true,
        };
        self.window.forget_up_to(&row);
        if is_ahead {
            self.set_anchor(Anchor::Behind(row));
        }
    }

    /// Returns whether it cannot be told if a row comes behind the anchor: it has the anchor's time, and the number of the
    /// anchor's row is not known, because that was stepped over.
    pub(super) fn is_beside_anchor(&self, row: &RowKey) -> bool {
        self.anchor()
            .map(Anchor::row)
            .is_some_and(|anchor| anchor.at == row.at && anchor.id != row.id && self.large_rows.contains(&anchor.id))
    }

    /// Like [`settle`](Self::settle) on a platform that lists by time: rows of the anchor's time are listed again.
    pub(super) fn settle_by_time(&mut self, settled: RowKey) {
        if self.window.first_unhandled().is_none_or(|first| *first > settled) {
            self.window.forget_before(settled.at);
            self.set_anchor(Anchor::Behind(settled));
        }
    }

    /// Returns the `seq` that may be acknowledged once everything behind the anchor was listed from `now` on: the largest one
    /// of the handled rows that are settled. Where no row came for `late`, those up to the anchor are, too.
    pub(super) fn settled_seq(&self, late: Duration, now: CoarseInstant) -> Option<i64> {
        let is_quiet = self.window.is_empty() && self.last_new_row.is_some_and(|last| now.since(last) >= late);
        if is_quiet { self.acks.largest() } else { self.window.largest_seq_of_age(late, now) }
    }

    /// Records that everything behind the anchor was listed, since a time at which this was the [`settled_seq`](Self::settled_seq).
    pub(super) fn confirm_seq(&mut self, seq: i64) {
        self.acks.confirm(seq);
    }

    /// Returns the `seq` to acknowledge to the platform, if it is larger than the last one.
    pub(in crate::inbox) fn ack_due(&mut self, late: Duration) -> Option<i64> {
        if let Some(Anchor::Behind(anchor)) = &self.saved.anchor {
            self.acks.pass(anchor.at, late);
        }
        let seq = self.acks.seq(self.window.lowest_unhandled_seq());
        seq.filter(|seq| self.saved.acked_seq.is_none_or(|acked| acked < *seq))
    }

    /// Records that the platform has acknowledged the rows up to a `seq`.
    pub(in crate::inbox) fn record_ack(&mut self, seq: i64) {
        self.change(CursorChange::AckedSeq(seq));
    }

    /// Returns the number of delivery attempts of a row that is not acked. It is 0 for a row that is not known.
    pub(in crate::inbox) fn attempts_of(&self, id: &str) -> u32 {
        self.saved.attempts.iter().find(|(known, _)| **known == *id).map_or(0, |(_, attempts)| *attempts)
    }

    /// Sets the number of delivery attempts of a row. Beyond 64 rows the one that was set first is dropped.
    pub(in crate::inbox) fn record_attempt(&mut self, id: &Arc<str>, attempts: u32) {
        self.change(CursorChange::Attempts(id.clone(), attempts));
    }

    /// Makes a change, and keeps it for the next save.
    fn change(&mut self, change: CursorChange) {
        self.pending.push(change.clone());
        self.saved.apply(change);
        // The window has them.
        self.saved.handled.clear();
    }

    fn boot_time(&self, instant: CoarseInstant) -> Option<BootTime> {
        // Rounded: what `first_listed_at` returns is a little before the millisecond, and must not lose one at each restart.
        let time = instant.since(CoarseInstant::START) + Duration::from_micros(500);
        let millis = u64::try_from(time.as_millis()).ok()?;
        self.boot.map(|boot| BootTime { boot, millis })
    }
}

fn first_listed_at(first: BootTime) -> CoarseInstant {
    CoarseInstant::START.plus(Duration::from_millis(first.millis))
}

#[cfg(test)]
mod tests;
