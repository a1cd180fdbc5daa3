//! A sharded, bounded cache of peer records with SIEVE eviction.
//!
//! Each thread has a small cache in front of it, which answers most calls without a lock: see
//! [`get_local`](Cache::get_local). A flag in each value tells those threads when the value is out of date.
//!
//! A write takes the state lock first, then a shard's lock. A read takes its shard's read lock. Where the answer
//! depends on the last outage, it then releases that lock and takes the state's read lock.
//!
//! The cache does no I/O and reads no clock: methods that depend on time take `now`. Only the thread-local cache reads
//! the clock itself.
//!
//! SIEVE: Zhang et al., NSDI 2024, <https://cachemon.github.io/SIEVE-website/>.

mod answers;
mod entry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod jitter;
pub(crate) mod local;
pub(crate) mod sieve;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use crate::peer::{CachedValue, Peer, PeerId, PeerName};
use crate::util::clock::CoarseInstant;
pub(crate) use answers::Answered;
use answers::Answers;
pub(crate) use entry::{CacheAnswer, CacheUpdate};
use entry::{CacheEntry, Recovery};
pub(crate) use jitter::fraction;
pub(crate) use local::LocalAnswer;
use local::release_invalidated;
use sieve::SieveQueue;

/// Number of shards. Two threads that ask for different peers meet at the same lock in one of 16 cases.
const SHARDS: usize = 16;
/// Memory that the records of one cache may take together: 64 MiB.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Threads are told to release values that are out of date once in this many invalidations.
const RELEASE_AFTER: u64 = 256;

/// The cache of one client, shared by all threads.
pub(crate) struct Cache {
    /// Answer counters. Their id also identifies this cache in thread-local slots.
    answers: Answers,
    shards: [Shard; SHARDS],
    /// Held for every write. Lock order: `state`, then a shard.
    state: RwLock<CacheState>,
    /// Maximum number of peers.
    capacity: usize,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        let recovery = Recovery { outage: 1, ended_at: CoarseInstant::START, window: Duration::ZERO };
        let state =
            CacheState { queue: SieveQueue::new(), entries: 0, bytes: 0, evictions: 0, invalidations: 0, recovery };
        Cache { answers: Answers::new(), shards: Default::default(), state: RwLock::new(state), capacity }
    }

    /// Looks in this thread's cache only. Returns `Miss` where the shared cache must be asked.
    ///
    /// Counts the answer, unless it is `Miss`.
    #[inline]
    pub(crate) fn get_local(&self, name: PeerName<'_>) -> LocalAnswer {
        local::get(self.answers.id(), name)
    }

    /// Like [`get_local`](Self::get_local) at another time than now.
    #[cfg(any(test, fuzzing))]
    fn get_local_at(&self, text: &str, now: CoarseInstant) -> LocalAnswer {
        local::get_at(self.answers.id(), text, now)
    }

    /// Returns the record of a peer where nothing but a hit has to be done for it, and counts the hit.
    ///
    /// That is a record before its refresh falls due that was asked for before: the short path of the shared cache.
    /// Where it returns `None`, [`get`](Self::get) has the answer, and the caller has to [`count`](Self::count) it.
    #[inline]
    pub(crate) fn get_record(&self, peer: PeerId, name: PeerName<'_>, now: CoarseInstant) -> Option<Peer> {
        let record = self.shard(peer).entries.read().get(&peer)?.visited_record(now)?;
        self.count(Answered::Fresh, peer, name, now);
        Some(record)
    }

    /// Returns what the cache knows of a peer at `now`. A record is fresh before its expiry, and no longer fresh at it.
    pub(crate) fn get(&self, peer: PeerId, now: CoarseInstant) -> CacheAnswer {
        let shard = self.shard(peer).entries.read();
        let Some(entry) = shard.get(&peer) else { return CacheAnswer::Due(None) };
        entry.value.state().visit();
        if now < entry.stable_until {
            return entry.stable_answer();
        }
        let entry = entry.snapshot();
        drop(shard);
        entry.answer(peer, now, &self.state.read().recovery)
    }

    /// Counts an answer of [`get`](Self::get) or of a lookup. One in a few of them is kept in this thread's cache.
    ///
    /// [`get_local`](Self::get_local) and [`get_record`](Self::get_record) count their own answers.
    #[inline]
    pub(crate) fn count(&self, answered: Answered, peer: PeerId, name: PeerName<'_>, now: CoarseInstant) {
        if local::count(&self.answers, answered) && local::has_key(name) {
            self.keep(peer, name, now);
        }
    }

    /// Stores the present answer in this thread's cache under `name`, if only an invalidation can change it.
    #[cold]
    #[inline(never)]
    fn keep(&self, peer: PeerId, name: PeerName<'_>, now: CoarseInstant) {
        let shard = self.shard(peer).entries.read();
        let Some(entry) = shard.get(&peer).filter(|entry| now < entry.stable_until) else { return };
        let (value, until) = (entry.value.clone(), entry.stable_until);
        drop(shard);
        // A concurrent invalidation is harmless: the value's state tells the thread that it is out of date.
        local::keep(self.answers.id(), name, until, value);
    }

    /// Returns the record of a peer, however old.
    pub(crate) fn record(&self, peer: PeerId) -> Option<Peer> {
        self.shard(peer).entries.read().get(&peer)?.value.peer()
    }

    /// Returns whether the registry said recently that the peer was removed.
    pub(crate) fn is_removed(&self, peer: PeerId, now: CoarseInstant) -> bool {
        self.shard(peer).entries.read().get(&peer).is_some_and(|entry| entry.is_removed(now))
    }

    /// Stores the outcome of a lookup and evicts until the cache fits its bounds.
    ///
    /// Returns what was removed, so that the caller drops it after the locks are released.
    #[must_use = "drop the removed values after all locks are released"]
    pub(crate) fn insert(&self, peer: PeerId, update: CacheUpdate) -> Discarded {
        let bytes = if let CacheUpdate::Found { record, .. } = &update { record.bytes() } else { 0 };
        let mut discarded = Discarded::new();
        let mut state = self.state.write();
        self.make_room(&mut state, peer, bytes, &mut discarded);
        let mut shard = self.shard(peer).entries.write();
        let (entry, is_new) = match shard.entry(peer) {
            Entry::Occupied(slot) => (slot.into_mut(), false),
            Entry::Vacant(slot) => {
                let Some(node) = state.queue.push(peer) else { return discarded };
                state.entries += 1;
                (slot.insert(CacheEntry::new(node)), true)
            }
        };
        state.bytes -= entry.value.bytes();
        let replaced = entry.apply(update);
        state.bytes += entry.value.bytes();
        // A new entry's first value is a placeholder that no thread has seen: there is nothing to invalidate.
        discarded.extend(replaced.map(|value| if is_new { value } else { state.invalidate(value) }));
        discarded
    }

    /// Replaces a peer's record by what `change` makes of it, if there is one. Its age does not change.
    ///
    /// Does nothing where `change` returns `None`, or another answer is stored while it runs. Returns what was removed, so
    /// that the caller drops it after the locks are released.
    #[must_use = "drop the removed values after all locks are released"]
    pub(crate) fn revise(&self, peer: PeerId, change: impl FnOnce(&Peer) -> Option<Peer>) -> Option<Discarded> {
        let known = self.record(peer)?;
        let revised = change(&known)?;
        let mut discarded = Discarded::new();
        let mut state = self.state.write();
        self.make_room(&mut state, peer, revised.bytes(), &mut discarded);
        let mut shard = self.shard(peer).entries.write();
        let Some(entry) = shard.get_mut(&peer).filter(|entry| entry.value.holds(&known)) else {
            return Some(discarded);
        };
        state.bytes = state.bytes - known.bytes() + revised.bytes();
        let replaced = entry.revise(&revised);
        discarded.push(state.invalidate(replaced));
        Some(discarded)
    }

    /// Removes a peer's entry. Returns its value, so that the caller drops it after the locks are released.
    #[must_use = "drop the removed value after all locks are released"]
    pub(crate) fn remove(&self, peer: PeerId) -> Option<CachedValue> {
        let mut state = self.state.write();
        let mut shard = self.shard(peer).entries.write();
        let entry = shard.remove(&peer)?;
        state.queue.remove(entry.node());
        Some(state.untrack(entry))
    }

    /// Removes all entries. Returns them, so that the caller drops them after the locks are released.
    #[must_use = "drop the removed entries after all locks are released"]
    pub(crate) fn clear(&self) -> impl Sized + use<> {
        let mut state = self.state.write();
        state.queue = SieveQueue::new();
        state.entries = 0;
        state.bytes = 0;
        let cleared = self.shards.each_ref().map(|shard| {
            let mut entries = shard.entries.write();
            entries.values().for_each(|entry| entry.value.state().invalidate());
            std::mem::take(&mut *entries)
        });
        release_invalidated();
        cleared
    }

    /// Returns the id of the current outage, or of the next one if none is going on.
    pub(crate) fn outage(&self) -> u64 {
        self.state.read().recovery.outage
    }

    /// Ends the current outage at `now`.
    ///
    /// Lookups that were not answered in it become due again: [`CacheAnswer::Retry`]. Records whose refresh fell due or
    /// failed in it are served as they are, each until its own time within `window`. This spreads the refreshes, so
    /// that the registry does not get them all at once.
    pub(crate) fn end_outage(&self, now: CoarseInstant, window: Duration) {
        let recovery = &mut self.state.write().recovery;
        *recovery = Recovery { outage: recovery.outage + 1, ended_at: now, window };
    }

    /// Returns the numbers of fresh, stale, absent and unknown answers.
    pub(crate) fn answers(&self) -> [u64; 4] {
        self.answers.totals()
    }

    /// Returns the size of the cache, and how many peers it has evicted.
    pub(crate) fn stats(&self) -> CacheStats {
        let CacheState { entries, bytes, evictions, .. } = *self.state.read();
        CacheStats { entries, bytes, evictions }
    }

    fn shard(&self, peer: PeerId) -> &Shard {
        // The last byte of a UUID is random for versions 4 and 7. Crafted ids can land in one shard, which is then as
        // fast as an unsharded map.
        &self.shards[usize::from(peer.as_bytes()[15]) % SHARDS]
    }

    /// Evicts other peers until a value of `bytes` for `peer` fits, or no other peer is left.
    fn make_room(&self, state: &mut CacheState, peer: PeerId, bytes: usize, discarded: &mut Discarded) {
        let (new_entries, old_bytes) = match self.shard(peer).entries.read().get(&peer) {
            Some(old) => (0, old.value.bytes()),
            None => (1, 0),
        };
        while state.entries + new_entries > self.capacity || state.bytes - old_bytes + bytes > MAX_BYTES {
            let is_retained = |other| other == peer || self.take_visited(other);
            let Some(victim) = state.queue.evict(is_retained) else { return };
            if let Some(entry) = self.shard(victim).entries.write().remove(&victim) {
                state.evictions += 1;
                discarded.push(state.untrack(entry));
            }
        }
    }

    /// Clears SIEVE's visited bit of a peer. Returns whether it was set.
    fn take_visited(&self, peer: PeerId) -> bool {
        self.shard(peer).entries.read().get(&peer).is_some_and(|entry| entry.value.state().take_visited())
    }
}

impl Drop for Cache {
    /// Invalidates what threads still keep of this cache.
    fn drop(&mut self) {
        drop(self.clear());
    }
}

/// Values that a write discarded or replaced. The caller drops them when it holds no lock, because freeing a large record
/// takes time.
pub(crate) type Discarded = Vec<CachedValue>;

/// Entries and bytes in the cache now, and evictions so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheStats {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) evictions: u64,
}

/// One of [`SHARDS`] maps. Aligned to two cache lines, because readers write to its lock.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    // A keyed hash: peer ids come from strangers, who could otherwise fill one bucket.
    entries: RwLock<HashMap<PeerId, CacheEntry, RandomState>>,
}

/// State shared by all shards.
struct CacheState {
    queue: SieveQueue,
    entries: usize,
    bytes: usize,
    evictions: u64,
    invalidations: u64,
    recovery: Recovery,
}

impl CacheState {
    /// Subtracts an entry that was removed from its shard, and invalidates its value.
    fn untrack(&mut self, entry: CacheEntry) -> CachedValue {
        self.entries -= 1;
        self.bytes -= entry.value.bytes();
        self.invalidate(entry.value)
    }

    /// Marks a value as out of date for the threads that keep it, and now and then tells them to release such values.
    fn invalidate(&mut self, value: CachedValue) -> CachedValue {
        value.state().invalidate();
        self.invalidations += 1;
        if is_release_due(self.invalidations) {
            release_invalidated();
        }
        value
    }
}

/// Returns whether threads are to release values that are out of date, after this many invalidations.
fn is_release_due(invalidations: u64) -> bool {
    invalidations % RELEASE_AFTER == 0
}

#[cfg(test)]
mod tests;
