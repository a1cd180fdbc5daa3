//! The message of a reply, and the log and the count of replies that failed.

use std::time::Duration;

use super::InboxMessage;
use crate::error::{Delivery, Error, ErrorKind};
use crate::inbox::kind::InboxMessageKind;
use crate::peer::PeerId;
use crate::retry::RetryPolicy;
use crate::send::SendOptions;
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;
use crate::util::text::strip;
use crate::wire::{Message, Reply};

/// Time for all attempts of a reply together.
const REPLY_BUDGET: Duration = Duration::from_secs(30);
/// Longest id of a message, a conversation or a task that a reply repeats, in bytes. A sender's longer one could make every reply to it
/// larger than the platform takes.
const MAX_ID: usize = 4_096;

impl InboxMessage {
    /// Sends a reply, as [`reply`](InboxMessage::reply) does.
    pub(super) fn send_reply(&self, text: String) -> Result<Option<Reply>, Error> {
        let refused = |why: &str| Err(Error::new(ErrorKind::InvalidMessage, format!("reply: {why}")));
        if strip(&text).is_empty() {
            return Err(Error::blank_text());
        }
        match (self.kind(), self.peer()) {
            (InboxMessageKind::Peer, Some(peer)) => {
                let policy = RetryPolicy::new().with_budget(REPLY_BUDGET).only_undelivered();
                let options = SendOptions::new().retry(policy);
                let started = CoarseInstant::now();
                self.check_loop(peer, started)?;
                let result = self.content.client.send_with(peer, &self.reply_message(text), &options);
                let may_have_arrived = result.as_ref().is_err_and(|error| error.delivery() != Delivery::NotSent);
                if result.is_ok() || may_have_arrived {
                    self.brake.iter().for_each(|brake| brake.note_reply(peer, started));
                }
                result.map(Some)
            }
            (InboxMessageKind::Human | InboxMessageKind::Upload, _) => self.content.client.notify(&text).map(|()| None),
            (InboxMessageKind::Delegation, _) => refused("a delegation's result takes no reply"),
            (InboxMessageKind::Call, _) => refused("a call takes no reply; see InboxMessage::method"),
            (InboxMessageKind::Broadcast, _) => refused("a broadcast takes no reply"),
            _ => refused("the row names no sender that a reply could go to; see InboxMessage::row"),
        }
    }

    /// # Errors
    ///
    /// [`ErrorKind::LoopBrake`] where the peer and we seem to answer each other without end.
    fn check_loop(&self, peer: PeerId, now: CoarseInstant) -> Result<(), Error> {
        let Some(brake) = self.brake.as_ref().filter(|brake| !brake.admits(peer, now)) else { return Ok(()) };
        self.content.client.inbox_counters().braked_replies.add(1);
        let limit = brake.limit();
        let detail = format!(
            "reply: not sent, since {limit} replies to {peer} in a minute each answered what it wrote after the one before: \
             both sides seem to answer everything. Do not answer replies (InboxMessage::is_reply), or raise \
             PollerBuilder::loop_brake"
        );
        Err(Error::new(ErrorKind::LoopBrake, detail))
    }

    /// Returns the message that answers this one.
    fn reply_message(&self, text: String) -> Message {
        let message = Message::from(text).by_agent();
        // The platform stores no message that has U+0000 anywhere.
        let message = self
            .message_id()
            .filter(|id| id.len() <= MAX_ID && !id.contains('\0'))
            .into_iter()
            .fold(message, |message, id| message.metadata("in_reply_to", id.into()));
        let message = self
            .context_id()
            .filter(|id| id.len() <= MAX_ID && !id.contains('\0'))
            .into_iter()
            .fold(message, |message, id| message.context_id(id));
        self.task_id()
            .filter(|id| id.len() <= MAX_ID && !id.contains('\0'))
            .into_iter()
            .fold(message, |message, id| message.reference_task_id(id))
    }

    /// Logs and counts a reply that failed, or whose answer is a task without success.
    ///
    /// An error is at debug level, since the caller has it: [`Verdict::after`](crate::Verdict::after) warns of one that
    /// is not tried again.
    pub(super) fn note_failed_reply(&self, result: &Result<Option<Reply>, Error>) {
        let id = self.activity_id();
        match result {
            Err(error) => {
                log_safe!(debug, "inbox: the reply to {id:?} failed: {error} (delivery: {})", error.delivery())
            }
            Ok(Some(Reply::Task(task))) if task.is_failed() || task.state() == "auth-required" => {
                let state = task.state();
                log_safe!(warn, "inbox: the reply to {id:?} was delivered, but the peer's task is {state}");
            }
            Ok(_) => return,
        }
        self.content.client.inbox_counters().failed_replies.add(1);
    }
}
