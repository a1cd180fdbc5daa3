//! The sign of life, on a thread of its own: callbacks take their time, and the platform waits 90 s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::handle::{Shared, StopReason};
use crate::error::ErrorKind;
use crate::http::Http;
use crate::platform::{Vitals, heartbeat};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::log_safe::log_safe;

/// What the poller is doing, for the sign of life.
#[derive(Clone, Default)]
pub(super) struct Pulse(Arc<HeartbeatCounts>);

#[derive(Default)]
struct HeartbeatCounts {
    tasks: AtomicU32,
    tries: AtomicU64,
    failed: AtomicU64,
}

/// A task that is under way.
pub(super) struct TaskGuard<'a>(&'a HeartbeatCounts);

impl Pulse {
    pub(super) fn task(&self) -> TaskGuard<'_> {
        self.0.tasks.fetch_add(1, Relaxed);
        TaskGuard(&self.0)
    }

    pub(super) fn tried(&self, well: bool) {
        self.0.tries.fetch_add(1, Relaxed);
        self.0.failed.fetch_add(u64::from(!well), Relaxed);
    }

    /// The error rate is that of the tries since the last time.
    fn vitals(&self, uptime: Duration) -> Vitals {
        let (tries, failed) = (self.0.tries.swap(0, Relaxed), self.0.failed.swap(0, Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
        let error_rate = if tries == 0 { 0.0 } else { (failed as f64 / tries as f64).min(1.0) };
        Vitals { error_rate, active_tasks: self.0.tasks.load(Relaxed), uptime }
    }
}

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Relaxed);
    }
}

/// Starts the thread; where there is none to be had, the poller goes on without.
pub(super) fn start(
    http: &Arc<Http>,
    shared: &Arc<Shared>,
    pulse: &Pulse,
    every: Duration,
    timeout: Duration,
) -> Option<JoinHandle<()>> {
    let (http, shared, pulse) = (http.clone(), shared.clone(), pulse.clone());
    let thread = thread::Builder::new().name("a2a-heartbeat".to_owned());
    match thread.spawn(move || beat(&http, &shared, &pulse, every, timeout)) {
        Ok(thread) => Some(thread),
        Err(why) => {
            log_safe!(error, "inbox: no thread for the heartbeat ({why}): peers will see this workspace as offline");
            None
        }
    }
}

fn beat(http: &Arc<Http>, shared: &Arc<Shared>, pulse: &Pulse, every: Duration, timeout: Duration) {
    shared.run_by(thread::current().id());
    let wire = http.one_shot_pool(timeout);
    let on_stop = wire.clone();
    let _hook = shared.token.register(move || on_stop.shut_down());
    let (start, mut failing) = (CoarseInstant::now(), false);
    loop {
        let (http, wire, vitals) = (http.clone(), wire.clone(), pulse.vitals(CoarseInstant::now().since(start)));
        let ask = move || heartbeat(&http, &wire, vitals, Deadline::after(timeout));
        match shared.token.run("a2a-heartbeat-1", ask) {
            None => return,
            Some(Ok(())) => failing = false,
            Some(Err(error)) if error.kind() == ErrorKind::Removed => {
                log_safe!(error, "inbox: {error}");
                shared.stop(StopReason::removed(&error));
                return;
            }
            Some(Err(_)) if shared.token.is_cancelled() => return,
            Some(Err(error)) => {
                // Once an outage: the poller says the rest.
                if !std::mem::replace(&mut failing, true) {
                    log_safe!(warn, "inbox: no heartbeat: {error}");
                }
            }
        }
        if shared.token.wait(every) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vitals_are_of_the_tries_since_the_last_time_and_the_tasks_of_now() {
        let pulse = Pulse::default();
        let vitals = || {
            let Vitals { error_rate, active_tasks, uptime } = pulse.vitals(Duration::from_secs(7));
            assert_eq!(uptime, Duration::from_secs(7));
            (error_rate, active_tasks)
        };
        assert_eq!(vitals(), (0.0, 0));
        [true, false, true, true].into_iter().for_each(|well| pulse.tried(well));
        let (one, another) = (pulse.task(), pulse.task());
        assert_eq!(vitals(), (0.25, 2));
        drop(one);
        assert_eq!(vitals(), (0.0, 1), "nothing was tried since");
        drop(another);
        [false, false].into_iter().for_each(|well| pulse.tried(well));
        assert_eq!(vitals(), (1.0, 0));
    }
}
