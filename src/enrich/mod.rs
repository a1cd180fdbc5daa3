//! Enrichment: a cache in front of the registry, and one bounded lookup for what is not in it.

mod flight;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::cache::{Answer, Cache, Removed};
use crate::clock::{Deadline, Tick};
use crate::error::{Error, ErrorKind};
use crate::http::Pace;
use crate::peer::{Peer, PeerId};
use crate::registry::Registry;
use crate::stats::{Counters, Stats};
use crate::wire::Listing;
use flight::{Flights, Part};

/// An enrichment, and where it came from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Lookup {
    /// The registry's record, where there is one.
    pub peer: Option<Peer>,
    /// Where the answer came from.
    pub source: Source,
    /// Whether it was remembered: no request was made or waited for.
    pub remembered: bool,
}

/// Where an enrichment came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A record from the cache, younger than its TTL.
    Fresh,
    /// A record from the registry, by this call or one that it shared.
    Fetched,
    /// No record: the registry says that it does not know the peer, or not to us.
    Absent,
    /// No record: the lookup brought no usable answer.
    Failed,
    /// No record: the text is no peer id, and nobody was asked.
    Invalid,
}

impl Lookup {
    /// The answer to a text that is no peer id.
    pub(crate) const INVALID: Lookup = Lookup { peer: None, source: Source::Invalid, remembered: false };

    #[inline]
    fn new(answer: Answer, remembered: bool) -> Self {
        let (peer, source) = match answer {
            Answer::Found(peer) => (Some(peer), if remembered { Source::Fresh } else { Source::Fetched }),
            Answer::Absent => (None, Source::Absent),
            Answer::Failed => (None, Source::Failed),
        };
        Lookup { peer, source, remembered }
    }
}

/// How long answers are remembered, and how long a lookup may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) lookup_timeout: Duration,
}

/// The cache, the registry, and the rules between them.
pub(crate) struct Enricher {
    registry: Registry,
    cache: Cache,
    flights: Flights<Answer>,
    times: Times,
    counters: Counters,
}

impl Enricher {
    pub(crate) fn new(registry: Registry, capacity: usize, times: Times) -> Self {
        let cache = Cache::new(capacity);
        Enricher { registry, cache, flights: Flights::new(), times, counters: Counters::default() }
    }

    /// What is known of the peer at `now`, or what one lookup brings.
    #[inline]
    pub(crate) fn lookup(&self, peer: PeerId, now: Tick) -> Lookup {
        match self.cache.get(peer, now) {
            Some(answer) => Lookup::new(answer, true),
            None => self.miss(peer, now),
        }
    }

    #[cold]
    fn miss(&self, peer: PeerId, now: Tick) -> Lookup {
        let deadline = Deadline::after(self.times.lookup_timeout);
        match self.flights.join(peer, || self.cache.get(peer, now)) {
            Part::Known(answer) => Lookup::new(answer, true),
            Part::Waiter(flight) => {
                self.counters.shared.add_one();
                Lookup::new(flight.wait(deadline).unwrap_or(Answer::Failed), false)
            }
            Part::Leader(leader) => {
                // Locks here are not poisoned, and nothing is half written while a lookup is under way.
                let answer = catch_unwind(AssertUnwindSafe(|| self.ask(peer, deadline))).unwrap_or(Answer::Failed);
                // A list of peers says more of them than the registry's discover does.
                let answer = match (answer, self.cache.record(peer)) {
                    (Answer::Found(record), Some(known)) => Answer::Found(record.over(&known)),
                    (answer, _) => answer,
                };
                // From the start of the lookup: the record is at least as young as that.
                let ttl = match answer {
                    Answer::Found(_) => self.times.ttl,
                    Answer::Absent | Answer::Failed => self.times.negative_ttl,
                };
                drop(leader.land(&answer, |answer| {
                    // What is not to be remembered takes nobody's place.
                    (!ttl.is_zero()).then(|| self.cache.put(peer, answer.clone(), now.plus(ttl)))
                }));
                Lookup::new(answer, false)
            }
        }
    }

    fn ask(&self, peer: PeerId, deadline: Deadline) -> Answer {
        self.counters.lookups.add_one();
        match self.registry.discover(peer, Pace::Lookup, deadline) {
            Ok(record) => {
                self.counters.found.add_one();
                Answer::Found(record)
            }
            Err(error) if error.kind() == ErrorKind::Absent => {
                self.counters.absent.add_one();
                log::debug!("enrich: {error}");
                Answer::Absent
            }
            Err(error) => {
                self.counters.failed.add_one();
                log::debug!("enrich: {error}");
                Answer::Failed
            }
        }
    }

    /// Our own workspace's peers, as the registry lists them; those with a valid id are filed.
    ///
    /// # Errors
    ///
    /// As [`Registry::peers`].
    pub(crate) fn peers(&self, now: Tick, deadline: Deadline) -> Result<Vec<Peer>, Error> {
        let begun = self.flights.epoch();
        let Listing { peers, skipped } = self.registry.peers(deadline)?;
        if skipped > 0 {
            self.counters.skipped.add(skipped);
            log::debug!("peers: {skipped} entries of the list are no objects, and are left out");
        }
        let expires = now.plus(self.times.ttl);
        let file = || -> Vec<Removed> {
            let with_id = peers.iter().filter_map(|peer| Some((peer.peer_id()?, peer)));
            let known = with_id.map(|(id, peer)| match self.cache.record(id) {
                Some(known) => (id, peer.clone().beside(&known)),
                None => (id, peer.clone()),
            });
            known.map(|(id, peer)| self.cache.put(id, Answer::Found(peer), expires)).collect()
        };
        drop(self.flights.unless_forgotten(begun, file));
        Ok(peers)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn forget(&self, peer: PeerId) {
        drop(self.flights.forget(peer, || self.cache.remove(peer)));
    }

    pub(crate) fn clear(&self) {
        drop(self.flights.forget_all(|| self.cache.clear()));
    }

    pub(crate) fn stats(&self) -> Stats {
        let fill = self.cache.fill();
        Stats {
            lookups: self.counters.lookups.get(),
            found: self.counters.found.get(),
            absent: self.counters.absent.get(),
            failed: self.counters.failed.get(),
            shared: self.counters.shared.get(),
            skipped: self.counters.skipped.get(),
            entries: fill.entries,
            bytes: fill.bytes,
            evictions: fill.evictions,
        }
    }
}
