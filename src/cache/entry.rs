//! What is filed of one peer, and what that comes to at a moment.

use std::time::Duration;

use super::order::Place;
use crate::clock::Tick;
use crate::peer::{Filed, No, Peer, PeerId};
use crate::random::fraction;

/// What is to be filed of a peer, and until when it counts.
#[derive(Debug, Clone)]
pub(crate) enum Filing {
    /// The registry's record: fresh until one moment, to be refreshed ahead of it from another, and good
    /// enough while the registry is down until a third.
    Found { record: Peer, refresh_at: Tick, fresh_until: Tick, stale_until: Tick },
    /// The registry's own no. It drops an older record.
    Absent { until: Tick },
    /// No usable answer. It keeps an older record. Where not so much as a status came, it counts only as long
    /// as the [outage](Cache::outage) that it belongs to.
    Failed { until: Tick, outage: Option<u64> },
}

/// What is known of a peer at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// A record younger than its TTL, and whether it is time to refresh it.
    Fresh { record: Peer, refresh: bool },
    /// An older record; a lookup has failed not long ago, or is to wait for its turn after an outage.
    Stale(Peer),
    /// The registry's own no.
    Absent,
    /// No record; a lookup has failed not long ago.
    Failed,
    /// A lookup was not answered not long ago, in an outage that is over. Perhaps it was the peer's own: it is
    /// worth a lookup that nobody waits for. With the record that stands in.
    Retry(Option<Peer>),
    /// A lookup is due. The record is what may stand in for one that fails.
    Due(Option<Peer>),
}

/// What is filed of a peer. It is small, so that many are near at hand; what a hit does not need is elsewhere.
pub(super) struct Entry {
    /// The last good record, kept past its TTL, or that there is none.
    pub(super) filed: Filed,
    /// Until when that is the whole answer, whatever happens beside: no refresh is due, and no outage's end changes it.
    pub(super) plain_until: Tick,
    more: Box<More>,
}

#[derive(Clone, Copy)]
struct More {
    refresh_at: Tick,
    fresh_until: Tick,
    stale_until: Tick,
    /// What a lookup brought since then in place of another, and until when that counts.
    no: No,
    no_until: Tick,
    /// The outage that an unanswered lookup belongs to; zero for none.
    outage: u64,
    place: Place,
}

impl Entry {
    pub(super) fn new(place: Place) -> Self {
        let more = More {
            refresh_at: Tick::START,
            fresh_until: Tick::START,
            stale_until: Tick::START,
            no: No::Failed,
            no_until: Tick::START,
            outage: 0,
            place,
        };
        Entry { filed: Filed::nothing(No::Failed), plain_until: Tick::START, more: Box::new(more) }
    }

    pub(super) fn place(&self) -> Place {
        self.more.place
    }

    /// Files what came of a lookup. What it takes the place of, unless an older record stays.
    pub(super) fn file(&mut self, filing: Filing) -> Option<Filed> {
        let more = &mut *self.more;
        let filed = match filing {
            Filing::Found { record, refresh_at, fresh_until, stale_until } => {
                (more.refresh_at, more.fresh_until, more.stale_until) = (refresh_at, fresh_until, stale_until);
                (more.no_until, more.outage) = (Tick::START, 0);
                Filed::record(&record)
            }
            Filing::Absent { until } => {
                (more.no, more.no_until, more.outage) = (No::Absent, until, 0);
                Some(Filed::nothing(No::Absent))
            }
            Filing::Failed { until, outage } => {
                (more.no, more.no_until, more.outage) = (No::Failed, until, outage.unwrap_or(0));
                // A record that is still fresh is not refreshed again meanwhile, either; nor the sooner for it.
                more.refresh_at = more.refresh_at.max(until);
                self.filed.mark().no().map(|_| Filed::nothing(No::Failed))
            }
        };
        let is_record = filed.as_ref().unwrap_or(&self.filed).mark().no().is_none();
        self.plain_until = match (is_record, more.outage) {
            (true, _) => more.refresh_at.min(more.fresh_until),
            (false, 0) => more.no_until,
            (false, _) => Tick::START,
        };
        let filed = filed?;
        if self.filed.mark().take_visited() {
            filed.mark().visit();
        }
        Some(std::mem::replace(&mut self.filed, filed))
    }

    /// What is known before `plain_until`.
    pub(super) fn plain(&self) -> Known {
        match (self.filed.peer(), self.filed.mark().no()) {
            (Some(record), _) => Known::Fresh { record, refresh: false },
            (None, Some(No::Absent)) => Known::Absent,
            (None, _) => Known::Failed,
        }
    }

    /// What is needed of it when its shelf is free again.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { record: self.filed.peer(), more: *self.more }
    }
}

/// An entry as it was.
pub(super) struct Snapshot {
    record: Option<Peer>,
    more: More,
}

impl Snapshot {
    /// What is known at `now`.
    pub(super) fn known(self, peer: PeerId, now: Tick, recovery: &Recovery) -> Known {
        let Snapshot { record, more } = self;
        if now < more.fresh_until {
            if let Some(record) = record {
                let refresh = now >= more.refresh_at && !recovery.puts_off(peer, &more, now);
                return Known::Fresh { record, refresh };
            }
        }
        match (more.no, record.filter(|_| now < more.stale_until)) {
            (_, Some(record)) if recovery.puts_off(peer, &more, now) => Known::Stale(record),
            (_, stale) if now >= more.no_until => Known::Due(stale),
            (No::Failed, stale) if recovery.has_ended(more.outage) => Known::Retry(stale),
            (No::Absent, _) => Known::Absent,
            (No::Failed, Some(record)) => Known::Stale(record),
            (No::Failed, None) => Known::Failed,
        }
    }
}

/// The end of the last outage: what fell due in it is not to be asked for all at once.
pub(super) struct Recovery {
    /// The number of the present outage, or of the next one where there is none, counted from 1.
    pub(super) outage: u64,
    pub(super) at: Tick,
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
    fn puts_off(&self, peer: PeerId, entry: &More, now: Tick) -> bool {
        let fell_due = entry.refresh_at <= self.at || self.has_ended(entry.outage);
        fell_due && now < self.at.plus(self.window.mul_f64(fraction(peer, self.at, 0)))
    }
}
