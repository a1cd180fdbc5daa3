//! Locks, condition variables and atomics, which are loom's in a build with `--cfg a2a_loom`.
//!
//! Loom runs a test in every interleaving of its threads: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

#[cfg(a2a_loom)]
use loom::sync as locks;
#[cfg(not(a2a_loom))]
use std::sync as locks;
use std::sync::PoisonError;

use crate::util::clock::Deadline;
#[cfg(not(a2a_loom))]
pub(crate) use locks::Arc;
#[cfg(not(a2a_loom))]
pub(crate) use locks::atomic::{AtomicU8, AtomicU64, fence};
pub(crate) use locks::{Condvar, MutexGuard};
#[cfg(a2a_loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, fence};
#[cfg(a2a_loom)]
pub(crate) use loom::thread_local;
#[cfg(not(a2a_loom))]
pub(crate) use std::thread_local;

/// A mutex without poisoning. Its users keep the guarded value consistent at each point where a panic can happen.
///
/// It is the standard library's, not `parking_lot`'s, because of fork. `parking_lot` keeps waiting threads in global
/// lists. In the child of a fork these name threads that do not exist there, whose memory the child's own threads reuse:
/// a wait in a child was seen to be never woken.
#[derive(Debug)]
pub(crate) struct Mutex<T>(locks::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(locks::Mutex::new(value))
    }

    /// Locks the mutex, even where a thread panicked while it held the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

/// Blocks while `condition` holds, until the deadline at the latest. Without a deadline it blocks without a bound.
///
/// Loom has no clock: there, a deadline never passes.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    condition: impl Fn(&T) -> bool,
    deadline: Option<Deadline>,
) -> MutexGuard<'a, T> {
    // The system decides when the time is over. A clock that stands still, read here, would never end the wait.
    while condition(&guard) {
        let (next, timed_out) = wait_once(condvar, guard, deadline);
        guard = next;
        if timed_out {
            break;
        }
    }
    guard
}

/// Blocks until a notification or the deadline. It may also return for no reason, as condition variables may.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Deadline>,
) -> MutexGuard<'a, T> {
    wait_once(condvar, guard, deadline).0
}

/// Waits once. Returns the guard, and whether the deadline ended the wait.
fn wait_once<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Deadline>,
) -> (MutexGuard<'a, T>, bool) {
    let Some(deadline) = deadline.filter(|_| cfg!(not(a2a_loom))) else {
        return (condvar.wait(guard).unwrap_or_else(PoisonError::into_inner), false);
    };
    let (guard, waited) = condvar.wait_timeout(guard, deadline.left()).unwrap_or_else(PoisonError::into_inner);
    (guard, waited.timed_out())
}

/// An `Arc` whose count loom models, with the memory orders that the standard library uses.
///
/// Loom's own `Arc` does not model a relaxed load of the count with a fence after it.
#[cfg(a2a_loom)]
#[derive(Debug)]
pub(crate) struct Arc<T> {
    value: std::sync::Arc<T>,
    count: std::sync::Arc<loom::sync::atomic::AtomicUsize>,
}

#[cfg(a2a_loom)]
impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        Arc { value: std::sync::Arc::new(value), count: std::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(1)) }
    }

    pub(crate) fn strong_count(this: &Self) -> usize {
        this.count.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(a2a_loom)]
impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc { value: self.value.clone(), count: self.count.clone() }
    }
}

#[cfg(a2a_loom)]
impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, std::sync::atomic::Ordering::Release);
    }
}

#[cfg(a2a_loom)]
impl<T> std::ops::Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
