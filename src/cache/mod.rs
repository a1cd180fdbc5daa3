//! What is known of peers, and until when: a map behind a lock, with SIEVE eviction. No I/O, and no
//! clock: `now` is an argument.

mod order;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use crate::clock::Tick;
use crate::peer::{Peer, PeerId};
use crate::random::fraction;
use order::{Order, Place};

/// How many bytes of memory a cache's records take at the most, all together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

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

/// What the last lookup that brought no record brought.
#[derive(Clone, Copy, PartialEq)]
enum No {
    Absent,
    Failed,
}

struct Entry {
    /// The last good record, kept past its TTL.
    record: Option<Peer>,
    refresh_at: Tick,
    fresh_until: Tick,
    stale_until: Tick,
    /// What a lookup brought since then in place of another, and until when that counts.
    no: No,
    no_until: Tick,
    /// The outage that an unanswered lookup belongs to; zero for none.
    outage: u64,
    place: Place,
    /// Asked for since the hand last passed. The one thing that a reader writes.
    visited: AtomicBool,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.record.as_ref().map_or(0, Peer::bytes)
    }

    /// What is known, where it is neither a fresh record nor the plain lack of one.
    #[cold]
    fn known(&self, peer: PeerId, now: Tick, recovery: &Recovery) -> Known {
        let stale = self.record.as_ref().filter(|_| now < self.stale_until).cloned();
        match (self.no, stale) {
            (_, Some(record)) if recovery.puts_off(peer, self, now) => Known::Stale(record),
            (_, stale) if now >= self.no_until => Known::Due(stale),
            (No::Failed, stale) if recovery.has_ended(self.outage) => Known::Retry(stale),
            (No::Absent, _) => Known::Absent,
            (No::Failed, Some(record)) => Known::Stale(record),
            (No::Failed, None) => Known::Failed,
        }
    }
}

struct Shelf {
    // Ids come from strangers: an unkeyed hash would let them choose their buckets.
    entries: HashMap<PeerId, Entry, RandomState>,
    order: Order,
    bytes: usize,
    evictions: u64,
    recovery: Recovery,
}

/// The end of the last outage: what fell due in it is not to be asked for all at once.
struct Recovery {
    /// The number of the present outage, or of the next one where there is none, counted from 1.
    outage: u64,
    at: Tick,
    /// The time over which refreshes are made up for.
    window: Duration,
}

impl Recovery {
    /// Whether an outage is over; it is none's number that is zero.
    fn has_ended(&self, outage: u64) -> bool {
        outage != 0 && outage != self.outage
    }

    /// Whether a record that fell due in the outage is yet to wait for its turn, a moment of the window that is
    /// each peer's own.
    #[cold]
    fn puts_off(&self, peer: PeerId, entry: &Entry, now: Tick) -> bool {
        let fell_due = entry.refresh_at <= self.at || self.has_ended(entry.outage);
        fell_due && now < self.at.plus(self.window.mul_f64(fraction(peer, self.at, 0)))
    }
}

/// The records that a write took out, to be dropped when no lock is held any more.
pub(crate) type Removed = Vec<Peer>;

/// How full a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) evictions: u64,
}

/// The process-wide cache of one client.
pub(crate) struct Cache {
    shelf: RwLock<Shelf>,
    capacity: usize,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Cache { shelf: RwLock::new(Shelf::new()), capacity }
    }

    /// What is known of a peer at `now`. A record is fresh up to its expiry, not at it.
    #[inline]
    pub(crate) fn get(&self, peer: PeerId, now: Tick) -> Known {
        let shelf = self.shelf.read();
        let Some(entry) = shelf.entries.get(&peer) else { return Known::Due(None) };
        // Only the first reader writes: the others would take the line from each other for nothing.
        if !entry.visited.load(Ordering::Relaxed) {
            entry.visited.store(true, Ordering::Relaxed);
        }
        match &entry.record {
            Some(record) if now < entry.fresh_until => {
                let refresh = now >= entry.refresh_at && !shelf.recovery.puts_off(peer, entry, now);
                Known::Fresh { record: record.clone(), refresh }
            }
            None if now < entry.no_until && entry.outage == 0 => match entry.no {
                No::Absent => Known::Absent,
                No::Failed => Known::Failed,
            },
            _ => entry.known(peer, now, &shelf.recovery),
        }
    }

    /// The record of a peer, however old.
    pub(crate) fn record(&self, peer: PeerId) -> Option<Peer> {
        self.shelf.read().entries.get(&peer)?.record.clone()
    }

    /// Files what came of a lookup, and evicts what no longer fits.
    #[must_use = "drop what was removed when no lock is held"]
    pub(crate) fn put(&self, peer: PeerId, filing: Filing) -> Removed {
        let bytes = if let Filing::Found { record, .. } = &filing { record.bytes() } else { 0 };
        let mut removed = Removed::new();
        let mut shelf = self.shelf.write();
        shelf.make_room(peer, bytes, self.capacity, &mut removed);
        shelf.put(peer, filing, &mut removed);
        removed
    }

    /// The number of the present outage, or of the next one where there is none.
    pub(crate) fn outage(&self) -> u64 {
        self.shelf.read().recovery.outage
    }

    /// The outage is over: what was filed of unanswered lookups no longer counts. Records that are to be
    /// refreshed by now serve on, each until its own moment of the `window` that begins.
    pub(crate) fn end_outage(&self, now: Tick, window: Duration) {
        let recovery = &mut self.shelf.write().recovery;
        *recovery = Recovery { outage: recovery.outage + 1, at: now, window };
    }

    #[must_use = "drop what was removed when no lock is held"]
    pub(crate) fn remove(&self, peer: PeerId) -> Removed {
        self.shelf.write().take(peer).into_iter().collect()
    }

    #[must_use = "drop what was removed when no lock is held"]
    pub(crate) fn clear(&self) -> impl Sized + use<> {
        let mut shelf = self.shelf.write();
        shelf.order = Order::new();
        shelf.bytes = 0;
        std::mem::take(&mut shelf.entries)
    }

    pub(crate) fn fill(&self) -> Fill {
        let shelf = self.shelf.read();
        Fill { entries: shelf.entries.len(), bytes: shelf.bytes, evictions: shelf.evictions }
    }
}

impl Shelf {
    fn new() -> Self {
        let recovery = Recovery { outage: 1, at: Tick::START, window: Duration::ZERO };
        Shelf { entries: HashMap::default(), order: Order::new(), bytes: 0, evictions: 0, recovery }
    }

    fn make_room(&mut self, peer: PeerId, bytes: usize, capacity: usize, removed: &mut Removed) {
        let (entries, held) = match self.entries.get(&peer) {
            Some(old) => (0, old.bytes()),
            None => (1, 0),
        };
        while self.entries.len() + entries > capacity || self.bytes - held + bytes > MAX_BYTES {
            let Shelf { entries, order, .. } = self;
            let spared = |other| {
                other == peer || entries.get(&other).is_some_and(|entry| entry.visited.swap(false, Ordering::Relaxed))
            };
            let Some(victim) = order.evict(spared) else { return };
            if let Some(entry) = self.entries.remove(&victim) {
                self.bytes -= entry.bytes();
                self.evictions += 1;
                removed.extend(entry.record);
            }
        }
    }

    fn put(&mut self, peer: PeerId, filing: Filing, removed: &mut Removed) {
        let entry = match self.entries.entry(peer) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => {
                let Some(place) = self.order.push(peer) else { return };
                slot.insert(Entry {
                    record: None,
                    refresh_at: Tick::START,
                    fresh_until: Tick::START,
                    stale_until: Tick::START,
                    no: No::Failed,
                    no_until: Tick::START,
                    outage: 0,
                    place,
                    visited: AtomicBool::new(false),
                })
            }
        };
        self.bytes -= entry.bytes();
        match filing {
            Filing::Found { record, refresh_at, fresh_until, stale_until } => {
                removed.extend(entry.record.replace(record));
                (entry.refresh_at, entry.fresh_until, entry.stale_until) = (refresh_at, fresh_until, stale_until);
                entry.no_until = Tick::START;
            }
            Filing::Absent { until } => {
                removed.extend(entry.record.take());
                (entry.no, entry.no_until, entry.outage) = (No::Absent, until, 0);
            }
            Filing::Failed { until, outage } => {
                (entry.no, entry.no_until, entry.outage) = (No::Failed, until, outage.unwrap_or(0));
                // A record that is still fresh is not refreshed again meanwhile, either.
                entry.refresh_at = until;
            }
        }
        self.bytes += entry.bytes();
    }

    fn take(&mut self, peer: PeerId) -> Option<Peer> {
        let entry = self.entries.remove(&peer)?;
        self.order.remove(entry.place);
        self.bytes -= entry.bytes();
        entry.record
    }
}

#[cfg(test)]
mod tests;
