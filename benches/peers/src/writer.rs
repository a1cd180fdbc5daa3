//! Who keeps the entries of a client fresh while others read them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::Client;
use parking_lot::{Condvar, Mutex};

use crate::registry;

/// Refreshes a client's entries at a rate, through `peers()`: each call files all of a list. It takes turns
/// with those who measure without it.
///
/// A call costs this thread, the registry's and the resolver's that `ureq` starts some 0.2 ms of CPU, all of
/// it on the core that the reader leaves free on a machine of two. So many lists a second is what it can
/// read beside a reader that is not to be disturbed; the CPU filter throws away where it was.
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
    /// A writer that rests. Lists of so many `entries` go round the `ids`; so many of them are read a second.
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

    /// Has it write while the work is done.
    pub fn beside<T>(&self, work: impl FnOnce() -> T) -> T {
        *self.shared.on.lock() = true;
        let start = Instant::now();
        self.shared.changed.notify_all();
        // The first write is over: from here on its rate is what it shall be.
        thread::sleep(Duration::from_millis(2));
        let done = work();
        // It holds this lock while it writes, so that nothing is under way any more.
        *self.shared.on.lock() = false;
        self.on_for.set(self.on_for.get() + start.elapsed());
        done
    }

    /// How many entries it refreshed in a second, where it wrote.
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
