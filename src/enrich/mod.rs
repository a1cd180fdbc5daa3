//! Enrichment: a cache in front of the registry, and one bounded lookup for what is not in it.

mod ask;
mod background;
mod job;
mod lookup;
mod policy;
pub mod simulation;

use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::cache::{Cache, CacheUpdate, Discarded};
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::peer::{Peer, PeerId};
use crate::platform::Registry;
use crate::stats::{Counters, Stats};
use crate::util::circuit_breaker::{Circuit, CircuitPolicy, Permit, Report};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::panic;
use crate::util::random::random;
use crate::util::single_flight::{Joined, Leader, SingleFlight};
use crate::util::sync::Mutex;
use crate::wire::PeerList;
use background::Background;
pub use lookup::{Lookup, LookupSource};
use policy::ExpiryPolicy;

/// What a lookup brought, as all that share it hear of it.
#[derive(Debug, Clone)]
enum Outcome {
    Found(Peer),
    Absent,
    Failed,
}

/// How many peers are from_cache for the end of an outage: as many as the queue holds by default.
const MAX_UNANSWERED: usize = 1_024;

/// The cache, the registry, and the rules between them.
pub(crate) struct Enricher {
    registry: Registry,
    cache: Cache,
    flights: SingleFlight<Outcome>,
    circuit: Arc<Circuit>,
    /// Whose lookups were not answered in this outage: they are asked for again when it is over.
    unanswered: Mutex<Vec<PeerId>>,
    background: Background,
    policy: ExpiryPolicy,
    counters: Counters,
    /// The process that the lookups under way belong to.
    process: AtomicU32,
    /// For the background threads, which must not keep it alive.
    own: Weak<Enricher>,
}

impl Enricher {
    pub(crate) fn new(registry: Registry, settings: &Settings) -> Arc<Self> {
        let circuit = Arc::new(Circuit::new(CircuitPolicy::from_settings(settings)));
        Arc::new_cyclic(|own| Enricher {
            registry,
            cache: Cache::new(settings.capacity),
            flights: SingleFlight::new(),
            unanswered: Mutex::new(Vec::new()),
            background: Background::new(circuit.clone(), settings.background_threads, settings.queue),
            circuit,
            policy: ExpiryPolicy::from_settings(settings),
            counters: Counters::default(),
            process: AtomicU32::new(process::id()),
            own: own.clone(),
        })
    }

    fn miss(&self, peer: PeerId, now: CoarseInstant, stale: Option<Peer>, deadline: Deadline) -> Lookup {
        self.notice_fork();
        // Where a background thread makes the probes, no caller has to.
        let closed = self.circuit.is_closed();
        let may_probe = closed || !self.background.is_there(&self.own);
        if closed {
            // Whoever misses the same peer shares its lookup, and needs no leave of its own.
            if let Some(flight) = self.flights.under_way(peer) {
                self.counters.coalesced.add(1);
                return self.shared(flight.wait(deadline), stale);
            }
        }
        // Where threads of ours wait for it, its time is the real one.
        let real = if self.background.is_wanted() { CoarseInstant::now() } else { now };
        let Some(permit) = self.circuit.admit(peer, real, may_probe) else {
            self.counters.shed.add(1);
            // It has its record soon after the registry is back.
            self.queue_up(peer, now);
            return Lookup::stand_in(stale, LookupSource::Shed, true);
        };
        match self.flights.join(peer, || Lookup::from_answer(self.cache.get(peer, now)).ok()) {
            Joined::Known(known) => {
                permit.release();
                self.background.notice();
                known
            }
            Joined::Waiter(flight) => {
                permit.release();
                self.background.notice();
                if !closed {
                    self.counters.shed.add(1);
                    return Lookup::stand_in(stale, LookupSource::Shed, true);
                }
                self.counters.coalesced.add(1);
                self.shared(flight.wait(deadline), stale)
            }
            Joined::Leader(leader) => match self.lead(leader, permit, peer, now, deadline) {
                Outcome::Found(record) => Lookup::new(Some(record), LookupSource::Fetched, false),
                Outcome::Absent => Lookup::new(None, LookupSource::Absent, false),
                Outcome::Failed => Lookup::stand_in(stale, LookupSource::Failed, false),
            },
        }
    }

    /// After a fork the lookups that were under way go on in the other process only.
    fn notice_fork(&self) {
        let here = process::id();
        if self.process.load(Relaxed) != here && self.process.swap(here, Relaxed) != here {
            self.flights.forget_all(|| ());
            self.circuit.reset();
            self.background.notice();
        }
    }

    fn shared(&self, outcome: Option<Outcome>, stale: Option<Peer>) -> Lookup {
        match outcome {
            Some(Outcome::Found(record)) => Lookup::new(Some(record), LookupSource::Fetched, false),
            Some(Outcome::Absent) => Lookup::new(None, LookupSource::Absent, false),
            Some(Outcome::Failed) | None => Lookup::stand_in(stale, LookupSource::Failed, false),
        }
    }

    /// Makes the lookup, files what came of it, and tells the circuit and whoever waits.
    fn lead(
        &self,
        leader: Leader<'_, Outcome>,
        permit: Permit<'_>,
        peer: PeerId,
        now: CoarseInstant,
        deadline: Deadline,
    ) -> Outcome {
        let outage = self.cache.outage();
        // Locks here are not poisoned, and nothing is half written while a lookup is under way.
        let asked = panic::catch(|| self.ask(peer, deadline));
        let (outcome, report) = asked.unwrap_or((Outcome::Failed, Report::Unanswered));
        // A list of peers says more of them than the registry's discover does.
        let known = self.cache.record(peer);
        let outcome = match (outcome, &known) {
            (Outcome::Found(record), Some(known)) => Outcome::Found(record.over(known)),
            (outcome, _) => outcome,
        };
        // From the start of the lookup: the record is at least as young as that.
        let filing = match &outcome {
            Outcome::Found(record) => Some(self.policy.found(peer, record.clone(), now, known.is_none())),
            // What is not to be from_cache takes nobody's place.
            _ if self.policy.negative_ttl.is_zero() => None,
            Outcome::Absent => Some(CacheUpdate::Absent { until: now.plus(self.policy.negative_ttl) }),
            Outcome::Failed => {
                let until = now.plus(self.policy.negative_ttl);
                Some(CacheUpdate::Failed { until, outage: (report == Report::Unanswered).then_some(outage) })
            }
        };
        // Before anybody is woken who would miss the next peer.
        let took = self.policy.lookup_timeout.saturating_sub(deadline.left());
        let ended = permit.after(took).report(report, random());
        if let Some(outage) = ended {
            self.cache.end_outage(now.plus(took), self.policy.catch_up(outage));
            let again = std::mem::take(&mut *self.unanswered.lock());
            for peer in again {
                self.queue_up(peer, now);
            }
        } else if report == Report::Unanswered {
            let mut unanswered = self.unanswered.lock();
            if unanswered.len() < MAX_UNANSWERED {
                unanswered.push(peer);
            }
        }
        drop(leader.complete(&outcome, |_| filing.map(|filing| self.cache.insert(peer, filing))));
        if ended.is_some() || report != Report::Answered {
            self.background.notice();
        }
        outcome
    }

    fn ask(&self, peer: PeerId, deadline: Deadline) -> (Outcome, Report) {
        self.counters.lookups.add(1);
        let error = match self.registry.lookup(peer, deadline) {
            Ok(record) => {
                self.counters.found.add(1);
                return (Outcome::Found(record), Report::Answered);
            }
            Err(error) => error,
        };
        let report = match (error.status(), error.retry_after()) {
            (Some(429 | 503), Some(wait)) => Report::RetryAfter(wait),
            (Some(_), _) => Report::Answered,
            (None, _) => Report::Unanswered,
        };
        let outcome = match error.kind() {
            ErrorKind::NotFound => Outcome::Absent,
            kind => {
                self.counters.failed(kind);
                Outcome::Failed
            }
        };
        log::debug!("enrich: {error}");
        (outcome, report)
    }

    /// Our own workspace's peers, as the registry lists them; those with a valid id are filed.
    ///
    /// # Errors
    ///
    /// As [`Registry::peers`].
    pub(crate) fn peers(&self, now: CoarseInstant, deadline: Deadline) -> Result<Vec<Peer>, Error> {
        let begun = self.flights.epoch();
        let PeerList { peers, skipped } = self.registry.peers(deadline)?;
        if skipped > 0 {
            self.counters.skipped.add(skipped);
            log::debug!("peers: {skipped} entries of the list are no objects, or cannot be read, and are left out");
        }
        let file = || -> Vec<Discarded> {
            let with_id = peers.iter().filter_map(|peer| Some((peer.peer_id()?, peer)));
            let filings = with_id.map(|(id, peer)| match self.cache.record(id) {
                Some(known) => (id, self.policy.found(id, peer.clone().beside(&known), now, false)),
                None => (id, self.policy.found(id, peer.clone(), now, true)),
            });
            filings.map(|(id, filing)| self.cache.insert(id, filing)).collect()
        };
        drop(self.flights.unless_forgotten(begun, file));
        Ok(peers)
    }

    /// The record of a peer, however old.
    pub(crate) fn known(&self, peer: PeerId) -> Option<Peer> {
        self.cache.record(peer)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.background.wait_until_idle(Deadline::after(timeout))
    }

    pub(crate) fn forget(&self, peer: PeerId) {
        self.background.forget(peer);
        self.unanswered.lock().retain(|other| *other != peer);
        drop(self.flights.forget(peer, || self.cache.remove(peer)));
    }

    pub(crate) fn clear(&self) {
        self.background.forget_all();
        self.unanswered.lock().clear();
        drop(self.flights.forget_all(|| self.cache.clear()));
    }

    pub(crate) fn stats(&self) -> Stats {
        let fill = self.cache.stats();
        let (circuit, circuit_opened) = self.circuit.observe();
        let [fresh, stale, absent, unknown] = self.cache.answers();
        Stats {
            fresh,
            stale,
            absent,
            unknown,
            dropped: self.background.dropped(),
            circuit,
            circuit_opened,
            entries: fill.entries,
            bytes: fill.bytes,
            evictions: fill.evictions,
            ..self.counters.snapshot()
        }
    }
}
