//! Acknowledges the handled rows to the platform.
//!
//! The platform keeps one number for each workspace. Its summaries of unread mail begin behind it, and a poller whose cursor is
//! lost goes on there.

use std::sync::Arc;
use std::time::Duration;

use super::feed::AckCall;
use super::feed::cursor::Cursor;
use crate::cancel::CancelToken;
use crate::http::Http;
use crate::platform::AckAnswer;
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;

/// Shortest time between two acks.
const INTERVAL: Duration = Duration::from_secs(60);

/// Acknowledges what was handled.
pub(super) struct Acknowledger {
    call: AckCall,
    /// Time after which a row that was listed is settled.
    late: Duration,
    state: AckState,
}

/// When the next ack may be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum AckState {
    Due,
    /// A minute after this.
    SentAt(CoarseInstant),
    /// Never: the platform has no acks.
    Off,
}

impl AckState {
    fn is_due(self, now: CoarseInstant) -> bool {
        match self {
            AckState::Due => true,
            AckState::SentAt(last) => now.since(last) >= INTERVAL,
            AckState::Off => false,
        }
    }
}

impl Acknowledger {
    /// Makes one for a poller whose rows are settled after `late`. Cancelling `token` ends a request in progress.
    pub(super) fn new(http: &Arc<Http>, token: &CancelToken, late: Duration) -> Self {
        Acknowledger { call: AckCall::new(http, token), late, state: AckState::Due }
    }

    /// Acknowledges what was handled, if that is more than before and a minute has passed since the last time.
    ///
    /// Blocks for at most 5 s. Waits while little of the platform's rate limit is left. A failure is logged at debug level, and
    /// the next try follows in a minute. A platform without acks is not asked again.
    pub(super) fn send(&mut self, cursor: &mut Cursor, now: CoarseInstant) {
        if !self.state.is_due(now) || self.call.is_held_back() {
            return;
        }
        let Some(seq) = cursor.ack_due(self.late) else { return };
        self.state = AckState::SentAt(now);
        match self.call.send(seq) {
            Some(Ok(AckAnswer::UpTo(last))) => cursor.record_ack(last.max(seq)),
            Some(Ok(AckAnswer::Unsupported)) => {
                log_safe!(debug, "inbox: this platform has no acks, and is not sent any more of them");
                self.state = AckState::Off;
            }
            Some(Err(error)) => log_safe!(debug, "inbox: nothing was acknowledged: {error}; next try in a minute"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ack_is_due_once_a_minute() {
        let start = CoarseInstant::now();
        let is_due = |state: AckState, secs| state.is_due(start.plus(Duration::from_secs(secs)));
        assert!(is_due(AckState::Due, 0));
        assert_eq!([0, 59, 60, 600].map(|secs| is_due(AckState::SentAt(start), secs)), [false, false, true, true]);
        assert!(!is_due(AckState::Off, 100_000));
    }
}
