//! Background threads: they make lookups that nobody waits for, and probe for the end of an outage.

mod queue;

use std::sync::{Arc, Weak};
use std::thread;

use super::lookup::{LookupEnd, LookupOutcome, LookupRunner};
use crate::cache::CacheAnswer;
use crate::config::Settings;
use crate::peer::PeerId;
use crate::util::circuit_breaker::{NextProbe, Permit};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::log_safe::log_safe;
use crate::util::panic::{self, Panicked};
use crate::util::single_flight::Joined;
use crate::util::thread_group::ThreadGroup;
use queue::{BackgroundTask, RefreshJob, TaskQueue, ThreadCheck};

/// The background work of one client.
///
/// Its threads start when there is first something to do. They hold the queue strongly and the rest of the client
/// weakly, so that they do not keep it alive.
pub(super) struct Background {
    queue: Arc<TaskQueue>,
    runner: Arc<LookupRunner>,
    threads: ThreadGroup,
}

impl Background {
    pub(super) fn new(runner: Arc<LookupRunner>, settings: &Settings) -> Self {
        let (circuit, rate_limit) = (runner.circuit.clone(), runner.registry.rate_limit().clone());
        let queue = TaskQueue::new(circuit, rate_limit, settings.background_threads, settings.queue);
        Background { queue: Arc::new(queue), runner, threads: ThreadGroup::default() }
    }

    /// Queues a lookup of a peer as of `now`, and starts the threads if there are none.
    ///
    /// Does nothing if the peer is queued already. While the circuit is open, the queue is for peers without a record:
    /// callers who are served an older record queue its peer again later.
    pub(super) fn enqueue(&self, peer: PeerId, now: CoarseInstant) {
        self.reset_after_fork();
        if self.runner.circuit.is_open() {
            self.wake_for_probe();
            if self.runner.cache.record(peer).is_some() {
                return;
            }
        }
        if self.queue.push(RefreshJob::new(peer, now)) {
            self.start();
        }
    }

    /// Wakes the threads if a probe is due. They wait for it in time for which the system is not suspended, and the circuit
    /// counts all time.
    fn wake_for_probe(&self) {
        if let NextProbe::Now(_) = self.runner.circuit.next_probe(CoarseInstant::now()) {
            self.notify();
        }
    }

    /// Does what the end of a lookup leaves to do. Returns the outcome.
    pub(super) fn finish(&self, end: LookupEnd, now: CoarseInstant) -> LookupOutcome {
        end.due_again.into_iter().for_each(|peer| self.enqueue(peer, now));
        if end.circuit_changed {
            if self.runner.circuit.is_open() {
                // So that the probe is made when it is due, and not when the next caller misses a peer.
                self.is_running();
            }
            self.notify();
        }
        end.outcome
    }

    /// Returns whether there are background threads. Starts them if there are none.
    pub(super) fn is_running(&self) -> bool {
        match self.queue.check_threads() {
            ThreadCheck::Running => true,
            ThreadCheck::Due => self.start(),
            ThreadCheck::Unavailable => false,
        }
    }

    /// Returns whether the settings allow background threads.
    pub(super) fn is_enabled(&self) -> bool {
        self.queue.threads() > 0
    }

    /// Wakes the threads, so that they look at the circuit again.
    pub(super) fn notify(&self) {
        self.queue.notify();
    }

    /// In the child of a fork, forgets the parent's lookups in flight.
    pub(super) fn reset_after_fork(&self) {
        if self.runner.reset_after_fork() {
            self.notify();
        }
    }

    /// Removes a peer from the queue.
    pub(super) fn forget(&self, peer: PeerId) {
        self.queue.remove(peer);
    }

    /// Empties the queue.
    pub(super) fn forget_all(&self) {
        self.queue.clear();
    }

    /// Returns the number of lookups that a full queue dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Blocks until no task is queued or running. Returns whether that is so before the deadline.
    ///
    /// A background thread, as its logger, would wait for itself: there it returns at once.
    pub(super) fn wait_until_idle(&self, deadline: Deadline) -> bool {
        !self.threads.contains_this_thread() && self.queue.wait_until_idle(deadline)
    }

    /// Empties the queue and ends the threads. Does not wait for them.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// Starts the threads. Returns whether the system gave at least one.
    fn start(&self) -> bool {
        let started = (0..self.queue.threads()).filter(|n| {
            let queue = self.queue.clone();
            let runner = Arc::downgrade(&self.runner);
            let threads = self.threads.clone();
            let work = move || run_tasks(&queue, &runner, &threads);
            thread::Builder::new().name(format!("a2a-refresh-{n}")).spawn(work).is_ok()
        });
        let any = started.count() > 0;
        if !any {
            log_safe!(debug, "enrich: the system refuses threads: no refreshing in the background for now");
            self.queue.set_refused(CoarseInstant::now());
        }
        any
    }

    fn run(&self, task: BackgroundTask) {
        match task {
            BackgroundTask::Refresh(job) => self.refresh(job),
            BackgroundTask::Probe(peer) => self.probe(peer),
        }
    }

    /// Looks a peer up, unless its lookup is no longer due.
    fn refresh(&self, job: RefreshJob) {
        let peer = job.peer;
        let now = job.now_at(CoarseInstant::now());
        match self.runner.known(peer, now) {
            CacheAnswer::Due(_) | CacheAnswer::Retry(_) | CacheAnswer::Fresh { refresh: true, .. } => {}
            CacheAnswer::Fresh { refresh: false, .. }
            | CacheAnswer::Stale(_)
            | CacheAnswer::Absent
            | CacheAnswer::Failed
            | CacheAnswer::Refused { .. } => return,
        }
        let Some(_counted) = self.runner.registry.rate_limit().admit_lookup() else {
            return self.enqueue(peer, now);
        };
        match self.runner.circuit.admit(peer, CoarseInstant::now(), false) {
            Some(permit) => self.lead(permit, peer, now, false),
            // It stays queued until the registry is back.
            None => self.enqueue(peer, now),
        }
    }

    /// Makes the probe that is due, with a lookup of `peer`.
    fn probe(&self, peer: PeerId) {
        let now = CoarseInstant::now();
        if let Some(permit) = self.runner.circuit.admit(peer, now, true) {
            self.lead(permit, peer, now, true);
        }
        // If the circuit is closed now, the other threads go on. If it is open, they have a new time to wait for.
        self.notify();
    }

    fn lead(&self, permit: Permit<'_, PeerId>, peer: PeerId, now: CoarseInstant, is_probe: bool) {
        self.reset_after_fork();
        let timeout = self.runner.policy.lookup_timeout;
        // A stored answer does not matter: it is a refresh or a probe.
        match self.runner.flights.join(peer, || None::<()>) {
            Joined::Leader(leader) => {
                self.runner.counters.refreshes.add(1);
                let end = self.runner.lead(leader, permit, now, Deadline::after(timeout));
                self.finish(end, now);
            }
            Joined::Waiter(flight) => {
                if is_probe {
                    // An earlier lookup is still in flight. Its outcome shows what the probe would show.
                    flight.wait(Deadline::after(timeout));
                }
                permit.release();
            }
            Joined::Stored(()) => permit.release(),
        }
    }
}

/// Runs tasks until the client is gone: the body of a background thread.
fn run_tasks(queue: &Arc<TaskQueue>, runner: &Weak<LookupRunner>, threads: &ThreadGroup) {
    threads.add_this_thread();
    while let Some(task) = queue.next() {
        // The client's last handle may be dropped during the task. The runner is then dropped here, with no lock held.
        let Some(runner) = runner.upgrade() else { return };
        let background = Background { queue: queue.clone(), runner, threads: threads.clone() };
        if let Err(Panicked) = panic::catch(|| background.run(task)) {
            log_safe!(debug, "enrich: a panic in a background lookup");
        }
        drop(background);
        queue.end_task();
    }
}
