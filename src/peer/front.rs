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
use super::record::{Filed, Record};
use super::spelling::{Spelling, of_id};
use crate::clock::Tick;
use crate::stats::{Answered, Answers};
pub(super) use raw::Home;
use raw::Raw;
pub(crate) use raw::Recalled;
use table::Front;
pub(crate) use table::purge;

thread_local! {
    /// Taken out by whoever works with it. It is dropped by another, since a thread-local that needs to be dropped is
    /// dearer to reach. (Where the system's own keys stand in for thread-locals, as on Android, a thread that ends may
    /// leave it behind.)
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
        raw if raw.is_again() => again(cache, text),
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
    let front = DROP.try_with(|_| Front::new(answers)).ok().flatten();
    let Some(front) = front else { return false };
    front.counts.add_one(what);
    FRONT.try_with(|place| place.set(ManuallyDrop::new(Some(Box::new(front))))).is_ok()
}

/// Whether it is this thread's turn to keep an answer that the cache gave.
pub(crate) fn is_to_keep() -> bool {
    with(Front::is_to_keep).unwrap_or(false)
}

/// Has this thread's front keep an answer until it is called back, or `until` then. To be called when no lock is held:
/// what had to go for it is dropped.
pub(crate) fn keep(cache: u32, spelling: &Spelling, until: Tick, filed: Filed) {
    with(|front| front.keep(cache, spelling, until, filed));
}

/// What this thread keeps of a text, at another time.
#[cfg(any(test, fuzzing))]
pub(crate) fn recall_at(cache: u32, text: &str, now: Tick) -> Recalled {
    let Ok(text) = text.as_bytes().try_into() else { return Recalled::Nothing(now) };
    let raw = with(|front| if front.turn_to(cache) { front.recall(cache, text, now) } else { Raw::nothing(now) });
    raw.unwrap_or(Raw::nothing(now)).recalled()
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
