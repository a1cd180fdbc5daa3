//! Delivery of one message to the callback, with retries and dead letters.

use std::mem;
use std::sync::Arc;

use super::current_delivery;
use super::feed::RowKey;
use super::feed::cursor::Cursor;
use super::handle::PollerControl;
use super::heartbeat::CallbackStats;
use super::message::InboxMessage;
use super::store::CursorFile;
use crate::error::{Delivery, Error};
use crate::retry::RetryPolicy;
use crate::util::log_safe::log_safe;
use crate::util::panic::{self, Panicked};
use crate::util::random::random;

/// Callback for a message that exhausted its delivery attempts.
pub(super) type DeadLetterCallback = Box<dyn FnMut(&InboxMessage) + Send>;

/// Callback for a poll that failed.
pub(super) type ErrorCallback = Box<dyn FnMut(&Error) + Send>;

/// A callback's answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "the poller needs it: return it from the callback"]
#[non_exhaustive]
pub enum Verdict {
    /// Acknowledges the message. It is not delivered again.
    Ack,
    /// Asks for another delivery after a wait. Later messages are held back until then.
    ///
    /// A message that exhausts its [attempts](crate::PollerBuilder::retry) is dead-lettered.
    Retry,
}

impl Verdict {
    /// Makes a verdict of the result of a call that handles the message, such as [`InboxMessage::reply`] or a send.
    ///
    /// It is [`Retry`] if the call failed, certainly delivered nothing, and may succeed later
    /// ([`Error::is_transient`]). Otherwise it is [`Ack`]: a second attempt would be in vain, or could deliver twice.
    /// A failure that is acknowledged is logged as a warning, since nothing else would report it. One that is tried again
    /// is logged at debug level, and is in the line about a message that is given up. The lines name the row that the
    /// calling thread is handling.
    ///
    /// ```no_run
    /// use a2a_blocking::{Client, InboxPoller, Verdict};
    ///
    /// let poller =
    ///     InboxPoller::builder(Client::from_env()?).spawn(|message| Verdict::after(message.reply("on it")))?;
    /// # poller.stop();
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// [`Retry`]: Verdict::Retry
    /// [`Ack`]: Verdict::Ack
    pub fn after<T>(result: Result<T, Error>) -> Verdict {
        match result {
            Ok(_) => Verdict::Ack,
            Err(error) if error.is_transient() && error.delivery() == Delivery::NotSent => {
                let subject = current_delivery::subject();
                log_safe!(debug, "inbox: {subject} is to be tried again because of: {error}");
                current_delivery::set_failure(error);
                Verdict::Retry
            }
            Err(error) => {
                let subject = current_delivery::subject();
                log_safe!(
                    warn,
                    "inbox: {subject} is acknowledged in spite of: {error} (delivery: {})",
                    error.delivery()
                );
                Verdict::Ack
            }
        }
    }
}

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
            self.control.health.cursor_saved(cursor.anchor.as_ref(), file.is_failing());
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

    /// Reports a message that exhausted its attempts to the dead-letter callback, or logs its id and the failure of the
    /// last attempt as an error where there is none. A panic in the callback is caught and logged.
    fn dead_letter(&mut self, message: &InboxMessage, failure: Option<&Error>) {
        let (id, attempts) = (message.activity_id(), self.retry.attempts());
        self.control.health.counters().dead_lettered.add(1);
        match &mut self.on_dead_letter {
            Some(callback) => {
                if panic::catch(|| callback(&message.with_attempt(attempts))).is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn only_a_transient_failure_without_delivery_is_retried() {
        let after = |kind, delivery| Verdict::after(Err::<(), _>(Error::new(kind, "").with_delivery(delivery)));
        assert_eq!(Verdict::after(Ok(())), Verdict::Ack);
        assert_eq!(after(ErrorKind::Connect, Delivery::NotSent), Verdict::Retry);
        assert_eq!(after(ErrorKind::Timeout, Delivery::Unknown), Verdict::Ack);
        assert_eq!(after(ErrorKind::InvalidMessage, Delivery::NotSent), Verdict::Ack);
    }
}
