//! What is filed of one peer, and what that comes to at a moment.

use std::time::Duration;

use super::sieve::NodeId;
use crate::peer::{CachedValue, Negative, Peer, PeerId};
use crate::util::clock::CoarseInstant;
use crate::util::random::fraction;

/// What is to be filed of a peer, and until when it counts.
#[derive(Debug, Clone)]
pub(crate) enum CacheUpdate {
    /// The registry's record: fresh until one moment, to be refreshed ahead of it from another, and good
    /// enough while the registry is down until a third.
    Found { record: Peer, refresh_at: CoarseInstant, fresh_until: CoarseInstant, stale_until: CoarseInstant },
    /// The registry's own no. It drops an older record.
    Absent { until: CoarseInstant },
    /// Negative usable answer. It keeps an older record. Where not so much as a status came, it counts only as long
    /// as the [outage](Cache::outage) that it belongs to.
    Failed { until: CoarseInstant, outage: Option<u64> },
}

/// What is known of a peer at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CacheAnswer {
    /// A record younger than its TTL, and whether it is time to refresh it.
    Fresh { record: Peer, refresh: bool },
    /// An older record; a lookup has failed not long ago, or is to wait for its turn after an outage.
    Stale(Peer),
    /// The registry's own no.
    Absent,
    /// Negative record; a lookup has failed not long ago.
    Failed,
    /// A lookup was not answered not long ago, in an outage that is over. Perhaps it was the peer's own: it is
    /// worth a lookup that nobody waits for. With the record that stands in.
    Retry(Option<Peer>),
    /// A lookup is due. The record is what may stand in for one that fails.
    Due(Option<Peer>),
}

/// What is filed of a peer. It is small, so that many are near at hand; what a hit does not need is elsewhere.
pub(super) struct CacheEntry {
    /// The last good record, kept past its TTL, or that there is none.
    pub(super) value: CachedValue,
    /// Until when that is the whole answer, whatever happens beside: no refresh is due, and no outage's end changes it.
    pub(super) stable_until: CoarseInstant,
    more: Box<EntryDetails>,
}

#[derive(Clone, Copy)]
struct EntryDetails {
    refresh_at: CoarseInstant,
    fresh_until: CoarseInstant,
    stale_until: CoarseInstant,
    /// What a lookup brought since then in place of another, and until when that counts.
    no: Negative,
    no_until: CoarseInstant,
    /// The outage that an unanswered lookup belongs to; zero for none.
    outage: u64,
    place: NodeId,
}

impl CacheEntry {
    pub(super) fn new(place: NodeId) -> Self {
        let more = EntryDetails {
            refresh_at: CoarseInstant::START,
            fresh_until: CoarseInstant::START,
            stale_until: CoarseInstant::START,
            no: Negative::Failed,
            no_until: CoarseInstant::START,
            outage: 0,
            place,
        };
        CacheEntry {
            value: CachedValue::nothing(Negative::Failed),
            stable_until: CoarseInstant::START,
            more: Box::new(more),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.more.place
    }

    /// Files what came of a lookup. What it takes the place of, unless an older record stays.
    pub(super) fn apply(&mut self, update: CacheUpdate) -> Option<CachedValue> {
        let more = &mut *self.more;
        let filed = match update {
            CacheUpdate::Found { record, refresh_at, fresh_until, stale_until } => {
                (more.refresh_at, more.fresh_until, more.stale_until) = (refresh_at, fresh_until, stale_until);
                (more.no_until, more.outage) = (CoarseInstant::START, 0);
                CachedValue::record(&record)
            }
            CacheUpdate::Absent { until } => {
                (more.no, more.no_until, more.outage) = (Negative::Absent, until, 0);
                Some(CachedValue::nothing(Negative::Absent))
            }
            CacheUpdate::Failed { until, outage } => {
                (more.no, more.no_until, more.outage) = (Negative::Failed, until, outage.unwrap_or(0));
                // A record that is still fresh is not refreshed again meanwhile, either; nor the sooner for it.
                more.refresh_at = more.refresh_at.max(until);
                self.value.state().negative().map(|_| CachedValue::nothing(Negative::Failed))
            }
        };
        let is_record = filed.as_ref().unwrap_or(&self.value).state().negative().is_none();
        self.stable_until = match (is_record, more.outage) {
            (true, _) => more.refresh_at.min(more.fresh_until),
            (false, 0) => more.no_until,
            (false, _) => CoarseInstant::START,
        };
        let filed = filed?;
        if self.value.state().take_visited() {
            filed.state().visit();
        }
        Some(std::mem::replace(&mut self.value, filed))
    }

    /// What is known before `stable_until`.
    pub(super) fn stable_answer(&self) -> CacheAnswer {
        match (self.value.peer(), self.value.state().negative()) {
            (Some(record), _) => CacheAnswer::Fresh { record, refresh: false },
            (None, Some(Negative::Absent)) => CacheAnswer::Absent,
            (None, _) => CacheAnswer::Failed,
        }
    }

    /// What is needed of it when its shard is free again.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { record: self.value.peer(), more: *self.more }
    }
}

/// An entry as it was.
pub(super) struct Snapshot {
    record: Option<Peer>,
    more: EntryDetails,
}

impl Snapshot {
    /// What is known at `now`.
    pub(super) fn answer(self, peer: PeerId, now: CoarseInstant, recovery: &Recovery) -> CacheAnswer {
        let Snapshot { record, more } = self;
        if now < more.fresh_until {
            if let Some(record) = record {
                let refresh = now >= more.refresh_at && !recovery.puts_off(peer, &more, now);
                return CacheAnswer::Fresh { record, refresh };
            }
        }
        match (more.no, record.filter(|_| now < more.stale_until)) {
            (_, Some(record)) if recovery.puts_off(peer, &more, now) => CacheAnswer::Stale(record),
            (_, stale) if now >= more.no_until => CacheAnswer::Due(stale),
            (Negative::Failed, stale) if recovery.has_ended(more.outage) => CacheAnswer::Retry(stale),
            (Negative::Absent, _) => CacheAnswer::Absent,
            (Negative::Failed, Some(record)) => CacheAnswer::Stale(record),
            (Negative::Failed, None) => CacheAnswer::Failed,
        }
    }
}

/// The end of the last outage: what fell due in it is not to be asked for all at once.
pub(super) struct Recovery {
    /// The number of the present outage, or of the next one where there is none, counted from 1.
    pub(super) outage: u64,
    pub(super) ended_at: CoarseInstant,
    /// The time over which refreshes are made up for.
    pub(super) window: Duration,
}

impl Recovery {
    /// Whether an outage is over; it is none's number that is zero.
    fn has_ended(&self, outage: u64) -> bool {
        outage != 0 && outage != self.outage
    }

    /// Whether a record that fell due in the outage is yet to wait for its turn, a moment of the window that is
    /// each peer's own.
    fn puts_off(&self, peer: PeerId, entry: &EntryDetails, now: CoarseInstant) -> bool {
        let fell_due = entry.refresh_at <= self.ended_at || self.has_ended(entry.outage);
        fell_due && now < self.ended_at.plus(self.window.mul_f64(fraction(peer, self.ended_at, 0)))
    }
}
