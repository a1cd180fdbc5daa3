//! Replies to a message, in protocol 0.3 and 1.0.

pub(super) mod read;

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use super::part::Part;
use super::part::read::{describe_kinds, part, text};
use super::received::{ReceivedMessage, ReceivedTask};
use crate::error::Delivery;
use crate::peer::PeerId;

/// Text of a reply that has none, as in the Python module `a2a_client`.
const NO_RESPONSE: &str = "(no response)";

/// A peer's answer to a message, or the platform's notice that it delivers the message later.
///
/// ```no_run
/// use a2a_blocking::{Client, Part, Reply};
///
/// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// let reply = Client::from_env()?.send(peer, "the report, please")?;
/// match &reply {
///     Reply::Task(task) => println!("{}: {}", task.state(), reply.text()),
///     Reply::Queued(_) => println!("later"),
///     _ => println!("{}", reply.text()),
/// }
/// for part in reply.parts() {
///     if let Part::File(file) = part {
///         println!("with {}", file.name.unwrap_or("a file"));
///     }
/// }
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The agent answered with a message.
    Message(ReplyMessage),
    /// The agent answered with a task: completed, failed, or not finished yet.
    Task(Task),
    /// The platform accepted the message and delivers it later. There is no answer yet.
    Queued(Queued),
}

/// A message that an agent answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyMessage(Value);

/// A task that an agent answered with.
///
/// ```
/// use a2a_blocking::{Client, Message, Part, Reply};
///
/// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// # let mut platform = mockito::Server::new();
/// # let json = r#"{"result": {"id": "t-7", "contextId": "c-3", "status": {"state": "TASK_STATE_INPUT_REQUIRED",
/// #     "message": {"parts": [{"kind": "text", "text": "which node?"}]}}}}"#;
/// # platform.mock("POST", "/workspaces/3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c/a2a").with_body(json).create();
/// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
/// let Reply::Task(task) = client.send(peer, "restart the node")? else { panic!("a message, or queued") };
/// assert_eq!((task.state(), task.status_message()), ("input-required", vec![Part::Text("which node?")]));
/// let answer = Message::from("node 7").task_id(task.id().unwrap()).context_id(task.context_id().unwrap());
/// client.send_message(peer, answer)?;
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    body: Value,
    state: String,
}

/// The platform's notice that it delivers a message later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    body: Value,
    /// The recipient.
    peer: Option<PeerId>,
}

impl Reply {
    /// Returns the main text for a person to read.
    ///
    /// - Of a message: its first text, as in the Python module `a2a_client`. It is empty where the message has parts and
    ///   none of them is a text.
    /// - Of a task: the texts of its artifacts, a line each. A task that requires something has the texts of its status
    ///   message after them. A task without artifacts has the first text of its status message, or else the texts that
    ///   its history has of the agent since the user's last message.
    /// - Where there is none: `(no response)`.
    ///
    /// [`all_text`](Reply::all_text) leaves nothing out.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Reply::Message(message) => match message.view().parts() {
                [] => NO_RESPONSE.into(),
                parts => parts.iter().find_map(text).unwrap_or_default().into(),
            },
            Reply::Task(task) => task.text(),
            Reply::Queued(_) => NO_RESPONSE.into(),
        }
    }

    /// Returns all texts of the [parts](Reply::parts), a line each, for a person to read.
    ///
    /// A text of a task's status message that an artifact has, too, is left out. Where there are parts and none has
    /// words, it says which kinds there are, as in `(no text: 1 file, 2 data parts)`. Where there are no parts either:
    /// `(no response)`.
    ///
    /// ```
    /// # use a2a_blocking::Client;
    /// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// # let mut platform = mockito::Server::new();
    /// # let json = r#"{"result": {"parts": [{"text": "Berlin: 12 C."}, {"text": "Take an umbrella."}]}}"#;
    /// # platform.mock("POST", "/workspaces/3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c/a2a").with_body(json).create();
    /// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
    /// let reply = client.send(peer, "the weather?")?;
    /// assert_eq!(reply.text(), "Berlin: 12 C.");
    /// assert_eq!(reply.all_text(), "Berlin: 12 C.\nTake an umbrella.");
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    #[must_use]
    pub fn all_text(&self) -> Cow<'_, str> {
        let texts: Vec<&str> = match self {
            Reply::Message(message) => message.view().parts().iter().filter_map(text).collect(),
            Reply::Task(task) => task.all_texts(),
            Reply::Queued(_) => Vec::new(),
        };
        let texts: Vec<&str> = texts.into_iter().filter(|words| !words.is_empty()).collect();
        let kinds = || describe_kinds(self.raw_parts()).map_or(NO_RESPONSE.into(), Cow::Owned);
        join_lines(&texts).unwrap_or_else(kinds)
    }

    /// Returns all parts in order: those of a message, or those of a task's artifacts and then of its status message.
    ///
    /// If a task has no text in either, the parts follow that the agent wrote in its history after the user's last message.
    pub fn parts(&self) -> Vec<Part<'_>> {
        self.raw_parts().into_iter().map(part).collect()
    }

    /// Returns the parts, without reading them.
    fn raw_parts(&self) -> Vec<&Value> {
        match self {
            Reply::Message(message) => message.view().parts().iter().collect(),
            Reply::Task(task) => task.view().answer_parts(),
            Reply::Queued(_) => Vec::new(),
        }
    }

    /// Returns the state of the message's delivery.
    ///
    /// [`Delivery::Delivered`] where the agent answered, [`Delivery::Accepted`] where the platform queued the message.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Reply::Message(_) | Reply::Task(_) => Delivery::Delivered,
            Reply::Queued(_) => Delivery::Accepted,
        }
    }

    /// Returns the whole body as it came. Numbers are those of `serde_json`: an integer beyond 64 bits is a float.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        match self {
            Reply::Message(ReplyMessage(body)) | Reply::Task(Task { body, .. }) => body,
            Reply::Queued(Queued { body, .. }) => body,
        }
    }
}

impl Reply {
    /// Sets the recipient of a message that is queued.
    pub(crate) fn sent_to(mut self, recipient: PeerId) -> Self {
        if let Reply::Queued(queued) = &mut self {
            queued.peer = Some(recipient);
        }
        self
    }
}

impl ReplyMessage {
    /// Returns the id of the conversation.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.view().context_id()
    }

    /// Returns the id of the task that the message belongs to.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.view().task_id()
    }

    /// Returns the whole body as it came.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    fn view(&self) -> ReceivedMessage<'_> {
        ReceivedMessage::in_result(&self.0["result"])
    }
}

impl Task {
    /// Returns the state in the words of protocol 0.3, whichever protocol the agent speaks.
    ///
    /// One of `submitted`, `working`, `input-required`, `completed`, `canceled`, `failed`, `rejected`, `auth-required`,
    /// `unknown` where the agent named none, or another.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Returns whether the task ended without success: its state is `failed`, `rejected` or `canceled`.
    ///
    /// A task that waits for input or for an authorisation has not failed, and neither has one that is not finished.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        matches!(self.state(), "failed" | "rejected" | "canceled")
    }

    /// Returns the task's id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.view().id()
    }

    /// Returns the id of the conversation.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.view().context_id()
    }

    /// Returns the parts of each artifact.
    #[must_use]
    pub fn artifacts(&self) -> Vec<Vec<Part<'_>>> {
        self.view().artifacts().map(|parts| parts.iter().map(part).collect()).collect()
    }

    /// Returns the parts of the status message, if there is one.
    pub fn status_message(&self) -> Vec<Part<'_>> {
        self.view().status_parts().iter().map(part).collect()
    }

    /// Returns the whole body as it came.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.body
    }

    fn view(&self) -> ReceivedTask<'_> {
        ReceivedTask::in_result(&self.body["result"])
    }

    /// Returns the texts of all parts, without those of the status message that repeat one of an artifact.
    fn all_texts(&self) -> Vec<&str> {
        let task = self.view();
        let of_artifacts: HashSet<&str> = task.artifacts().flatten().filter_map(text).collect();
        let work = task.artifacts().flatten().filter_map(text);
        let status = task.status_parts().iter().filter_map(text).filter(|words| !of_artifacts.contains(words));
        let texts: Vec<&str> = work.chain(status).collect();
        if texts.is_empty() { task.answer_parts().into_iter().filter_map(text).collect() } else { texts }
    }

    fn text(&self) -> Cow<'_, str> {
        let task = self.view();
        let mut texts: Vec<&str> = task.artifacts().flatten().filter_map(text).collect();
        let mut status = task.status_parts().iter().filter_map(text);
        if texts.is_empty() {
            match status.next() {
                Some(first) => texts.push(first),
                None => texts.extend(task.answer_parts().into_iter().filter_map(text)),
            }
        } else if self.state.ends_with("-required") {
            // Its status message asks a question. The artifacts are the work so far.
            texts.extend(status);
        }
        join_lines(&texts).unwrap_or(NO_RESPONSE.into())
    }
}

impl Queued {
    /// Returns the message's id in the platform's queue, where the platform gave one: [`Client::queued`](crate::Client::queued)
    /// asks what became of it. For a peer that polls there is none, because the message is in its inbox.
    #[must_use]
    pub fn queue_id(&self) -> Option<&str> {
        self.object()["queue_id"].as_str()
    }

    /// Returns the peer that the message was sent to.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Returns the A2A method that the platform calls later.
    #[must_use]
    pub fn method(&self) -> &str {
        self.object()["method"].as_str().unwrap_or("message/send")
    }

    /// Returns the whole body as it came; `null` where a 202 had none.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.body
    }

    fn object(&self) -> &Value {
        if is_queued(&self.body) { &self.body } else { &self.body["result"] }
    }
}

/// Returns the texts, a line each, or `None` where there are none.
fn join_lines<'a>(texts: &[&'a str]) -> Option<Cow<'a, str>> {
    match texts {
        [] => None,
        [text] => Some((*text).into()),
        texts => Some(texts.join("\n").into()),
    }
}

/// Returns whether the platform says in this object that it queued the message.
fn is_queued(object: &Value) -> bool {
    object["status"] == "queued" || object["queued"] == true
}

#[cfg(test)]
mod tests;
