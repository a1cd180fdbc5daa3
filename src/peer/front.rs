//! The front: what each thread keeps of the caches' answers, so that a hit neither parses an id, nor takes a lock,
//! nor touches a counter that another thread touches, too.
//!
//! What is kept has a mark, by which the cache calls it back. A handle that a caller is done with comes back to where
//! it was lent, because cloning one has threads that ask for the same peer fight over the record's counter.
//!
//! A hit here is some hundred instructions, and what looks odd saves some of them: `benches/peers/instructions` counts.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use foldhash::fast::{FixedState, RandomState};

use super::PeerId;
use super::mark::No;
use super::record::{Filed, Peer, Record};
use super::spelling::{Spelling, hash, of_id, same};
use crate::clock::Tick;
use crate::stats::{Answered, Answers, Counts};

/// Places of a thread's front: 128 KiB.
const PLACES: usize = 2_048;
/// In how many of them a spelling may be.
const WAYS: usize = 2;
const SETS: usize = PLACES / WAYS;
/// Of so many answers that a thread had to ask the cache for, it keeps one. Were it each of them, a thread that asks
/// for more peers than it has places would pay for a change at each call; and no front is made for one push.
const ONE_IN: u32 = 32;
/// How much memory a thread's records take at the most. As long as they live they are the cache's own; but those that
/// it has called back since are held until their place is taken, or until the thread hears of a purge.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Generations before a thread takes another number.
const GENERATIONS: u32 = u32::MAX / PLACES as u32;

/// How often threads were told to let go of what was called back.
static PURGES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Taken out by whoever works with it. It is dropped by another, since a thread-local that needs to be dropped is
    /// dearer to reach.
    static FRONT: Cell<ManuallyDrop<Option<Box<Front>>>> = const { Cell::new(ManuallyDrop::new(None)) };
    static DROP: DropFront = const { DropFront };
}

/// Drops the front when its thread ends.
struct DropFront;

impl Drop for DropFront {
    fn drop(&mut self) {
        drop(FRONT.with(|front| ManuallyDrop::into_inner(front.take())));
    }
}

struct Front {
    /// The thread's number, in the upper half.
    thread: u64,
    seed: u64,
    /// The seed for the client that this thread asked last.
    seed_here: u64,
    sets: Option<Box<[Set; SETS]>>,
    /// The client that this thread asked last, and its counts.
    cache: u32,
    counts: Arc<Counts>,
    others: Vec<(u32, Arc<Counts>)>,
    asked: u32,
    generation: u32,
    bytes: usize,
    purges: usize,
}

/// The places where a spelling may be.
type Set = [Slot; WAYS];

/// One place, and what is in it. Its size is a cache line.
#[repr(align(64))]
struct Slot {
    spelling: Spelling,
    cache: u32,
    /// A generation and the place: tells what is in it from what was there before, and from all else.
    ticket: u32,
    /// How much memory the record takes.
    bytes: u32,
    /// Until when it is the whole answer.
    until: Tick,
    /// The answer, unless there is none or it is lent.
    filed: Option<Arc<Record>>,
}

/// Where a handle goes when its caller is done with it: the number of a thread, and a ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Home(u64);

impl Home {
    /// No thread has that number.
    pub(super) const NONE: Home = Home(u64::MAX);

    #[inline(always)]
    fn new(thread: u64, ticket: u32) -> Self {
        Home(thread | u64::from(ticket))
    }

    #[inline(always)]
    pub(super) fn is_some(self) -> bool {
        self != Home::NONE
    }
}

/// What the front says.
pub(crate) enum Recalled {
    Found(Peer),
    No(No),
    /// Nothing, at this time.
    Nothing(Tick),
}

/// The same in two registers: a handle and where it goes, or neither and why. Its size decides; the enum goes through
/// memory, and that costs half of a hit.
pub(super) struct Raw {
    record: Option<Arc<Record>>,
    code: u64,
}

impl Raw {
    const ABSENT: Raw = Raw { record: None, code: 0 };
    const FAILED: Raw = Raw { record: None, code: 1 };
    /// No answer yet: the last client that this thread asked was another.
    const AGAIN: Raw = Raw { record: None, code: 2 };

    /// Nothing, at this time. In the first nanosecond that a machine is up it would be taken for a no.
    #[inline(always)]
    fn nothing(now: Tick) -> Self {
        Raw { record: None, code: now.units() }
    }

    #[inline(always)]
    pub(super) fn recalled(self) -> Recalled {
        match (self.record, self.code) {
            (Some(record), home) => Recalled::Found(Peer::lent(record, Home(home))),
            (None, 0) => Recalled::No(No::Absent),
            (None, 1) => Recalled::No(No::Failed),
            (None, now) => Recalled::Nothing(Tick::of_units(now)),
        }
    }
}

/// Works with this thread's front, if it has one. A front that is worked with is not there for another.
#[inline(always)]
fn with<R>(work: impl FnOnce(&mut Front) -> R) -> Option<R> {
    // Not `with`, which is not inlined.
    let done = FRONT.try_with(|place| {
        let mut front = ManuallyDrop::into_inner(place.take())?;
        let done = work(&mut front);
        place.set(ManuallyDrop::new(Some(front)));
        Some(done)
    });
    done.ok().flatten()
}

/// What this thread keeps of a text.
///
/// In it and [`give_back`] all that is rare is called at the end or not at all: a call on the way has the rest keep
/// its registers on the stack.
#[inline(never)]
pub(super) fn recall_text(cache: u32, text: &Spelling) -> Raw {
    #[cold]
    #[inline(never)]
    fn again(cache: u32, text: &Spelling) -> Raw {
        if turn_to(cache) { recall_text(cache, text) } else { Raw::nothing(Tick::now()) }
    }
    let now = Tick::now();
    match with(|front| front.recall(cache, text, now)).unwrap_or(Raw::nothing(now)) {
        Raw { record: None, code: 2 } => again(cache, text),
        raw => raw,
    }
}

/// What it keeps of an id.
#[inline(never)]
pub(super) fn recall_id(cache: u32, id: PeerId) -> Raw {
    #[cold]
    #[inline(never)]
    fn again(cache: u32, id: PeerId) -> Raw {
        if turn_to(cache) { recall_id(cache, id) } else { Raw::nothing(Tick::now()) }
    }
    let now = Tick::now();
    match with(|front| front.recall(cache, &of_id(id), now)).unwrap_or(Raw::nothing(now)) {
        Raw { record: None, code: 2 } => again(cache, id),
        raw => raw,
    }
}

/// A handle is done with. On another thread than that which lent it, it is dropped.
#[inline(never)]
pub(super) fn give_back(home: Home, record: Arc<Record>) {
    #[cold]
    #[inline(never)]
    fn lost(record: Arc<Record>) {
        drop(record);
    }
    let mut record = Some(record);
    with(|front| front.give_back(home, &mut record));
    if let Some(record) = record {
        lost(record);
    }
}

/// Makes a client the one that this thread asks. Whether it has asked it before.
fn turn_to(cache: u32) -> bool {
    with(|front| front.turn_to(cache)).unwrap_or(false)
}

/// Counts an answer that was not the front's, and does what is to be done now and then.
pub(crate) fn count(answers: &Answers, what: Answered) {
    if answers.id() == Answers::NOBODY || !count_here(answers, what) {
        answers.add_one(what);
    }
}

fn count_here(answers: &Answers, what: Answered) -> bool {
    let counted = with(|front| front.count(answers, what));
    if counted.is_some() {
        return true;
    }
    // Not once the thread is ending: nobody would drop it.
    let front = DROP.try_with(|_| Front::new(answers)).ok().flatten();
    let Some(front) = front else { return false };
    front.counts.add_one(what);
    FRONT.try_with(|place| place.set(ManuallyDrop::new(Some(Box::new(front))))).is_ok()
}

/// Has this thread's front keep an answer until it is called back, or `until` then. What had to go for it is handed
/// back, to be dropped when no lock is held.
#[must_use = "drop what was replaced when no lock is held"]
pub(crate) fn keep(cache: u32, spelling: &Spelling, until: Tick, filed: &Filed) -> Option<Filed> {
    with(|front| if front.is_to_keep() { front.keep(cache, spelling, until, filed) } else { None }).flatten()
}

/// Has every thread let go of what was called back, at its next call that the front has no answer for.
pub(crate) fn purge() {
    PURGES.fetch_add(1, Relaxed);
}

impl Slot {
    const EMPTY: Slot = Slot { spelling: [0; 36], cache: 0, ticket: 0, bytes: 0, until: Tick::START, filed: None };

    #[inline(always)]
    fn is_of(&self, cache: u32, spelling: &Spelling) -> bool {
        same(&self.spelling, spelling) && self.cache == cache
    }

    /// Whether nobody needs what is in it.
    fn is_free(&self) -> bool {
        self.filed.as_ref().is_none_or(|filed| !filed.mark.is_live())
    }
}

impl Front {
    /// `None` where there is no number left for its thread.
    fn new(answers: &Answers) -> Option<Self> {
        let seed = RandomState::default().hash_one(0);
        Some(Front {
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
            purges: 0,
        })
    }

    #[inline(always)]
    fn recall(&mut self, cache: u32, spelling: &Spelling, now: Tick) -> Raw {
        if self.cache != cache {
            return Raw::AGAIN;
        }
        let at = set(self.seed_here, spelling);
        let Some(sets) = &mut self.sets else { return Raw::nothing(now) };
        let Some(slot) = sets[at].iter_mut().find(|slot| slot.is_of(cache, spelling)) else {
            return Raw::nothing(now);
        };
        match &slot.filed {
            Some(filed) if now < slot.until => {
                if filed.mark.is_visited_record() {
                    self.counts.add_one(Answered::Fresh);
                    // What is lent is not there to be lent again.
                    return Raw { record: slot.filed.take(), code: Home::new(self.thread, slot.ticket).0 };
                }
                if !filed.mark.visit() {
                    return Raw::nothing(now);
                }
                match filed.mark.no() {
                    // The next time.
                    None => Raw::nothing(now),
                    Some(No::Absent) => {
                        self.counts.add_one(Answered::Absent);
                        Raw::ABSENT
                    }
                    Some(No::Failed) => {
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
    fn give_back(&mut self, home: Home, record: &mut Option<Arc<Record>>) {
        let Some(sets) = &mut self.sets else { return };
        let slot = &mut sets.as_flattened_mut()[home.0 as usize % PLACES];
        if Home::new(self.thread, slot.ticket) == home && slot.filed.is_none() {
            std::mem::swap(&mut slot.filed, record);
        }
    }

    /// Makes a client the one that comes first: most threads ask one of them many times in a row.
    fn turn_to(&mut self, cache: u32) -> bool {
        if self.cache == cache {
            return true;
        }
        let Some((id, counts)) = self.others.iter_mut().find(|(id, _)| *id == cache) else { return false };
        self.seed_here = self.seed ^ u64::from(cache);
        std::mem::swap(&mut self.cache, id);
        std::mem::swap(&mut self.counts, counts);
        true
    }

    fn count(&mut self, answers: &Answers, what: Answered) {
        if !self.turn_to(answers.id()) {
            // Those of clients that are gone: nobody but this thread holds them.
            self.others.retain(|(_, counts)| Arc::strong_count(counts) > 1);
            self.others.push((self.cache, std::mem::replace(&mut self.counts, answers.register())));
            self.cache = answers.id();
            self.seed_here = self.seed ^ u64::from(self.cache);
        }
        self.counts.add_one(what);
        self.purge();
    }

    /// Whether it is the turn of the answer that the cache gave.
    #[inline]
    fn is_to_keep(&mut self) -> bool {
        self.asked = self.asked.wrapping_add(1);
        self.asked % ONE_IN == 0
    }

    #[inline(never)]
    fn keep(&mut self, cache: u32, spelling: &Spelling, until: Tick, filed: &Filed) -> Option<Filed> {
        self.make_ready(cache)?;
        let (at, way) = self.choose(cache, spelling)?;
        let bytes = u32::try_from(filed.bytes()).ok()?;
        let slot = &mut self.sets.as_mut()?[at][way];
        let total = self.bytes - slot.bytes as usize + bytes as usize;
        if total > MAX_BYTES {
            return None;
        }
        self.bytes = total;
        self.generation += 1;
        let ticket = self.generation * PLACES as u32 + (at * WAYS + way) as u32;
        let kept = Slot { spelling: *spelling, cache, ticket, bytes, until, filed: Some(filed.0.clone()) };
        std::mem::replace(slot, kept).filed.map(Filed)
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

    /// Lets go of what was called back, if there was a purge.
    fn purge(&mut self) {
        let purges = PURGES.load(Relaxed);
        if self.purges == purges {
            return;
        }
        self.purges = purges;
        for slot in self.sets.iter_mut().flat_map(|sets| sets.as_flattened_mut()).filter(|slot| slot.is_free()) {
            self.bytes -= slot.bytes as usize;
            *slot = Slot::EMPTY;
        }
    }

    /// A place for a spelling: its own, one that nobody needs, or another's.
    fn choose(&mut self, cache: u32, spelling: &Spelling) -> Option<(usize, usize)> {
        let at = set(self.seed ^ u64::from(cache), spelling);
        let set = &self.sets.as_ref()?[at];
        let own = set.iter().position(|slot| slot.is_of(cache, spelling));
        let way = own.or_else(|| set.iter().position(Slot::is_free));
        Some((at, way.unwrap_or((self.asked / ONE_IN) as usize % WAYS)))
    }
}

/// The set where a spelling may be.
#[inline(always)]
fn set(seed: u64, spelling: &Spelling) -> usize {
    // Keyed, because ids come from strangers: not all of theirs shall share a set with a busy one's.
    hash(spelling, FixedState::with_seed(seed).build_hasher()) as usize % SETS
}

/// A number for a thread, that no other has or had.
fn number() -> Option<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = u32::try_from(NEXT.fetch_add(1, Relaxed)).ok().filter(|number| *number != u32::MAX)?;
    Some(u64::from(number) << 32)
}

/// What this thread keeps of a text, at another time.
#[cfg(test)]
pub(crate) fn recall_at(cache: u32, text: &str, now: Tick) -> Recalled {
    let text = text.as_bytes().try_into().expect("36 characters");
    let raw = with(|front| if front.turn_to(cache) { front.recall(cache, text, now) } else { Raw::nothing(now) });
    raw.unwrap_or(Raw::nothing(now)).recalled()
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
