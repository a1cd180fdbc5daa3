//! The callback's answer to a message, and the reasons to give one up.

use super::current_delivery;
use crate::error::{Delivery, Error};
use crate::util::log_safe::log_safe;
use crate::util::str_enum::str_enum;

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

/// Why a message is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The callback did not acknowledge it in all of its [attempts](crate::PollerBuilder::retry).
    Attempts,
    /// Its row is larger than [`max_row`](crate::PollerBuilder::max_row). Only what comes before its body is known of it.
    TooLarge,
    /// The body of its row did not come in three polls over a minute, while the platform answered other requests.
    TooSlow,
}

str_enum!(DeadLetterReason { Attempts: "attempts", TooLarge: "too_large", TooSlow: "too_slow" });

impl Verdict {
    /// Makes a verdict of the result of a call that handles the message, such as
    /// [`InboxMessage::reply`](crate::InboxMessage::reply) or a send.
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
