//! The heartbeat, which tells the platform that the workspace is alive.
//!
//! It has its own thread, because a callback may take longer than the 90 s after which the platform shows a workspace
//! as offline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::handle::{PollerControl, StopReason};
use super::token_watch::TokenWatch;
use crate::client::Client;
use crate::error::ErrorKind;
use crate::error::failure_log::{FailureLog, severity};
use crate::http::Http;
use crate::platform::{Vitals, heartbeat};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::log_safe::log_safe;

/// Counts delivery attempts, for the error rate that a heartbeat carries. Clones share the counters.
#[derive(Clone, Default)]
pub(super) struct CallbackStats(Arc<CallbackCounters>);

#[derive(Default)]
struct CallbackCounters {
    /// Number of delivery attempts since the last heartbeat.
    attempts: AtomicU64,
    /// Number of those that were not acknowledged.
    failed: AtomicU64,
}

impl CallbackStats {
    /// Counts a delivery attempt that has ended. `acked` says whether the callback acknowledged the message.
    pub(super) fn record_attempt(&self, acked: bool) {
        self.0.attempts.fetch_add(1, Relaxed);
        self.0.failed.fetch_add(u64::from(!acked), Relaxed);
    }

    /// Returns the error rate for the next heartbeat, and sets the counters back to zero.
    ///
    /// It is the share of attempts since the last call that were not acknowledged; 0 if there were none.
    fn take_error_rate(&self) -> f64 {
        let (attempts, failed) = (self.0.attempts.swap(0, Relaxed), self.0.failed.swap(0, Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "a rate does not need all digits")]
        if attempts == 0 { 0.0 } else { (failed as f64 / attempts as f64).min(1.0) }
    }
}

/// The heartbeat of a running poller.
pub(super) struct Heartbeat {
    http: Arc<Http>,
    control: Arc<PollerControl>,
    stats: CallbackStats,
    /// Time between two heartbeats.
    every: Duration,
    /// Time for each.
    timeout: Duration,
}

impl Heartbeat {
    /// Makes the heartbeat of a poller of `client`, with `every` as the time between two.
    pub(super) fn new(client: &Client, control: &Arc<PollerControl>, stats: CallbackStats, every: Duration) -> Self {
        let timeout = client.settings().call_timeout;
        Heartbeat { http: client.http().clone(), control: control.clone(), stats, every, timeout }
    }

    /// Starts the heartbeat's thread, which ends when the poller is stopped.
    ///
    /// If the system refuses to start a thread, that is logged as an error, and the poller goes on without a heartbeat.
    pub(super) fn spawn(self) -> Option<JoinHandle<()>> {
        let thread = thread::Builder::new().name("a2a-heartbeat".to_owned());
        match thread.spawn(move || self.run()) {
            Ok(thread) => Some(thread),
            Err(why) => {
                log_safe!(
                    error,
                    "inbox: no thread for the heartbeat ({why}): peers will see this workspace as offline"
                );
                None
            }
        }
    }

    /// Sends a heartbeat at once, and then one after each interval, until the poller is stopped.
    ///
    /// If the platform says that the workspace was removed, it stops the poller for that reason. Failures are logged as
    /// [`FailureLog`] says. While polls fail, too, only the first is: the poller's own lines report the outage.
    fn run(&self) {
        let Heartbeat { control, timeout, .. } = self;
        control.threads.add_this_thread();
        let pool = self.http.one_shot_pool(*timeout);
        let on_stop = pool.clone();
        let _hook = control.token.register(move || on_stop.shut_down());
        let ended = format!("inbox: {} takes heartbeats again", self.http.platform());
        let log = FailureLog::new("a2a_blocking::inbox", "inbox: no heartbeat", ended);
        let start = CoarseInstant::now();
        loop {
            let vitals = Vitals {
                error_rate: self.stats.take_error_rate(),
                active_tasks: u32::from(control.health.is_callback_running()),
                current_task: control.task.lock().clone(),
                uptime: CoarseInstant::now().since(start),
            };
            let (http, pool, deadline) = (self.http.clone(), pool.clone(), Deadline::after(*timeout));
            let watch = TokenWatch::before_call(&self.http, &control.token);
            let failure = match control.token.run("a2a-heartbeat-1", move || heartbeat(&http, &pool, vitals, deadline))
            {
                None => return,
                Some(Ok(())) => {
                    control.health.heartbeat_ended(true);
                    log.succeeded();
                    None
                }
                Some(Err(error)) if error.kind() == ErrorKind::Removed => {
                    log_safe!(error, "inbox: {error}");
                    control.stop(StopReason::from_removal(&error));
                    return;
                }
                Some(Err(_)) if control.token.is_cancelled() => return,
                Some(Err(error)) => {
                    control.health.heartbeat_ended(false);
                    let line = log.add(severity(&error));
                    let line = line.filter(|line| line.failures == 1 || !control.health.is_poll_failing());
                    log.log(line, &error, format_args!("; peers see us as offline after 90 s without one"));
                    Some(error)
                }
            };
            let is_stopped = match failure {
                Some(error) => watch.wait_after(&error, self.every),
                None => control.token.wait(self.every),
            };
            if is_stopped {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_rate_counts_attempts_since_the_last_heartbeat_only() {
        let stats = CallbackStats::default();
        let mut rates = Vec::new();
        for attempts in [&[][..], &[true, false, true, true], &[], &[false, false]] {
            attempts.iter().for_each(|acked| stats.record_attempt(*acked));
            rates.push(stats.take_error_rate());
        }
        assert_eq!(rates, [0.0, 0.25, 0.0, 1.0]);
    }
}
