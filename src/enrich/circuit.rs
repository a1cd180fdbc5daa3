//! The circuit: after lookups that nobody answered, it keeps the others from waiting for nothing. No I/O
//! and no clock: `now` is an argument.

use std::time::Duration;

use crate::clock::Tick;
use crate::config::Settings;
use crate::peer::PeerId;
use crate::stats::CircuitState;
use crate::sync::Mutex;

/// The longest that a registry's `Retry-After` holds lookups.
const MAX_HOLD: Duration = Duration::from_secs(60);
/// By how much a wait is shortened or lengthened at random, so that a fleet does not probe as one.
const JITTER: f64 = 0.25;

/// When it opens, and how long it stays open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Unanswered lookups in a row that open it.
    pub(super) threshold: u32,
    /// The first wait before a probe; each later one is twice the one before.
    pub(super) first_wait: Duration,
    /// The longest wait before a probe.
    pub(super) max_wait: Duration,
}

impl Limits {
    pub(super) fn of(settings: &Settings) -> Self {
        let (first_wait, max_wait) = settings.circuit_waits;
        Limits { threshold: settings.circuit_threshold, first_wait, max_wait }
    }
}

pub(super) struct Circuit {
    limits: Limits,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    /// Whom a miss asked for last, while it was not closed: whom a probe asks for.
    last_missed: Option<PeerId>,
    openings: u64,
    /// When it was last closed, as long as it is not.
    since: Tick,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed,
    /// So many were not answered in a row, and whether one is under way.
    OneAtATime {
        unanswered: u32,
        under_way: bool,
    },
    Open {
        until: Tick,
        wait: Duration,
    },
    Probing {
        wait: Duration,
    },
}

/// The leave to make a lookup. Dropped without a report, as by a panic, it counts as unanswered.
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    peer: PeerId,
    kind: Kind,
    now: Tick,
    reported: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Free,
    Only,
    Probe,
}

/// What came of a lookup, as far as the circuit goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Report {
    /// An HTTP status, however bad.
    Answered,
    /// An HTTP status with the wish to be left alone for so long.
    Held(Duration),
    /// None.
    Unanswered,
}

/// When a probe is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Due {
    /// Now, for this peer.
    Probe(PeerId),
    /// In so long.
    In(Duration),
    /// Not as things stand.
    Never,
}

impl Circuit {
    pub(super) fn new(limits: Limits) -> Self {
        let inner = Inner { state: State::Closed, last_missed: None, openings: 0, since: Tick::START };
        Circuit { limits, inner: Mutex::new(inner) }
    }

    /// Asks leave for a lookup. `may_probe`: whether this one may be the probe that is due; where background
    /// threads make the probes, a caller's may not.
    pub(super) fn admit(&self, peer: PeerId, now: Tick, may_probe: bool) -> Option<Pass<'_>> {
        let mut inner = self.inner.lock();
        let kind = match &mut inner.state {
            State::Closed => Kind::Free,
            State::OneAtATime { under_way, .. } if !*under_way => {
                *under_way = true;
                Kind::Only
            }
            State::Open { until, wait } if may_probe && now >= *until => {
                let wait = *wait;
                inner.state = State::Probing { wait };
                Kind::Probe
            }
            State::OneAtATime { .. } | State::Open { .. } | State::Probing { .. } => {
                inner.last_missed = Some(peer);
                return None;
            }
        };
        Some(Pass { circuit: self, peer, kind, now, reported: false })
    }

    /// Forgets whatever was under way.
    pub(super) fn reset(&self) {
        let mut inner = self.inner.lock();
        (inner.state, inner.last_missed) = (State::Closed, None);
    }

    /// Whether lookups are made as they are asked for.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().state == State::Closed
    }

    /// Whether no lookup is made but a probe.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.inner.lock().state, State::Open { .. } | State::Probing { .. })
    }

    /// Whether a lookup that is no probe would have leave now.
    pub(super) fn would_admit(&self) -> bool {
        matches!(self.inner.lock().state, State::Closed | State::OneAtATime { under_way: false, .. })
    }

    /// When the next probe is due, as of `now`.
    pub(super) fn due(&self, now: Tick) -> Due {
        let inner = self.inner.lock();
        match (inner.state, inner.last_missed) {
            (State::Open { until, .. }, Some(peer)) if now >= until => Due::Probe(peer),
            // A nanosecond more, lest the clock's rounding has it too early.
            (State::Open { until, .. }, Some(_)) => Due::In(until.since(now) + Duration::from_nanos(1)),
            _ => Due::Never,
        }
    }

    /// Its state, and how often it has opened.
    pub(super) fn observe(&self) -> (CircuitState, u64) {
        let inner = self.inner.lock();
        let state = match inner.state {
            State::Closed => CircuitState::Closed,
            State::OneAtATime { .. } => CircuitState::OneAtATime,
            State::Open { .. } => CircuitState::Open,
            State::Probing { .. } => CircuitState::Probing,
        };
        (state, inner.openings)
    }

    fn report(&self, pass: &Pass<'_>, report: Report, random: f64) -> Option<Duration> {
        let Pass { peer, kind, now, .. } = *pass;
        let mut inner = self.inner.lock();
        let was_closed = inner.state == State::Closed;
        let next = match report {
            Report::Answered => State::Closed,
            // Never at once: whoever asks for peace by mistake is not to be asked in a loop.
            Report::Held(wait) => {
                let first = self.limits.first_wait;
                self.open(now, wait.clamp(first.min(MAX_HOLD), MAX_HOLD), first)
            }
            Report::Unanswered => self.after_unanswered(inner.state, kind, now, random),
        };
        let opens = matches!(next, State::Open { .. });
        if opens && !matches!(inner.state, State::Open { .. } | State::Probing { .. }) {
            inner.openings += 1;
        }
        inner.state = next;
        // There is always somebody to probe for while it is open.
        inner.last_missed = if next == State::Closed { None } else { inner.last_missed.or(Some(peer)) };
        let outage = (!was_closed && report != Report::Unanswered).then(|| now.since(inner.since));
        // A wish to be left alone ends an outage, and begins the next.
        if was_closed || outage.is_some() {
            inner.since = now;
        }
        outage
    }

    fn after_unanswered(&self, state: State, kind: Kind, now: Tick, random: f64) -> State {
        let Limits { threshold, first_wait, max_wait } = self.limits;
        let unanswered = match (state, kind) {
            (State::Closed, _) => 1,
            (State::OneAtATime { unanswered, .. }, _) => unanswered + 1,
            // The probe's answer, or rather not: wait twice as long.
            (State::Probing { wait }, Kind::Probe) => {
                let wait = (wait * 2).min(max_wait);
                return self.open(now, spread(wait, random), wait);
            }
            // One from before: it adds nothing to what is known.
            (State::Probing { .. } | State::Open { .. }, _) => return state,
        };
        if unanswered >= threshold {
            return self.open(now, spread(first_wait, random), first_wait);
        }
        // Another that was under way before the circuit noticed does not free the one place.
        let under_way = matches!(state, State::OneAtATime { under_way: true, .. }) && kind != Kind::Only;
        State::OneAtATime { unanswered, under_way }
    }

    fn open(&self, now: Tick, until: Duration, wait: Duration) -> State {
        State::Open { until: now.plus(until), wait }
    }
}

impl Pass<'_> {
    /// The lookup took so long: waits count from its end.
    pub(super) fn after(mut self, took: Duration) -> Self {
        self.now = self.now.plus(took);
        self
    }

    /// Reports what came of the lookup. If it is the first answer after an outage, the length of that.
    pub(super) fn report(mut self, report: Report, random: f64) -> Option<Duration> {
        self.reported = true;
        self.circuit.report(&self, report, random)
    }

    /// Gives the leave back unused.
    pub(super) fn give_back(mut self) {
        self.reported = true;
        let mut inner = self.circuit.inner.lock();
        match (self.kind, inner.state) {
            (Kind::Only, State::OneAtATime { unanswered, .. }) => {
                inner.state = State::OneAtATime { unanswered, under_way: false };
            }
            (Kind::Probe, State::Probing { wait }) => inner.state = State::Open { until: self.now, wait },
            _ => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.reported {
            self.circuit.report(self, Report::Unanswered, 0.5);
        }
    }
}

/// The wait, shortened or lengthened.
fn spread(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;

#[cfg(a2a_loom)]
#[cfg(test)]
#[path = "circuit_loom.rs"]
mod loom_tests;
