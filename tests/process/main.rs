//! The edges of a process: forks, threads that end, signals, and the exit.
//!
//! These tests run one at a time, see [`alone`].
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(unsafe_code, reason = "forks and signals are system calls")]

mod cursor;
#[cfg(target_os = "linux")]
mod edges;
mod fork;
mod inbox_lock;
#[path = "../support/mod.rs"]
mod support;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod suspend;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps the other tests of this binary from running until the guard is dropped.
///
/// The child of a fork gets a copy of every lock that another thread holds at that moment. Nobody ever releases that
/// copy: see POSIX, `fork`.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
