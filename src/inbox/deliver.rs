//! One push to the callback: tried, tried again, and given up.

use super::builder::DeadLetter;
use super::feed::cursor::{Cursor, RowKey};
use super::heartbeat::Pulse;
use super::message::InboxMessage;
use super::store::CursorFile;
use crate::cancel::CancelToken;
use crate::error::{Delivery, Error};
use crate::retry::RetryPolicy;
use crate::util::log_safe::log_safe;
use crate::util::panic::{self, Panicked};
use crate::util::random::random;

/// What a callback says of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "it is what the callback is to return"]
#[non_exhaustive]
pub enum Verdict {
    /// It is dealt with, and does not come again.
    Ack,
    /// Once more, after a wait, and before those that came after it.
    Retry,
}

impl Verdict {
    /// What to say after a call that deals with the push, as [`InboxMessage::reply`] or a send of one's own: [`Retry`] where it
    /// failed, nothing can have been delivered, and time may mend it; otherwise [`Ack`]. What failed and is not tried
    /// again is logged at warn, since nothing else would tell of it.
    ///
    /// ```no_run
    /// use a2a_blocking::{Client, InboxPoller, Verdict};
    ///
    /// let poller = InboxPoller::builder(Client::from_env()?).spawn(|push| Verdict::after(push.reply("on it")))?;
    /// # poller.stop();
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// [`Retry`]: Verdict::Retry
    /// [`Ack`]: Verdict::Ack
    pub fn after<T>(result: Result<T, Error>) -> Verdict {
        match result {
            Ok(_) => Verdict::Ack,
            Err(error) if error.is_transient() && error.delivery() == Delivery::NotSent => Verdict::Retry,
            Err(error) => {
                log_safe!(warn, "inbox: a push counts as dealt with, though: {error} (delivery: {})", error.delivery());
                Verdict::Ack
            }
        }
    }
}

/// What came of a push.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Delivered {
    Acked,
    Dead,
    /// The poller was stopped before the push was through.
    Stopped,
}

pub(super) struct Deliverer {
    pub(super) retry: RetryPolicy,
    pub(super) dead_letter: Option<DeadLetter>,
    pub(super) token: CancelToken,
    pub(super) pulse: Pulse,
}

impl Deliverer {
    /// Tries the push until it is through. Each try is counted in the cursor's file before it begins, so that
    /// a push that takes the process down with it is given up like any other.
    pub(super) fn deliver(
        &mut self,
        push: &InboxMessage,
        mark: &RowKey,
        cursor: &mut Cursor,
        file: &mut CursorFile,
        callback: &mut dyn FnMut(&InboxMessage) -> Verdict,
    ) -> Delivered {
        let id = push.activity_id();
        for attempt in cursor.tries(id).saturating_add(1)..=self.retry.attempts() {
            if self.token.is_cancelled() {
                return Delivered::Stopped;
            }
            cursor.begin(&mark.id, attempt);
            file.save(cursor, false);
            let push = push.at_attempt(attempt);
            let verdict = {
                let _beat = self.pulse.task();
                panic::catch(|| callback(&push))
            };
            self.pulse.tried(matches!(verdict, Ok(Verdict::Ack)));
            match verdict {
                Ok(Verdict::Ack) => return Delivered::Acked,
                Ok(Verdict::Retry) => {
                    log_safe!(debug, "inbox: {id:?} is to be tried again (try {attempt})");
                }
                Err(Panicked) => {
                    log_safe!(error, "inbox: the callback panicked at {id:?} (try {attempt})");
                }
            }
            let wait = self.retry.backoff(attempt, random());
            if attempt < self.retry.attempts() && self.token.wait(wait) {
                return Delivered::Stopped;
            }
        }
        self.give_up(push);
        Delivered::Dead
    }

    fn give_up(&mut self, push: &InboxMessage) {
        let (id, tries) = (push.activity_id(), self.retry.attempts());
        match &mut self.dead_letter {
            Some(tell) => {
                if panic::catch(|| tell(&push.at_attempt(tries))).is_err() {
                    log_safe!(error, "inbox: the dead-letter callback panicked at {id:?}");
                }
            }
            None => {
                log_safe!(error, "inbox: {id:?} was tried {tries} times, and is given up");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn only_what_nobody_can_have_and_time_may_mend_is_tried_again() {
        let after = |kind, delivery| Verdict::after(Err::<(), _>(Error::new(kind, "").with_delivery(delivery)));
        assert_eq!(Verdict::after(Ok(())), Verdict::Ack);
        assert_eq!(after(ErrorKind::Connect, Delivery::NotSent), Verdict::Retry);
        assert_eq!(after(ErrorKind::Timeout, Delivery::Unknown), Verdict::Ack);
        assert_eq!(after(ErrorKind::InvalidMessage, Delivery::NotSent), Verdict::Ack);
    }
}
