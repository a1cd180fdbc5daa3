//! Delivery of one message to the callback, with retries and dead letters.

use std::mem;
use std::sync::Arc;

use super::current_delivery;
use super::feed::RowKey;
use super::feed::cursor::Cursor;
use super::feed::cursor::saved::Anchor;
use super::handle::PollerControl;
use super::heartbeat::CallbackStats;
use super::message::InboxMessage;
use super::store::CursorFile;
use super::verdict::{DeadLetterReason, Verdict};
use crate::error::Error;
use crate::retry::RetryPolicy;
use crate::util::log_safe::log_safe;
use crate::util::panic::{self, Panicked};
use crate::util::random::random;

/// Callback for a message that exhausted its delivery attempts.
pub(super) type DeadLetterCallback = Box<dyn FnMut(&InboxMessage) + Send>;

/// Callback for a poll that failed.
pub(super) type ErrorCallback = Box<dyn FnMut(&Error) + Send>;

/// The outcome of delivering a message, over all of its attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DeliveryOutcome {
    /// The callback acknowledged it.
    Acked,
    /// It exhausted its attempts.
    DeadLettered,
    /// The poller was stopped first, or this is a child by `fork`. The message is delivered again after a restart.
    Stopped,
}

/// Delivers messages to the callback, one at a time.
pub(super) struct Dispatcher {
    /// Sets the number of attempts per message, and the waits in between.
    pub(super) retry: RetryPolicy,
    /// Called for a message that exhausted its attempts. `None` logs its id instead.
    pub(super) on_dead_letter: Option<DeadLetterCallback>,
    /// Receives the outcome of each attempt, for the heartbeat.
    pub(super) stats: CallbackStats,
    /// Ends the wait between two attempts when the poller is stopped, and receives the outcomes for its handle.
    pub(super) control: Arc<PollerControl>,
}

impl Dispatcher {
    /// Calls `callback` with the message until it is acknowledged, has exhausted its attempts, or the poller is
    /// stopped.
    ///
    /// Blocks for the waits between attempts. A panic in the callback counts as [`Verdict::Retry`]. Attempts of earlier
    /// runs count: each is recorded in `cursor` and saved to `file` before the callback runs, so that a message that
    /// crashes the process is dead-lettered in the end like any other.
    ///
    /// A message that has exhausted its attempts before is dead-lettered without another call. The row is not marked as
    /// acked: that is up to the caller.
    pub(super) fn deliver(
        &mut self,
        message: &InboxMessage,
        key: &RowKey,
        cursor: &mut Cursor,
        file: &mut CursorFile,
        callback: &mut dyn FnMut(&InboxMessage) -> Verdict,
    ) -> DeliveryOutcome {
        let (id, mut failure) = (message.activity_id(), None);
        for attempt in cursor.attempts_of(id).saturating_add(1)..=self.retry.attempts() {
            // A callback may have forked: the child must not go on as a second poller.
            if self.control.token.is_cancelled() || !file.is_own_process() {
                return DeliveryOutcome::Stopped;
            }
            cursor.record_attempt(&key.id, attempt);
            file.save(cursor, false);
            self.control.health.cursor_saved(cursor.anchor().map(Anchor::row), file.is_failing());
            let message = message.with_attempt(attempt);
            let verdict;
            (verdict, failure) = {
                let running = self.control.health.start_callback();
                let outcome = current_delivery::run(&key.id, || panic::catch(|| callback(&message)));
                if !file.is_own_process() {
                    // Another thread may have held the lock that it takes during the fork.
                    mem::forget(running);
                    return DeliveryOutcome::Stopped;
                }
                outcome
            };
            self.stats.record_attempt(matches!(verdict, Ok(Verdict::Ack)));
            match verdict {
                Ok(Verdict::Ack) => {
                    self.control.health.message_acked();
                    return DeliveryOutcome::Acked;
                }
                Ok(Verdict::Retry) => {
                    log_safe!(debug, "inbox: {id:?} is to be delivered again (attempt {attempt})");
                }
                Err(Panicked) => {
                    log_safe!(error, "inbox: the callback panicked at {id:?} (attempt {attempt})");
                }
            }
            let wait = self.retry.backoff(attempt, random());
            if attempt < self.retry.attempts() && self.control.token.wait(wait) {
                return DeliveryOutcome::Stopped;
            }
        }
        self.dead_letter(message, failure.as_ref());
        DeliveryOutcome::DeadLettered
    }

    /// Reports a message whose row cannot be read, in the same way.
    pub(super) fn give_up(&mut self, message: &InboxMessage, reason: DeadLetterReason) {
        let id = message.activity_id();
        let why = match reason {
            DeadLetterReason::TooSlow => "its body does not come",
            DeadLetterReason::TooLarge | DeadLetterReason::Attempts => "it is larger than PollerBuilder::max_row",
        };
        log_safe!(error, "inbox: {id:?} cannot be read: {why}: it is given up");
        self.control.health.counters().dead_lettered.add(1);
        let Some(callback) = &mut self.on_dead_letter else { return };
        if panic::catch(|| callback(message)).is_err() {
            log_safe!(error, "inbox: the dead-letter callback panicked at {id:?}");
        }
    }

    /// Reports a message that exhausted its attempts to the dead-letter callback, or logs its id and the failure of the
    /// last attempt as an error where there is none. A panic in the callback is caught and logged.
    fn dead_letter(&mut self, message: &InboxMessage, failure: Option<&Error>) {
        let (id, attempts) = (message.activity_id(), self.retry.attempts());
        self.control.health.counters().dead_lettered.add(1);
        match &mut self.on_dead_letter {
            Some(callback) => {
                let message = message.with_attempt(attempts).with_dead_letter_reason(DeadLetterReason::Attempts);
                if panic::catch(|| callback(&message)).is_err() {
                    log_safe!(error, "inbox: the dead-letter callback panicked at {id:?}");
                }
            }
            None => match failure {
                Some(error) => {
                    log_safe!(
                        error,
                        "inbox: {id:?} was not acknowledged in {attempts} attempts: it is given up; the last attempt failed: {error}"
                    );
                }
                None => {
                    log_safe!(error, "inbox: {id:?} was not acknowledged in {attempts} attempts: it is given up");
                }
            },
        }
    }
}
