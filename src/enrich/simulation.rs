//! A process of a fleet in virtual time: the cache, the rules and the circuit as they are, before a registry
//! that is a function of the time. It is there for `benches/fleet.rs`, and is no part of the library's surface.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::circuit::{Circuit, Due, Limits, Pass, Report};
use super::rules::Rules;
use crate::cache::{Cache, Filing, Known};
use crate::clock::Tick;
use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::peer::{Peer, PeerId};

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
    rules: Rules,
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
    waiting: VecDeque<(Duration, PeerId, Pass<'a>)>,
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
        let (cache, circuit) = (Cache::new(settings.capacity), Circuit::new(Limits::of(&settings)));
        Ok(Process { rules: Rules::of(&settings), settings, cache, circuit })
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
            Known::Due(_) | Known::Retry(_) | Known::Fresh { refresh: true, .. } => true,
            Known::Fresh { refresh: false, .. } | Known::Stale(_) | Known::Absent | Known::Failed => false,
        }
    }

    /// What the threads do by themselves up to a time: lookups run into their bound, probes fall due.
    fn pass_time<'a>(&'a self, work: &mut Work<'a>, to: Duration, world: &mut impl World) {
        loop {
            let ends = work.waiting.front().map(|(until, ..)| *until);
            let probe = match self.circuit.due(tick(work.now)) {
                Due::Probe(_) => Some(work.now),
                Due::In(wait) => Some(work.now + wait),
                Due::Never => None,
            };
            match ends.into_iter().chain(probe).min().filter(|next| *next <= to) {
                Some(next) => work.now = next,
                None => break,
            }
            if ends == Some(work.now) {
                self.end_unanswered(work, world);
            } else if let Due::Probe(peer) = self.circuit.due(tick(work.now)) {
                let pass = self.circuit.admit(peer, tick(work.now), true);
                pass.into_iter().for_each(|pass| self.look_up(work, peer, pass, world));
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
            if let Some(pass) = self.circuit.admit(peer, tick(work.now), false) {
                self.look_up(work, peer, pass, world);
            }
        }
    }

    fn look_up<'a>(&'a self, work: &mut Work<'a>, peer: PeerId, pass: Pass<'a>, world: &mut impl World) {
        world.request(work.now);
        if !world.answers(work.now) {
            work.waiting.push_back((work.now + self.rules.lookup_timeout, peer, pass));
            return;
        }
        let record = Peer::discovered(peer, serde_json::Map::new());
        let first = self.cache.record(peer).is_none();
        drop(self.cache.put(peer, self.rules.found(peer, record, tick(work.now), first)));
        if let Some(outage) = pass.report(Report::Answered, world.random()) {
            self.cache.end_outage(tick(work.now), self.rules.catch_up(outage));
            std::mem::take(&mut work.unanswered).into_iter().for_each(|peer| work.queue(peer));
        }
    }

    fn end_unanswered(&self, work: &mut Work<'_>, world: &mut impl World) {
        let Some((_, peer, pass)) = work.waiting.pop_front() else { return };
        let until = tick(work.now).plus(self.rules.negative_ttl);
        drop(self.cache.put(peer, Filing::Failed { until, outage: Some(self.cache.outage()) }));
        let random = world.random();
        pass.after(self.rules.lookup_timeout).report(Report::Unanswered, random);
        work.unanswered.push(peer);
    }
}

fn tick(at: Duration) -> Tick {
    Tick::START.plus(at)
}
