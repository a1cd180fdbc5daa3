//! A thread that refreshes the entries of a client while others read them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::Client;
use parking_lot::{Condvar, Mutex};

use crate::registry;

/// Refreshes a client's entries at a fixed rate by calls of `peers()`, each of which caches a whole list.
///
/// It rests while candidates without a writer are measured. A call takes about 0.2 ms of CPU: on this thread, on the
/// registry's, and on the resolver's that `ureq` starts. On a machine with two cores all of that is on the core that the
/// reader leaves free. The rate is the highest that does not disturb the reader. Repetitions that it disturbs are thrown
/// away.
pub struct Writer {
    shared: Arc<Shared>,
    entries: usize,
    on_for: Cell<Duration>,
}

#[derive(Default)]
struct Shared {
    on: Mutex<bool>,
    changed: Condvar,
    over: AtomicBool,
    calls: AtomicUsize,
}

impl Writer {
    /// Returns a client, and a writer for it that rests.
    ///
    /// It reads `lists_a_second` lists with `entries` of the `ids` each, one part of the ids after another.
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
        let shared = Arc::new(Shared::default());
        let (writes, of) = (shared.clone(), client.clone());
        thread::spawn(move || writes.run(&of, Duration::from_secs(1) / lists_a_second));
        (client, Writer { shared, entries, on_for: Cell::default() })
    }

    /// Runs `work` while the writer writes.
    pub fn beside<T>(&self, work: impl FnOnce() -> T) -> T {
        *self.shared.on.lock() = true;
        let start = Instant::now();
        self.shared.changed.notify_all();
        // By then the first write is over, and the rate is even.
        thread::sleep(Duration::from_millis(2));
        let done = work();
        // It holds this lock while it writes, so no write is under way any more.
        *self.shared.on.lock() = false;
        self.on_for.set(self.on_for.get() + start.elapsed());
        done
    }

    /// Returns the number of entries that it refreshed per second of writing.
    pub fn rate(&self) -> f64 {
        let entries = self.shared.calls.load(Ordering::Relaxed) * self.entries;
        entries as f64 / self.on_for.get().as_secs_f64()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn run(&self, client: &Client, interval: Duration) {
        let mut next = Instant::now();
        while !self.over.load(Ordering::Relaxed) {
            let mut on = self.on.lock();
            if !*on {
                self.changed.wait_for(&mut on, Duration::from_secs(1));
                next = Instant::now();
                continue;
            }
            client.peers().unwrap();
            self.calls.fetch_add(1, Ordering::Relaxed);
            drop(on);
            next += interval;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}
