//! One thread's front: the places, and what is in them.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};

use foldhash::fast::{FixedState, RandomState};

use super::raw::{Home, Raw};
use crate::peer::raw_key::{RawKey, hash, same};
use crate::peer::record::{CachedValue, Record};
use crate::peer::state::Negative;
use crate::stats::{Answered, Answers, Counts};
use crate::util::clock::CoarseInstant;
use crate::util::sync;

/// Places of a thread's front: 128 KiB.
pub(super) const PLACES: usize = 2_048;
/// In how many of them a raw_key may be.
pub(super) const WAYS: usize = 2;
const SETS: usize = PLACES / WAYS;
/// Of so many answers that a thread had to ask the cache for, it keeps one. Were it each of them, a thread that asks
/// for more peers than it has places would pay for a change at each call; and no front is made for one push.
pub(super) const ONE_IN: u32 = 32;
/// How much memory a thread's records take at the most. As long as they live they are the cache's own; but those that
/// it has called back since are held until their place is taken, or until the thread hears of a release_invalidated.
pub(super) const MAX_BYTES: usize = 1024 * 1024;
/// Generations before a thread takes another number.
pub(super) const GENERATIONS: u32 = u32::MAX / PLACES as u32;

/// How often threads were told to let go of what was called back.
static PURGES: AtomicUsize = AtomicUsize::new(0);

pub(super) struct LocalCache {
    /// The thread's number, in the upper half.
    pub(super) thread: u64,
    seed: u64,
    /// The seed for the client that this thread asked last.
    seed_here: u64,
    sets: Option<Box<[Set; SETS]>>,
    /// The client that this thread asked last, and its counts.
    cache: u32,
    pub(super) counts: sync::Arc<Counts>,
    pub(super) others: Vec<(u32, sync::Arc<Counts>)>,
    asked: u32,
    pub(super) generation: u32,
    pub(super) bytes: usize,
    /// The place that had to make room last.
    hand: usize,
    purges: usize,
}

/// The places where a raw_key may be.
type Set = [Slot; WAYS];

/// One place, and what is in it. Its size is a cache line.
#[repr(align(64))]
pub(super) struct Slot {
    raw_key: RawKey,
    cache: u32,
    /// A generation and the place: tells what is in it from what was there before, and from all else.
    ticket: u32,
    /// How much memory the record takes.
    bytes: u32,
    /// Until when it is the whole answer.
    until: CoarseInstant,
    /// The answer, unless there is none or it is lent.
    filed: Option<Arc<Record>>,
}

impl Slot {
    const EMPTY: Slot =
        Slot { raw_key: [0; 36], cache: 0, ticket: 0, bytes: 0, until: CoarseInstant::START, filed: None };

    #[inline(always)]
    fn is_of(&self, cache: u32, raw_key: &RawKey) -> bool {
        same(&self.raw_key, raw_key) && self.cache == cache
    }

    /// Empties it. How much that was.
    fn empty(&mut self) -> usize {
        std::mem::replace(self, Slot::EMPTY).bytes as usize
    }

    /// Whether nobody needs what is in it. What is lent comes back.
    fn is_free(&self) -> bool {
        self.filed.as_ref().map_or(self.ticket == 0, |filed| !filed.state.is_live())
    }
}

impl LocalCache {
    /// `None` where there is no number left for its thread.
    pub(super) fn new(answers: &Answers) -> Option<Self> {
        let seed = RandomState::default().hash_one(0);
        Some(LocalCache {
            thread: number()?,
            seed,
            seed_here: seed ^ u64::from(answers.id()),
            sets: None,
            cache: answers.id(),
            counts: answers.register(),
            others: Vec::new(),
            asked: 0,
            generation: 0,
            bytes: 0,
            hand: 0,
            purges: 0,
        })
    }

    #[inline(always)]
    pub(super) fn get_local(&mut self, cache: u32, raw_key: &RawKey, now: CoarseInstant) -> Raw {
        if self.cache != cache {
            return Raw::AGAIN;
        }
        let at = set(self.seed_here, raw_key);
        let Some(sets) = &mut self.sets else { return Raw::nothing(now) };
        let Some(slot) = sets[at].iter_mut().find(|slot| slot.is_of(cache, raw_key)) else {
            return Raw::nothing(now);
        };
        match &slot.filed {
            Some(filed) if now < slot.until => {
                if filed.state.is_visited_record() {
                    self.counts.add_one(Answered::Fresh);
                    // What is lent is not there to be lent again.
                    return Raw { record: slot.filed.take(), code: Home::new(self.thread, slot.ticket).0 };
                }
                if !filed.state.visit() {
                    return Raw::nothing(now);
                }
                match filed.state.negative() {
                    // The next time.
                    None => Raw::nothing(now),
                    Some(Negative::Absent) => {
                        self.counts.add_one(Answered::Absent);
                        Raw::ABSENT
                    }
                    Some(Negative::Failed) => {
                        self.counts.add_one(Answered::Unknown);
                        Raw::FAILED
                    }
                }
            }
            _ => Raw::nothing(now),
        }
    }

    /// Takes a handle back, if it belongs here.
    #[inline(always)]
    pub(super) fn give_back(&mut self, home: Home, record: &mut Option<Arc<Record>>) {
        let Some(sets) = &mut self.sets else { return };
        let slot = &mut sets.as_flattened_mut()[home.0 as usize % PLACES];
        if Home::new(self.thread, slot.ticket) == home && slot.filed.is_none() {
            std::mem::swap(&mut slot.filed, record);
        }
    }

    /// Makes a client the one that comes first: most threads ask one of them many times in a row.
    pub(super) fn turn_to(&mut self, cache: u32) -> bool {
        if self.cache == cache {
            return true;
        }
        let Some((id, counts)) = self.others.iter_mut().find(|(id, _)| *id == cache) else { return false };
        self.seed_here = self.seed ^ u64::from(cache);
        std::mem::swap(&mut self.cache, id);
        std::mem::swap(&mut self.counts, counts);
        true
    }

    pub(super) fn count(&mut self, answers: &Answers, what: Answered) {
        if !self.turn_to(answers.id()) {
            // Those of clients that are gone: nobody but this thread holds them.
            self.others.retain(|(_, counts)| sync::Arc::strong_count(counts) > 1);
            self.others.push((self.cache, std::mem::replace(&mut self.counts, answers.register())));
            self.cache = answers.id();
            self.seed_here = self.seed ^ u64::from(self.cache);
        }
        self.counts.add_one(what);
        self.release_invalidated();
    }

    /// Whether it is the turn of the answer that the cache gave.
    #[inline]
    pub(super) fn should_keep(&mut self) -> bool {
        self.asked = self.asked.wrapping_add(1);
        self.asked % ONE_IN == 0
    }

    #[inline(never)]
    pub(super) fn keep(
        &mut self,
        cache: u32,
        raw_key: &RawKey,
        until: CoarseInstant,
        filed: CachedValue,
    ) -> Option<()> {
        // Not most of it for one.
        let bytes = u32::try_from(filed.bytes()).ok().filter(|bytes| *bytes as usize <= MAX_BYTES / 4)?;
        self.make_ready(cache)?;
        let place = self.choose(cache, raw_key)?;
        let slots = self.sets.as_mut()?.as_flattened_mut();
        self.bytes -= slots[place].empty();
        // In no order: who is busy is soon back.
        while self.bytes + bytes as usize > MAX_BYTES {
            self.hand = (self.hand + 1) % PLACES;
            self.bytes -= slots[self.hand].empty();
        }
        self.bytes += bytes as usize;
        self.generation += 1;
        let ticket = self.generation * PLACES as u32 + place as u32;
        slots[place] = Slot { raw_key: *raw_key, cache, ticket, bytes, until, filed: Some(filed.0) };
        Some(())
    }

    /// Makes the front ready to keep something, where it is to keep anything.
    fn make_ready(&mut self, cache: u32) -> Option<()> {
        if cache == Answers::NOBODY {
            return None;
        }
        if self.generation == GENERATIONS {
            // Handles that are lent know generations that would come again: from now on they find another number.
            (self.sets, self.bytes, self.generation, self.thread) = (None, 0, 0, number()?);
        }
        if self.sets.is_none() {
            let sets: Vec<Set> = (0..SETS).map(|_| [Slot::EMPTY; WAYS]).collect();
            self.sets = sets.into_boxed_slice().try_into().ok();
        }
        Some(())
    }

    /// Lets go of what was called back, if there was a release_invalidated.
    fn release_invalidated(&mut self) {
        let purges = PURGES.load(Acquire);
        if self.purges == purges {
            return;
        }
        self.purges = purges;
        for slot in self.sets.iter_mut().flat_map(|sets| sets.as_flattened_mut()).filter(|slot| slot.is_free()) {
            self.bytes -= slot.empty();
        }
    }

    /// A place for a raw_key: its own, one that nobody needs, or another's.
    fn choose(&self, cache: u32, raw_key: &RawKey) -> Option<usize> {
        let at = set(self.seed ^ u64::from(cache), raw_key);
        let set = &self.sets.as_ref()?[at];
        let own = set.iter().position(|slot| slot.is_of(cache, raw_key));
        let way = own.or_else(|| set.iter().position(Slot::is_free));
        Some(at * WAYS + way.unwrap_or((self.asked / ONE_IN) as usize % WAYS))
    }
}

/// The set where a raw_key may be.
#[inline(always)]
fn set(seed: u64, raw_key: &RawKey) -> usize {
    // Keyed, because ids come from strangers: not all of theirs shall share a set with a busy one's.
    hash(raw_key, FixedState::with_seed(seed).build_hasher()) as usize % SETS
}

/// Has every thread let go of what was called back, at its next call that the front has no answer for.
pub(crate) fn release_invalidated() {
    // After the marks, for who hears of it.
    PURGES.fetch_add(1, Release);
}

/// A number for a thread, that no other has or had.
fn number() -> Option<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = u32::try_from(NEXT.fetch_add(1, Relaxed)).ok().filter(|number| *number != u32::MAX)?;
    Some(u64::from(number) << 32)
}
