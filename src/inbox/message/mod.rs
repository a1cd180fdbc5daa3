//! One message of the inbox, as a callback receives it.

mod files;
mod key;
pub(super) use key::key_of_row;
mod origin;
mod reply;
mod shown;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::kind::{InboxMessageKind, identify, identify_head, method};
use super::loop_brake::BrakeTicket;
use super::verdict::DeadLetterReason;
use crate::client::Client;
use crate::error::Error;
use crate::peer::PeerId;
use crate::util::text::Untrusted;
use crate::wire::{self, Attachment, Part, ReceivedMessage, Reply, Row};
pub use origin::AuthenticatedUser;

/// Text of a message without any content, in the words of the Python module `a2a_client`.
const EMPTY: &str = "(empty A2A message)";
/// Number of characters of a method in a text in place of words.
const MAX_METHOD: usize = 100;

/// A message that arrived in our inbox: one row of the platform's activity feed.
///
/// It is cheap to clone, and may be handed to another thread.
///
/// The platform's word are [`activity_id`](InboxMessage::activity_id), [`peer`](InboxMessage::peer) and
/// [`created_at`](InboxMessage::created_at). The poller counts [`delivery_attempt`](InboxMessage::delivery_attempt). All
/// else is the sender's word, or what it registered. For a prompt use [`envelope`](InboxMessage::envelope).
///
/// ```
/// # use a2a_blocking::{Client, InboxPoller, InboxMessageKind, Verdict};
/// # let dir = std::env::temp_dir().join(format!("a2a-doc-message-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let mut platform = mockito::Server::new();
/// # let inbox = platform.mock("GET", "/workspaces/my-team/activity").match_query(mockito::Matcher::Any);
/// # let row = r#"[{"id": "r-1", "source_id": "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", "priority": 2,
/// #     "peer_name": "ops-agent", "request_body": {"params": {"message": {"parts": [{"text": "disk is full"}]}}}}]"#;
/// # inbox.with_body(row).create();
/// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
/// # let mut poller = InboxPoller::builder(client).cursor_file(dir.join("cursor.json")).build()?;
/// let summary = poller.poll_once(|message| {
///     assert_eq!((message.kind(), message.text()), (InboxMessageKind::Peer, "disk is full"));
///     assert_eq!(message.delivery_attempt(), 1);
///     let sender = message.sender();
///     assert_eq!(sender.as_ref().and_then(|peer| peer.name()), Some("ops-agent"));
///     assert_eq!(message.row()["priority"], 2, "fields without a getter are in the row");
///     Verdict::Ack
/// })?;
/// assert_eq!(summary.delivered, 1);
/// # drop(poller);
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct InboxMessage {
    content: Arc<MessageContent>,
    /// Number of this delivery attempt, from 1.
    attempt: u32,
    /// `None` where replies are not braked.
    brake: Option<BrakeTicket>,
    dead_letter_reason: Option<DeadLetterReason>,
}

/// Finds the kind and the peer of a row, by its fields, its request and our own id.
type Identify = fn(&Map<String, Value>, &Value, &str) -> (InboxMessageKind, Option<PeerId>);

/// The part of a message that all of its clones share.
struct MessageContent {
    client: Client,
    id: String,
    kind: InboxMessageKind,
    peer: Option<PeerId>,
    text: String,
    attachments: Vec<Attachment>,
    /// The request that made the row, if it came as text. Otherwise it is in `fields`.
    parsed_request: Option<Value>,
    /// The row as it came.
    fields: Map<String, Value>,
}

impl InboxMessage {
    /// Makes a message of a row, for its first delivery attempt. `client` is the one that replies and lookups go
    /// through.
    pub(super) fn new(client: &Client, row: Row) -> Self {
        InboxMessage::identified_by(identify, client, row)
    }

    /// Makes a message of the head of a row that is given up unread.
    pub(super) fn of_head(client: &Client, head: Row, reason: DeadLetterReason) -> Self {
        InboxMessage::identified_by(identify_head, client, head).with_dead_letter_reason(reason)
    }

    fn identified_by(identify: Identify, client: &Client, row: Row) -> Self {
        let Row { id, fields, .. } = row;
        let request = wire::request_body(&fields);
        let (kind, peer) = identify(&fields, &request, client.http().workspace_id());
        let attachments = wire::attachments(&fields, &request);
        let text = text_of(kind, &fields, &request, &attachments);
        let parsed_request = if let Cow::Owned(request) = request { Some(request) } else { None };
        let client = client.clone();
        let content = MessageContent { client, id, kind, peer, text, attachments, parsed_request, fields };
        InboxMessage { content: Arc::new(content), attempt: 1, brake: None, dead_letter_reason: None }
    }

    /// Returns the same message with a brake of its replies.
    pub(super) fn with_brake(self, brake: Option<BrakeTicket>) -> Self {
        InboxMessage { brake, ..self }
    }

    /// Returns the same message with another number of the delivery attempt.
    pub(super) fn with_attempt(&self, attempt: u32) -> Self {
        InboxMessage { attempt, ..self.clone() }
    }

    /// Returns the same message as one that is given up for this reason.
    pub(super) fn with_dead_letter_reason(&self, reason: DeadLetterReason) -> Self {
        InboxMessage { dead_letter_reason: Some(reason), ..self.clone() }
    }

    /// Returns the row's id. A row that is delivered twice has the same id both times.
    ///
    /// Other rows of a message that was handled are not delivered: [`SkippedRows::repeats`](crate::SkippedRows::repeats).
    #[must_use]
    pub fn activity_id(&self) -> &str {
        &self.content.id
    }

    /// Returns the id that the sender gave to the message.
    ///
    /// It is the sender's word, and two senders may choose the same. A message that was handled is not delivered again for
    /// 24 h: another row with the same sender, id and parameters.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.received().message_id()
    }

    /// Returns the id of the conversation that the message belongs to, if the sender named one.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.received().context_id()
    }

    /// Returns the id of the task that the message belongs to, if the sender named one.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.received().task_id()
    }

    /// Returns whether the message answers another one, by its sender's word.
    ///
    /// True for the role `agent`, and where its metadata has the id of the other message in `in_reply_to`. What
    /// [`reply`](InboxMessage::reply) sends has both. A program that answers everything should not answer replies: see
    /// [`PollerBuilder::loop_brake`](crate::PollerBuilder::loop_brake).
    #[must_use]
    pub fn is_reply(&self) -> bool {
        self.received().is_by_agent() || self.received().in_reply_to().is_some()
    }

    /// Returns the text: the message's text parts joined, or the text of a delegation's result.
    ///
    /// A message without words says what it has in their place, such as `[data]`, `[file: a.txt, text/plain]` or
    /// `[call: tasks/cancel]`. A delegation that failed says why, and a broadcast has its first 120 characters. It is
    /// `(empty A2A message)` if there is nothing at all.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.content.text
    }

    /// Returns the sender's id, and for a delegation that of the workspace which was to do the task.
    ///
    /// It is `None` for the human on the canvas, for a sender without a valid id, and where the row of a delegation does
    /// not name the other workspace.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.content.peer
    }

    /// Returns the kind: what the message is, and so who it comes from.
    #[must_use]
    pub fn kind(&self) -> InboxMessageKind {
        self.content.kind
    }

    /// Returns the method that the sender called, such as `message/send`. It is empty if the row names none.
    #[must_use]
    pub fn method(&self) -> &str {
        method(&self.content.fields).unwrap_or_default()
    }

    /// Returns when the platform made the row, in the platform's words: usually RFC 3339.
    #[must_use]
    pub fn created_at(&self) -> Option<&str> {
        wire::created_at(&self.content.fields)
    }

    /// Returns all parts of the message in order: texts, data and files.
    ///
    /// It is empty for a row that was not made by a message with parts, such as an upload on the canvas.
    #[must_use]
    pub fn parts(&self) -> Vec<Part<'_>> {
        self.received().typed_parts()
    }

    /// Returns the row as it came, with all of its fields.
    ///
    /// A field that cannot be read is a string of its JSON text. Such a field nests deeper than 125 levels, has half a
    /// surrogate pair or a number out of range, or would take far more memory than its text.
    #[must_use]
    pub fn row(&self) -> &Map<String, Value> {
        &self.content.fields
    }

    /// Returns why the message is given up, in [`on_dead_letter`](crate::PollerBuilder::on_dead_letter). `None` in the
    /// poller's callback.
    #[must_use]
    pub fn dead_letter_reason(&self) -> Option<DeadLetterReason> {
        self.dead_letter_reason
    }

    /// Returns the number of this delivery attempt, from 1. Attempts before a crash or a restart count.
    #[must_use]
    pub fn delivery_attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the request that made the row.
    fn request(&self) -> &Value {
        let MessageContent { parsed_request, fields, .. } = &*self.content;
        parsed_request.as_ref().or_else(|| fields.get("request_body")).unwrap_or(&Value::Null)
    }

    /// Returns the message in the request that made the row.
    fn received(&self) -> ReceivedMessage<'_> {
        ReceivedMessage::in_request(self.request())
    }

    /// Answers the message and blocks until the answer is delivered or fails, for at most 30 s.
    ///
    /// A peer gets a message of role `agent`, with this one's id as `in_reply_to` in its metadata; the result is `Some`
    /// with what the peer said to it. The human gets a notice on the canvas; the result is `None`. An attempt is repeated
    /// only while nothing can have been delivered.
    ///
    /// The message has the context id of the one that it answers, up to 4,096 bytes. It names that one's task among its
    /// `referenceTaskIds`, and not as its own task: an agent refuses a message to a task that it does not know or that
    /// has ended, and takes a reference to one.
    ///
    /// A peer may answer with a task that did not succeed: [`Task::is_failed`], or the state `auth-required`. The
    /// result is `Ok`, because the peer has the reply, and its state is logged as a warning. Such a reply and one that
    /// returns an error count in [`InboxStats::failed_replies`](crate::InboxStats::failed_replies).
    ///
    /// A peer receives the answer like any other message. Two programs that answer every message answer each other
    /// without end, so answer only what asks for it, and no [reply](InboxMessage::is_reply). Such a loop is
    /// [braked](crate::PollerBuilder::loop_brake).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidMessage`], without a request: `text` is empty, or the message is of a
    /// [kind](InboxMessageKind) that takes no reply. [`ErrorKind::LoopBrake`], without a request: the peer and this
    /// program seem to answer each other without end. Otherwise the errors of [`Client::send_with`] and
    /// [`Client::notify`]; [`Error::delivery`] says whether the answer was delivered.
    /// [`Verdict::after`](crate::Verdict::after) turns the result into the callback's verdict.
    ///
    /// [`ErrorKind::InvalidMessage`]: crate::ErrorKind::InvalidMessage
    /// [`ErrorKind::LoopBrake`]: crate::ErrorKind::LoopBrake
    /// [`Task::is_failed`]: crate::Task::is_failed
    pub fn reply(&self, text: impl Into<String>) -> Result<Option<Reply>, Error> {
        let result = self.send_reply(text.into());
        self.note_failed_reply(&result);
        result
    }
}

/// Returns the text of a row's message, for a person to read.
fn text_of(kind: InboxMessageKind, fields: &Map<String, Value>, request: &Value, files: &[Attachment]) -> String {
    let specific = match kind {
        InboxMessageKind::Delegation => wire::delegation_text(fields),
        InboxMessageKind::Broadcast => wire::text_field(fields, "summary").map(str::to_owned),
        _ => None,
    };
    let of_call = || match method(fields) {
        Some(method) if kind == InboxMessageKind::Call => {
            format!("[call: {}]", Untrusted::new(method).up_to(MAX_METHOD))
        }
        _ => EMPTY.to_owned(),
    };
    specific.or_else(|| wire::message_text(fields, request, files)).unwrap_or_else(of_call)
}

#[cfg(test)]
mod tests;
