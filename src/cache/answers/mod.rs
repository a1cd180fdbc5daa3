//! Counters of a cache's answers, without a counter that threads share.
//!
//! An increment of a shared counter would cost a hit more than all the rest of it. Each thread counts for itself, and
//! [`Answers`] sums up.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::util::sync::{Arc, AtomicU64, Mutex, fence};

/// The kind of an answer, as [`Stats`](crate::Stats) counts them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answered {
    Fresh,
    Stale,
    Absent,
    Unknown,
}

/// The number of answers of each kind that one thread got from one cache.
///
/// Only that thread writes to it, and so needs no read-modify-write. It is aligned to two cache lines, because other
/// threads read it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct ThreadCounts([AtomicU64; 4]);

impl ThreadCounts {
    /// Adds one. Must be called by the thread that registered the counts only.
    #[inline(always)]
    pub(super) fn add_one(&self, answered: Answered) {
        let count = &self.0[answered as usize];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
}

/// The answers of one cache, summed over all threads.
pub(super) struct Answers {
    id: u32,
    threads: Mutex<CountedThreads>,
}

#[derive(Default)]
struct CountedThreads {
    living: Vec<Arc<ThreadCounts>>,
    /// Number of answers of threads that have ended, and of those that could not register.
    past: [u64; 4],
}

impl Answers {
    /// The id that all caches after the first 2³² - 1 share. Threads keep nothing of such a cache.
    pub(super) const NO_ID: u32 = u32::MAX;

    pub(super) fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let id = u32::try_from(NEXT.fetch_add(1, Relaxed)).unwrap_or(Answers::NO_ID);
        Answers { id, threads: Mutex::new(CountedThreads::default()) }
    }

    /// Returns the id by which threads distinguish this cache's answers from another's.
    #[inline]
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Returns new counts for the calling thread. Once it drops them, they are added to the past.
    pub(super) fn register(&self) -> Arc<ThreadCounts> {
        let counts = Arc::new(ThreadCounts::default());
        let mut threads = self.threads.lock();
        threads.retire_ended();
        threads.living.push(counts.clone());
        counts
    }

    /// Counts an answer for a thread that has no counts, because it is ending or the cache has no id.
    pub(super) fn add_one(&self, answered: Answered) {
        self.threads.lock().past[answered as usize] += 1;
    }

    /// Returns the numbers of fresh, stale, absent and unknown answers.
    pub(super) fn totals(&self) -> [u64; 4] {
        let mut threads = self.threads.lock();
        threads.retire_ended();
        let mut totals = threads.past;
        for counts in &threads.living {
            for (total, count) in totals.iter_mut().zip(&counts.0) {
                *total += count.load(Relaxed);
            }
        }
        totals
    }
}

impl CountedThreads {
    /// Moves the counts of threads that have ended to the past.
    fn retire_ended(&mut self) {
        let past = &mut self.past;
        self.living.retain(|counts| {
            let is_living = Arc::strong_count(counts) > 1;
            if !is_living {
                // Pairs with the release of the thread's reference: the thread wrote its last counts before that.
                fence(Acquire);
                for (past, count) in past.iter_mut().zip(&counts.0) {
                    *past += count.load(Relaxed);
                }
            }
            is_living
        });
    }
}

#[cfg(all(test, a2a_loom))]
mod loom;
