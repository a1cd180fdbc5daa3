//! Where loom stands in for the real locks: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

use std::time::{Duration, Instant};

#[cfg(not(a2a_loom))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
#[cfg(not(a2a_loom))]
pub(crate) use std::sync::Arc;
#[cfg(not(a2a_loom))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, fence};

/// Waits while the `condition` holds, until the deadline at the latest.
#[cfg(not(a2a_loom))]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    condition: impl Fn(&T) -> bool,
    deadline: Instant,
) -> MutexGuard<'a, T> {
    condvar.wait_while_until(&mut guard, |value| condition(value), deadline);
    guard
}

/// Waits while the `condition` holds, for so long at the most. A time that cannot be reckoned with is for ever.
#[cfg(not(a2a_loom))]
pub(crate) fn wait_while_for<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    condition: impl Fn(&T) -> bool,
    time: Duration,
) -> MutexGuard<'a, T> {
    condvar.wait_while_for(&mut guard, |value| condition(value), time);
    guard
}

#[cfg(a2a_loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, fence};
#[cfg(a2a_loom)]
pub(crate) use loom::sync::{Condvar, MutexGuard};

/// The same under loom, which has no clock: the deadline never comes.
#[cfg(a2a_loom)]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    condition: impl Fn(&T) -> bool,
    _deadline: Instant,
) -> MutexGuard<'a, T> {
    while condition(&guard) {
        guard = condvar.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
    }
    guard
}

#[cfg(a2a_loom)]
pub(crate) fn wait_while_for<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    condition: impl Fn(&T) -> bool,
    _time: Duration,
) -> MutexGuard<'a, T> {
    while condition(&guard) {
        guard = condvar.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
    }
    guard
}

/// Loom's mutex with `parking_lot`'s interface.
#[cfg(a2a_loom)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(a2a_loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(a2a_loom)]
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
