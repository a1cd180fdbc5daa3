//! The front: what each thread keeps of the caches' answers, so that a hit neither parses an id, nor takes a lock,
//! nor touches a counter that another thread touches, too.
//!
//! What is kept has a mark, by which the cache calls it back. A handle that a caller is done with comes back to where
//! it was lent, because cloning one has threads that ask for the same peer fight over the record's counter.
//!
//! A hit here is some hundred instructions, and what looks odd saves some of them: `benches/peers/instructions` counts.

mod raw;
mod table;

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::PeerId;
use super::raw_key::{RawKey, of_id};
use super::record::{CachedValue, Record};
use crate::stats::{Answered, Answers};
use crate::util::clock::CoarseInstant;
pub(super) use raw::Home;
pub(crate) use raw::LocalAnswer;
use raw::Raw;
use table::LocalCache;
pub(crate) use table::release_invalidated;

thread_local! {
    /// Taken out by whoever works with it. It is dropped by another, since a thread-local that needs to be dropped is
    /// dearer to reach. (Where the system's own keys stand in for thread-locals, as on Android, a thread that ends may
    /// leave it behind.)
    static LOCAL: Cell<ManuallyDrop<Option<Box<LocalCache>>>> = const { Cell::new(ManuallyDrop::new(None)) };
    static DROP: DropLocal = const { DropLocal };
}

/// Drops the front when its thread ends.
struct DropLocal;

impl Drop for DropLocal {
    fn drop(&mut self) {
        drop(LOCAL.with(|front| ManuallyDrop::into_inner(front.take())));
    }
}

/// Works with this thread's front, if it has one. A front that is worked with is not there for another.
#[inline(always)]
fn with<R>(work: impl FnOnce(&mut LocalCache) -> R) -> Option<R> {
    // Not `with`, which is not inlined.
    let done = LOCAL.try_with(|place| {
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
pub(super) fn get_by_text(cache: u32, text: &RawKey) -> Raw {
    #[cold]
    #[inline(never)]
    fn again(cache: u32, text: &RawKey) -> Raw {
        if turn_to(cache) { get_by_text(cache, text) } else { Raw::nothing(CoarseInstant::now()) }
    }
    let now = CoarseInstant::now();
    match with(|front| front.get_local(cache, text, now)).unwrap_or(Raw::nothing(now)) {
        raw if raw.is_again() => again(cache, text),
        raw => raw,
    }
}

/// What it keeps of an id.
#[inline(never)]
pub(super) fn get_by_id(cache: u32, id: PeerId) -> Raw {
    #[cold]
    #[inline(never)]
    fn again(cache: u32, id: PeerId) -> Raw {
        if turn_to(cache) { get_by_id(cache, id) } else { Raw::nothing(CoarseInstant::now()) }
    }
    let now = CoarseInstant::now();
    match with(|front| front.get_local(cache, &of_id(id), now)).unwrap_or(Raw::nothing(now)) {
        raw if raw.is_again() => again(cache, id),
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
    let front = DROP.try_with(|_| LocalCache::new(answers)).ok().flatten();
    let Some(front) = front else { return false };
    front.counts.add_one(what);
    LOCAL.try_with(|place| place.set(ManuallyDrop::new(Some(Box::new(front))))).is_ok()
}

/// Whether it is this thread's turn to keep an answer that the cache gave.
pub(crate) fn should_keep() -> bool {
    with(LocalCache::should_keep).unwrap_or(false)
}

/// Has this thread's front keep an answer until it is called back, or `until` then. To be called when no lock is held:
/// what had to go for it is dropped.
pub(crate) fn keep(cache: u32, raw_key: &RawKey, until: CoarseInstant, filed: CachedValue) {
    with(|front| front.keep(cache, raw_key, until, filed));
}

/// What this thread keeps of a text, at another time.
#[cfg(any(test, fuzzing))]
pub(crate) fn get_local_at(cache: u32, text: &str, now: CoarseInstant) -> LocalAnswer {
    let Ok(text) = text.as_bytes().try_into() else { return LocalAnswer::Miss(now) };
    let raw = with(|front| if front.turn_to(cache) { front.get_local(cache, text, now) } else { Raw::nothing(now) });
    raw.unwrap_or(Raw::nothing(now)).recalled()
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests;
