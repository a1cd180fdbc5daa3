//! A client whose every answer is checked for its age.
//!
//! The rules follow the crate's documentation. The time by which a record is *behind* is how long before the call the
//! platform had stopped saying so. No record is further behind than the start of its lookup.
//!
//! - **Always**: less than the TTL and `stale_if_error` together. After a `forget` or `clear`, nothing from before it.
//!   The registry's no, less than `negative_ttl`.
//! - **On a healthy platform**: a blocking call has an answer, and that is less than a TTL behind. The platform counts as
//!   healthy from the start, and again [`SETTLE`] after each phase in which lookups could fail.
//! - **A non-blocking call on a healthy platform** answers at once with what is cached, and has it refreshed. The answer
//!   is behind by at most a TTL and the time since an earlier call, if that was [`REFRESH`] ago: what that call asked for
//!   must be cached by now, unless `stale_if_error` has passed.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, LookupSource, Peer};
use parking_lot::Mutex;

use super::counters::Violation;
use super::script::Fault;
use super::settings::{CLOCK_ERROR, LOOKUP, NEGATIVE_TTL, SETTLE, STALE_IF_ERROR, TTL};
use super::soak::Soak;
use super::state::{PEERS, peer_id};

/// Time after which a background refresh must be done. The scheduler's delay is added.
const REFRESH: Duration = Duration::from_millis(1_000);

/// A client, and the history of the calls on it.
pub struct CheckedClient {
    pub client: Client,
    history: Mutex<History>,
}

struct History {
    /// For each peer the times of its last four calls, the latest first.
    called: Vec<[Option<Instant>; 4]>,
    /// For each peer the time of its last `forget` or `clear`.
    forgotten: Vec<Option<Instant>>,
    /// Number of failed lookups at the last call.
    failed: u64,
    /// Time at which that number was last seen to change.
    failed_at: Option<Instant>,
}

impl CheckedClient {
    pub fn new(client: Client) -> Self {
        let history =
            History { called: vec![[None; 4]; PEERS], forgotten: vec![None; PEERS], failed: 0, failed_at: None };
        CheckedClient { client, history: Mutex::new(history) }
    }

    pub fn forget(&self, peer: usize) {
        let now = Instant::now();
        self.client.forget(peer_id(peer));
        self.history.lock().forgotten[peer] = Some(now);
    }

    pub fn clear(&self) {
        let now = Instant::now();
        self.client.clear();
        self.history.lock().forgotten.fill(Some(now));
    }

    /// Looks a peer up, and checks the answer.
    pub fn enrich(&self, soak: &Soak, peer: usize, stalls: &mut StallCounter) {
        let (forgotten, _) = self.history_of(peer);
        let phase = soak.phase();
        let begin = Instant::now();
        let lookup = self.client.lookup(peer_id(peer));
        let took = begin.elapsed();
        soak.counters.enrich.add(took);
        stalls.count(soak, phase, took);
        let is_healthy = soak.healthy_from().is_some_and(|from| from <= begin);
        self.record_call(peer, begin);

        let version = lookup.peer.as_ref().and_then(version);
        let behind = match version {
            Some(version) => self.check_age(soak, peer, version, begin, forgotten),
            None => Duration::ZERO,
        };
        if lookup.source == LookupSource::Absent {
            let behind = soak.platform.state.existed_for(peer, begin);
            if behind >= NEGATIVE_TTL + CLOCK_ERROR {
                let describe = || format!("the registry's no of peer {peer} is {behind:?} behind");
                soak.counters.violation(Violation::TooOld, describe);
            }
        } else if version.is_none() {
            soak.counters.unknown.fetch_add(1, Relaxed);
        }
        if !is_healthy {
            return;
        }
        soak.counters.healthy_checks.fetch_add(1, Relaxed);
        soak.counters.behind_healthy.add(behind);
        if behind >= TTL + CLOCK_ERROR || (version.is_none() && lookup.source != LookupSource::Absent) {
            let describe = || format!("peer {peer}: {:?}, {behind:?} behind, after {took:?}", lookup.source);
            self.record_stale(soak, begin, describe);
        }
    }

    /// Asks for a peer without blocking, and checks the answer.
    pub fn enrich_nonblocking(&self, soak: &Soak, peer: usize) {
        let (forgotten, called) = self.history_of(peer);
        let begin = Instant::now();
        let record = self.client.enrich_nonblocking(peer_id(peer));
        soak.counters.nonblocking.add(begin.elapsed());
        let healthy_from = soak.healthy_from();
        self.record_call(peer, begin);

        let version = record.as_ref().and_then(version);
        let behind = version.map_or(Duration::ZERO, |version| self.check_age(soak, peer, version, begin, forgotten));
        let is_long_ago = |called: &Instant| begin.duration_since(*called) >= REFRESH + soak.noise() * 3;
        let Some(earlier) = called.into_iter().flatten().filter(is_long_ago).max() else { return };
        if healthy_from.is_none_or(|from| from > earlier) || forgotten.is_some_and(|at| at >= earlier) {
            return;
        }
        soak.counters.healthy_checks.fetch_add(1, Relaxed);
        let since = begin.duration_since(earlier);
        if behind >= TTL + since + CLOCK_ERROR {
            self.record_stale(soak, begin, || format!("peer {peer}: {behind:?} behind, last call {since:?} ago"));
        }
        let existed = soak.platform.state.existed_for(peer, begin);
        // A record that was fresh at the earlier call need not have been refreshed, and may have expired since.
        let is_kept = since + CLOCK_ERROR < STALE_IF_ERROR;
        if version.is_none() && is_kept && existed > NEGATIVE_TTL + since + CLOCK_ERROR {
            let describe = || format!("peer {peer}: none, last call {since:?} ago, exists for {existed:?}");
            self.record_stale(soak, begin, describe);
        }
    }

    /// Returns when a peer was last forgotten, and when it was last asked for.
    fn history_of(&self, peer: usize) -> (Option<Instant>, [Option<Instant>; 4]) {
        let history = self.history.lock();
        (history.forgotten[peer], history.called[peer])
    }

    fn record_call(&self, peer: usize, at: Instant) {
        let mut history = self.history.lock();
        history.called[peer].rotate_right(1);
        history.called[peer][0] = Some(at);
        let failed = self.client.stats().failed();
        if failed != history.failed {
            history.failed = failed;
            history.failed_at = Some(Instant::now());
        }
    }

    /// Checks a record against the rules that always hold. Returns the time by which it is behind.
    fn check_age(&self, soak: &Soak, peer: usize, version: usize, at: Instant, forgotten: Option<Instant>) -> Duration {
        let behind = soak.platform.state.behind(peer, version, at);
        soak.counters.behind.add(behind);
        if behind >= TTL + STALE_IF_ERROR + CLOCK_ERROR {
            soak.counters.violation(Violation::TooOld, || format!("peer {peer}: {behind:?} behind"));
        }
        if let Some(ago) = forgotten.map(|forgotten| at.saturating_duration_since(forgotten)) {
            if behind > ago + CLOCK_ERROR {
                let describe = || format!("peer {peer}: {behind:?} behind, forgotten {ago:?} ago");
                soak.counters.violation(Violation::TooOld, describe);
            }
        }
        behind
    }

    /// Counts a stale answer. It is excused if one of this client's lookups failed shortly before.
    fn record_stale(&self, soak: &Soak, at: Instant, describe: impl FnOnce() -> String) {
        let failed_at = self.history.lock().failed_at;
        let is_excused = failed_at.is_some_and(|failed| at.saturating_duration_since(failed) < SETTLE);
        soak.counters.violation(if is_excused { Violation::Excused } else { Violation::Stale }, describe);
    }
}

/// Reads the version from a peer's name.
fn version(record: &Peer) -> Option<usize> {
    record.name()?.strip_prefix("agent-")?.parse().ok()
}

/// Counts the calls of one thread in one phase that took about as long as a lookup may.
#[derive(Default)]
pub struct StallCounter {
    phase: usize,
    calls: usize,
}

impl StallCounter {
    /// Counts a call that began in `phase`, if the registry was silent throughout it.
    fn count(&mut self, soak: &Soak, phase: usize, took: Duration) {
        let is_silent =
            soak.script.get(phase).is_some_and(|phase| phase.affects_registry() && phase.fault == Fault::Silent);
        if phase != self.phase {
            *self = StallCounter { phase, calls: 0 };
        }
        if is_silent && soak.phase() == phase && took > LOOKUP * 9 / 10 {
            self.calls += 1;
            soak.counters.max_stalls.fetch_max(self.calls, Relaxed);
        }
    }
}
