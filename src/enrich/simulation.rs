//! A process of a fleet in virtual time: the cache, the rules and the circuit as they are, before a registry
//! that is a function of the time. It is there for `benches/fleet.rs`, and is no part of the library's surface.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::policy::ExpiryPolicy;
use crate::cache::{Cache, CacheAnswer, CacheUpdate};
use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::peer::{Peer, PeerId};
use crate::util::circuit_breaker::{Circuit, CircuitPolicy, NextProbe, Permit, Report};
use crate::util::clock::CoarseInstant;

/// What stands around a process. Times are since the start.
pub trait World {
    /// Whether the registry answers. Where it does that takes no time; where it does not, a lookup's whole bound.
    fn answers(&self, at: Duration) -> bool;
    /// A request goes to the registry.
    fn request(&mut self, at: Duration);
    /// A number from 0 to 1.
    fn random(&mut self) -> f64;
}

/// A process with the settings that a client has by default.
pub struct Process {
    settings: Settings,
    policy: ExpiryPolicy,
    cache: Cache,
    circuit: Circuit,
}

/// What its background threads have to do.
#[derive(Default)]
struct Work<'a> {
    now: Duration,
    queue: VecDeque<PeerId>,
    queued: HashSet<PeerId>,
    /// The lookups that nobody answers, until their bound.
    waiting: VecDeque<(Duration, PeerId, Permit<'a>)>,
    unanswered: Vec<PeerId>,
}

impl Work<'_> {
    fn queue(&mut self, peer: PeerId) {
        if self.queued.insert(peer) {
            self.queue.push_back(peer);
        }
    }
}

impl Process {
    /// A process that has just started and knows nobody.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), were the defaults no settings.
    pub fn new() -> Result<Self, Error> {
        let settings = ClientBuilder::default().workspace_id("fleet").check()?.settings;
        let (cache, circuit) = (Cache::new(settings.capacity), Circuit::new(CircuitPolicy::from_settings(&settings)));
        Ok(Process { policy: ExpiryPolicy::from_settings(&settings), settings, cache, circuit })
    }

    /// Gets `pushes`, in the order of their times, and asks without waiting whom they are from.
    pub fn run(&self, pushes: impl IntoIterator<Item = (Duration, PeerId)>, world: &mut impl World) {
        let mut work = Work::default();
        for (at, peer) in pushes {
            self.pass_time(&mut work, at, world);
            let serves = || self.circuit.is_open() && self.cache.record(peer).is_some();
            if self.is_due(peer, at) && !serves() {
                work.queue(peer);
                self.work(&mut work, world);
            }
        }
    }

    fn is_due(&self, peer: PeerId, at: Duration) -> bool {
        match self.cache.get(peer, tick(at)) {
            CacheAnswer::Due(_) | CacheAnswer::Retry(_) | CacheAnswer::Fresh { refresh: true, .. } => true,
            CacheAnswer::Fresh { refresh: false, .. }
            | CacheAnswer::Stale(_)
            | CacheAnswer::Absent
            | CacheAnswer::Failed => false,
        }
    }

    /// What the threads do by themselves up to a time: lookups run into their bound, probes fall due.
    fn pass_time<'a>(&'a self, work: &mut Work<'a>, to: Duration, world: &mut impl World) {
        loop {
            let ends = work.waiting.front().map(|(until, ..)| *until);
            let probe = match self.circuit.next_probe(tick(work.now)) {
                NextProbe::Now(_) => Some(work.now),
                NextProbe::After(wait) => Some(work.now + wait),
                NextProbe::Never => None,
            };
            match ends.into_iter().chain(probe).min().filter(|next| *next <= to) {
                Some(next) => work.now = next,
                None => break,
            }
            if ends == Some(work.now) {
                self.end_unanswered(work, world);
            } else if let NextProbe::Now(peer) = self.circuit.next_probe(tick(work.now)) {
                let permit = self.circuit.admit(peer, tick(work.now), true);
                permit.into_iter().for_each(|permit| self.lookup_at(work, peer, permit, world));
            }
            self.work(work, world);
        }
        work.now = to;
    }

    /// Gives the threads that are free what is queued, as far as the circuit lets it through.
    fn work<'a>(&'a self, work: &mut Work<'a>, world: &mut impl World) {
        while work.waiting.len() < self.settings.background_threads
            && self.circuit.would_admit()
            && (work.waiting.is_empty() || self.circuit.is_closed())
        {
            let Some(peer) = work.queue.pop_front() else { return };
            work.queued.remove(&peer);
            if !self.is_due(peer, work.now) {
                continue;
            }
            if let Some(permit) = self.circuit.admit(peer, tick(work.now), false) {
                self.lookup_at(work, peer, permit, world);
            }
        }
    }

    fn lookup_at<'a>(&'a self, work: &mut Work<'a>, peer: PeerId, permit: Permit<'a>, world: &mut impl World) {
        world.request(work.now);
        if !world.answers(work.now) {
            work.waiting.push_back((work.now + self.policy.lookup_timeout, peer, permit));
            return;
        }
        let record = Peer::discovered(peer, serde_json::Map::new());
        let first = self.cache.record(peer).is_none();
        drop(self.cache.insert(peer, self.policy.found(peer, record, tick(work.now), first)));
        if let Some(outage) = permit.report(Report::Answered, world.random()) {
            self.cache.end_outage(tick(work.now), self.policy.catch_up(outage));
            std::mem::take(&mut work.unanswered).into_iter().for_each(|peer| work.queue(peer));
        }
    }

    fn end_unanswered(&self, work: &mut Work<'_>, world: &mut impl World) {
        let Some((_, peer, permit)) = work.waiting.pop_front() else { return };
        let until = tick(work.now).plus(self.policy.negative_ttl);
        drop(self.cache.insert(peer, CacheUpdate::Failed { until, outage: Some(self.cache.outage()) }));
        let random = world.random();
        permit.after(self.policy.lookup_timeout).report(Report::Unanswered, random);
        work.unanswered.push(peer);
    }
}

fn tick(at: Duration) -> CoarseInstant {
    CoarseInstant::START.plus(at)
}
