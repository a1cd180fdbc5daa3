//! Where a poller is in its inbox: pure, without I/O and without a clock.
//!
//! The platform lists the rows after a given one by (time, order of arrival). But a row is committed after its
//! time was taken: up to [`LATE`] after it, a row may still come up in front of others. So what was listed is
//! *complete* only up to that long before the newest row that is known: this one shows what time it is on the
//! platform, whatever our own clock says, unless a row is far ahead of that: such a one shows nothing. Hence:
//!
//! - The *anchor* is a row that was passed, with nothing before it that was not. The platform is asked for the rows
//!   after it. It moves only inside what is complete, and only over rows that follow it without a gap.
//! - The rows after it that are through already are kept by their ids (*acked*), and are not delivered again.
//! - The *floor* is the time up to which everything is dealt with: from there on rows count where the platform
//!   can be asked by time only. It is never below the anchor's time.
//! - *Tries* are those of rows that were begun and are not through.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::wire::Timestamp;

/// How late a row may come up after its time and still be found. Later ones can be missed.
pub(in crate::inbox) const LATE: Duration = Duration::from_secs(5);
/// By how much a row's time may be ahead of our clock and still show what time it is on the platform.
pub(in crate::inbox) const AHEAD: Duration = Duration::from_secs(600);
/// How many rows that are through are kept at the most: no inbox has as many in [`LATE`].
const MAX_ACKED: usize = 100_000;
/// From how many on those of the anchor's own time go, as soon as the anchor is past them. Up to here they are kept, for
/// the look back after a loss of the anchor.
const MANY_ACKED: usize = MAX_ACKED / 2;
/// Of how many rows that were begun and never came up again the tries are kept.
const MAX_TRIES_KEPT: usize = 64;

/// A row by its id and its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::inbox) struct RowKey {
    pub(in crate::inbox) at: Timestamp,
    pub(in crate::inbox) id: Arc<str>,
}

/// A listed row as the cursor sees it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::inbox) struct Seen {
    pub(in crate::inbox) mark: RowKey,
    /// Whether the time is its own, and not a neighbour's.
    pub(in crate::inbox) timed: bool,
}

/// What is known of a batch of rows that are about to be delivered, oldest first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::inbox) struct Extent {
    /// Whether nothing lies between the anchor, or the floor, and the first of them.
    pub(in crate::inbox) contiguous: bool,
    /// Whether more may follow the last of them.
    pub(in crate::inbox) full: bool,
    /// Whether nothing can come late between them any more, whatever their times.
    pub(in crate::inbox) settled: bool,
    /// Whether they were asked for by the anchor, so that what is before a new one is not listed again, of one time or not.
    pub(in crate::inbox) by_anchor: bool,
    /// Up to which time nothing lies before them, where that is not for ever: it was complete when what stands between the
    /// anchor and them was listed.
    pub(in crate::inbox) up_to: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(in crate::inbox) struct Cursor {
    pub(in crate::inbox) anchor: Option<RowKey>,
    pub(in crate::inbox) floor: Option<Timestamp>,
    acked: HashMap<Arc<str>, Timestamp>,
    by_time: BTreeSet<RowKey>,
    /// Those of `acked` that a snapshot of it does not have yet.
    fresh: Vec<RowKey>,
    newest: Option<Timestamp>,
    tries: Vec<(Arc<str>, u32)>,
    /// Whether it differs from what was last saved.
    pub(in crate::inbox) dirty: bool,
}

impl Cursor {
    /// One that was saved.
    pub(in crate::inbox) fn restore(
        anchor: Option<RowKey>,
        floor: Option<Timestamp>,
        acked: impl IntoIterator<Item = RowKey>,
        tries: Vec<(Arc<str>, u32)>,
    ) -> Self {
        // Those that are acked may be far ahead. What is newer is listed soon.
        let newest = floor.max(anchor.as_ref().map(|anchor| anchor.at));
        let mut cursor = Cursor { floor, tries, newest, ..Cursor::default() };
        acked.into_iter().for_each(|mark| cursor.ack(mark));
        cursor.anchor = anchor;
        cursor.prune();
        cursor.dirty = false;
        cursor
    }

    /// The time up to which a listing that begins at the anchor is complete.
    pub(in crate::inbox) fn complete(&self) -> Option<Timestamp> {
        self.newest.map(|newest| newest.minus(LATE))
    }

    /// The newest time of a row that was listed.
    pub(in crate::inbox) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    pub(in crate::inbox) fn is_acked(&self, id: &str) -> bool {
        self.acked.contains_key(id)
    }

    /// Whether no more can be kept of rows that are through: the platform's times do not go on, or cannot be read, so that
    /// the anchor stays where it is.
    pub(in crate::inbox) fn is_full(&self) -> bool {
        self.acked.len() >= MAX_ACKED
    }

    /// That these rows were listed; one beyond the limit, as of [`saw`](Cursor::saw).
    pub(in crate::inbox) fn listed(&mut self, batch: &[Seen], limit: Timestamp) -> Option<Timestamp> {
        let beyond = self.saw(batch.iter().filter(|seen| seen.timed).map(|seen| seen.mark.at), limit);
        // Before the anchor moves: one without a time of its own, or with another than it had, may be behind all that
        // it moves over.
        for seen in batch {
            if self.is_acked(&seen.mark.id) {
                self.ack(self.known_as(seen));
            }
        }
        beyond
    }

    /// Whether a row that is listed now, with this time, is through. It stays known for as long as it is listed.
    pub(in crate::inbox) fn is_through(&mut self, id: &str, at: Option<Timestamp>) -> bool {
        let is_acked = self.is_acked(id);
        if let (true, Some(at)) = (is_acked, at.or(self.newest)) {
            self.ack(RowKey { at, id: id.into() });
        }
        is_acked
    }

    /// That there are rows of these times. One beyond the limit does not show what time it is: it would have all that
    /// comes until then taken for late. It is returned.
    pub(in crate::inbox) fn saw(
        &mut self,
        times: impl Iterator<Item = Timestamp> + Clone,
        limit: Timestamp,
    ) -> Option<Timestamp> {
        let beyond = times.clone().find(|at| *at > limit);
        let newest = times.filter(|at| *at <= limit).max();
        // Where there are no others our clock may be slow. It is that early at the least.
        self.newest = self.newest.max(newest.or(beyond.map(|_| limit.minus(2 * AHEAD))));
        beyond
    }

    /// That the `at`th row of the batch is through, and so are those before it.
    pub(in crate::inbox) fn pass(&mut self, batch: &[Seen], at: usize, extent: Extent) {
        let Some(seen) = batch.get(at) else { return };
        self.tries.retain(|(id, _)| *id != seen.mark.id);
        self.ack(self.known_as(seen));
        if extent.contiguous && self.is_complete(seen.mark.at, extent) {
            // Where times are equal, a platform may take all of them for not after the anchor.
            let ends_its_time = match batch.get(at + 1) {
                Some(next) => next.mark.at > seen.mark.at,
                None => {
                    !extent.full || self.anchor.as_ref().is_none_or(|anchor| !batch.iter().any(|s| s.mark == *anchor))
                }
            };
            if ends_its_time {
                self.move_to_the_time_of(&batch[..=at], extent);
            }
        }
    }

    /// The last of these rows ends its time: the anchor moves to the last that has that time of its own. What stands behind
    /// it without one is listed again, and known.
    fn move_to_the_time_of(&mut self, passed: &[Seen], extent: Extent) {
        let Some(at) = passed.last().map(|last| last.mark.at) else { return };
        let mut of_its_time = passed.iter().rev().take_while(|seen| seen.mark.at == at).filter(|seen| seen.timed);
        let Some(own) = of_its_time.next() else { return };
        self.move_anchor(own.mark.clone());
        if extent.by_anchor && self.acked.len() >= MANY_ACKED {
            for Seen { mark, .. } in of_its_time {
                if self.by_time.remove(mark) {
                    self.acked.remove(&mark.id);
                }
            }
        }
    }

    /// That all rows of the batch are through.
    pub(in crate::inbox) fn finish(&mut self, extent: Extent) {
        let anchor = self.anchor.as_ref().map(|anchor| anchor.at);
        let complete = self.complete_in(extent);
        let reached = if extent.contiguous && !extent.full { complete.max(anchor) } else { anchor };
        if reached > self.floor {
            (self.floor, self.dirty) = (reached, true);
        }
        self.prune();
    }

    pub(in crate::inbox) fn is_complete(&self, at: Timestamp, extent: Extent) -> bool {
        self.complete_in(extent).is_some_and(|complete| at <= complete)
    }

    fn complete_in(&self, extent: Extent) -> Option<Timestamp> {
        let complete = if extent.settled { self.newest } else { self.complete() };
        complete.map(|complete| extent.up_to.map_or(complete, |up_to| up_to.min(complete)))
    }

    /// As which a row is remembered: one without a time of its own is as new as any.
    fn known_as(&self, seen: &Seen) -> RowKey {
        let newest = self.newest.filter(|_| !seen.timed);
        RowKey { at: newest.map_or(seen.mark.at, |newest| newest.max(seen.mark.at)), ..seen.mark.clone() }
    }

    fn ack(&mut self, mark: RowKey) {
        // Listed again with another time: it is to be known for as long as it is listed.
        if let Some(old) = self.acked.get(&mark.id).filter(|old| **old < mark.at) {
            self.by_time.remove(&RowKey { at: *old, id: mark.id.clone() });
            self.acked.remove(&mark.id);
        }
        if !self.acked.contains_key(&mark.id) {
            self.acked.insert(mark.id.clone(), mark.at);
            self.by_time.insert(mark.clone());
            self.fresh.push(mark);
            self.dirty = true;
        }
    }

    fn move_anchor(&mut self, mark: RowKey) {
        if self.anchor.as_ref() != Some(&mark) {
            (self.anchor, self.dirty) = (Some(mark), true);
            self.prune();
        }
    }

    /// Begins after another row from now on: one that is there and is not above the floor.
    pub(in crate::inbox) fn adopt(&mut self, mark: RowKey) {
        self.move_anchor(mark);
    }

    /// The anchor is no row of the platform's any has_more: only the floor is left to go by.
    pub(in crate::inbox) fn lose_anchor(&mut self) {
        let lost = self.anchor.take().map(|anchor| anchor.at);
        (self.floor, self.dirty) = (self.floor.max(lost), true);
    }

    /// Forgets the rows that are not listed any more.
    fn prune(&mut self) {
        let Some(from) = self.anchor.as_ref().map(|anchor| anchor.at).or(self.floor) else { return };
        while self.by_time.first().is_some_and(|first| first.at < from) {
            if let Some(old) = self.by_time.pop_first() {
                self.acked.remove(&old.id);
            }
        }
    }

    /// How often the row was begun.
    pub(in crate::inbox) fn tries(&self, id: &str) -> u32 {
        self.tries.iter().find(|(known, _)| **known == *id).map_or(0, |(_, tries)| *tries)
    }

    pub(in crate::inbox) fn begin(&mut self, id: &Arc<str>, tries: u32) {
        self.tries.retain(|(known, _)| known != id);
        if self.tries.len() >= MAX_TRIES_KEPT {
            self.tries.remove(0);
        }
        self.tries.push((id.clone(), tries));
        self.dirty = true;
    }

    pub(in crate::inbox) fn all_tries(&self) -> &[(Arc<str>, u32)] {
        &self.tries
    }

    /// The acked rows that the last snapshot does not have.
    pub(in crate::inbox) fn fresh(&mut self) -> &[RowKey] {
        let acked = &self.acked;
        self.fresh.retain(|mark| acked.get(&mark.id) == Some(&mark.at));
        &self.fresh
    }

    /// All acked rows.
    pub(in crate::inbox) fn acked(&self) -> impl Iterator<Item = &RowKey> {
        self.by_time.iter()
    }

    /// That a snapshot has all of them.
    pub(in crate::inbox) fn snapshot_taken(&mut self) {
        self.fresh.clear();
    }
}

#[cfg(test)]
mod tests;
