//! A peer's entry in the cache, and the answer that it gives at a time.

use std::time::Duration;

use super::jitter::fraction;
use super::sieve::NodeId;
use crate::peer::{CachedValue, Negative, Peer, PeerId};
use crate::util::clock::CoarseInstant;

/// The outcome of a lookup, with the times until which it holds.
#[derive(Debug, Clone)]
pub(crate) enum CacheUpdate {
    /// The registry returned a record.
    Found {
        record: Peer,
        /// The time from which a hit asks for a refresh.
        refresh_at: CoarseInstant,
        fresh_until: CoarseInstant,
        /// The time until which the record may be served while lookups fail.
        stale_until: CoarseInstant,
    },
    /// The registry says that there is no such peer. This removes an older record.
    Absent {
        until: CoarseInstant,
        /// True where it says that the peer was removed.
        is_removed: bool,
    },
    /// The lookup brought no usable answer. This keeps an older record.
    ///
    /// `outage` is set where not even an HTTP status came. The failure then counts only as long as
    /// [that outage](super::Cache::outage) lasts.
    Failed { until: CoarseInstant, outage: Option<u64> },
    /// The platform refused the token of this number. This keeps an older record.
    Refused { until: CoarseInstant, token: u64 },
}

/// The cache's knowledge of a peer at a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CacheAnswer {
    /// A record younger than its TTL. `refresh` is true once a refresh is due.
    Fresh { record: Peer, refresh: bool },
    /// An older record. A lookup failed recently, or must wait for its turn after an outage.
    Stale(Peer),
    /// The registry said recently that there is no such peer.
    Absent,
    /// A lookup failed recently, and there is no record to serve instead.
    Failed,
    /// The platform refused the token of this number at the last lookup, recently, and there may be an older record.
    Refused { token: u64, stale: Option<Peer> },
    /// The last lookup got no answer, in an outage that has ended, and there may be an older record.
    ///
    /// The peer itself may be the cause, so the lookup should be repeated where no caller waits for it.
    Retry(Option<Peer>),
    /// A lookup is due. The record may be served if it fails.
    Due(Option<Peer>),
}

/// The entry of one peer. It is small, so that many fit into the CPU's caches: what a hit does not need is boxed.
pub(super) struct CacheEntry {
    /// The last record, kept past its TTL, or a note that there is none.
    pub(super) value: CachedValue,
    /// The time until which `value` is the whole answer: no refresh falls due, and the end of an outage changes nothing.
    pub(super) stable_until: CoarseInstant,
    details: Box<EntryDetails>,
}

#[derive(Clone, Copy)]
struct EntryDetails {
    refresh_at: CoarseInstant,
    fresh_until: CoarseInstant,
    stale_until: CoarseInstant,
    /// The outcome of a later lookup that returned no record.
    negative: Negative,
    /// The time until which `negative` counts.
    negative_until: CoarseInstant,
    /// True where `negative` is a removal.
    is_removed: bool,
    /// The outage in which a lookup got no answer, or zero.
    outage: u64,
    /// The number of the token that was refused at the last lookup.
    refused: Option<u64>,
    node: NodeId,
}

impl CacheEntry {
    pub(super) fn new(node: NodeId) -> Self {
        let details = EntryDetails {
            refresh_at: CoarseInstant::START,
            fresh_until: CoarseInstant::START,
            stale_until: CoarseInstant::START,
            negative: Negative::Failed,
            negative_until: CoarseInstant::START,
            is_removed: false,
            outage: 0,
            refused: None,
            node,
        };
        CacheEntry {
            value: CachedValue::negative(Negative::Failed),
            stable_until: CoarseInstant::START,
            details: Box::new(details),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.details.node
    }

    /// Applies the outcome of a lookup. Returns the value that it replaced, or `None` if an older record stays.
    pub(super) fn apply(&mut self, update: CacheUpdate) -> Option<CachedValue> {
        let value = self.details.apply(update, self.value.state().negative());
        let is_record = value.as_ref().unwrap_or(&self.value).state().negative().is_none();
        self.stable_until = self.details.stable_until(is_record);
        Some(self.replace_value(value?))
    }

    /// Replaces the value by another record of the same age. Returns the value that it replaced.
    pub(super) fn revise(&mut self, record: &Peer) -> CachedValue {
        self.replace_value(CachedValue::record(record))
    }

    /// Replaces the value, which keeps its mark for SIEVE.
    fn replace_value(&mut self, value: CachedValue) -> CachedValue {
        if self.value.state().take_visited() {
            value.state().visit();
        }
        std::mem::replace(&mut self.value, value)
    }

    /// Returns the record if it is the whole answer at `now` and marked as visited: all that most hits need.
    #[inline]
    pub(super) fn visited_record(&self, now: CoarseInstant) -> Option<Peer> {
        if now < self.stable_until && self.value.state().is_visited_record() { self.value.peer() } else { None }
    }

    /// Returns the answer for a time before `stable_until`.
    pub(super) fn stable_answer(&self) -> CacheAnswer {
        match (self.value.peer(), self.value.state().negative()) {
            (Some(record), _) => CacheAnswer::Fresh { record, refresh: false },
            (None, Some(Negative::Absent)) => CacheAnswer::Absent,
            (None, _) => CacheAnswer::Failed,
        }
    }

    /// Returns whether the registry said recently that the peer was removed.
    pub(super) fn is_removed(&self, now: CoarseInstant) -> bool {
        let is_absent = self.value.state().negative() == Some(Negative::Absent);
        is_absent && self.details.is_removed && now < self.details.negative_until
    }

    /// Returns a copy that can be read after the shard's lock is released.
    pub(super) fn snapshot(&self) -> EntrySnapshot {
        EntrySnapshot { record: self.value.peer(), details: *self.details }
    }
}

impl CacheAnswer {
    /// Returns the answer where `current` is the number of the token in use: what another token brought does not count.
    pub(crate) fn with_token(self, current: u64) -> Self {
        match self {
            CacheAnswer::Refused { token, stale } if token != current => CacheAnswer::Due(stale),
            answer => answer,
        }
    }
}

impl EntryDetails {
    /// Applies the outcome of a lookup. Returns the new value, or `None` if the present one stays.
    ///
    /// `present` says why the entry has no record, if it has none.
    fn apply(&mut self, update: CacheUpdate, present: Option<Negative>) -> Option<CachedValue> {
        self.outage = 0;
        self.refused = None;
        match update {
            CacheUpdate::Found { record, refresh_at, fresh_until, stale_until } => {
                self.refresh_at = refresh_at;
                self.fresh_until = fresh_until;
                self.stale_until = stale_until;
                self.negative_until = CoarseInstant::START;
                Some(CachedValue::record(&record))
            }
            CacheUpdate::Absent { until, is_removed } => {
                self.negative = Negative::Absent;
                self.negative_until = until;
                self.is_removed = is_removed;
                Some(CachedValue::negative(Negative::Absent))
            }
            CacheUpdate::Failed { until, outage } => {
                self.outage = outage.unwrap_or(0);
                self.fail(until, present)
            }
            CacheUpdate::Refused { until, token } => {
                self.refused = Some(token);
                self.fail(until, present)
            }
        }
    }

    fn fail(&mut self, until: CoarseInstant, present: Option<Negative>) -> Option<CachedValue> {
        self.negative = Negative::Failed;
        self.negative_until = until;
        // A record that is still fresh is not refreshed before the failure expires.
        self.refresh_at = self.refresh_at.max(until);
        present.map(|_| CachedValue::negative(Negative::Failed))
    }

    fn stable_until(&self, is_record: bool) -> CoarseInstant {
        match (is_record, self.outage, self.refused) {
            (true, ..) => self.refresh_at.min(self.fresh_until),
            (false, 0, None) => self.negative_until,
            // The end of the outage, or another token, changes the answer.
            (false, ..) => CoarseInstant::START,
        }
    }
}

/// A copy of an entry.
pub(super) struct EntrySnapshot {
    record: Option<Peer>,
    details: EntryDetails,
}

impl EntrySnapshot {
    /// Returns the answer at `now`.
    pub(super) fn answer(self, peer: PeerId, now: CoarseInstant, recovery: &Recovery) -> CacheAnswer {
        let EntrySnapshot { record, details } = self;
        if now < details.fresh_until {
            if let Some(record) = record {
                let refresh = now >= details.refresh_at && !recovery.defers(peer, &details, now);
                return CacheAnswer::Fresh { record, refresh };
            }
        }
        match (details.negative, record.filter(|_| now < details.stale_until)) {
            (_, Some(record)) if recovery.defers(peer, &details, now) => CacheAnswer::Stale(record),
            // However long ago: the peer itself may be the cause.
            (Negative::Failed, stale) if recovery.has_ended(details.outage) => CacheAnswer::Retry(stale),
            (_, stale) if now >= details.negative_until => CacheAnswer::Due(stale),
            (Negative::Absent, _) => CacheAnswer::Absent,
            (Negative::Failed, stale) => match (details.refused, stale) {
                (Some(token), stale) => CacheAnswer::Refused { token, stale },
                (None, Some(record)) => CacheAnswer::Stale(record),
                (None, None) => CacheAnswer::Failed,
            },
        }
    }
}

/// The end of the last outage. Refreshes that fell due in it are spread over `window`.
pub(super) struct Recovery {
    /// The number of the current outage, or of the next one if none is going on. Counted from 1.
    pub(super) outage: u64,
    pub(super) ended_at: CoarseInstant,
    /// The time over which the refreshes are spread.
    pub(super) window: Duration,
}

impl Recovery {
    /// Returns whether an outage has ended. Zero is not the number of one.
    fn has_ended(&self, outage: u64) -> bool {
        outage != 0 && outage != self.outage
    }

    /// Returns whether a refresh that fell due in the outage must still wait.
    ///
    /// Each peer waits for another part of the window, so that the registry does not get all refreshes at once.
    fn defers(&self, peer: PeerId, entry: &EntryDetails, now: CoarseInstant) -> bool {
        let fell_due = entry.refresh_at <= self.ended_at || self.has_ended(entry.outage);
        fell_due && now < self.ended_at.plus(self.window.mul_f64(fraction(peer, self.ended_at, 0)))
    }
}

#[cfg(test)]
mod tests;
