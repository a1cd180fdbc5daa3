//! What the background threads do: lookups that nobody waits for, and probes.

use super::Enricher;
use crate::cache::CacheAnswer;
use crate::peer::PeerId;
use crate::util::circuit_breaker::Permit;
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::single_flight::Joined;

/// A lookup that nobody waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) peer: PeerId,
    /// When it was asked for, by the caller's clock and by ours.
    now: CoarseInstant,
    queued: CoarseInstant,
}

impl Job {
    pub(super) fn new(peer: PeerId, now: CoarseInstant) -> Self {
        Job { peer, now, queued: CoarseInstant::now() }
    }

    /// The caller's time when it is `run`, which may be long after it was asked for: a record that comes then
    /// is as young as that.
    fn now(&self, run: CoarseInstant) -> CoarseInstant {
        self.now.plus(run.since(self.queued))
    }
}

impl Enricher {
    /// Has a peer looked up in the background. While the circuit is open the places are for those of whom there
    /// is no record: the others are asked for again soon enough by who is served the old one.
    pub(super) fn queue_up(&self, peer: PeerId, now: CoarseInstant) {
        self.notice_fork();
        if self.circuit.is_open() && self.cache.record(peer).is_some() {
            return;
        }
        self.background.push(&self.own, Job::new(peer, now));
    }

    /// A background lookup, unless it is no longer due.
    pub(super) fn refresh(&self, job: Job) {
        let (peer, now) = (job.peer, job.now(CoarseInstant::now()));
        match self.cache.get(peer, now) {
            CacheAnswer::Due(_) | CacheAnswer::Retry(_) | CacheAnswer::Fresh { refresh: true, .. } => {}
            CacheAnswer::Fresh { refresh: false, .. }
            | CacheAnswer::Stale(_)
            | CacheAnswer::Absent
            | CacheAnswer::Failed => return,
        }
        match self.circuit.admit(peer, CoarseInstant::now(), false) {
            Some(permit) => self.lead_in_background(permit, peer, now, false),
            // It waits for the registry to be back.
            None => self.queue_up(peer, now),
        }
    }

    /// The probe that is due, with the peer that was missed last.
    pub(super) fn probe(&self, peer: PeerId) {
        let now = CoarseInstant::now();
        if let Some(permit) = self.circuit.admit(peer, now, true) {
            self.lead_in_background(permit, peer, now, true);
        }
        // Closed, it lets the other threads go on; open, they have a new time to wait for.
        self.background.notice();
    }

    fn lead_in_background(&self, permit: Permit<'_>, peer: PeerId, now: CoarseInstant, is_probe: bool) {
        self.notice_fork();
        // What is known does not matter: it is a refresh, or a probe.
        match self.flights.join(peer, || None::<()>) {
            Joined::Leader(leader) => {
                self.counters.refreshes.add(1);
                self.lead(leader, permit, peer, now, Deadline::after(self.policy.lookup_timeout));
            }
            Joined::Waiter(flight) => {
                if is_probe {
                    // One from before is still under way: what comes of it is what a probe would tell.
                    flight.wait(Deadline::after(self.policy.lookup_timeout));
                }
                permit.release();
            }
            Joined::Known(()) => permit.release(),
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
        let job = Job::new(peer, CoarseInstant::now().plus(hour));
        let run = CoarseInstant::now().plus(ttl * 2);
        let waited = job.now(run).since(job.now);
        assert!(waited > ttl && waited <= ttl * 2 + Duration::from_secs(5), "{waited:?}");
    }
}
