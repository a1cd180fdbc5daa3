//! One thread's cache: its slots, and what it needs of each client's cache.
//!
//! The slots are a 2-way set-associative table. Its hash has a random seed, because ids come from strangers: they could
//! otherwise choose ids that share a set with a busy peer's.

use std::hash::BuildHasher;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};

use foldhash::fast::{FixedState, RandomState};

use super::raw_key::{RawKey, has_same_start, hash, is_equal};
use crate::cache::answers::{Answered, Answers, ThreadCounts};
use crate::peer::{CachedValue, Negative, Peer};
use crate::util::clock::{CoarseInstant, Tick};
use crate::util::sync::Arc;

/// Number of slots in which a key may be.
const WAYS: usize = 2;
const SETS: usize = 512;
/// With its handle a slot takes 120 bytes, so that all of them take 120 KiB.
pub(super) const SLOTS: usize = SETS * WAYS;
/// Of this many answers that a thread gets from a shared cache, it keeps one.
///
/// If it kept each, a thread that asks for more peers than it has slots would pay for a replacement at each call. And
/// a thread that gets only a few answers never allocates slots.
pub(crate) const KEEP_ONE_IN: u32 = 32;
/// Bytes that a thread's records may take together: 1 MiB.
///
/// A record that is still in its shared cache costs the thread nothing. One that was invalidated is held until its slot
/// is used again, or until the thread notices a release.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// Number of times that threads were told to release values that are out of date.
static RELEASES: AtomicUsize = AtomicUsize::new(0);

/// Tells every thread to release values that are out of date. Each does at its next answer from a shared cache.
pub(crate) fn release_invalidated() {
    // Release: a thread that sees the new number also sees the states that were written before it.
    RELEASES.fetch_add(1, Release);
}

/// The answer of a thread's cache.
///
/// It is returned in two registers. That needs variants with one word or nothing: through memory it would cost half
/// of a hit.
pub(crate) enum LocalAnswer {
    Found(Peer),
    Absent,
    Failed,
    /// The shared cache must be asked. With the time at which this thread looked.
    Miss(CoarseInstant),
}

/// One thread's cache.
pub(super) struct LocalCache {
    seed: u64,
    /// The seed combined with `cache`, so that clients do not compete for the same sets.
    seed_of_cache: u64,
    /// Allocated when the first value is kept.
    sets: Option<Box<[SlotSet; SETS]>>,
    /// The tick of this thread's last call, and the time then. A call at the same tick has the same time.
    ///
    /// To read the time itself would cost more than all the rest of a hit, and the tick alone does not show that the
    /// system was suspended.
    tick: Tick,
    now: CoarseInstant,
    /// The earliest time at which a slot expires. It is looked at once a tick, so that no hit has to look at its slot's.
    expiry: CoarseInstant,
    /// The shared cache that this thread asked last, and this thread's counts of its answers.
    cache: u32,
    pub(super) counts: Arc<ThreadCounts>,
    /// The other shared caches that this thread asked.
    pub(super) others: Vec<(u32, Arc<ThreadCounts>)>,
    /// Number of answers from shared caches.
    answers: u32,
    /// True while the next answer that can be kept is to be kept.
    keeps_next: bool,
    /// Bytes that the records in all slots take.
    pub(super) bytes: usize,
    /// The slot that was emptied last to make room.
    hand: usize,
    /// The value of `RELEASES` that this thread has handled.
    releases: usize,
}

/// The slots in which a key may be.
type SlotSet = [Slot; WAYS];

/// One slot. Its size is a cache line.
#[repr(align(64))]
pub(super) struct Slot {
    key: RawKey,
    cache: u32,
    /// The time from which the value may no longer be the whole answer.
    until: CoarseInstant,
    value: Option<CachedValue>,
}

impl Slot {
    const EMPTY: Slot = Slot { key: [0; 36], cache: 0, until: CoarseInstant::START, value: None };

    #[inline(always)]
    fn is_of(&self, cache: u32, key: &RawKey) -> bool {
        is_equal(&self.key, key) && self.cache == cache
    }

    /// Empties the slot. Returns the bytes that its record took.
    fn empty(&mut self) -> usize {
        std::mem::replace(self, Slot::EMPTY).value.map_or(0, |value| value.bytes())
    }

    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, CachedValue::bytes)
    }

    /// Returns whether no thread can get an answer from this slot any more.
    fn is_free(&self) -> bool {
        self.value.as_ref().is_none_or(|value| !value.state().is_live())
    }
}

impl LocalCache {
    pub(super) fn new(answers: &Answers) -> Self {
        let seed = RandomState::default().hash_one(0);
        LocalCache {
            seed,
            seed_of_cache: seed ^ u64::from(answers.id()),
            sets: None,
            tick: Tick::NEVER,
            now: CoarseInstant::START,
            expiry: CoarseInstant::NEVER,
            cache: answers.id(),
            counts: answers.register(),
            others: Vec::new(),
            answers: 0,
            keeps_next: false,
            bytes: 0,
            hand: 0,
            releases: 0,
        }
    }

    /// Looks a key up, and counts the answer unless it is a `Miss`. Returns `None` where this thread's last call was to
    /// another cache or at another tick: see [`switch_to`](Self::switch_to) and [`set_time`](Self::set_time).
    #[inline(always)]
    pub(super) fn get(&mut self, cache: u32, key: &RawKey, tick: Tick) -> Option<LocalAnswer> {
        if self.cache != cache || self.tick != tick {
            return None;
        }
        Some(self.get_here(cache, key).unwrap_or(LocalAnswer::Miss(self.now)))
    }

    #[inline(always)]
    fn get_here(&mut self, cache: u32, key: &RawKey) -> Option<LocalAnswer> {
        let set = &self.sets.as_ref()?[set_of(self.seed_of_cache, key)];
        let slot = find_slot(set, cache, key)?;
        let value = slot.value.as_ref()?;
        if value.state().is_visited_record() {
            let peer = value.peer()?;
            self.counts.add_one(Answered::Fresh);
            return Some(LocalAnswer::Found(peer));
        }
        if !value.state().visit() {
            return None;
        }
        match value.state().negative() {
            // It is visited now: the next call finds it.
            None => None,
            Some(Negative::Absent) => {
                self.counts.add_one(Answered::Absent);
                Some(LocalAnswer::Absent)
            }
            Some(Negative::Failed) => {
                self.counts.add_one(Answered::Unknown);
                Some(LocalAnswer::Failed)
            }
        }
    }

    /// Sets the time as of which [`get`](Self::get) answers at this tick, and empties the slots that have expired.
    pub(super) fn set_time(&mut self, tick: Tick, now: CoarseInstant) {
        self.tick = tick;
        self.now = now;
        if now >= self.expiry {
            self.expire();
        }
    }

    #[cold]
    #[inline(never)]
    fn expire(&mut self) {
        self.expiry = CoarseInstant::NEVER;
        for slot in self.sets.iter_mut().flat_map(|sets| sets.as_flattened_mut()) {
            if slot.value.is_none() {
                continue;
            }
            if slot.until <= self.now {
                self.bytes -= slot.empty();
            } else {
                self.expiry = self.expiry.min(slot.until);
            }
        }
    }

    /// Makes the next call read the time.
    #[cfg(any(test, fuzzing))]
    pub(super) fn forget_time(&mut self) {
        self.tick = Tick::NEVER;
    }

    /// Makes `cache` the one that [`get`](Self::get) answers for: most threads ask one cache many times in a row.
    ///
    /// Returns whether this thread has counts of its answers.
    #[cold]
    #[inline(never)]
    pub(super) fn switch_to(&mut self, cache: u32) -> bool {
        if self.cache == cache {
            return true;
        }
        let Some((id, counts)) = self.others.iter_mut().find(|(id, _)| *id == cache) else { return false };
        self.seed_of_cache = self.seed ^ u64::from(cache);
        std::mem::swap(&mut self.cache, id);
        std::mem::swap(&mut self.counts, counts);
        true
    }

    /// Counts an answer of a shared cache, and releases values that are out of date if threads were told to.
    ///
    /// Returns whether this thread should [`keep`](Self::keep) the answer, or `None` where it has no counts for this cache.
    /// That is true once in [`KEEP_ONE_IN`] answers, and then until one is kept: not every answer can be.
    #[inline]
    pub(super) fn count(&mut self, answers: &Answers, answered: Answered) -> Option<bool> {
        if self.cache != answers.id() && !self.switch_to(answers.id()) {
            return None;
        }
        self.counts.add_one(answered);
        if self.releases != RELEASES.load(Acquire) {
            self.release();
        }
        self.answers = self.answers.wrapping_add(1);
        self.keeps_next |= self.answers % KEEP_ONE_IN == 0;
        Some(self.keeps_next)
    }

    /// Registers this thread with a cache that it asks for the first time, and counts its answer.
    pub(super) fn register(&mut self, answers: &Answers, answered: Answered) {
        // Counts that nothing but this thread holds are of caches that are gone.
        self.others.retain(|(_, counts)| Arc::strong_count(counts) > 1);
        self.others.push((self.cache, std::mem::replace(&mut self.counts, answers.register())));
        self.cache = answers.id();
        self.seed_of_cache = self.seed ^ u64::from(self.cache);
        self.counts.add_one(answered);
        self.release();
    }

    /// Stores a value, and empties slots until the records of all of them fit into [`MAX_BYTES`].
    #[inline(never)]
    pub(super) fn keep(&mut self, cache: u32, key: &RawKey, until: CoarseInstant, value: CachedValue) {
        self.keeps_next = false;
        let bytes = value.bytes();
        // One record must not displace most of the others.
        if bytes > MAX_BYTES / 4 || cache == Answers::NO_ID {
            return;
        }
        let (seed, answers) = (self.seed ^ u64::from(cache), self.answers);
        if self.sets.is_none() {
            self.sets = allocate_sets();
        }
        let Some(sets) = &mut self.sets else { return };
        let index = choose_slot(sets, set_of(seed, key), cache, key, answers);
        let slots = sets.as_flattened_mut();
        let slot = &mut slots[index];
        let mut freed = slot.bytes();
        value.keep_in(&mut slot.value);
        slot.key = *key;
        slot.cache = cache;
        slot.until = until;
        self.expiry = self.expiry.min(until);
        // In the order of the slots, whichever peers are in them: a busy one is soon kept again.
        let mut hand = self.hand;
        while self.bytes - freed + bytes > MAX_BYTES {
            hand = (hand + 1) % SLOTS;
            if hand != index {
                freed += slots[hand].empty();
            }
        }
        self.hand = hand;
        self.bytes = self.bytes - freed + bytes;
    }

    /// Drops the values that are out of date.
    #[cold]
    #[inline(never)]
    fn release(&mut self) {
        self.releases = RELEASES.load(Acquire);
        let slots = self.sets.iter_mut().flat_map(|sets| sets.as_flattened_mut());
        self.bytes -= slots.filter(|slot| slot.is_free()).map(Slot::empty).sum::<usize>();
    }
}

/// Allocates empty slots. They must not be on the stack even for a moment, because it may be small.
fn allocate_sets() -> Option<Box<[SlotSet; SETS]>> {
    let sets: Vec<SlotSet> = (0..SETS).map(|_| [Slot::EMPTY; WAYS]).collect();
    // Never `None`: the length is that of the array.
    sets.into_boxed_slice().try_into().ok()
}

/// Returns the slot of a key, if it has one.
#[inline(always)]
fn find_slot<'a>(set: &'a SlotSet, cache: u32, key: &RawKey) -> Option<&'a Slot> {
    // The way is computed, not branched on: a thread that asks for many peers finds about half of them in either, and
    // no branch predictor can know in which.
    let way = usize::from(has_same_start(&set[1].key, key));
    let slot = &set[way];
    if slot.is_of(cache, key) {
        return Some(slot);
    }
    // Both keys of the set may have the same start.
    set.first().filter(|slot| way == 1 && slot.is_of(cache, key))
}

/// Returns the index of the slot for a key: its own, or a free one, or one of the others in turn.
fn choose_slot(sets: &[SlotSet; SETS], set: usize, cache: u32, key: &RawKey, answers: u32) -> usize {
    let slots = &sets[set];
    let own = slots.iter().position(|slot| slot.is_of(cache, key));
    let way = own.or_else(|| slots.iter().position(Slot::is_free));
    set * WAYS + way.unwrap_or((answers / KEEP_ONE_IN) as usize % WAYS)
}

/// Returns the index of the set in which a key may be.
#[inline(always)]
fn set_of(seed: u64, key: &RawKey) -> usize {
    hash(key, FixedState::with_seed(seed).build_hasher()) as usize % SETS
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests;
