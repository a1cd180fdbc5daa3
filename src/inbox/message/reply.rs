//! The message of a reply, and the log and the count of replies that failed.

use super::InboxMessage;
use crate::error::Error;
use crate::util::log_safe::log_safe;
use crate::wire::{Message, Reply};

impl InboxMessage {
    /// Returns the message that answers this one.
    pub(super) fn reply_message(&self, text: String) -> Message {
        let message = Message::from(text).by_agent();
        let message = self.context_id().into_iter().fold(message, |message, id| message.context_id(id));
        self.task_id().into_iter().fold(message, |message, id| message.reference_task_id(id))
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
