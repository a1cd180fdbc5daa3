//! The messages that were handled, so that one message is delivered once though the platform keeps several rows of it.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::wire::Timestamp;

/// Most handled messages that are remembered.
pub(super) const MAX_MESSAGES: usize = 100_000;
/// Longest time for which a handled message is remembered.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);

/// A keyed hash of what tells a message from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::inbox) struct MessageKey(pub(in crate::inbox) u128);

/// A message that was handled, and when, by our own clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::inbox) struct HandledMessage {
    pub(in crate::inbox) key: MessageKey,
    pub(in crate::inbox) at: Timestamp,
}

/// The messages that were handled, oldest first: at most 100,000, and those of 24 h.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::inbox) struct HandledMessages {
    order: VecDeque<HandledMessage>,
    known: HashSet<MessageKey>,
}

impl HandledMessages {
    /// Adds a message, and forgets the oldest one beyond 100,000.
    pub(super) fn insert(&mut self, message: HandledMessage) {
        if self.known.insert(message.key) {
            self.order.push_back(message);
        }
        if self.order.len() > MAX_MESSAGES {
            self.forget_oldest();
        }
    }

    /// Forgets the messages of more than 24 h before `now`.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        let oldest = now.minus(KEPT_FOR);
        while self.order.front().is_some_and(|message| message.at < oldest) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(message) = self.order.pop_front() {
            self.known.remove(&message.key);
        }
    }

    pub(super) fn contains(&self, message: MessageKey) -> bool {
        self.known.contains(&message)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = HandledMessage> {
        self.order.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::feed::cursor::Cursor;
    use crate::inbox::feed::cursor::saved::SavedCursor;
    use crate::inbox::feed::position::RowKey;
    use crate::util::clock::CoarseInstant;

    fn now() -> Timestamp {
        Timestamp::from_nanos(1_780_000_000_000_000_000)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn message_is_remembered_for_24_hours_over_restarts() {
        let key = MessageKey(7);
        let row = RowKey { at: Timestamp::from_nanos(1), seq: 1, id: "r".into() };
        let mut cursor = Cursor::default();
        // The poller was down for days: what it handles now counts from now.
        cursor.record_listing(now().minus(seconds(3 * 86_400)));
        cursor.record_listing(now());
        cursor.handle(&row, Some(key));
        assert!(cursor.is_handled(key) && !cursor.is_handled(MessageKey(8)));
        let mut saved = SavedCursor::default();
        cursor.pending.get().unwrap().iter().for_each(|change| saved.apply(change.clone()));
        let mut restarted = Cursor::from_saved(saved, None, CoarseInstant::now());
        for cursor in [&mut cursor, &mut restarted] {
            cursor.record_listing(now().plus(seconds(86_400)));
            assert!(cursor.is_handled(key));
            cursor.record_listing(now().plus(seconds(86_460)));
            assert!(!cursor.is_handled(key), "it is delivered again");
        }
    }

    #[test]
    fn listing_is_recorded_once_a_minute_and_when_the_clock_goes_back() {
        let mut cursor = Cursor::default();
        let mut recorded = |at: Timestamp| {
            cursor.record_listing(at);
            cursor.last_listed() == Some(at)
        };
        assert!(recorded(now()) && !recorded(now().plus(seconds(59))) && recorded(now().plus(seconds(60))));
        assert!(recorded(now()));
    }

    #[test]
    fn oldest_message_goes_beyond_100_000() {
        let mut messages = HandledMessages::default();
        let message = |n: usize| HandledMessage { key: MessageKey(n as u128), at: now() };
        (0..=MAX_MESSAGES).for_each(|n| messages.insert(message(n)));
        messages.insert(message(1));
        assert_eq!((messages.len(), messages.known.len()), (MAX_MESSAGES, MAX_MESSAGES));
        assert!(!messages.contains(MessageKey(0)) && messages.contains(MessageKey(1)));
    }
}
