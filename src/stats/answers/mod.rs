//! Counting answers without a counter that threads share: a hit would pay more for it than for all else.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::util::sync::{Arc, AtomicU64, Mutex, fence};

/// What a call was answered with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answered {
    Fresh,
    Stale,
    Absent,
    Unknown,
}

/// One thread's counts. Only that thread writes them, so that it needs no read-modify-write; on a cache line
/// of their own, since others read them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counts([AtomicU64; 4]);

/// The answers of one client, over all threads.
pub(crate) struct Answers {
    id: u32,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    living: Vec<Arc<Counts>>,
    /// What threads counted that have ended, or had no counts of their own.
    past: [u64; 4],
}

impl Answers {
    /// The number of each client after the first 2³² - 1, for which threads keep nothing.
    pub(crate) const NOBODY: u32 = u32::MAX;

    pub(crate) fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let id = u32::try_from(NEXT.fetch_add(1, Relaxed)).unwrap_or(Answers::NOBODY);
        Answers { id, threads: Mutex::new(Threads::default()) }
    }

    /// What threads tell a client's answers by from another's.
    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Counts for a thread that has none.
    pub(crate) fn register(&self) -> Arc<Counts> {
        let counts = Arc::new(Counts::default());
        let mut threads = self.threads.lock();
        threads.retire();
        threads.living.push(counts.clone());
        counts
    }

    /// Counts for a thread that can have none of its own any more.
    pub(crate) fn add_one(&self, what: Answered) {
        self.threads.lock().past[what as usize] += 1;
    }

    /// The number of fresh, stale, absent and unknown answers.
    pub(crate) fn totals(&self) -> [u64; 4] {
        let mut threads = self.threads.lock();
        threads.retire();
        let mut totals = threads.past;
        for counts in &threads.living {
            for (total, count) in totals.iter_mut().zip(&counts.0) {
                *total += count.load(Relaxed);
            }
        }
        totals
    }
}

impl Threads {
    /// Folds the counts of threads that have ended into the past.
    fn retire(&mut self) {
        let past = &mut self.past;
        self.living.retain(|counts| {
            let alive = Arc::strong_count(counts) > 1;
            if !alive {
                // The thread's last writes were before it let go of these.
                fence(Acquire);
                for (past, count) in past.iter_mut().zip(&counts.0) {
                    *past += count.load(Relaxed);
                }
            }
            alive
        });
    }
}

impl Counts {
    #[inline(always)]
    pub(crate) fn add_one(&self, what: Answered) {
        let count = &self.0[what as usize];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
}

#[cfg(all(test, a2a_loom))]
mod loom;
