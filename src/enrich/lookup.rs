//! One lookup: its answer ([`Lookup`]), and how it is made ([`LookupRunner`]).

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::policy::{ExpiryPolicy, FailureCause, circuit_policy};
use crate::cache::{Answered, Cache, CacheAnswer};
use crate::config::Settings;
use crate::error::ErrorKind;
use crate::error::failure_log::{FailureLog, severity_of_lookup};
use crate::peer::{Peer, PeerId};
use crate::platform::Registry;
use crate::stats::Counters;
use crate::util::circuit_breaker::{Circuit, Permit, Report};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::log_safe::log_safe;
use crate::util::panic;
use crate::util::random::random;
use crate::util::single_flight::{Leader, SingleFlight};
use crate::util::str_enum::str_enum;
use crate::util::sync::Mutex;

/// The answer to an enrichment, and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The registry's record, if there is one.
    pub peer: Option<Peer>,
    /// The source of the answer.
    pub source: LookupSource,
    /// True where the answer came from the cache: no request was made or waited for.
    pub from_cache: bool,
}

/// The source of an enrichment's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LookupSource {
    /// A record from the cache, younger than its TTL.
    Fresh,
    /// A record from the cache, older than its TTL, because lookups fail.
    Stale,
    /// A record from the registry, fetched by this call or by one that it waited for.
    Fetched,
    /// No record: the registry says that it does not know the peer, or does not show it to this workspace.
    Absent,
    /// No record: the lookup brought no usable answer.
    Failed,
    /// No record, and no lookup was made or waited for. Either the circuit is not closed: the registry does not answer.
    /// Or less than a fifth of the platform's rate limit is left, which is kept for messages. Or this thread is in a lookup
    /// already, as where its logger calls the client, and would wait for itself.
    Shed,
    /// No record: the text is no peer id. No request was made.
    Invalid,
}

str_enum!(LookupSource {
    Fresh: "fresh",
    Stale: "stale",
    Fetched: "fetched",
    Absent: "absent",
    Failed: "failed",
    Shed: "shed",
    Invalid: "invalid",
});

impl Lookup {
    /// The answer to a text that is no peer id.
    pub(super) const INVALID: Lookup = Lookup { peer: None, source: LookupSource::Invalid, from_cache: false };

    #[inline]
    pub(super) fn new(peer: Option<Peer>, source: LookupSource, from_cache: bool) -> Self {
        Lookup { peer, source, from_cache }
    }

    /// Converts the cache's answer.
    ///
    /// # Errors
    ///
    /// [`LookupDue`], where the cache's answer calls for a lookup.
    pub(super) fn from_answer(answer: CacheAnswer) -> Result<Self, LookupDue> {
        match answer {
            CacheAnswer::Fresh { record, .. } => Ok(Lookup::new(Some(record), LookupSource::Fresh, true)),
            CacheAnswer::Stale(record) => Ok(Lookup::new(Some(record), LookupSource::Stale, true)),
            CacheAnswer::Absent => Ok(Lookup::new(None, LookupSource::Absent, true)),
            CacheAnswer::Failed => Ok(Lookup::new(None, LookupSource::Failed, true)),
            CacheAnswer::Refused { stale, .. } => Ok(Lookup::stand_in(stale, LookupSource::Failed, true)),
            CacheAnswer::Due(stale) => Err(LookupDue { stale, retry: false }),
            CacheAnswer::Retry(stale) => Err(LookupDue { stale, retry: true }),
        }
    }

    /// Converts a lookup's outcome. `None` is a lookup that did not end in time.
    pub(super) fn from_outcome(outcome: Option<LookupOutcome>, stale: Option<Peer>) -> Self {
        match outcome {
            Some(LookupOutcome::Found(record)) => Lookup::new(Some(record), LookupSource::Fetched, false),
            Some(LookupOutcome::Absent) => Lookup::new(None, LookupSource::Absent, false),
            Some(LookupOutcome::Failed) | None => Lookup::stand_in(stale, LookupSource::Failed, false),
        }
    }

    /// Returns the `stale` record, if there is one, or else no record with the source `otherwise`.
    pub(super) fn stand_in(stale: Option<Peer>, otherwise: LookupSource, from_cache: bool) -> Self {
        let source = if stale.is_some() { LookupSource::Stale } else { otherwise };
        Lookup { peer: stale, source, from_cache }
    }

    /// Returns the counter that this answer belongs to.
    pub(super) fn answered(&self) -> Answered {
        match self.source {
            LookupSource::Fresh | LookupSource::Fetched => Answered::Fresh,
            LookupSource::Stale => Answered::Stale,
            LookupSource::Absent => Answered::Absent,
            LookupSource::Failed | LookupSource::Shed | LookupSource::Invalid => Answered::Unknown,
        }
    }
}

/// A lookup that is due.
pub(super) struct LookupDue {
    /// An older record, which is served where the lookup fails.
    pub(super) stale: Option<Peer>,
    /// True for a peer whose last lookup was not answered. A background thread should look it up, not a caller.
    pub(super) retry: bool,
}

/// The outcome of a lookup, as all threads that share it get it.
#[derive(Debug, Clone)]
pub(super) enum LookupOutcome {
    Found(Peer),
    Absent,
    Failed,
}

/// Number of unanswered peers that are remembered until the end of an outage: as many as the queue holds by default.
const MAX_UNANSWERED: usize = 1_024;

/// Makes lookups: asks the registry, stores the outcome, and reports it to the circuit and to waiting threads.
pub(super) struct LookupRunner {
    pub(super) registry: Registry,
    pub(super) cache: Cache,
    pub(super) flights: SingleFlight<PeerId, LookupOutcome>,
    pub(super) circuit: Arc<Circuit<PeerId>>,
    pub(super) policy: ExpiryPolicy,
    pub(super) counters: Counters,
    /// Peers whose lookups were not answered in this outage. They are looked up again when it ends.
    unanswered: Mutex<Vec<PeerId>>,
    /// Failed lookups since the last one that the registry answered.
    failures: FailureLog,
    /// Id of the process that the lookups in flight belong to.
    process: AtomicU32,
}

impl LookupRunner {
    pub(super) fn new(registry: Registry, settings: &Settings) -> Self {
        LookupRunner {
            registry,
            cache: Cache::new(settings.capacity),
            flights: SingleFlight::new(),
            circuit: Arc::new(Circuit::new(circuit_policy(settings))),
            policy: ExpiryPolicy::from_settings(settings),
            counters: Counters::default(),
            unanswered: Mutex::new(Vec::new()),
            failures: FailureLog::new(
                "a2a_blocking::enrich",
                "enrich: peers are unknown, or as last known",
                format!("enrich: {} answers lookups of peers again", settings.platform_url),
            ),
            process: AtomicU32::new(process::id()),
        }
    }

    /// Leads a flight: makes its lookup and ends it.
    ///
    /// A panic in the lookup counts as a failed lookup.
    pub(super) fn lead(
        &self,
        leader: Leader<'_, PeerId, LookupOutcome>,
        permit: Permit<'_, PeerId>,
        now: CoarseInstant,
        deadline: Deadline,
    ) -> LookupEnd {
        let peer = leader.key();
        let outage = self.cache.outage();
        // No lock is held during the lookup, so a panic leaves nothing half written.
        let asked = panic::catch(|| self.ask_registry(peer, deadline));
        let RegistryAnswer { outcome, report, retry_after, refused_token, is_removed } =
            asked.unwrap_or(RegistryAnswer::NONE);
        let known = self.cache.record(peer);
        let is_first = known.is_none();
        let outcome = match (outcome, &known) {
            // The list of peers has fields that the registry's discover has not.
            (LookupOutcome::Found(record), Some(known)) => LookupOutcome::Found(record.over(known)),
            (outcome, _) => outcome,
        };
        // Expiry counts from the start of the lookup: the record is at least as young as that.
        let update = match &outcome {
            LookupOutcome::Found(record) => Some(self.policy.found(peer, record.clone(), now, is_first)),
            LookupOutcome::Absent => self.policy.absent(now, is_removed),
            LookupOutcome::Failed => {
                let cause = match refused_token {
                    Some(token) => FailureCause::Token(token),
                    None if report == Report::Unanswered => FailureCause::Outage(outage),
                    None => FailureCause::Answer,
                };
                self.policy.failed(now, retry_after, cause)
            }
        };
        // The circuit changes before the waiters wake, because their next miss asks it.
        let took = self.policy.lookup_timeout.saturating_sub(deadline.left());
        let ended_outage = permit.after(took).report(report, random());
        let due_again = match ended_outage {
            Some(outage) => {
                self.cache.end_outage(now.plus(took), self.policy.catch_up(outage));
                std::mem::take(&mut *self.unanswered.lock())
            }
            None if report == Report::Unanswered => self.remember_unanswered(peer, outage),
            None => Vec::new(),
        };
        drop(leader.complete(&outcome, |_| update.map(|update| self.cache.insert(peer, update))));
        let circuit_changed = ended_outage.is_some() || report != Report::Answered;
        LookupEnd { outcome, due_again, circuit_changed }
    }

    /// Makes the request.
    fn ask_registry(&self, peer: PeerId, deadline: Deadline) -> RegistryAnswer {
        self.counters.lookups.add(1);
        let error = match self.registry.lookup(peer, deadline) {
            Ok(record) => {
                self.counters.found.add(1);
                self.failures.succeeded();
                let outcome = LookupOutcome::Found(record);
                return RegistryAnswer { outcome, report: Report::Answered, ..RegistryAnswer::NONE };
            }
            Err(error) => error,
        };
        let retry_after = error.retry_after();
        let report = match (error.status(), retry_after) {
            (Some(429 | 503), Some(wait)) => Report::RetryAfter(wait),
            (Some(_), _) => Report::Answered,
            (None, _) => Report::Unanswered,
        };
        let outcome = match error.kind() {
            ErrorKind::NotFound => {
                self.failures.succeeded();
                log_safe!(debug, "enrich: {error}");
                LookupOutcome::Absent
            }
            kind => {
                self.counters.failed(kind);
                self.failures.failed(severity_of_lookup(&error), &error, format_args!(""));
                LookupOutcome::Failed
            }
        };
        // The lookup has read a refused token again: the newest one is refused.
        let refused_token = (error.kind() == ErrorKind::Unauthorized).then(|| self.registry.token_number());
        RegistryAnswer { outcome, report, retry_after, refused_token, is_removed: error.is_removed_peer() }
    }

    /// Returns what the cache knows of a peer. A refusal of a token that was replaced since does not count.
    pub(super) fn known(&self, peer: PeerId, now: CoarseInstant) -> CacheAnswer {
        self.cache.get(peer, now).with_token(self.registry.token_number())
    }

    /// Remembers a peer until the end of this outage. Returns it where the outage has ended during its lookup: nothing else
    /// would have it looked up again.
    fn remember_unanswered(&self, peer: PeerId, outage: u64) -> Vec<PeerId> {
        let mut unanswered = self.unanswered.lock();
        // Under the lock: whoever ends the outage takes the peers after that.
        if self.cache.outage() != outage {
            return vec![peer];
        }
        if unanswered.len() < MAX_UNANSWERED {
            unanswered.push(peer);
        }
        Vec::new()
    }

    /// Removes a peer from the cache. Returns what was removed, so that the caller drops it without a lock.
    #[must_use = "drop the removed value after all locks are released"]
    pub(super) fn forget(&self, peer: PeerId) -> impl Sized + use<> {
        self.unanswered.lock().retain(|other| *other != peer);
        self.flights.forget(peer, || self.cache.remove(peer))
    }

    /// Removes all peers from the cache. Returns what was removed, so that the caller drops it without a lock.
    #[must_use = "drop the removed entries after all locks are released"]
    pub(super) fn forget_all(&self) -> impl Sized + use<> {
        self.unanswered.lock().clear();
        self.flights.forget_all(|| self.cache.clear())
    }

    /// In the child of a fork, forgets the lookups in flight, which go on in the parent only.
    ///
    /// Returns whether this was the first call in a new process.
    pub(super) fn reset_after_fork(&self) -> bool {
        let current = process::id();
        if self.process.load(Relaxed) == current || self.process.swap(current, Relaxed) == current {
            return false;
        }
        self.flights.forget_all(|| ());
        self.circuit.reset();
        self.registry.rate_limit().reset_after_fork();
        true
    }
}

/// The registry's answer to a lookup.
struct RegistryAnswer {
    outcome: LookupOutcome,
    /// The report to the circuit.
    report: Report,
    /// Wait that the answer asks for.
    retry_after: Option<Duration>,
    /// Number of the token that it refuses.
    refused_token: Option<u64>,
    /// True where it says that the peer was removed.
    is_removed: bool,
}

impl RegistryAnswer {
    /// No answer.
    const NONE: RegistryAnswer = RegistryAnswer {
        outcome: LookupOutcome::Failed,
        report: Report::Unanswered,
        retry_after: None,
        refused_token: None,
        is_removed: false,
    };
}

/// The end of a lookup, and what is left to do in the background.
#[must_use = "the background threads need it"]
pub(super) struct LookupEnd {
    pub(super) outcome: LookupOutcome,
    /// Peers whose lookups were not answered in an outage that has ended.
    pub(super) due_again: Vec<PeerId>,
    /// True where the circuit may have changed, which background threads wait for.
    pub(super) circuit_changed: bool,
}
