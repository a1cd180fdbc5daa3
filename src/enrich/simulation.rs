//! One process of a fleet in virtual time, for `benches/fleet.rs`. Only in a build with `--cfg a2a_simulation`.
//!
//! The cache, the expiry policy and the circuit are the real ones. The registry is a function of the time.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use super::policy::{ExpiryPolicy, FailureCause, circuit_policy};
use crate::cache::{Cache, CacheAnswer};
use crate::config::{Settings, UncheckedSettings};
use crate::error::Error;
use crate::peer::{Peer, PeerId};
use crate::util::circuit_breaker::{Circuit, NextProbe, Permit, Report};
use crate::util::clock::CoarseInstant;

/// The surroundings of a process. Times are since the start.
pub trait World {
    /// Returns whether the registry answers. An answer takes no time, and a missing one the lookup's whole timeout.
    fn answers(&self, at: Duration) -> bool;
    /// Records a request to the registry.
    fn request(&mut self, at: Duration);
    /// Returns a random number from 0 to 1.
    fn random(&mut self) -> f64;
}

/// A process with a client's default settings.
pub struct Process {
    settings: Settings,
    policy: ExpiryPolicy,
    cache: Cache,
    circuit: Circuit<PeerId>,
}

/// The work of the background threads.
#[derive(Default)]
struct Work<'a> {
    now: Duration,
    queue: VecDeque<PeerId>,
    queued: HashSet<PeerId>,
    /// Lookups that are not answered, until their timeout.
    waiting: VecDeque<(Duration, PeerId, Permit<'a, PeerId>)>,
    unanswered: Vec<PeerId>,
}

impl Work<'_> {
    fn enqueue(&mut self, peer: PeerId) {
        if self.queued.insert(peer) {
            self.queue.push_back(peer);
        }
    }
}

impl Process {
    /// Returns a process that has just started, with an empty cache.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where the default settings do not pass their checks.
    pub fn new() -> Result<Self, Error> {
        let settings = UncheckedSettings::for_workspace("fleet").check()?.settings;
        let cache = Cache::new(settings.capacity);
        let circuit = Circuit::new(circuit_policy(&settings));
        Ok(Process { policy: ExpiryPolicy::from_settings(&settings), settings, cache, circuit })
    }

    /// Receives `messages`, in the order of their times, and enriches their senders without waiting.
    pub fn run(&self, messages: impl IntoIterator<Item = (Duration, PeerId)>, world: &mut impl World) {
        let mut work = Work::default();
        for (at, peer) in messages {
            self.advance(&mut work, at, world);
            let serves = || self.circuit.is_open() && self.cache.record(peer).is_some();
            if self.is_due(peer, at) && !serves() {
                work.enqueue(peer);
                self.start_lookups(&mut work, world);
            }
        }
    }

    fn is_due(&self, peer: PeerId, at: Duration) -> bool {
        match self.cache.get(peer, instant(at)) {
            CacheAnswer::Due(_) | CacheAnswer::Retry(_) | CacheAnswer::Fresh { refresh: true, .. } => true,
            CacheAnswer::Fresh { refresh: false, .. }
            | CacheAnswer::Stale(_)
            | CacheAnswer::Absent
            | CacheAnswer::Failed
            | CacheAnswer::Refused { .. } => false,
        }
    }

    /// Moves the time forward to `to`, and does what falls due on the way: timeouts and probes.
    fn advance<'a>(&'a self, work: &mut Work<'a>, to: Duration, world: &mut impl World) {
        loop {
            let timeout = work.waiting.front().map(|(until, ..)| *until);
            let probe = match self.circuit.next_probe(instant(work.now)) {
                NextProbe::Now(_) => Some(work.now),
                NextProbe::After(wait) => Some(work.now + wait),
                NextProbe::Never => None,
            };
            match timeout.into_iter().chain(probe).min().filter(|next| *next <= to) {
                Some(next) => work.now = next,
                None => break,
            }
            if timeout == Some(work.now) {
                self.time_out_first(work, world);
            } else if let NextProbe::Now(peer) = self.circuit.next_probe(instant(work.now)) {
                let permit = self.circuit.admit(peer, instant(work.now), true);
                permit.into_iter().for_each(|permit| self.look_up_with(work, peer, permit, world));
            }
            self.start_lookups(work, world);
        }
        work.now = to;
    }

    /// Gives queued lookups to idle threads, as far as the circuit admits them.
    fn start_lookups<'a>(&'a self, work: &mut Work<'a>, world: &mut impl World) {
        while work.waiting.len() < self.settings.background_threads
            && self.circuit.would_admit()
            && (work.waiting.is_empty() || self.circuit.is_closed())
        {
            let Some(peer) = work.queue.pop_front() else { return };
            work.queued.remove(&peer);
            if !self.is_due(peer, work.now) {
                continue;
            }
            if let Some(permit) = self.circuit.admit(peer, instant(work.now), false) {
                self.look_up_with(work, peer, permit, world);
            }
        }
    }

    fn look_up_with<'a>(
        &'a self,
        work: &mut Work<'a>,
        peer: PeerId,
        permit: Permit<'a, PeerId>,
        world: &mut impl World,
    ) {
        world.request(work.now);
        if !world.answers(work.now) {
            work.waiting.push_back((work.now + self.policy.lookup_timeout, peer, permit));
            return;
        }
        let record = Peer::discovered(peer, serde_json::Map::new());
        let is_first = self.cache.record(peer).is_none();
        drop(self.cache.insert(peer, self.policy.found(peer, record, instant(work.now), is_first)));
        if let Some(outage) = permit.report(Report::Answered, world.random()) {
            self.cache.end_outage(instant(work.now), self.policy.catch_up(outage));
            std::mem::take(&mut work.unanswered).into_iter().for_each(|peer| work.enqueue(peer));
        }
    }

    /// Ends the oldest lookup in `waiting`, which has reached its timeout.
    fn time_out_first(&self, work: &mut Work<'_>, world: &mut impl World) {
        let Some((_, peer, permit)) = work.waiting.pop_front() else { return };
        let update = self.policy.failed(instant(work.now), None, FailureCause::Outage(self.cache.outage()));
        drop(update.map(|update| self.cache.insert(peer, update)));
        let random = world.random();
        permit.after(self.policy.lookup_timeout).report(Report::Unanswered, random);
        work.unanswered.push(peer);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn instant(at: Duration) -> CoarseInstant {
    CoarseInstant::START.plus(at)
}
