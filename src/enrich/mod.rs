//! Enrichment: finds out who a peer is, from a cache in front of the registry.
//!
//! The path of a call, [`Enricher::lookup`]:
//!
//! 1. this thread's part of the cache answers, in most calls;
//! 2. else the shared cache does ([`Enricher::lookup_at`]);
//! 3. else the rate limit and the circuit are asked for permits, and the lookup is made, or another thread's is waited for
//!    ([`Enricher::fetch`]);
//! 4. the thread that leads the lookup asks the registry and stores the outcome ([`LookupRunner::lead`]).
//!
//! A lookup that nobody has to wait for goes to the background threads ([`Background`]).

mod background;
mod lookup;
mod policy;
#[cfg(a2a_simulation)]
pub mod simulation;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::cache::{CacheAnswer, Discarded, LocalAnswer};
use crate::config::Settings;
use crate::error::Error;
use crate::peer::{Peer, PeerId, PeerName, PeerRef};
use crate::platform::Registry;
use crate::stats::Stats;
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::log_safe::log_safe;
use crate::util::single_flight::{Flight, Joined, is_leading};
use crate::wire::PeerList;
use background::Background;
pub use lookup::{Lookup, LookupSource};
use lookup::{LookupDue, LookupOutcome, LookupRunner};

/// Answers who a peer is. One per client.
pub(crate) struct Enricher {
    runner: Arc<LookupRunner>,
    background: Background,
}

impl Enricher {
    pub(crate) fn new(registry: Registry, settings: &Settings) -> Self {
        let runner = Arc::new(LookupRunner::new(registry, settings));
        let background = Background::new(runner.clone(), settings);
        Enricher { runner, background }
    }

    /// Returns the answer from the cache, or else makes one lookup.
    #[inline]
    pub(crate) fn lookup(&self, peer: &impl PeerRef) -> Lookup {
        let name = peer.name();
        match self.get_local(name) {
            Ok(lookup) => lookup,
            Err(now) => self.lookup_at(name, now),
        }
    }

    /// Returns the answer from the cache. A lookup that is due is made in the background.
    #[inline]
    pub(crate) fn lookup_nonblocking(&self, peer: &impl PeerRef) -> Lookup {
        let name = peer.name();
        match self.get_local(name) {
            Ok(lookup) => lookup,
            Err(now) => self.lookup_nonblocking_at(name, now),
        }
    }

    /// Looks in this thread's part of the cache only, which answers nearly every call.
    ///
    /// # Errors
    ///
    /// The current time, where the shared cache must be asked.
    #[inline]
    fn get_local(&self, name: PeerName<'_>) -> Result<Lookup, CoarseInstant> {
        match self.runner.cache.get_local(name) {
            LocalAnswer::Found(record) => Ok(Lookup::new(Some(record), LookupSource::Fresh, true)),
            LocalAnswer::Absent => Ok(Lookup::new(None, LookupSource::Absent, true)),
            LocalAnswer::Failed => Ok(Lookup::new(None, LookupSource::Failed, true)),
            LocalAnswer::Miss(now) => Err(now),
        }
    }

    /// Like [`lookup`](Self::lookup) at a time that the caller gives. It does not look in this thread's part of the
    /// cache, which uses the real time.
    #[inline(never)]
    pub(crate) fn lookup_at(&self, name: PeerName<'_>, now: CoarseInstant) -> Lookup {
        let Some(id) = name.id() else { return Lookup::INVALID };
        if let Some(record) = self.runner.cache.get_record(id, name, now) {
            return Lookup::new(Some(record), LookupSource::Fresh, true);
        }
        self.lookup_shared(id, name, now)
    }

    /// Asks the shared cache for what is more than a plain fresh record, and makes a lookup where one is due.
    ///
    /// A function apart, so that the hit above keeps its registers.
    #[inline(never)]
    fn lookup_shared(&self, id: PeerId, name: PeerName<'_>, now: CoarseInstant) -> Lookup {
        let lookup = self.answer(id, now, self.runner.known(id, now));
        self.runner.cache.count(lookup.answered(), id, name, now);
        lookup
    }

    #[inline(never)]
    fn lookup_nonblocking_at(&self, name: PeerName<'_>, now: CoarseInstant) -> Lookup {
        let Some(id) = name.id() else { return Lookup::INVALID };
        let lookup = match self.runner.known(id, now) {
            CacheAnswer::Due(stale) | CacheAnswer::Retry(stale) => {
                self.background.enqueue(id, now);
                Lookup::stand_in(stale, LookupSource::Failed, true)
            }
            answer => self.answer(id, now, answer),
        };
        self.runner.cache.count(lookup.answered(), id, name, now);
        lookup
    }

    /// Turns the cache's answer into the call's, with a lookup where one is due.
    fn answer(&self, peer: PeerId, now: CoarseInstant, answer: CacheAnswer) -> Lookup {
        if let CacheAnswer::Fresh { refresh: true, .. } = answer {
            self.background.enqueue(peer, now);
        }
        let LookupDue { stale, retry } = match Lookup::from_answer(answer) {
            Ok(lookup) => return lookup,
            Err(due) => due,
        };
        // A single peer whose lookups are not answered must not cost each of its messages a wait.
        if retry && self.background.is_running() {
            self.background.enqueue(peer, now);
            return Lookup::stand_in(stale, LookupSource::Failed, true);
        }
        let timeout = self.runner.policy.lookup_timeout;
        let deadline = Deadline::after(timeout);
        let lookup = self.fetch(peer, now, stale, deadline);
        self.runner.counters.waited(timeout.saturating_sub(deadline.left()));
        lookup
    }

    /// Makes the lookup, or waits for that of another thread, if the rate limit and the circuit admit it.
    fn fetch(&self, peer: PeerId, now: CoarseInstant, stale: Option<Peer>, deadline: Deadline) -> Lookup {
        let LookupRunner { flights, circuit, counters, .. } = &*self.runner;
        self.background.reset_after_fork();
        let closed = circuit.is_closed();
        if let Some(flight) = closed.then(|| flights.get(peer)).flatten() {
            // A waiter makes no lookup and needs no permit.
            return self.wait(&flight, stale, deadline);
        }
        let Some(_counted) = self.runner.registry.rate_limit().admit_lookup() else {
            counters.rate_limit_shed.add(1);
            return self.shed(peer, now, stale);
        };
        // Background threads make the probes, so that no caller waits for one.
        let may_probe = closed || !self.background.is_running();
        // Background threads wait for the circuit in real time, so the circuit must have the real time as well.
        let circuit_now = if self.background.is_enabled() { CoarseInstant::now() } else { now };
        let Some(permit) = circuit.admit(peer, circuit_now, may_probe) else {
            return self.shed(peer, now, stale);
        };
        match flights.join(peer, || Lookup::from_answer(self.runner.known(peer, now)).ok()) {
            Joined::Leader(leader) => {
                let end = self.runner.lead(leader, permit, now, deadline);
                Lookup::from_outcome(Some(self.background.finish(end, now)), stale)
            }
            Joined::Waiter(flight) => {
                permit.release();
                self.background.notify();
                if closed {
                    return self.wait(&flight, stale, deadline);
                }
                counters.shed.add(1);
                Lookup::stand_in(stale, LookupSource::Shed, true)
            }
            Joined::Stored(lookup) => {
                permit.release();
                self.background.notify();
                lookup
            }
        }
    }

    /// Makes no lookup. A background thread makes it once it may.
    fn shed(&self, peer: PeerId, now: CoarseInstant, stale: Option<Peer>) -> Lookup {
        self.runner.counters.shed.add(1);
        self.background.enqueue(peer, now);
        Lookup::stand_in(stale, LookupSource::Shed, true)
    }

    /// Waits for another thread's lookup.
    fn wait(&self, flight: &Flight<LookupOutcome>, stale: Option<Peer>, deadline: Deadline) -> Lookup {
        let counters = &self.runner.counters;
        if is_leading() {
            counters.shed.add(1);
            return Lookup::stand_in(stale, LookupSource::Shed, true);
        }
        counters.coalesced.add(1);
        Lookup::from_outcome(flight.wait(deadline), stale)
    }

    /// Lists the peers of the client's own workspace, and stores those with a valid id in the cache.
    ///
    /// # Errors
    ///
    /// As [`Registry::peers`].
    pub(crate) fn peers(&self, now: CoarseInstant, deadline: Deadline) -> Result<Vec<Peer>, Error> {
        let LookupRunner { registry, cache, flights, policy, counters, .. } = &*self.runner;
        let epoch = flights.epoch();
        let PeerList { peers, skipped } = registry.peers(deadline)?;
        if skipped > 0 {
            counters.skipped.add(skipped);
            log_safe!(debug, "peers: {skipped} entries of the list are no objects, or cannot be read: left out");
        }
        // A list may name a peer any number of times. Only its last entry is stored, since each one costs a copy of the
        // record that is known.
        let last_entries: HashMap<PeerId, usize> =
            peers.iter().enumerate().filter_map(|(index, peer)| Some((peer.peer_id()?, index))).collect();
        let store = || -> Vec<Discarded> {
            let with_id = peers.iter().enumerate().filter_map(|(index, peer)| {
                let id = peer.peer_id()?;
                (last_entries.get(&id) == Some(&index)).then_some((id, peer))
            });
            let updates = with_id.map(|(id, peer)| match cache.record(id) {
                Some(known) => (id, policy.found(id, peer.clone().beside(&known), now, false)),
                None => (id, policy.found(id, peer.clone(), now, true)),
            });
            updates.map(|(id, update)| cache.insert(id, update)).collect()
        };
        drop(flights.store_since(epoch, store));
        Ok(peers)
    }

    /// Returns the cached record of a peer, however old.
    pub(crate) fn known(&self, peer: PeerId) -> Option<Peer> {
        self.runner.cache.record(peer)
    }

    /// Puts fields that the platform just said of a peer over its cached record. The record's age does not change, and
    /// without a record nothing is stored.
    pub(crate) fn overlay(&self, peer: PeerId, fields: &Map<String, Value>) {
        drop(self.runner.cache.revise(peer, |known| known.with_fields(fields)));
    }

    /// Returns whether the cache knows that a peer was removed: discover said so, or its record does, and that is not older
    /// than its TTL.
    pub(crate) fn is_removed(&self, peer: PeerId) -> bool {
        let (cache, now) = (&self.runner.cache, CoarseInstant::now());
        let says_so =
            |answer| matches!(answer, CacheAnswer::Fresh { record, .. } if record.status() == Some("removed"));
        cache.is_removed(peer, now) || says_so(cache.get(peer, now))
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.runner.registry
    }

    /// Blocks until no background lookup is queued or running. Returns whether that is so before `timeout` has passed.
    pub(crate) fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.background.wait_until_idle(Deadline::after(timeout))
    }

    /// Removes a peer from the cache and the queue. A lookup in flight does not store its outcome.
    pub(crate) fn forget(&self, peer: PeerId) {
        self.background.forget(peer);
        drop(self.runner.forget(peer));
    }

    /// Removes all peers from the cache and the queue. Lookups in flight do not store their outcomes.
    pub(crate) fn clear(&self) {
        self.background.forget_all();
        drop(self.runner.forget_all());
    }

    pub(crate) fn stats(&self) -> Stats {
        let LookupRunner { registry, cache, circuit, counters, .. } = &*self.runner;
        let (circuit, circuit_opened) = circuit.observe();
        let [fresh, stale, absent, unknown] = cache.answers();
        let size = cache.stats();
        let rate_limit = registry.rate_limit();
        Stats {
            fresh,
            stale,
            absent,
            unknown,
            dropped: self.background.dropped(),
            circuit,
            circuit_opened,
            rate_limited: rate_limit.refused(),
            rate_limit_left: rate_limit.left(),
            entries: size.entries,
            bytes: size.bytes,
            evictions: size.evictions,
            ..counters.snapshot()
        }
    }
}

impl Drop for Enricher {
    /// Ends the background threads: idle ones at once, one in a lookup when the lookup has ended.
    fn drop(&mut self) {
        self.background.close();
    }
}
