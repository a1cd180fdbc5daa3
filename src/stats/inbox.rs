//! Counters: of any event, and those of an inbox's pollers and their heartbeats.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use super::prometheus::Metric;
use super::skipped::{SkippedCounters, SkippedRows};
use crate::util::clock::{millis_up, unix_seconds, wall_nanos};

/// The numbers of a client's inbox, over all of its pollers: [`Stats::inbox`](super::Stats::inbox).
///
/// They are zero while no poller has polled. The counters never go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InboxStats {
    /// Number of polls that have ended. A poll lists one page, and ends once its messages are handled.
    pub polls: u64,
    /// Number of polls that failed.
    pub failed_polls: u64,
    /// Number of polls that failed since the platform last listed the inbox. A listing counts before its messages are
    /// handled.
    pub consecutive_failures: u64,
    /// Number of calls of the callback. Each delivery attempt counts.
    pub deliveries: u64,
    /// Number of messages that the callback acknowledged.
    pub acked: u64,
    /// Number of messages that were given up: see [`DeadLetterReason`](crate::DeadLetterReason).
    pub dead_lettered: u64,
    /// Number of entries that were not delivered: the sum of `skipped_by`.
    pub skipped: u64,
    /// The same by reason.
    pub skipped_by: SkippedRows,
    /// Number of calls of [`InboxMessage::reply`](crate::InboxMessage::reply) that returned an error, or a task without
    /// success.
    pub failed_replies: u64,
    /// Number of those that were not sent because of [`PollerBuilder::loop_brake`](crate::PollerBuilder::loop_brake).
    pub braked_replies: u64,
    /// Number of heartbeats that the platform answered, or that failed.
    pub heartbeats: u64,
    /// Number of heartbeats that failed.
    pub failed_heartbeats: u64,
    /// Time since the last success: a listing, a poll that ended, or a message that was acknowledged. `None` before the
    /// first.
    ///
    /// In milliseconds, by a clock that nobody sets.
    pub since_success: Option<Duration>,
    /// The same success, by this machine's clock. `None` also where that clock was never set.
    pub last_success: Option<SystemTime>,
}

impl InboxStats {
    /// Returns all numbers as metrics.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        // Every field by name, so that the compiler refuses a new one that is not added here.
        let InboxStats {
            polls,
            failed_polls,
            consecutive_failures,
            deliveries,
            acked,
            dead_lettered,
            skipped: _,
            skipped_by,
            failed_replies,
            braked_replies,
            heartbeats,
            failed_heartbeats,
            // The time itself is exported: a number of seconds since then would stand still with its exporter.
            since_success: _,
            last_success: _,
        } = *self;
        let last_success = "inbox_last_success_timestamp_seconds";
        vec![
            Metric::single("inbox_polls_total", "Polls of the inbox.", polls),
            Metric::single("inbox_polls_failed_total", "Polls that failed.", failed_polls),
            Metric::single(
                "inbox_consecutive_failures",
                "Polls that failed since the inbox was last listed.",
                consecutive_failures,
            ),
            Metric::single("inbox_deliveries_total", "Calls of the inbox's callback.", deliveries),
            Metric::single("inbox_messages_acked_total", "Messages that were acknowledged.", acked),
            Metric::single("inbox_messages_dead_lettered_total", "Messages that were given up.", dead_lettered),
            Metric::by_label(
                "inbox_rows_skipped_total",
                "Entries of the inbox that were not delivered.",
                "reason",
                &skipped_by.by_reason(),
            ),
            Metric::single(
                "inbox_replies_failed_total",
                "Replies that failed, or led to a task without success.",
                failed_replies,
            ),
            Metric::single("inbox_replies_braked_total", "Replies that the loop brake did not send.", braked_replies),
            Metric::single("inbox_heartbeats_total", "Heartbeats sent.", heartbeats),
            Metric::single("inbox_heartbeats_failed_total", "Heartbeats that failed.", failed_heartbeats),
            Metric::optional(
                last_success,
                "Unix time of the last listing, end of a poll or acknowledged message; 0 before the first.",
                self.last_success_seconds(),
            ),
        ]
    }

    /// Returns the time of the last success in seconds since 1970, or zero where there was none yet. Returns `None` if
    /// there was no poll.
    pub(super) fn last_success_seconds(&self) -> Option<f64> {
        (self.polls > 0 || self.since_success.is_some()).then(|| self.last_success.map_or(0.0, unix_seconds))
    }
}

/// The counters behind [`InboxStats`]. The pollers of a client share them.
#[derive(Debug, Default)]
pub(crate) struct InboxCounters {
    polls: Counter,
    failed_polls: Counter,
    consecutive_failures: AtomicU64,
    pub(crate) deliveries: Counter,
    acked: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) skipped: SkippedCounters,
    pub(crate) failed_replies: Counter,
    pub(crate) braked_replies: Counter,
    pub(crate) heartbeats: Counter,
    pub(crate) failed_heartbeats: Counter,
    /// When the last success was, by [`millis_up`]. Zero before the first.
    success_millis: AtomicU64,
    /// The same in nanoseconds since 1970. Zero before the first, and where the clock was never set.
    success_nanos: AtomicU64,
}

impl InboxCounters {
    pub(crate) fn poll_succeeded(&self) {
        self.polls.add(1);
        self.listing_succeeded();
    }

    /// Records the success of a poll that goes on with its messages.
    pub(crate) fn listing_succeeded(&self) {
        self.consecutive_failures.store(0, Relaxed);
        self.note_success();
    }

    pub(crate) fn poll_failed(&self) {
        self.polls.add(1);
        self.failed_polls.add(1);
        self.consecutive_failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn message_acked(&self) {
        self.acked.add(1);
        self.note_success();
    }

    /// Records a success that is no poll: the platform says that there is nothing to be polled.
    pub(crate) fn note_success(&self) {
        self.success_millis.store(millis_up(), Relaxed);
        self.success_nanos.store(wall_nanos().and_then(|nanos| nanos.try_into().ok()).unwrap_or(0), Relaxed);
    }

    /// Returns a snapshot of the counters.
    pub(crate) fn snapshot(&self) -> InboxStats {
        let set = |value: &AtomicU64| Some(value.load(Relaxed)).filter(|value| *value > 0);
        let at = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        let skipped_by = self.skipped.snapshot();
        InboxStats {
            polls: self.polls.get(),
            failed_polls: self.failed_polls.get(),
            consecutive_failures: self.consecutive_failures.load(Relaxed),
            deliveries: self.deliveries.get(),
            acked: self.acked.get(),
            dead_lettered: self.dead_lettered.get(),
            skipped: skipped_by.total(),
            skipped_by,
            failed_replies: self.failed_replies.get(),
            braked_replies: self.braked_replies.get(),
            heartbeats: self.heartbeats.get(),
            failed_heartbeats: self.failed_heartbeats.get(),
            since_success: set(&self.success_millis).map(|at| Duration::from_millis(millis_up().saturating_sub(at))),
            last_success: set(&self.success_nanos).map(at),
        }
    }
}

/// A number that only grows. Threads share it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_end_with_a_success_and_an_ack_counts_as_one() {
        let counters = InboxCounters::default();
        assert_eq!(counters.snapshot(), InboxStats::default());
        assert_eq!(counters.snapshot().last_success_seconds(), None);
        (0..3).for_each(|_| counters.poll_failed());
        let failing = counters.snapshot();
        assert_eq!((failing.polls, failing.failed_polls, failing.consecutive_failures), (3, 3, 3));
        assert_eq!((failing.since_success, failing.last_success_seconds()), (None, Some(0.0)));
        counters.message_acked();
        assert!(counters.snapshot().since_success.unwrap() < Duration::from_secs(60));
        counters.poll_succeeded();
        let stats = counters.snapshot();
        assert_eq!((stats.polls, stats.failed_polls, stats.consecutive_failures, stats.acked), (4, 3, 0, 1));
        assert!(stats.last_success_seconds().unwrap() > 1.7e9, "{stats:?}");
    }
}
