//! The background threads: they refresh what is asked for without waiting, and probe for the end of an
//! outage.

use std::collections::{HashSet, VecDeque};
use std::process;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::Enricher;
use super::job::Job;
use crate::error::guard;
use crate::peer::PeerId;
use crate::util::circuit_breaker::{Circuit, NextProbe};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::sync::{Condvar, Mutex, wait, wait_while};

/// How long after the system refused us a thread we ask for one again.
const THREADLESS: Duration = Duration::from_secs(30);

/// The queue, and the threads that work on it. They hold this, and the rest of the client weakly.
pub(super) struct Background {
    queue: Arc<Queue>,
}

struct Queue {
    circuit: Arc<Circuit>,
    threads: usize,
    capacity: usize,
    jobs: Mutex<Jobs>,
    /// Something has changed for the threads.
    changed: Condvar,
    /// A job has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// The peers that wait, each once.
    known: HashSet<PeerId>,
    running: usize,
    dropped: u64,
    closed: bool,
    /// The process that the threads were started in: after a fork there are none.
    process: Option<u32>,
    /// When the system last refused us a thread.
    refused: Option<CoarseInstant>,
}

impl Background {
    pub(super) fn new(circuit: Arc<Circuit>, threads: usize, capacity: usize) -> Self {
        let (jobs, changed, ended) = (Mutex::default(), Condvar::new(), Condvar::new());
        Background { queue: Arc::new(Queue { circuit, threads, capacity, jobs, changed, ended }) }
    }

    /// Queues a lookup, unless one for the peer waits already or the queue is full. The first call starts
    /// the threads.
    pub(super) fn push(&self, core: &Weak<Enricher>, job: Job) {
        if self.queue.threads == 0 {
            return;
        }
        let mut jobs = self.queue.jobs.lock();
        // What waits in the parent of a fork is not made here.
        jobs.leave_to_parent();
        if jobs.known.contains(&job.peer) {
            return;
        }
        if jobs.waiting.len() >= self.queue.capacity {
            jobs.dropped += 1;
            return;
        }
        let start = jobs.threads_are_due(CoarseInstant::now());
        if jobs.process.is_none() {
            // The system refuses us threads: who would make it?
            return;
        }
        jobs.known.insert(job.peer);
        jobs.waiting.push_back(job);
        drop(jobs);
        if start {
            self.start(core);
        }
        self.queue.changed.notify_all();
    }

    /// Whether there are background threads, which are started if they are not.
    pub(super) fn is_there(&self, core: &Weak<Enricher>) -> bool {
        if self.queue.threads == 0 {
            return false;
        }
        let mut jobs = self.queue.jobs.lock();
        let start = jobs.threads_are_due(CoarseInstant::now());
        let are_there = jobs.process.is_some();
        drop(jobs);
        if start { self.start(core) } else { are_there }
    }

    /// Tells the threads that the circuit has changed.
    pub(super) fn notice(&self) {
        // A thread that has looked at the circuit and is about to wait is waited for: it would not hear of it.
        drop(self.queue.jobs.lock());
        self.queue.changed.notify_all();
    }

    fn start(&self, core: &Weak<Enricher>) -> bool {
        let started = (0..self.queue.threads).filter(|n| {
            let (queue, core) = (self.queue.clone(), core.clone());
            let thread = thread::Builder::new().name(format!("a2a-refresh-{n}"));
            thread.spawn(move || work(&queue, &core)).is_ok()
        });
        let any = started.count() > 0;
        if !any {
            // It is the caller's thread, which a logger's panic must not reach.
            let _ = guard(|| {
                log::debug!("no thread is to be had for refreshing in the background");
                Ok(())
            });
            let mut jobs = self.queue.jobs.lock();
            (jobs.process, jobs.refused) = (None, Some(CoarseInstant::now()));
            jobs.forget_all();
            self.queue.ended.notify_all();
        }
        any
    }

    pub(super) fn forget(&self, peer: PeerId) {
        let mut jobs = self.queue.jobs.lock();
        if jobs.known.remove(&peer) {
            jobs.waiting.retain(|job| job.peer != peer);
            self.queue.ended.notify_all();
        }
    }

    pub(super) fn forget_all(&self) {
        self.queue.jobs.lock().forget_all();
        self.queue.ended.notify_all();
    }

    /// Whether there are to be background threads, so that the circuit goes by the real time.
    pub(super) fn is_wanted(&self) -> bool {
        self.queue.threads > 0
    }

    /// Requests that a full queue dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.jobs.lock().dropped
    }

    /// Waits until nothing is queued or under way. Whether it came to that by the deadline.
    pub(super) fn wait_until_idle(&self, deadline: Deadline) -> bool {
        let mut jobs = self.queue.jobs.lock();
        jobs.leave_to_parent();
        let busy = |jobs: &Jobs| jobs.running > 0 || !jobs.waiting.is_empty();
        let jobs = wait_while(&self.queue.ended, jobs, busy, Some(deadline));
        !busy(&jobs)
    }
}

impl Drop for Background {
    /// The threads end by themselves: those that sleep at once, those in a lookup when it is over.
    fn drop(&mut self) {
        let mut jobs = self.queue.jobs.lock();
        jobs.closed = true;
        jobs.forget_all();
        drop(jobs);
        self.queue.changed.notify_all();
        self.queue.ended.notify_all();
    }
}

impl Jobs {
    /// Whether threads are to be started now: there are none in this process, and none were refused lately.
    fn threads_are_due(&mut self, now: CoarseInstant) -> bool {
        self.leave_to_parent();
        let here = Some(process::id());
        if self.process == here || self.refused.is_some_and(|at| now.since(at) < THREADLESS) {
            return false;
        }
        (self.process, self.refused) = (here, None);
        true
    }

    /// After a fork: whoever worked on these stayed in the other process.
    fn leave_to_parent(&mut self) {
        if self.process.is_some_and(|other| other != process::id()) {
            (self.process, self.running) = (None, 0);
            self.forget_all();
        }
    }

    fn forget_all(&mut self) {
        self.waiting.clear();
        self.known.clear();
    }
}

/// What a thread is to do next.
enum BackgroundTask {
    Refresh(Job),
    Probe(PeerId),
}

fn work(queue: &Queue, core: &Weak<Enricher>) {
    while let Some(task) = queue.next() {
        // The last handle may go while we hold this one: then it is dropped here, with no lock held.
        let Some(core) = core.upgrade() else { return };
        let panicked = guard(|| {
            match task {
                BackgroundTask::Refresh(job) => core.refresh(job),
                BackgroundTask::Probe(peer) => core.probe(peer),
            }
            Ok(())
        });
        drop(core);
        if let Err(error) = panicked {
            // A logger that panics may do so again.
            let _ = guard(|| {
                log::debug!("refreshing in the background: {error}");
                Ok(())
            });
        }
        queue.end();
    }
}

impl Queue {
    /// Waits for the next task; `None` once the client is gone.
    fn next(&self) -> Option<BackgroundTask> {
        let mut jobs = self.jobs.lock();
        loop {
            if jobs.closed {
                return None;
            }
            let due = self.circuit.next_probe(CoarseInstant::now());
            if let NextProbe::Now(peer) = due {
                jobs.running += 1;
                return Some(BackgroundTask::Probe(peer));
            }
            // While the circuit is open they wait for its closing; before it is, one at a time finds out.
            let admits = self.circuit.would_admit() && (jobs.running == 0 || self.circuit.is_closed());
            if let Some(job) = admits.then(|| jobs.waiting.pop_front()).flatten() {
                jobs.known.remove(&job.peer);
                jobs.running += 1;
                return Some(BackgroundTask::Refresh(job));
            }
            match due {
                NextProbe::After(time) => jobs = wait(&self.changed, jobs, Some(Deadline::after(time))),
                NextProbe::Now(_) | NextProbe::Never => jobs = wait(&self.changed, jobs, None),
            }
        }
    }

    fn end(&self) {
        let mut jobs = self.jobs.lock();
        jobs.running = jobs.running.saturating_sub(1);
        drop(jobs);
        self.ended.notify_all();
        // Another may have waited for this one to be through.
        self.changed.notify_all();
    }
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::circuit_breaker::{CircuitPolicy, Report};

    fn peer(n: u32) -> PeerId {
        PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap()
    }

    /// Taken sooner, they would come back to the queue at once, and so in a loop.
    #[test]
    fn while_the_circuit_is_open_what_is_queued_waits_and_the_probe_is_made() {
        let wait = Duration::from_millis(20);
        let circuit = Arc::new(Circuit::new(CircuitPolicy { threshold: 1, first_backoff: wait, max_backoff: wait }));
        circuit.admit(peer(1), CoarseInstant::now(), false).unwrap().report(Report::Unanswered, 0.5);
        let background = Background::new(circuit, 1, 9);
        background.queue.jobs.lock().waiting.push_back(Job::new(peer(2), CoarseInstant::now()));
        assert!(matches!(background.queue.next(), Some(BackgroundTask::Probe(probed)) if probed == peer(1)));
        assert_eq!(background.queue.jobs.lock().waiting.len(), 1);
    }

    /// Where the system has no threads to give it is not asked for one at each call.
    #[test]
    fn a_system_that_refused_us_a_thread_is_asked_again_after_half_a_minute() {
        let (mut jobs, now) = (Jobs::default(), CoarseInstant::now());
        assert!(jobs.threads_are_due(now));
        assert!(!jobs.threads_are_due(now), "they are there");
        (jobs.process, jobs.refused) = (None, Some(now));
        assert!(!jobs.threads_are_due(now.plus(THREADLESS - Duration::from_millis(1))));
        assert!(jobs.threads_are_due(now.plus(THREADLESS)));
        assert_eq!((jobs.process, jobs.refused), (Some(process::id()), None));
    }
}
