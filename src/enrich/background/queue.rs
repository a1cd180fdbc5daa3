//! The queue of background lookups. The rate limit and the circuit decide when a thread may take one.

use std::collections::{HashSet, VecDeque};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use crate::http::RateLimit;
use crate::peer::PeerId;
use crate::util::circuit_breaker::{Circuit, NextProbe};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::sync::{Condvar, Mutex, wait, wait_while};

/// Time after a refused thread start before the next attempt.
const RETRY_START_AFTER: Duration = Duration::from_secs(30);

/// A queue of lookups, each peer in it once, shared by callers and background threads.
pub(super) struct TaskQueue {
    circuit: Arc<Circuit<PeerId>>,
    rate_limit: Arc<RateLimit>,
    /// Number of threads that are to work on it.
    threads: usize,
    /// Maximum number of waiting jobs.
    capacity: usize,
    state: Mutex<TaskQueueState>,
    /// Notified when a thread may have a new task.
    changed: Condvar,
    /// Notified when a task has ended or was removed.
    ended: Condvar,
}

#[derive(Default)]
struct TaskQueueState {
    waiting: VecDeque<RefreshJob>,
    /// The peers of `waiting`.
    queued: HashSet<PeerId>,
    /// Number of tasks that threads have taken and not ended.
    running: usize,
    /// Number of jobs that found the queue full.
    dropped: u64,
    /// True once the client is gone.
    closed: bool,
    threads: ThreadState,
}

/// The state of the background threads.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum ThreadState {
    #[default]
    NotStarted,
    /// Started in this process. In the child of a fork, the parent's threads do not exist.
    Started { process: u32 },
    /// The system refused to start a thread.
    Refused { at: CoarseInstant },
}

/// The result of [`TaskQueue::check_threads`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ThreadCheck {
    /// There are threads.
    Running,
    /// There are none: the caller starts them now.
    Due,
    /// There are none, and none are started: by the settings, or because the system refused them lately.
    Unavailable,
}

impl TaskQueue {
    pub(super) fn new(
        circuit: Arc<Circuit<PeerId>>,
        rate_limit: Arc<RateLimit>,
        threads: usize,
        capacity: usize,
    ) -> Self {
        let state = Mutex::default();
        TaskQueue { circuit, rate_limit, threads, capacity, state, changed: Condvar::new(), ended: Condvar::new() }
    }

    /// Returns the number of threads that the settings allow.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Adds a job. Returns whether the caller has to start the threads.
    ///
    /// Does nothing where the peer is queued already, the queue is full, or there can be no threads.
    #[must_use]
    pub(super) fn push(&self, job: RefreshJob) -> bool {
        if self.threads == 0 {
            return false;
        }
        let mut state = self.state.lock();
        state.reset_after_fork();
        if state.queued.contains(&job.peer) {
            return false;
        }
        if state.waiting.len() >= self.capacity {
            state.dropped += 1;
            return false;
        }
        let check = state.check_threads(CoarseInstant::now());
        if check == ThreadCheck::Unavailable {
            return false;
        }
        state.queued.insert(job.peer);
        state.waiting.push_back(job);
        drop(state);
        self.changed.notify_all();
        check == ThreadCheck::Due
    }

    /// Returns whether there are threads. After [`ThreadCheck::Due`] they count as started.
    pub(super) fn check_threads(&self) -> ThreadCheck {
        if self.threads == 0 {
            return ThreadCheck::Unavailable;
        }
        self.state.lock().check_threads(CoarseInstant::now())
    }

    /// Records that the system refused all threads, and empties the queue, which nobody works on.
    pub(super) fn set_refused(&self, at: CoarseInstant) {
        let mut state = self.state.lock();
        state.threads = ThreadState::Refused { at };
        state.clear();
        drop(state);
        self.ended.notify_all();
    }

    /// Wakes the threads, so that they look at the queue and the circuit again.
    pub(super) fn notify(&self) {
        // Taking the lock waits for a thread that has looked at the circuit and is about to wait. Without it, that
        // thread would miss the notification.
        drop(self.state.lock());
        self.changed.notify_all();
    }

    /// Removes a peer's job.
    pub(super) fn remove(&self, peer: PeerId) {
        let mut state = self.state.lock();
        if state.queued.remove(&peer) {
            state.waiting.retain(|job| job.peer != peer);
            self.ended.notify_all();
        }
    }

    /// Removes all jobs.
    pub(super) fn clear(&self) {
        self.state.lock().clear();
        self.ended.notify_all();
    }

    /// Returns the number of jobs that found the queue full.
    pub(super) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Blocks until no task is queued or running. Returns whether that is so before the deadline.
    pub(super) fn wait_until_idle(&self, deadline: Deadline) -> bool {
        let mut state = self.state.lock();
        state.reset_after_fork();
        let state = wait_while(&self.ended, state, TaskQueueState::is_busy, Some(deadline));
        !state.is_busy()
    }

    /// Removes all jobs and ends the threads that wait for one.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.clear();
        drop(state);
        self.changed.notify_all();
        self.ended.notify_all();
    }

    /// Blocks until there is a task, and takes it. Returns `None` once the queue is closed.
    pub(super) fn next(&self) -> Option<BackgroundTask> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            // A probe is a lookup, too.
            if let Some(time) = self.rate_limit.lookup_wait() {
                state = wait(&self.changed, state, Some(Deadline::after(time)));
                continue;
            }
            let probe = self.circuit.next_probe(CoarseInstant::now());
            if let NextProbe::Now(peer) = probe {
                state.running += 1;
                return Some(BackgroundTask::Probe(peer));
            }
            // While the circuit is open, the jobs wait. While it is degraded, one is run at a time.
            let admits = self.circuit.would_admit() && (state.running == 0 || self.circuit.is_closed());
            if let Some(job) = admits.then(|| state.waiting.pop_front()).flatten() {
                state.queued.remove(&job.peer);
                state.running += 1;
                return Some(BackgroundTask::Refresh(job));
            }
            let until_probe = match probe {
                NextProbe::After(time) => Some(Deadline::after(time)),
                NextProbe::Now(_) | NextProbe::Never => None,
            };
            state = wait(&self.changed, state, until_probe);
        }
    }

    /// Ends a task that [`next`](Self::next) returned.
    pub(super) fn end_task(&self) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        drop(state);
        self.ended.notify_all();
        // While the circuit is degraded, another thread waits until no task is running.
        self.changed.notify_all();
    }
}

impl TaskQueueState {
    /// Returns whether threads are running, or are to be started now.
    fn check_threads(&mut self, now: CoarseInstant) -> ThreadCheck {
        self.reset_after_fork();
        match self.threads {
            ThreadState::Started { .. } => ThreadCheck::Running,
            ThreadState::Refused { at } if now.since(at) < RETRY_START_AFTER => ThreadCheck::Unavailable,
            ThreadState::NotStarted | ThreadState::Refused { .. } => {
                self.threads = ThreadState::Started { process: process::id() };
                ThreadCheck::Due
            }
        }
    }

    /// In the child of a fork, forgets the parent's threads and jobs.
    fn reset_after_fork(&mut self) {
        if matches!(self.threads, ThreadState::Started { process } if process != process::id()) {
            self.threads = ThreadState::NotStarted;
            self.running = 0;
            self.clear();
        }
    }

    fn is_busy(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.queued.clear();
    }
}

/// A task for a background thread.
#[derive(Debug, Clone, Copy)]
pub(super) enum BackgroundTask {
    /// A lookup that nobody waits for.
    Refresh(RefreshJob),
    /// A lookup of this peer that finds out whether the registry answers again.
    Probe(PeerId),
}

/// A queued lookup of one peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefreshJob {
    pub(super) peer: PeerId,
    /// The caller's time when it was queued.
    caller_now: CoarseInstant,
    /// The real time when it was queued.
    queued_at: CoarseInstant,
}

impl RefreshJob {
    pub(super) fn new(peer: PeerId, now: CoarseInstant) -> Self {
        RefreshJob { peer, caller_now: now, queued_at: CoarseInstant::now() }
    }

    /// Returns the caller's time at the real time `run_at`.
    ///
    /// A job may wait for long. Its record is fetched when it runs, and is as young as that.
    pub(super) fn now_at(&self, run_at: CoarseInstant) -> CoarseInstant {
        self.caller_now.plus(run_at.since(self.queued_at))
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

    #[test]
    fn jobs_wait_while_the_circuit_is_open_and_the_probe_is_made() {
        let backoff = Duration::from_millis(20);
        let policy = CircuitPolicy { threshold: 1, first_backoff: backoff, max_backoff: backoff };
        let circuit = Arc::new(Circuit::new(policy));
        circuit.admit(peer(1), CoarseInstant::now(), false).unwrap().report(Report::Unanswered, 0.5);
        let queue = TaskQueue::new(circuit, Arc::default(), 1, 9);
        // A job that was taken now would come back to the queue at once, and so in a loop.
        queue.state.lock().waiting.push_back(RefreshJob::new(peer(2), CoarseInstant::now()));
        assert!(matches!(queue.next(), Some(BackgroundTask::Probe(probed)) if probed == peer(1)));
        assert_eq!(queue.state.lock().waiting.len(), 1);
    }

    /// A system without threads to give is not asked for one at each call.
    #[test]
    fn refused_threads_are_started_again_after_half_a_minute() {
        let mut state = TaskQueueState::default();
        let now = CoarseInstant::now();
        assert_eq!(state.check_threads(now), ThreadCheck::Due);
        assert_eq!(state.check_threads(now), ThreadCheck::Running);
        state.threads = ThreadState::Refused { at: now };
        let just_before = now.plus(RETRY_START_AFTER - Duration::from_millis(1));
        assert_eq!(state.check_threads(just_before), ThreadCheck::Unavailable);
        assert_eq!(state.check_threads(now.plus(RETRY_START_AFTER)), ThreadCheck::Due);
        assert_eq!(state.threads, ThreadState::Started { process: process::id() });
    }

    #[test]
    fn job_that_waited_out_an_outage_counts_from_when_it_runs() {
        let (hour, ttl) = (Duration::from_secs(3_600), Duration::from_secs(300));
        // The caller's clock may differ from the real one.
        let job = RefreshJob::new(peer(1), CoarseInstant::now().plus(hour));
        let run_at = CoarseInstant::now().plus(ttl * 2);
        let waited = job.now_at(run_at).since(job.caller_now);
        assert!(waited > ttl && waited <= ttl * 2 + Duration::from_secs(5), "{waited:?}");
    }
}
