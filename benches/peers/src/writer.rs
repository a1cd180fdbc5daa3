//! A thread that refreshes a client's entries while others read them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::Client;
use parking_lot::{Condvar, Mutex};

use crate::registry;

/// Refreshes a client's entries at a constant rate, by `peers()`: each call stores all entries of a list.
///
/// It writes only while [`beside`](Writer::beside) runs, and rests while others are measured.
///
/// A call costs 0.2 ms of CPU time, in this thread, in the registry's and in the resolver's that `ureq` starts. On a
/// machine with two cores that is the core that the reader leaves free, which limits the number of lists a second. A
/// repetition in which the reader was disturbed is discarded by its CPU time.
pub struct Writer {
    shared: Arc<WriterState>,
    entries: usize,
    active_time: Cell<Duration>,
}

#[derive(Default)]
struct WriterState {
    is_active: Mutex<bool>,
    changed: Condvar,
    is_dropped: AtomicBool,
    calls: AtomicUsize,
}

impl Writer {
    /// Creates a client and its writer, which rests. Each list has `entries` of the `ids`, in rotation.
    pub fn new(ids: &[&'static str], entries: usize, lists_a_second: u32) -> (Client, Self) {
        let all = registry::listing(ids.iter().copied());
        let list = |start: usize| registry::listing(ids.iter().cycle().skip(start * entries).take(entries).copied());
        let lists: Vec<_> = (0..ids.len()).map(list).collect();
        let asked = AtomicUsize::new(0);
        let url = registry::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => all.clone(),
            n => lists[n % lists.len()].clone(),
        });
        let client = registry::builder(&url).build().unwrap();
        client.peers().unwrap();
        let shared = Arc::new(WriterState::default());
        let (state, target) = (shared.clone(), client.clone());
        thread::spawn(move || state.run(&target, Duration::from_secs(1) / lists_a_second));
        (client, Writer { shared, entries, active_time: Cell::default() })
    }

    /// Writes while `work` runs. Returns the result of `work`.
    pub fn beside<T>(&self, work: impl FnOnce() -> T) -> T {
        *self.shared.is_active.lock() = true;
        let start = Instant::now();
        self.shared.changed.notify_all();
        // After the first write, which comes at once, the rate is constant.
        thread::sleep(Duration::from_millis(2));
        let done = work();
        // The writer holds this lock while it writes: when it is free, no write is in progress.
        *self.shared.is_active.lock() = false;
        self.active_time.set(self.active_time.get() + start.elapsed());
        done
    }

    /// Returns the number of entries that it refreshed a second while it was active.
    pub fn rate(&self) -> f64 {
        let entries = self.shared.calls.load(Ordering::Relaxed) * self.entries;
        entries as f64 / self.active_time.get().as_secs_f64()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.is_dropped.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

impl WriterState {
    fn run(&self, client: &Client, interval: Duration) {
        let mut next = Instant::now();
        while !self.is_dropped.load(Ordering::Relaxed) {
            let mut is_active = self.is_active.lock();
            if !*is_active {
                self.changed.wait_for(&mut is_active, Duration::from_secs(1));
                next = Instant::now();
                continue;
            }
            client.peers().unwrap();
            self.calls.fetch_add(1, Ordering::Relaxed);
            drop(is_active);
            next += interval;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}
