//! Where loom stands in for the real locks: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

use std::time::Instant;

#[cfg(not(a2a_loom))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

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
