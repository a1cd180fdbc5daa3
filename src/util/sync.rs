//! Where loom stands in for the real locks: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

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

/// A mutex that no panic poisons: what it guards is whole after each step.
///
/// Not `parking_lot`'s, nor its `Condvar`: those keep their waiters in lists. In a child by fork these name threads that are
/// not there, whose places in memory the child's own threads get, and a wait there was seen to be woken by nobody.
#[derive(Debug)]
pub(crate) struct Mutex<T>(locks::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(locks::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits while the `condition` holds, until the deadline at the latest; without one as long as it takes. Under loom, which
/// has no clock, none ever comes.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    condition: impl Fn(&T) -> bool,
    deadline: Option<Deadline>,
) -> MutexGuard<'a, T> {
    // The system says when the time is over: by a clock of ours that stands still it never would be.
    while condition(&guard) {
        let (next, timed_out) = wait_once(condvar, guard, deadline);
        guard = next;
        if timed_out {
            break;
        }
    }
    guard
}

/// Waits until somebody notifies, or the deadline; or for no reason at all, as condition variables may.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Deadline>,
) -> MutexGuard<'a, T> {
    wait_once(condvar, guard, deadline).0
}

/// One wait, and whether the deadline ended it.
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

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

/// An `Arc` whose count loom sees, with the orders that the standard library has for it. Loom's own knows no relaxed
/// count with a fence after it.
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
