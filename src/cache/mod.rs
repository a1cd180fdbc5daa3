//! What is known of peers, and until when: maps behind locks, with SIEVE eviction. No I/O, and no clock: `now` is an
//! argument.

#[cfg(any(test, fuzzing))]
pub(crate) mod cache_fuzz;
mod entry;
mod order;
#[cfg(any(test, fuzzing))]
pub(crate) mod sieve_fuzz;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use crate::clock::Tick;
use crate::peer::{Filed, Peer, PeerId, PeerRef, Recalled, Spelling, count, is_to_keep, keep, purge};
use crate::stats::{Answered, Answers};
use entry::{Entry, Recovery};
pub(crate) use entry::{Filing, Known};
use order::Order;

/// How many bytes of memory a cache's records take at the most, all together.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// After how many answers that were called back the threads are told to let go of them.
const PURGE_AFTER: u64 = 256;
/// How many shelves there are. Two threads that ask for different peers meet at one lock in so many times.
const SHELVES: usize = 16;

/// What is known of some of the peers. On cache lines of its own, since its lock is written by who reads it.
#[derive(Default)]
#[repr(align(128))]
struct Shelf {
    // Ids come from strangers: an unkeyed hash would let them choose their buckets.
    entries: RwLock<HashMap<PeerId, Entry, RandomState>>,
}

/// What concerns all shelves.
struct Books {
    order: Order,
    entries: usize,
    bytes: usize,
    evictions: u64,
    called_back: u64,
    recovery: Recovery,
}

/// What a write took out, to be dropped when no lock is held any more.
pub(crate) type Removed = Vec<Filed>;

/// How full a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) evictions: u64,
}

/// The process-wide cache of one client.
pub(crate) struct Cache {
    /// Their number is also what threads tell it by from other caches.
    answers: Answers,
    shelves: [Shelf; SHELVES],
    /// Every write holds it. Whoever takes a shelf, too, takes that after it.
    books: RwLock<Books>,
    capacity: usize,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        let recovery = Recovery { outage: 1, at: Tick::START, window: Duration::ZERO };
        let books = Books { order: Order::new(), entries: 0, bytes: 0, evictions: 0, called_back: 0, recovery };
        Cache { answers: Answers::new(), shelves: Default::default(), books: RwLock::new(books), capacity }
    }

    /// What this thread can say by itself of a peer as of now, where that is all there is to say.
    #[inline]
    pub(crate) fn recall(&self, peer: &impl PeerRef) -> Recalled {
        peer.recall(self.answers.id())
    }

    /// Counts an answer, but for those that were recalled: they are counted already.
    pub(crate) fn count(&self, what: Answered) {
        count(&self.answers, what);
    }

    /// The number of fresh, stale, absent and unknown answers.
    pub(crate) fn answers(&self) -> [u64; 4] {
        self.answers.totals()
    }

    /// What is known of a peer at `now`. A record is fresh up to its expiry, not at it.
    pub(crate) fn get(&self, peer: PeerId, now: Tick) -> Known {
        self.get_spelled(peer, None, now)
    }

    /// The same; if the peer has a `spelling`, this thread may [`recall`](Cache::recall) the answer next time.
    pub(crate) fn get_spelled(&self, peer: PeerId, spelling: Option<&Spelling>, now: Tick) -> Known {
        let shelf = self.shelf(peer).entries.read();
        let Some(entry) = shelf.get(&peer) else { return Known::Due(None) };
        entry.filed.mark().visit();
        if now < entry.plain_until {
            let known = entry.plain();
            let kept =
                spelling.filter(|_| is_to_keep()).map(|spelling| (spelling, entry.plain_until, entry.filed.clone()));
            drop(shelf);
            // What is called back meanwhile is kept in vain, no worse: its mark says so.
            if let Some((spelling, until, filed)) = kept {
                keep(self.answers.id(), spelling, until, filed);
            }
            return known;
        }
        let entry = entry.snapshot();
        drop(shelf);
        entry.known(peer, now, &self.books.read().recovery)
    }

    /// The record of a peer, however old.
    pub(crate) fn record(&self, peer: PeerId) -> Option<Peer> {
        self.shelf(peer).entries.read().get(&peer)?.filed.peer()
    }

    /// Files what came of a lookup, and evicts what no longer fits.
    #[must_use = "drop what was removed when no lock is held"]
    pub(crate) fn put(&self, peer: PeerId, filing: Filing) -> Removed {
        let bytes = if let Filing::Found { record, .. } = &filing { record.bytes() } else { 0 };
        let mut removed = Removed::new();
        let mut books = self.books.write();
        self.make_room(&mut books, peer, bytes, &mut removed);
        let mut shelf = self.shelf(peer).entries.write();
        let (entry, is_new) = match shelf.entry(peer) {
            Slot::Occupied(slot) => (slot.into_mut(), false),
            Slot::Vacant(slot) => {
                let Some(place) = books.order.push(peer) else { return removed };
                books.entries += 1;
                (slot.insert(Entry::new(place)), true)
            }
        };
        books.bytes -= entry.filed.bytes();
        let replaced = entry.file(filing);
        books.bytes += entry.filed.bytes();
        // Of a new entry nobody has heard yet.
        removed.extend(replaced.map(|filed| if is_new { filed } else { books.call_back(filed) }));
        removed
    }

    /// The number of the present outage, or of the next one where there is none.
    pub(crate) fn outage(&self) -> u64 {
        self.books.read().recovery.outage
    }

    /// The outage is over: what was filed of unanswered lookups no longer counts. Records that are to be
    /// refreshed by now serve on, each until its own moment of the `window` that begins.
    pub(crate) fn end_outage(&self, now: Tick, window: Duration) {
        let recovery = &mut self.books.write().recovery;
        *recovery = Recovery { outage: recovery.outage + 1, at: now, window };
    }

    #[must_use = "drop what was removed when no lock is held"]
    pub(crate) fn remove(&self, peer: PeerId) -> Option<Filed> {
        let mut books = self.books.write();
        let mut shelf = self.shelf(peer).entries.write();
        let entry = shelf.remove(&peer)?;
        books.order.remove(entry.place());
        Some(books.strike(entry))
    }

    #[must_use = "drop what was removed when no lock is held"]
    pub(crate) fn clear(&self) -> impl Sized + use<> {
        let mut books = self.books.write();
        (books.order, books.entries, books.bytes) = (Order::new(), 0, 0);
        let cleared = self.shelves.each_ref().map(|shelf| {
            let mut shelf = shelf.entries.write();
            shelf.values().for_each(|entry| entry.filed.mark().call_back());
            std::mem::take(&mut *shelf)
        });
        purge();
        cleared
    }

    pub(crate) fn fill(&self) -> Fill {
        let Books { entries, bytes, evictions, .. } = *self.books.read();
        Fill { entries, bytes, evictions }
    }

    fn shelf(&self, peer: PeerId) -> &Shelf {
        // The last digit. Who has all of his on one shelf has what there was before there were several.
        &self.shelves[usize::from(peer.as_bytes()[15]) % SHELVES]
    }

    fn make_room(&self, books: &mut Books, peer: PeerId, bytes: usize, removed: &mut Removed) {
        let (entries, held) = match self.shelf(peer).entries.read().get(&peer) {
            Some(old) => (0, old.filed.bytes()),
            None => (1, 0),
        };
        while books.entries + entries > self.capacity || books.bytes - held + bytes > MAX_BYTES {
            let spared = |other| other == peer || self.take_visited(other);
            let Some(victim) = books.order.evict(spared) else { return };
            if let Some(entry) = self.shelf(victim).entries.write().remove(&victim) {
                books.evictions += 1;
                removed.push(books.strike(entry));
            }
        }
    }

    fn take_visited(&self, peer: PeerId) -> bool {
        self.shelf(peer).entries.read().get(&peer).is_some_and(|entry| entry.filed.mark().take_visited())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        drop(self.clear());
    }
}

impl Books {
    /// An entry is no longer on its shelf.
    fn strike(&mut self, entry: Entry) -> Filed {
        self.entries -= 1;
        self.bytes -= entry.filed.bytes();
        self.call_back(entry.filed)
    }

    /// The threads that keep it hear that it no longer counts.
    fn call_back(&mut self, filed: Filed) -> Filed {
        filed.mark().call_back();
        self.called_back += 1;
        if is_purge_due(self.called_back) {
            purge();
        }
        filed
    }
}

/// Whether the threads are to let go of them, when so many answers were called back.
fn is_purge_due(called_back: u64) -> bool {
    called_back % PURGE_AFTER == 0
}

#[cfg(test)]
mod tests;

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod front_tests;
