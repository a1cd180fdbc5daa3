//! Counters of lookups and inboxes, and the snapshot of all numbers that a user reads.

mod inbox;
mod prometheus;
mod skipped;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::error::ErrorKind;
pub use crate::util::circuit_breaker::CircuitState;
pub use inbox::InboxStats;
pub(crate) use inbox::{Counter, InboxCounters};
use prometheus::Metric;
pub(crate) use skipped::SkipReason;
pub use skipped::SkippedRows;

/// The numbers of what a client has done since it was built.
///
/// A snapshot of plain numbers. They need not be of exactly the same instant. The counters never go down.
///
/// ```
/// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// # let builder = a2a_blocking::Client::builder().platform_url("http://127.0.0.1:1").workspace_id("my-team");
/// # let client = builder.background_threads(0).build()?;
/// // Nothing listens at the registry's address: the first call makes a lookup, the second finds that in the cache.
/// assert_eq!((client.enrich(peer), client.enrich(peer)), (None, None));
/// let stats = client.stats();
/// assert_eq!((stats.unknown, stats.lookups, stats.failed_connect, stats.failed()), (2, 1, 1, 1));
/// println!("{stats}");
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Number of enrichments answered with a record younger than its TTL.
    pub fresh: u64,
    /// Number of enrichments answered with an older record.
    pub stale: u64,
    /// Number of enrichments answered with the registry's own no.
    pub absent: u64,
    /// Number of enrichments without an answer: the lookup failed, was not made, or is still to be made.
    pub unknown: u64,
    /// Number of lookups: GETs of one peer's record for an enrichment. A repeated request counts once.
    pub lookups: u64,
    /// Number of lookups that brought a record.
    pub found: u64,
    /// Number of lookups that failed because the connection was refused or the name did not resolve.
    pub failed_connect: u64,
    /// Number of lookups that ran out of time.
    pub failed_timeout: u64,
    /// Number of lookups whose connection or TLS broke, or whose answer was not HTTP.
    pub failed_broken: u64,
    /// Number of lookups answered with an unusable status, 401 included.
    pub failed_status: u64,
    /// Number of lookups answered with a body that is too large or not a record.
    pub failed_body: u64,
    /// Number of lookups that failed in this process: no thread, no file descriptor, a panic that was caught.
    pub failed_internal: u64,
    /// Number of calls that waited for another thread's lookup instead of making one.
    pub coalesced: u64,
    /// Number of lookups made in the background, probes included.
    pub refreshes: u64,
    /// Number of misses that made no lookup because of the circuit or the rate limit.
    pub shed: u64,
    /// Number of those that made none because less than a fifth of the platform's rate limit was left.
    pub rate_limit_shed: u64,
    /// Number of requests that the platform answered with 429, those of pollers and sends included.
    pub rate_limited: u64,
    /// Number of requests that the platform still admits in this window of its rate limit, by its last answer. `None` before
    /// the first answer, after the end of the window, and where the platform tells none.
    pub rate_limit_left: Option<u64>,
    /// Number of background lookups that were dropped because the queue was full.
    pub dropped: u64,
    /// The state of the circuit.
    pub circuit: CircuitState,
    /// Number of times that the circuit opened.
    pub circuit_opened: u64,
    /// The longest time that a caller waited for an enrichment.
    pub longest_wait: Duration,
    /// Number of entries that were left out of the registry's lists of peers, because they were not readable objects.
    pub skipped: u64,
    /// Number of peers in the cache now: found, absent and failed, the expired ones included.
    pub entries: usize,
    /// Estimate of the memory that the records in the cache take now, in bytes.
    pub bytes: usize,
    /// Number of peers that were evicted from the cache to make room for others.
    pub evictions: u64,
    /// The numbers of the client's pollers.
    pub inbox: InboxStats,
}

impl Stats {
    /// Returns the number of lookups that brought no usable answer, for any reason.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_connect
            + self.failed_timeout
            + self.failed_broken
            + self.failed_status
            + self.failed_body
            + self.failed_internal
    }

    /// Returns the numbers in Prometheus' text format, for a `/metrics` page or a textfile collector.
    ///
    /// The version of the format is 0.0.4, and its type `text/plain; version=0.0.4`. `labels`, such as the name of the
    /// workspace, are on each line.
    ///
    /// Names start with `a2a_blocking_`, and those of counters end in `_total`. They do not change within a major
    /// version. Characters that a label's name cannot have become `_`, and a name that is taken gets a `_` at its end.
    ///
    /// ```
    /// use a2a_blocking::Stats;
    ///
    /// let page = Stats::default().to_prometheus(&[("workspace", "ops \"one\"")]);
    /// assert!(page.contains("# TYPE a2a_blocking_lookups_total counter\n"));
    /// assert!(page.contains("a2a_blocking_lookups_total{workspace=\"ops \\\"one\\\"\"} 0\n"));
    /// assert!(page.contains("a2a_blocking_enrichments_total{workspace=\"ops \\\"one\\\"\",answer=\"fresh\"} 0\n"));
    /// ```
    #[must_use]
    pub fn to_prometheus(&self, labels: &[(&str, &str)]) -> String {
        Stats::prometheus(&[(labels, *self)])
    }

    /// Returns one page like [`to_prometheus`](Stats::to_prometheus) for several clients, distinguished by their labels.
    ///
    /// The format wants all lines of a metric together, so the pages of two clients must not be joined.
    ///
    /// ```
    /// use a2a_blocking::Stats;
    ///
    /// let (ops, lab) = (Stats::default(), Stats::default());
    /// let page = Stats::prometheus(&[(&[("workspace", "ops")], ops), (&[("workspace", "lab")], lab)]);
    /// assert_eq!(page.matches("# TYPE a2a_blocking_cache_peers gauge").count(), 1);
    /// assert!(page.contains("a2a_blocking_cache_peers{workspace=\"lab\"} 0\n"));
    /// ```
    #[must_use]
    pub fn prometheus(clients: &[(&[(&str, &str)], Stats)]) -> String {
        let clients: Vec<_> = clients.iter().map(|(labels, stats)| (*labels, metrics(stats))).collect();
        prometheus::page(&clients)
    }
}

impl fmt::Display for Stats {
    /// Writes one line for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { fresh, stale, absent, unknown, lookups, coalesced, refreshes, shed, .. } = self;
        let Stats { dropped, circuit, circuit_opened, longest_wait, skipped, entries, bytes, evictions, .. } = self;
        let Stats { rate_limited, .. } = self;
        write!(f, "answered {fresh} fresh, {stale} stale, {absent} absent, {unknown} unknown; ")?;
        write!(
            f,
            "{lookups} lookups ({} failed, {refreshes} in the background), {coalesced} coalesced, ",
            self.failed()
        )?;
        write!(f, "{shed} shed, {dropped} dropped; circuit {circuit}, opened {circuit_opened} times; ")?;
        if *rate_limited > 0 {
            write!(f, "{rate_limited} answers 429; ")?;
        }
        write!(f, "longest wait {longest_wait:.1?}; cache {entries} peers, {bytes} bytes, {evictions} evicted")?;
        if *skipped > 0 {
            write!(f, "; {skipped} list entries skipped")?;
        }
        let InboxStats { polls, failed_polls, consecutive_failures, acked, dead_lettered, .. } = self.inbox;
        if polls == 0 {
            return Ok(());
        }
        write!(f, "; inbox {polls} polls ({failed_polls} failed, {consecutive_failures} in a row), {acked} acked, ")?;
        write!(f, "{dead_lettered} dead-lettered")
    }
}

/// Returns all numbers as metrics.
fn metrics(stats: &Stats) -> Vec<Metric> {
    // Every field by name, so that the compiler refuses a new one that is not added here.
    let Stats {
        fresh,
        stale,
        absent,
        unknown,
        lookups,
        found,
        failed_connect,
        failed_timeout,
        failed_broken,
        failed_status,
        failed_body,
        failed_internal,
        coalesced,
        refreshes,
        shed,
        rate_limit_shed,
        rate_limited,
        rate_limit_left,
        dropped,
        circuit,
        circuit_opened,
        longest_wait,
        skipped,
        entries,
        bytes,
        evictions,
        inbox,
    } = *stats;
    let answers = [("fresh", fresh), ("stale", stale), ("absent", absent), ("unknown", unknown)];
    let reasons = [
        ("connect", failed_connect),
        ("timeout", failed_timeout),
        ("broken", failed_broken),
        ("status", failed_status),
        ("body", failed_body),
        ("internal", failed_internal),
    ];
    let states = [CircuitState::Closed, CircuitState::Degraded, CircuitState::Open, CircuitState::HalfOpen];
    let states = states.map(|state| (state.as_str(), u64::from(state == circuit)));
    let mut metrics = vec![
        Metric::by_label("enrichments_total", "Enrichments, by the kind of their answer.", "answer", &answers),
        Metric::single("lookups_total", "Lookups made, repeats not counted.", lookups),
        Metric::single("lookups_found_total", "Lookups that brought a record.", found),
        Metric::by_label(
            "lookups_failed_total",
            "Lookups that brought no usable answer, by the reason.",
            "reason",
            &reasons,
        ),
        Metric::single("lookups_coalesced_total", "Calls that waited for the lookup of another thread.", coalesced),
        Metric::single("lookups_background_total", "Lookups made in the background, probes included.", refreshes),
        Metric::single("lookups_shed_total", "Misses that made no lookup, by circuit or rate limit.", shed),
        Metric::single("lookups_rate_limit_shed_total", "Those of them by the rate limit.", rate_limit_shed),
        Metric::single("rate_limited_total", "Answers with the status 429.", rate_limited),
        Metric::optional("rate_limit_left", "Requests left in this window of the rate limit.", rate_limit_left),
        Metric::single("refreshes_dropped_total", "Background lookups that a full queue dropped.", dropped),
        Metric::by_label("circuit_state", "The state of the circuit: 1 for the current one.", "state", &states),
        Metric::single("circuit_opened_total", "Times that the circuit opened.", circuit_opened),
        Metric::single("longest_wait_seconds", "The longest wait for an enrichment.", longest_wait.as_secs_f64()),
        Metric::single("list_entries_skipped_total", "Entries of lists of peers that were left out.", skipped),
        Metric::single("cache_peers", "Peers in the cache: found, absent and failed.", entries),
        Metric::single("cache_bytes", "About how many bytes of memory the records take.", bytes),
        Metric::single("cache_evictions_total", "Peers that were evicted from the cache.", evictions),
    ];
    metrics.extend(inbox.metrics());
    metrics
}

/// The counters of lookups. Threads share them: a lookup costs ten thousand times as much as an increment.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) lookups: Counter,
    pub(crate) found: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) refreshes: Counter,
    pub(crate) shed: Counter,
    pub(crate) rate_limit_shed: Counter,
    pub(crate) skipped: Counter,
    failed: [Counter; 6],
    longest_wait_nanos: AtomicU64,
}

impl Counters {
    /// Counts a failed lookup under the reason that its error belongs to.
    pub(crate) fn failed(&self, kind: ErrorKind) {
        let reason = match kind {
            ErrorKind::Connect => 0,
            ErrorKind::Timeout => 1,
            ErrorKind::Disconnected | ErrorKind::Tls | ErrorKind::Protocol => 2,
            ErrorKind::Status | ErrorKind::Unauthorized => 3,
            ErrorKind::Malformed | ErrorKind::TooLarge => 4,
            _ => 5,
        };
        self.failed[reason].add(1);
    }

    /// Records how long a caller waited.
    pub(crate) fn waited(&self, time: Duration) {
        self.longest_wait_nanos.fetch_max(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns a snapshot of the counters. Numbers that are counted elsewhere have their defaults.
    pub(crate) fn snapshot(&self) -> Stats {
        let [failed_connect, failed_timeout, failed_broken, failed_status, failed_body, failed_internal] =
            [0, 1, 2, 3, 4, 5].map(|reason: usize| self.failed[reason].get());
        Stats {
            lookups: self.lookups.get(),
            found: self.found.get(),
            coalesced: self.coalesced.get(),
            refreshes: self.refreshes.get(),
            shed: self.shed.get(),
            rate_limit_shed: self.rate_limit_shed.get(),
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
