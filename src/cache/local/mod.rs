//! The thread-local tier: some of a cache's answers, stored once more in each thread that got them.
//!
//! A hit here parses no id, takes no lock and touches no counter that another thread touches. The value of a slot has
//! a state that the threads share: it tells them that a write, an eviction or the end of the client invalidated it.
//!
//! A hit takes about a hundred instructions, and what looks odd here saves some of them. `benches/peers/instructions`
//! counts them.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod raw_key;
mod slots;

use std::cell::Cell;
use std::mem::ManuallyDrop;

use super::answers::{Answered, Answers};
use crate::peer::{CachedValue, PeerId, PeerName};
use crate::util::clock::{CoarseInstant, Tick};
use raw_key::{RawKey, of_id};
pub(crate) use slots::LocalAnswer;
use slots::LocalCache;
pub(super) use slots::release_invalidated;

thread_local! {
    /// This thread's cache. A call takes it out while it uses it: a nested call finds none and does without.
    ///
    /// [`DROP`] drops it: a thread-local with a destructor is more expensive to reach. Where the system's keys emulate
    /// thread-locals, as on Android, a thread that ends may leak it.
    static LOCAL: Cell<ManuallyDrop<Option<Box<LocalCache>>>> = const { Cell::new(ManuallyDrop::new(None)) };
    static DROP: DropLocal = const { DropLocal };
}

/// Drops this thread's cache when the thread ends.
struct DropLocal;

impl Drop for DropLocal {
    fn drop(&mut self) {
        drop(LOCAL.with(|local| ManuallyDrop::into_inner(local.take())));
    }
}

/// Looks a peer up in this thread's cache. Counts the answer, unless it is a `Miss`.
#[inline]
pub(super) fn get(cache: u32, name: PeerName<'_>) -> LocalAnswer {
    match name {
        PeerName::Text(text) => match text.as_bytes().try_into() {
            Ok(key) => get_by_text(cache, key),
            Err(_) => LocalAnswer::Miss(CoarseInstant::now()),
        },
        PeerName::Id(id) => get_by_id(cache, id),
        PeerName::Unnamed => LocalAnswer::Miss(CoarseInstant::now()),
    }
}

/// Everything rare is called last or not at all: a call in the middle makes the rest keep its registers on the stack.
#[inline(never)]
fn get_by_text(cache: u32, text: &RawKey) -> LocalAnswer {
    let tick = Tick::now();
    match with_local(|local| local.get(cache, text, tick)) {
        Some(Some(answer)) => answer,
        None | Some(None) => get_after_switch(cache, text, tick),
    }
}

#[inline(never)]
fn get_by_id(cache: u32, id: PeerId) -> LocalAnswer {
    let tick = Tick::now();
    match with_local(|local| local.get(cache, &of_id(id), tick)) {
        Some(Some(answer)) => answer,
        None | Some(None) => get_after_switch(cache, &of_id(id), tick),
    }
}

/// Looks a key up where this thread's last call was to another cache or before this tick, or where it has no cache.
#[cold]
#[inline(never)]
fn get_after_switch(cache: u32, key: &RawKey, tick: Tick) -> LocalAnswer {
    let now = tick.instant();
    let answer = with_local(|local| {
        local.set_time(tick, now);
        if local.switch_to(cache) { local.get(cache, key, tick) } else { None }
    });
    answer.flatten().unwrap_or(LocalAnswer::Miss(now))
}

/// Calls `work` with this thread's cache, if it has one that no caller works with already.
#[inline(always)]
fn with_local<R>(work: impl FnOnce(&mut LocalCache) -> R) -> Option<R> {
    // Not `LocalKey::with`, which is not inlined.
    let result = LOCAL.try_with(|cell| {
        let mut local = ManuallyDrop::into_inner(cell.take())?;
        let result = work(&mut local);
        cell.set(ManuallyDrop::new(Some(local)));
        Some(result)
    });
    result.ok().flatten()
}

/// Counts an answer that did not come from this thread's cache.
///
/// Returns whether this thread should [`keep`] it, if it can be kept. That is true once in
/// [`KEEP_ONE_IN`](slots::KEEP_ONE_IN) answers, and then until one is kept.
#[inline]
pub(super) fn count(answers: &Answers, answered: Answered) -> bool {
    match with_local(|local| local.count(answers, answered)) {
        Some(Some(should_keep)) => should_keep,
        _ => count_slowly(answers, answered),
    }
}

/// Counts an answer for a thread that has no cache yet, or that got no answer of these before, or that is ending.
#[cold]
#[inline(never)]
fn count_slowly(answers: &Answers, answered: Answered) -> bool {
    let registered = answers.id() != Answers::NO_ID
        && (with_local(|local| local.register(answers, answered)).is_some() || start_local(answers, answered));
    if !registered {
        answers.add_one(answered);
    }
    false
}

/// Creates this thread's cache, and counts its first answer. Returns `false` where the thread is ending.
fn start_local(answers: &Answers, answered: Answered) -> bool {
    // Without `DROP`, whose destructor runs when the thread ends, nothing would drop the cache.
    if DROP.try_with(|_| ()).is_err() {
        return false;
    }
    let local = LocalCache::new(answers);
    local.counts.add_one(answered);
    LOCAL.try_with(|cell| cell.set(ManuallyDrop::new(Some(Box::new(local))))).is_ok()
}

/// Returns whether answers for a name can be kept. A text with white space around the id has no key.
pub(super) fn has_key(name: PeerName<'_>) -> bool {
    match name {
        PeerName::Text(text) => text.len() == size_of::<RawKey>(),
        PeerName::Id(_) => true,
        PeerName::Unnamed => false,
    }
}

/// Stores a value in this thread's cache, as the answer for `name` until `until` or until it is invalidated.
///
/// Must be called without a lock: it may drop other values, and freeing a large record takes time.
pub(super) fn keep(cache: u32, name: PeerName<'_>, until: CoarseInstant, value: CachedValue) {
    let id_key;
    let key = match name {
        PeerName::Text(text) => match text.as_bytes().try_into() {
            Ok(key) => key,
            Err(_) => return,
        },
        PeerName::Id(id) => {
            id_key = of_id(id);
            &id_key
        }
        PeerName::Unnamed => return,
    };
    with_local(|local| local.keep(cache, key, until, value));
}

/// Like [`get`] at another time than now.
#[cfg(any(test, fuzzing))]
pub(super) fn get_at(cache: u32, text: &str, now: CoarseInstant) -> LocalAnswer {
    let Ok(key) = text.as_bytes().try_into() else { return LocalAnswer::Miss(now) };
    let tick = Tick::now();
    let answer = with_local(|local| {
        local.set_time(tick, now);
        if local.switch_to(cache) { local.get(cache, key, tick) } else { None }
    });
    // The next call reads the clock again.
    with_local(LocalCache::forget_time);
    answer.flatten().unwrap_or(LocalAnswer::Miss(now))
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests;
