//! What is known of peers, and until when: a map behind a lock, with SIEVE eviction. No I/O, and no
//! clock: `now` is an argument.

mod order;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use crate::clock::Tick;
use crate::peer::{Peer, PeerId};
use order::{Order, Place};

/// How many bytes of memory a cache's records take at the most, all together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What came of a lookup.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The registry's record.
    Found(Peer),
    /// The registry's own no.
    Absent,
    /// No usable answer.
    Failed,
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Answer::Found(peer) => peer.bytes(),
            Answer::Absent | Answer::Failed => 0,
        }
    }
}

struct Entry {
    answer: Answer,
    expires: Tick,
    place: Place,
    /// Asked for since the hand last passed. The one thing that a reader writes.
    visited: AtomicBool,
}

struct Shelf {
    // Ids come from strangers: an unkeyed hash would let them choose their buckets.
    entries: HashMap<PeerId, Entry, RandomState>,
    order: Order,
    bytes: usize,
    evictions: u64,
}

/// The entries that a write took out, to be dropped when no lock is held any more.
pub(crate) type Removed = Vec<Answer>;

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

    /// What is known of a peer and still fresh at `now`. An entry is fresh up to its expiry, not at it.
    #[inline]
    pub(crate) fn get(&self, peer: PeerId, now: Tick) -> Option<Answer> {
        let shelf = self.shelf.read();
        let entry = shelf.entries.get(&peer).filter(|entry| now < entry.expires)?;
        // Only the first reader writes: the others would take the line from each other for nothing.
        if !entry.visited.load(Ordering::Relaxed) {
            entry.visited.store(true, Ordering::Relaxed);
        }
        Some(entry.answer.clone())
    }

    /// The record of a peer, however old.
    pub(crate) fn record(&self, peer: PeerId) -> Option<Peer> {
        match &self.shelf.read().entries.get(&peer)?.answer {
            Answer::Found(record) => Some(record.clone()),
            Answer::Absent | Answer::Failed => None,
        }
    }

    /// Files an answer until `expires`, and evicts what no longer fits.
    #[must_use = "drop what was removed when no lock is held"]
    pub(crate) fn put(&self, peer: PeerId, answer: Answer, expires: Tick) -> Removed {
        let mut removed = Removed::new();
        let mut shelf = self.shelf.write();
        shelf.make_room(peer, answer.bytes(), self.capacity, &mut removed);
        shelf.put(peer, answer, expires, &mut removed);
        removed
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
        Shelf { entries: HashMap::default(), order: Order::new(), bytes: 0, evictions: 0 }
    }

    fn make_room(&mut self, peer: PeerId, bytes: usize, capacity: usize, removed: &mut Removed) {
        let (entries, held) = match self.entries.get(&peer) {
            Some(old) => (0, old.answer.bytes()),
            None => (1, 0),
        };
        while self.entries.len() + entries > capacity || self.bytes - held + bytes > MAX_BYTES {
            let Shelf { entries, order, .. } = self;
            let spared = |other| {
                other == peer || entries.get(&other).is_some_and(|entry| entry.visited.swap(false, Ordering::Relaxed))
            };
            let Some(victim) = order.evict(spared) else { return };
            if let Some(entry) = self.entries.remove(&victim) {
                self.bytes -= entry.answer.bytes();
                self.evictions += 1;
                removed.push(entry.answer);
            }
        }
    }

    fn put(&mut self, peer: PeerId, answer: Answer, expires: Tick, removed: &mut Removed) {
        let bytes = answer.bytes();
        match self.entries.entry(peer) {
            Slot::Occupied(mut slot) => {
                let entry = slot.get_mut();
                self.bytes -= entry.answer.bytes();
                entry.expires = expires;
                removed.push(std::mem::replace(&mut entry.answer, answer));
            }
            Slot::Vacant(slot) => {
                let Some(place) = self.order.push(peer) else { return };
                slot.insert(Entry { answer, expires, place, visited: AtomicBool::new(false) });
            }
        }
        self.bytes += bytes;
    }

    fn take(&mut self, peer: PeerId) -> Option<Answer> {
        let entry = self.entries.remove(&peer)?;
        self.order.remove(entry.place);
        self.bytes -= entry.answer.bytes();
        Some(entry.answer)
    }
}

#[cfg(test)]
mod tests;
