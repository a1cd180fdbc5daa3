//! Counting answers without a counter that threads share: a hit would pay more for it than for all else.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize, fence};

use crate::sync::Mutex;

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
struct Counts([AtomicU64; 4]);

/// The answers of one client, over all threads.
pub(crate) struct Answers {
    id: usize,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    living: Vec<Arc<Counts>>,
    /// What threads counted that have ended.
    past: [u64; 4],
}

thread_local! {
    /// This thread's counts, by the client that they are for.
    static OWN: RefCell<Vec<(usize, Arc<Counts>)>> = const { RefCell::new(Vec::new()) };
}

impl Answers {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Answers { id: NEXT.fetch_add(1, Relaxed), threads: Mutex::new(Threads::default()) }
    }

    #[inline]
    pub(crate) fn add_one(&self, what: Answered) {
        // A thread that is ending has no counts of its own any more.
        let counted = OWN.try_with(|own| {
            let Ok(mut own) = own.try_borrow_mut() else { return };
            match own.iter().find(|(id, _)| *id == self.id) {
                Some((_, counts)) => counts.add_one(what),
                None => self.register(&mut own).add_one(what),
            }
        });
        if counted.is_err() {
            self.threads.lock().past[what as usize] += 1;
        }
    }

    #[cold]
    fn register(&self, own: &mut Vec<(usize, Arc<Counts>)>) -> Arc<Counts> {
        // Those of clients that are gone: nobody but this thread holds them.
        own.retain(|(_, counts)| Arc::strong_count(counts) > 1);
        let counts = Arc::new(Counts::default());
        own.push((self.id, counts.clone()));
        let mut threads = self.threads.lock();
        threads.retire();
        threads.living.push(counts.clone());
        counts
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
    #[inline]
    fn add_one(&self, what: Answered) {
        let count = &self.0[what as usize];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn no_answer_is_lost_when_threads_end_and_clients_go() {
        let (one, other) = (Answers::new(), Answers::new());
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..10_000 {
                        one.add_one(if n % 4 == 0 { Answered::Absent } else { Answered::Fresh });
                        other.add_one(Answered::Stale);
                    }
                });
            }
        });
        one.add_one(Answered::Unknown);
        assert_eq!(one.totals(), [60_000, 0, 20_000, 1]);
        assert_eq!(other.totals(), [0, 80_000, 0, 0]);
        assert_eq!(one.totals(), [60_000, 0, 20_000, 1], "reading changes nothing");
    }

    #[test]
    fn clients_that_are_gone_leave_nothing_in_a_thread() {
        for _ in 0..1_000 {
            Answers::new().add_one(Answered::Fresh);
        }
        Answers::new().add_one(Answered::Fresh);
        assert!(OWN.with(|own| own.borrow().len()) <= 2);
    }
}
