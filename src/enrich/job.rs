//! What the background threads do: lookups that nobody waits for, and probes.

use super::Enricher;
use super::circuit::Pass;
use super::flight::Part;
use crate::cache::Known;
use crate::clock::{Deadline, Tick};
use crate::peer::PeerId;

/// A lookup that nobody waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) peer: PeerId,
    /// When it was asked for, by the caller's clock and by ours.
    now: Tick,
    queued: Tick,
}

impl Job {
    pub(super) fn new(peer: PeerId, now: Tick) -> Self {
        Job { peer, now, queued: Tick::now() }
    }

    /// The caller's time when it is `run`, which may be long after it was asked for: a record that comes then
    /// is as young as that.
    fn now(&self, run: Tick) -> Tick {
        self.now.plus(run.since(self.queued))
    }
}

impl Enricher {
    /// Has a peer looked up in the background. While the circuit is open the places are for those of whom there
    /// is no record: the others are asked for again soon enough by who is served the old one.
    pub(super) fn queue_up(&self, peer: PeerId, now: Tick) {
        self.notice_fork();
        if self.circuit.is_open() && self.cache.record(peer).is_some() {
            return;
        }
        self.background.push(&self.own, Job::new(peer, now));
    }

    /// A background lookup, unless it is no longer due.
    pub(super) fn refresh(&self, job: Job) {
        let (peer, now) = (job.peer, job.now(Tick::now()));
        match self.cache.get(peer, now) {
            Known::Due(_) | Known::Retry(_) | Known::Fresh { refresh: true, .. } => {}
            Known::Fresh { refresh: false, .. } | Known::Stale(_) | Known::Absent | Known::Failed => return,
        }
        match self.circuit.admit(peer, Tick::now(), false) {
            Some(pass) => self.lead_in_background(pass, peer, now, false),
            // It waits for the registry to be back.
            None => self.queue_up(peer, now),
        }
    }

    /// The probe that is due, with the peer that was missed last.
    pub(super) fn probe(&self, peer: PeerId) {
        let now = Tick::now();
        if let Some(pass) = self.circuit.admit(peer, now, true) {
            self.lead_in_background(pass, peer, now, true);
        }
        // Closed, it lets the other threads go on; open, they have a new time to wait for.
        self.background.notice();
    }

    fn lead_in_background(&self, pass: Pass<'_>, peer: PeerId, now: Tick, is_probe: bool) {
        self.notice_fork();
        // What is known does not matter: it is a refresh, or a probe.
        match self.flights.join(peer, || None::<()>) {
            Part::Leader(leader) => {
                self.counters.refreshes.add(1);
                self.lead(leader, pass, peer, now, Deadline::after(self.rules.lookup_timeout));
            }
            Part::Waiter(flight) => {
                if is_probe {
                    // One from before is still under way: what comes of it is what a probe would tell.
                    flight.wait(Deadline::after(self.rules.lookup_timeout));
                }
                pass.give_back();
            }
            Part::Known(()) => pass.give_back(),
        }
    }
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_job_that_waited_out_an_outage_is_as_of_when_it_runs() {
        let (hour, ttl) = (Duration::from_secs(3_600), Duration::from_secs(300));
        let peer = PeerId::parse("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c").unwrap();
        // The caller's clock may be another.
        let job = Job::new(peer, Tick::now().plus(hour));
        let run = Tick::now().plus(ttl * 2);
        let waited = job.now(run).since(job.now);
        assert!(waited > ttl && waited <= ttl * 2 + Duration::from_secs(5), "{waited:?}");
    }
}
