//! A circuit breaker: while a server does not answer, lookups are refused instead of running into their timeout.
//!
//! Each lookup has a key of type `K`, so that the circuit can say which key to probe with.
//!
//! | state | lets through | next state, if a lookup is not answered |
//! | --- | --- | --- |
//! | `Closed` | every lookup | `Degraded`, or `Open` where the threshold is 1 |
//! | `Degraded` | one lookup at a time | `Open`, once as many in a row as the threshold were not answered |
//! | `Open` | one probe, once the backoff has passed: `HalfOpen` | `Open`, unchanged |
//! | `HalfOpen` | nothing but the probe that is in flight | `Open` with twice the backoff, if it was the probe |
//!
//! Any HTTP status is an answer and closes the circuit, in every state. A status with `Retry-After` opens it for that
//! time.
//!
//! The circuit does no I/O and reads no clock: methods that depend on time take `now`.
//!
//! The pattern: <https://martinfowler.com/bliki/CircuitBreaker.html>. `Retry-After`: RFC 9110, section 10.2.3,
//! <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.

use std::time::Duration;

use crate::util::clock::CoarseInstant;
use crate::util::str_enum::str_enum;
use crate::util::sync::Mutex;

/// Longest time for which a server's `Retry-After` keeps the circuit open.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Fraction by which a backoff is shortened or lengthened at random, so that a fleet does not probe all at once.
const JITTER: f64 = 0.25;

/// The circuit breaker in front of one server.
pub(crate) struct Circuit<K> {
    policy: CircuitPolicy,
    inner: Mutex<CircuitInner<K>>,
}

impl<K: Copy> Circuit<K> {
    pub(crate) fn new(policy: CircuitPolicy) -> Self {
        let inner = CircuitInner {
            state: BreakerState::Closed,
            probe_key: None,
            opened: 0,
            outage_since: CoarseInstant::START,
        };
        Circuit { policy, inner: Mutex::new(inner) }
    }

    /// Returns a permit to look `key` up, or `None` where the circuit refuses it.
    ///
    /// `may_probe` says whether this lookup may be the probe that is due. It is `false` for a caller's lookup while
    /// background threads make the probes.
    pub(crate) fn admit(&self, key: K, now: CoarseInstant, may_probe: bool) -> Option<Permit<'_, K>> {
        let mut inner = self.inner.lock();
        let kind = match &mut inner.state {
            BreakerState::Closed => PermitKind::Unlimited,
            BreakerState::Degraded { in_flight, .. } if !*in_flight => {
                *in_flight = true;
                PermitKind::Single
            }
            BreakerState::Open { until, backoff } if may_probe && now >= *until => {
                let backoff = *backoff;
                inner.state = BreakerState::HalfOpen { backoff };
                PermitKind::Probe
            }
            BreakerState::Degraded { .. } | BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => {
                inner.probe_key = Some(key);
                return None;
            }
        };
        Some(Permit { circuit: self, key, kind, now, reported: false })
    }

    /// Closes the circuit and forgets the lookups in flight.
    ///
    /// For the child of a fork: the parent's lookups will never report to it.
    pub(crate) fn reset(&self) {
        let mut inner = self.inner.lock();
        inner.state = BreakerState::Closed;
        inner.probe_key = None;
    }

    /// Returns whether every lookup is admitted.
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.lock().state == BreakerState::Closed
    }

    /// Returns whether every lookup but a probe is refused.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.inner.lock().state, BreakerState::Open { .. } | BreakerState::HalfOpen { .. })
    }

    /// Returns whether a lookup that is no probe would be admitted now.
    pub(crate) fn would_admit(&self) -> bool {
        matches!(self.inner.lock().state, BreakerState::Closed | BreakerState::Degraded { in_flight: false, .. })
    }

    /// Returns when the next probe is due, as of `now`.
    pub(crate) fn next_probe(&self, now: CoarseInstant) -> NextProbe<K> {
        let inner = self.inner.lock();
        match (inner.state, inner.probe_key) {
            (BreakerState::Open { until, .. }, Some(key)) if now >= until => NextProbe::Now(key),
            // One nanosecond more: `since` rounds down, and a thread that waits only so long may wake before `until`.
            (BreakerState::Open { until, .. }, Some(_)) => NextProbe::After(until.since(now) + Duration::from_nanos(1)),
            _ => NextProbe::Never,
        }
    }

    /// Returns the state, and the number of times the circuit has opened.
    pub(crate) fn observe(&self) -> (CircuitState, u64) {
        let inner = self.inner.lock();
        let state = match inner.state {
            BreakerState::Closed => CircuitState::Closed,
            BreakerState::Degraded { .. } => CircuitState::Degraded,
            BreakerState::Open { .. } => CircuitState::Open,
            BreakerState::HalfOpen { .. } => CircuitState::HalfOpen,
        };
        (state, inner.opened)
    }

    /// Moves to the next state. Returns the length of the outage, if this report ends one.
    fn report(&self, permit: &Permit<'_, K>, report: Report, random: f64) -> Option<Duration> {
        let Permit { key, kind, now, .. } = *permit;
        let mut inner = self.inner.lock();
        let was_closed = inner.state == BreakerState::Closed;
        let next = match report {
            Report::Answered => BreakerState::Closed,
            Report::RetryAfter(wait) => {
                // At least the first backoff: a server that sends `Retry-After: 0` is not asked in a loop.
                let first = self.policy.first_backoff;
                BreakerState::open(now, wait.clamp(first.min(MAX_RETRY_AFTER), MAX_RETRY_AFTER), first)
            }
            Report::Unanswered => self.after_unanswered(inner.state, kind, now, random),
        };
        let opens = matches!(next, BreakerState::Open { .. });
        if opens && !matches!(inner.state, BreakerState::Open { .. } | BreakerState::HalfOpen { .. }) {
            inner.opened += 1;
        }
        inner.state = next;
        // An open circuit always has a key to probe with, even where no lookup was refused.
        inner.probe_key = if next == BreakerState::Closed { None } else { inner.probe_key.or(Some(key)) };
        let outage = (!was_closed && report != Report::Unanswered).then(|| now.since(inner.outage_since));
        // `RetryAfter` ends an outage, because the registry answered, and begins the next, because lookups are refused.
        if was_closed || outage.is_some() {
            inner.outage_since = now;
        }
        outage
    }

    fn after_unanswered(&self, state: BreakerState, kind: PermitKind, now: CoarseInstant, random: f64) -> BreakerState {
        let CircuitPolicy { threshold, first_backoff, max_backoff } = self.policy;
        let unanswered = match (state, kind) {
            (BreakerState::Closed, _) => 1,
            (BreakerState::Degraded { unanswered, .. }, _) => unanswered + 1,
            (BreakerState::HalfOpen { backoff }, PermitKind::Probe) => {
                let backoff = (backoff * 2).min(max_backoff);
                return BreakerState::open(now, jittered(backoff, random), backoff);
            }
            // A lookup that was admitted before the circuit opened. It says nothing new.
            (BreakerState::HalfOpen { .. } | BreakerState::Open { .. }, _) => return state,
        };
        if unanswered >= threshold {
            return BreakerState::open(now, jittered(first_backoff, random), first_backoff);
        }
        // Only the single lookup's own report makes room for the next. Lookups that were admitted while the circuit
        // was closed may still end in between.
        let in_flight = matches!(state, BreakerState::Degraded { in_flight: true, .. }) && kind != PermitKind::Single;
        BreakerState::Degraded { unanswered, in_flight }
    }
}

/// The state of a client's circuit breaker: how lookups are treated after some were not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CircuitState {
    /// Every lookup is made.
    #[default]
    Closed,
    /// The last lookup was not answered. One lookup is made at a time, and other misses return at once.
    Degraded,
    /// Several lookups in a row were not answered, or the registry sent `Retry-After`. No lookup is made until the next
    /// probe.
    Open,
    /// One lookup is in flight and finds out whether the registry is back.
    HalfOpen,
}

str_enum!(CircuitState { Closed: "closed", Degraded: "degraded", Open: "open", HalfOpen: "half_open" });

/// When the circuit opens, and how long it stays open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CircuitPolicy {
    /// Number of unanswered lookups in a row that opens the circuit.
    pub(crate) threshold: u32,
    /// Time before the first probe. Each later backoff is twice the one before.
    pub(crate) first_backoff: Duration,
    /// Longest time before a probe, without jitter.
    pub(crate) max_backoff: Duration,
}

/// A permit to make one lookup. Dropped without a report, as by a panic, it counts as unanswered.
pub(crate) struct Permit<'a, K: Copy> {
    circuit: &'a Circuit<K>,
    key: K,
    kind: PermitKind,
    /// When the lookup was admitted, or when it ended, once [`after`](Self::after) was called.
    now: CoarseInstant,
    reported: bool,
}

impl<K: Copy> Permit<'_, K> {
    /// Sets how long the lookup took. Backoffs count from its end.
    pub(crate) fn after(mut self, took: Duration) -> Self {
        self.now = self.now.plus(took);
        self
    }

    /// Reports the outcome of the lookup. Returns the length of the outage, if this is the first answer after one.
    ///
    /// `random` is from 0 to 1 and sets the jitter.
    pub(crate) fn report(mut self, report: Report, random: f64) -> Option<Duration> {
        self.reported = true;
        self.circuit.report(&self, report, random)
    }

    /// Returns the permit unused, so that another lookup can have it.
    pub(crate) fn release(mut self) {
        self.reported = true;
        let mut inner = self.circuit.inner.lock();
        match (self.kind, inner.state) {
            (PermitKind::Single, BreakerState::Degraded { unanswered, .. }) => {
                inner.state = BreakerState::Degraded { unanswered, in_flight: false };
            }
            (PermitKind::Probe, BreakerState::HalfOpen { backoff }) => {
                inner.state = BreakerState::Open { until: self.now, backoff };
            }
            _ => {}
        }
    }
}

impl<K: Copy> Drop for Permit<'_, K> {
    fn drop(&mut self) {
        if !self.reported {
            // 0.5 is no jitter.
            self.circuit.report(self, Report::Unanswered, 0.5);
        }
    }
}

/// The outcome of a lookup, as far as it concerns the circuit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Report {
    /// Any HTTP status.
    Answered,
    /// An HTTP status with a `Retry-After` header.
    RetryAfter(Duration),
    /// No HTTP status.
    Unanswered,
}

/// When the next probe is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NextProbe<K> {
    /// Now, with this key.
    Now(K),
    /// After this time.
    After(Duration),
    /// Not in the present state.
    Never,
}

struct CircuitInner<K> {
    state: BreakerState,
    /// The key that the next probe looks up: the last one that was refused, or else the first one that was not
    /// answered. `None` while the circuit is closed.
    probe_key: Option<K>,
    /// Number of times the circuit has opened.
    opened: u64,
    /// When the current outage began. Meaningless while the circuit is closed.
    outage_since: CoarseInstant,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum BreakerState {
    Closed,
    Degraded {
        /// Lookups in a row that were not answered.
        unanswered: u32,
        /// True while the one lookup that may be made at a time is in flight.
        in_flight: bool,
    },
    Open {
        /// When a probe is due.
        until: CoarseInstant,
        /// The backoff without jitter. A failed probe doubles it.
        backoff: Duration,
    },
    HalfOpen {
        /// The backoff before this probe. A failed probe doubles it.
        backoff: Duration,
    },
}

impl BreakerState {
    /// Returns the open state, with a probe due after `delay`.
    fn open(now: CoarseInstant, delay: Duration, backoff: Duration) -> Self {
        BreakerState::Open { until: now.plus(delay), backoff }
    }
}

/// The state in which a permit was given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum PermitKind {
    /// In `Closed`: any number at a time.
    Unlimited,
    /// In `Degraded`: one at a time.
    Single,
    /// In `Open`, once its backoff has passed.
    Probe,
}

/// Shortens or lengthens a backoff by up to [`JITTER`]: 0.5 leaves it as it is.
fn jittered(backoff: Duration, random: f64) -> Duration {
    backoff.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests;

#[cfg(a2a_loom)]
#[cfg(test)]
mod loom;
