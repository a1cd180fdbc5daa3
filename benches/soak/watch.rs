//! How old a record may be, and a client under that watch.
//!
//! The rule, from the design and `src/enrich/rules.rs`. How far a record is *behind* is how long ago, when the call
//! began, the platform stopped saying so; no record is further behind than its lookup's beginning.
//!
//! - **Always**: less than the TTL and `stale_if_error` together; after a `forget` or `clear`, nothing from before
//!   it; the registry's no, less than `negative_ttl`.
//! - **Calm**: what a blocking call answers is less than a TTL behind, and there is an answer. It is calm from the
//!   beginning on, and [`SETTLE`] after each phase in which lookups could fail. By then each failure that was
//!   remembered is over (`negative_ttl`), the circuit has probed (its longest wait and a quarter, and a lookup before
//!   and after it), and the refreshes that fell due are made up for (four fifths of a TTL at the most).
//! - A **non-blocking** call on a calm platform answers at once with what there is, and has it refreshed: it is
//!   behind by a TTL at the most, and by the time since the call before, if that is [`LAG`] ago, so that what
//!   that one asked for must be there (unless `stale_if_error` is over by now).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use a2a_blocking::{Client, ClientBuilder, LookupSource};

use super::ledger::{PEERS, peer_id};
use super::script::Fault;
use super::tally::Wrong;
use super::world::Soak;

pub const TTL: Duration = Duration::from_secs(2);
const NEGATIVE_TTL: Duration = Duration::from_secs(1);
const STALE_IF_ERROR: Duration = Duration::from_secs(6);
pub const LOOKUP: Duration = Duration::from_millis(500);
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// 1.25 s for the probe, 1.6 s to make up, two lookups, and 0.65 s for a busy machine.
pub const SETTLE: Duration = Duration::from_millis(4_500);
const LAG: Duration = Duration::from_millis(1_000);
/// The crate's clock is a coarse one. (To [`SETTLE`] and [`LAG`] comes what the scheduler took from a thread that only
/// sleeps; ages do not depend on it.)
const CLOCK: Duration = Duration::from_millis(50);

pub fn settings(builder: ClientBuilder) -> ClientBuilder {
    let builder = builder.ttl(TTL).negative_ttl(NEGATIVE_TTL).stale_if_error(STALE_IF_ERROR);
    builder.lookup_timeout(LOOKUP).circuit_backoff(WAITS.0, WAITS.1)
}

/// A client, and what was asked of it.
pub struct Watch {
    pub client: Client,
    state: Mutex<State>,
}

struct State {
    /// When a peer was last asked for: the last four times.
    asked: Vec<[Option<Instant>; 4]>,
    forgotten: Vec<Option<Instant>>,
    /// How many lookups failed, and when that was last another number.
    failed: (u64, Option<Instant>),
}

/// The calls of one thread that took about as long as a lookup may, in one phase.
#[derive(Default)]
pub struct Stalls {
    phase: usize,
    calls: usize,
}

impl Watch {
    pub fn new(client: Client) -> Self {
        let state = State { asked: vec![[None; 4]; PEERS], forgotten: vec![None; PEERS], failed: (0, None) };
        Watch { client, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn forget(&self, peer: usize) {
        let now = Instant::now();
        self.client.forget(peer_id(peer));
        self.state().forgotten[peer] = Some(now);
    }

    pub fn clear(&self) {
        let now = Instant::now();
        self.client.clear();
        self.state().forgotten.fill(Some(now));
    }

    /// A blocking call, and whether its answer may be so.
    pub fn enrich(&self, soak: &Soak, peer: usize, stalls: &mut Stalls) {
        let ((forgotten, _), phase) = (self.known(peer), soak.phase());
        let begin = Instant::now();
        let lookup = self.client.lookup(peer_id(peer));
        let took = begin.elapsed();
        soak.tally.enrich.add(took);
        stalls.note(soak, phase, took);
        let calm = soak.calm_from().is_some_and(|from| from <= begin);
        self.asked(peer, begin);

        let version = lookup.peer.as_ref().and_then(|record| record.name()?.strip_prefix("agent-")?.parse().ok());
        let behind = match version {
            Some(version) => self.age(soak, peer, version, begin, forgotten),
            None => Duration::ZERO,
        };
        if lookup.source == LookupSource::Absent {
            let behind = soak.platform.ledger.absence_behind(peer, begin);
            if behind >= NEGATIVE_TTL + CLOCK {
                soak.tally.wrong(Wrong::Old, || format!("the registry's no of peer {peer} is {behind:?} behind"));
            }
        } else if version.is_none() {
            soak.tally.unknown.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        if !calm {
            return;
        }
        soak.tally.calm.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        soak.tally.behind_calm.add(behind);
        if behind >= TTL + CLOCK || (version.is_none() && lookup.source != LookupSource::Absent) {
            self.stale(soak, begin, || format!("peer {peer}: {:?}, {behind:?} behind, after {took:?}", lookup.source));
        }
    }

    /// A call that does not wait, and whether its answer may be so.
    pub fn enrich_nonblocking(&self, soak: &Soak, peer: usize) {
        let (forgotten, before) = self.known(peer);
        let begin = Instant::now();
        let record = self.client.enrich_nonblocking(peer_id(peer));
        soak.tally.nonblocking.add(begin.elapsed());
        let calm_from = soak.calm_from();
        self.asked(peer, begin);

        let version = record.as_ref().and_then(|record| record.name()?.strip_prefix("agent-")?.parse().ok());
        let behind = version.map_or(Duration::ZERO, |version| self.age(soak, peer, version, begin, forgotten));
        let long_ago = |asked: &Instant| begin.duration_since(*asked) >= LAG + soak.noise() * 3;
        let Some(before) = before.into_iter().flatten().filter(long_ago).max() else { return };
        if calm_from.is_none_or(|from| from > before) || forgotten.is_some_and(|at| at >= before) {
            return;
        }
        soak.tally.calm.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let since = begin.duration_since(before);
        if behind >= TTL + since + CLOCK {
            self.stale(soak, begin, || format!("peer {peer}: {behind:?} behind, asked for {since:?} ago"));
        }
        let there = soak.platform.ledger.absence_behind(peer, begin);
        // One that was fresh then need not have been refreshed, and by now may be past its end.
        let is_kept = since + CLOCK < STALE_IF_ERROR;
        if version.is_none() && is_kept && there > NEGATIVE_TTL + since + CLOCK {
            self.stale(soak, begin, || format!("peer {peer}: none, asked for {since:?} ago, there for {there:?}"));
        }
    }

    /// When a peer was last forgotten, and when it was asked for.
    fn known(&self, peer: usize) -> (Option<Instant>, [Option<Instant>; 4]) {
        let state = self.state();
        (state.forgotten[peer], state.asked[peer])
    }

    fn asked(&self, peer: usize, at: Instant) {
        let mut state = self.state();
        state.asked[peer].rotate_right(1);
        state.asked[peer][0] = Some(at);
        let failed = self.client.stats().failed();
        if failed != state.failed.0 {
            state.failed = (failed, Some(Instant::now()));
        }
    }

    /// How far behind a record is, and whether it may ever be.
    fn age(&self, soak: &Soak, peer: usize, version: usize, at: Instant, forgotten: Option<Instant>) -> Duration {
        let behind = soak.platform.ledger.behind(peer, version, at);
        soak.tally.behind.add(behind);
        if behind >= TTL + STALE_IF_ERROR + CLOCK {
            soak.tally.wrong(Wrong::Old, || format!("peer {peer}: {behind:?} behind"));
        }
        if let Some(ago) = forgotten.map(|forgotten| at.saturating_duration_since(forgotten)) {
            if behind > ago + CLOCK {
                soak.tally.wrong(Wrong::Old, || format!("peer {peer}: {behind:?} behind, and forgotten {ago:?} ago"));
            }
        }
        behind
    }

    fn stale(&self, soak: &Soak, at: Instant, words: impl FnOnce() -> String) {
        // A lookup that a busy machine had fail, and what follows from it.
        let failed = self.state().failed.1.is_some_and(|failed| at.saturating_duration_since(failed) < SETTLE);
        soak.tally.wrong(if failed { Wrong::Excused } else { Wrong::Stale }, words);
    }
}

impl Stalls {
    /// Counts in phases in which nobody who asks the registry hears anything.
    fn note(&mut self, soak: &Soak, phase: usize, took: Duration) {
        let silent =
            soak.script.get(phase).is_some_and(|phase| phase.troubles_registry() && phase.fault == Fault::Silent);
        if phase != self.phase {
            *self = Stalls { phase, calls: 0 };
        }
        if silent && soak.phase() == phase && took > LOOKUP * 9 / 10 {
            self.calls += 1;
            soak.tally.stalls.fetch_max(self.calls, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
