//! Replies to a message, in protocol 0.3 and 1.0.

pub(super) mod read;

use std::borrow::Cow;

use serde_json::Value;

use super::part::{Part, part};
use crate::error::Delivery;

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
pub struct Queued(Value);

impl Reply {
    /// Returns the text for a person to read.
    ///
    /// - Of a message: its first text. It is empty where the message has parts and none of them is a text.
    /// - Of a task: the texts of its artifacts, a line each. A task that requires something has the texts of its status
    ///   message after them. A task without artifacts has the first text of its status message.
    /// - Where there is none: `(no response)`.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Reply::Message(message) => match message.raw_parts() {
                [] => NO_RESPONSE.into(),
                parts => first_text(parts).unwrap_or_default().into(),
            },
            Reply::Task(task) => task.text(),
            Reply::Queued(_) => NO_RESPONSE.into(),
        }
    }

    /// Returns all parts in order: those of a message, or those of a task's artifacts and then of its status message.
    pub fn parts(&self) -> Vec<Part<'_>> {
        match self {
            Reply::Message(message) => message.raw_parts().iter().map(part).collect(),
            Reply::Task(task) => task.artifact_parts().chain(task.status_parts()).map(part).collect(),
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
            Reply::Message(ReplyMessage(body)) | Reply::Task(Task { body, .. }) | Reply::Queued(Queued(body)) => body,
        }
    }
}

impl ReplyMessage {
    /// Returns the id of the conversation.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.object()["contextId"].as_str()
    }

    /// Returns the id of the task that the message belongs to.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.object()["taskId"].as_str()
    }

    /// Returns the whole body as it came.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    fn object(&self) -> &Value {
        let result = &self.0["result"];
        let inner = &result["message"];
        if list(&result["parts"]).is_empty() && !list(&inner["parts"]).is_empty() { inner } else { result }
    }

    fn raw_parts(&self) -> &[Value] {
        list(&self.object()["parts"])
    }
}

impl Task {
    /// Returns the state in the words of protocol 0.3, whichever protocol the agent speaks.
    ///
    /// One of `submitted`, `working`, `input-required`, `completed`, `canceled`, `failed`, `rejected`, `auth-required`, or
    /// another.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Returns the task's id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.object()["id"].as_str()
    }

    /// Returns the id of the conversation.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.object()["contextId"].as_str()
    }

    /// Returns the parts of each artifact.
    #[must_use]
    pub fn artifacts(&self) -> Vec<Vec<Part<'_>>> {
        let artifacts = list(&self.object()["artifacts"]).iter();
        artifacts.map(|artifact| list(&artifact["parts"]).iter().map(part).collect()).collect()
    }

    /// Returns the parts of the status message, if there is one.
    pub fn status_message(&self) -> Vec<Part<'_>> {
        self.status_parts().map(part).collect()
    }

    /// Returns the whole body as it came.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.body
    }

    fn object(&self) -> &Value {
        task_of(&self.body["result"])
    }

    fn artifact_parts(&self) -> impl Iterator<Item = &Value> {
        list(&self.object()["artifacts"]).iter().flat_map(|artifact| list(&artifact["parts"]))
    }

    fn status_parts(&self) -> impl Iterator<Item = &Value> {
        list(&self.object()["status"]["message"]["parts"]).iter()
    }

    fn text(&self) -> Cow<'_, str> {
        let mut texts: Vec<&str> = self.artifact_parts().filter_map(text_of).collect();
        if !texts.is_empty() && self.state.ends_with("-required") {
            // Its status message asks a question. The artifacts are the work so far.
            texts.extend(self.status_parts().filter_map(text_of));
        }
        match texts.as_slice() {
            [] => self.status_parts().find_map(text_of).unwrap_or(NO_RESPONSE).into(),
            [text] => (*text).into(),
            texts => texts.join("\n").into(),
        }
    }
}

impl Queued {
    /// Returns the message's id in the platform's queue, where the platform gave one.
    #[must_use]
    pub fn queue_id(&self) -> Option<&str> {
        self.object()["queue_id"].as_str()
    }

    /// Returns the A2A method that the platform calls later.
    #[must_use]
    pub fn method(&self) -> &str {
        self.object()["method"].as_str().unwrap_or("message/send")
    }

    /// Returns the whole body as it came; `null` where a 202 had none.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    fn object(&self) -> &Value {
        if is_queued(&self.0) { &self.0 } else { &self.0["result"] }
    }
}

/// Returns whether the platform says in this object that it queued the message.
fn is_queued(object: &Value) -> bool {
    object["status"] == "queued" || object["queued"] == true
}

/// Returns the task of a result, which protocol 1.0 wraps.
fn task_of(result: &Value) -> &Value {
    if result["task"].is_object() { &result["task"] } else { result }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn first_text(parts: &[Value]) -> Option<&str> {
    parts.iter().find_map(text_of)
}

fn text_of(value: &Value) -> Option<&str> {
    match part(value) {
        Part::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
