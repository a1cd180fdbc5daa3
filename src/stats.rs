//! Counters, and the plain numbers that a user reads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a client has done since it was made: a snapshot of plain numbers, which need not be of one
/// instant. The counters never go down; the fill of the cache does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Lookups made: GETs of one peer's record by `enrich` and `lookup`, repeats not counted.
    pub lookups: u64,
    /// Lookups that brought a record.
    pub found: u64,
    /// Lookups that brought the registry's own no.
    pub absent: u64,
    /// Lookups that brought no usable answer.
    pub failed: u64,
    /// Calls that waited for another thread's lookup in place of making one.
    pub shared: u64,
    /// Entries of the registry's lists of peers that were no objects, and were left out.
    pub skipped: u64,
    /// Peers in the cache now: found, absent and failed, the expired ones included.
    pub entries: usize,
    /// About how many bytes of memory the records in the cache take now.
    pub bytes: usize,
    /// Peers that were pushed out of the cache by others.
    pub evictions: u64,
}

impl fmt::Display for Stats {
    /// One line for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { lookups, found, absent, failed, shared, skipped, entries, bytes, evictions } = self;
        write!(
            f,
            "{lookups} lookups ({found} found, {absent} absent, {failed} failed), {shared} shared, {skipped} list entries skipped; \
             cache: {entries} peers, {bytes} bytes, {evictions} evicted"
        )
    }
}

/// The counters of the lookups. Threads share them: a lookup costs ten thousand times an increment.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) lookups: Counter,
    pub(crate) found: Counter,
    pub(crate) absent: Counter,
    pub(crate) failed: Counter,
    pub(crate) shared: Counter,
    pub(crate) skipped: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
