//! Counters, and the plain numbers that a user reads.

mod prometheus;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::error::ErrorKind;
use crate::util::str_enum::str_enum;

/// Which of its states a circuit is in: how a client treats its registry after lookups that nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CircuitState {
    /// Lookups are made as they are asked for.
    #[default]
    Closed,
    /// The last lookup was not answered: one is made at a time, and whoever else misses is not kept.
    Degraded,
    /// Several in a row were not answered, or the registry asked for patience: none is made until the next
    /// probe.
    Open,
    /// One lookup finds out whether the registry is back.
    HalfOpen,
}

str_enum!(CircuitState { Closed: "closed", Degraded: "degraded", Open: "open", HalfOpen: "half_open" });

/// What a client has done since it was made: a snapshot of plain numbers, which need not be of one
/// instant. The counters never go down.
///
/// ```
/// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// # let builder = a2a_blocking::Client::builder().platform_url("http://127.0.0.1:1").workspace_id("my-team");
/// # let client = builder.background_threads(0).build()?;
/// // Nobody listens where the registry should be: the first call asks, the second remembers.
/// assert_eq!((client.enrich(peer), client.enrich(peer)), (None, None));
/// let stats = client.stats();
/// assert_eq!((stats.unknown, stats.lookups, stats.failed_connect, stats.failed()), (2, 1, 1, 1));
/// println!("{stats}");
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Enrichments answered with a record younger than its TTL.
    pub fresh: u64,
    /// Enrichments answered with an older record.
    pub stale: u64,
    /// Enrichments answered by the registry's own no.
    pub absent: u64,
    /// Enrichments that had no answer: the lookup failed, was not made, or is yet to be made.
    pub unknown: u64,
    /// Lookups made: GETs of one peer's record for an enrichment, repeats not counted.
    pub lookups: u64,
    /// Lookups that brought a record.
    pub found: u64,
    /// Lookups that were refused a connection, or the name did not resolve.
    pub failed_connect: u64,
    /// Lookups that ran out of time.
    pub failed_timeout: u64,
    /// Lookups whose connection or TLS broke, or brought what is not HTTP.
    pub failed_broken: u64,
    /// Lookups that brought a status that is no usable answer, 401 included.
    pub failed_status: u64,
    /// Lookups that brought a body that is no record, or too large a one.
    pub failed_body: u64,
    /// Lookups that failed on our side: no thread, no file descriptor, a panic that was caught.
    pub failed_internal: u64,
    /// Calls that waited for another thread's lookup in place of making one.
    pub coalesced: u64,
    /// Lookups that were made in the background, probes included.
    pub refreshes: u64,
    /// Misses that made no lookup because of the circuit.
    pub shed: u64,
    /// Requests for a background lookup that a full queue dropped.
    pub dropped: u64,
    /// The state of the circuit.
    pub circuit: CircuitState,
    /// How often the circuit opened.
    pub circuit_opened: u64,
    /// The longest that a caller waited for an enrichment.
    pub longest_wait: Duration,
    /// Entries of the registry's lists of peers that were no objects, or could not be read, and were left out.
    pub skipped: u64,
    /// Peers in the cache now: found, absent and failed, the expired ones included.
    pub entries: usize,
    /// About how many bytes of memory the records in the cache take now.
    pub bytes: usize,
    /// Peers that were pushed out of the cache by others.
    pub evictions: u64,
}

impl Stats {
    /// Lookups that brought no usable answer, of whatever kind.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_connect
            + self.failed_timeout
            + self.failed_broken
            + self.failed_status
            + self.failed_body
            + self.failed_internal
    }
}

impl fmt::Display for Stats {
    /// One line for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { fresh, stale, absent, unknown, lookups, coalesced, refreshes, shed, .. } = self;
        let Stats { dropped, circuit, circuit_opened, longest_wait, skipped, entries, bytes, evictions, .. } = self;
        write!(f, "answered {fresh} fresh, {stale} stale, {absent} absent, {unknown} unknown; ")?;
        write!(
            f,
            "{lookups} lookups ({} failed, {refreshes} in the background), {coalesced} coalesced, ",
            self.failed()
        )?;
        write!(f, "{shed} shed, {dropped} dropped; circuit {circuit}, opened {circuit_opened} times; ")?;
        write!(f, "longest wait {longest_wait:.1?}; cache {entries} peers, {bytes} bytes, {evictions} evicted")?;
        if *skipped > 0 { write!(f, "; {skipped} list entries skipped") } else { Ok(()) }
    }
}

/// The counters of the lookups. Threads share them: a lookup costs ten thousand times an increment.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) lookups: Counter,
    pub(crate) found: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) refreshes: Counter,
    pub(crate) shed: Counter,
    pub(crate) skipped: Counter,
    failed: [Counter; 6],
    longest_wait_nanos: AtomicU64,
}

impl Counters {
    pub(crate) fn failed(&self, kind: ErrorKind) {
        let class = match kind {
            ErrorKind::Connect => 0,
            ErrorKind::Timeout => 1,
            ErrorKind::Disconnected | ErrorKind::Tls | ErrorKind::Protocol => 2,
            ErrorKind::Status | ErrorKind::Unauthorized => 3,
            ErrorKind::Malformed | ErrorKind::TooLarge => 4,
            _ => 5,
        };
        self.failed[class].add(1);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.longest_wait_nanos.fetch_max(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The counters as a snapshot; what is counted elsewhere is left at its default.
    pub(crate) fn snapshot(&self) -> Stats {
        let [failed_connect, failed_timeout, failed_broken, failed_status, failed_body, failed_internal] =
            [0, 1, 2, 3, 4, 5].map(|class: usize| self.failed[class].get());
        Stats {
            lookups: self.lookups.get(),
            found: self.found.get(),
            coalesced: self.coalesced.get(),
            refreshes: self.refreshes.get(),
            shed: self.shed.get(),
            skipped: self.skipped.get(),
            failed_connect,
            failed_timeout,
            failed_broken,
            failed_status,
            failed_body,
            failed_internal,
            longest_wait: Duration::from_nanos(self.longest_wait_nanos.load(Relaxed)),
            ..Stats::default()
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
