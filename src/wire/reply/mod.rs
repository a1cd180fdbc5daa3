//! What comes back for a message.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::borrow::Cow;

use serde_json::Value;

use super::json::{MemoryBudget, Unread, value};
use super::part::{Part, is_broken_text, part};
use super::record::CALL_ROOM;
use super::refusal::{Refusal, by_status, platform_refusal, rpc_code, rpc_words, without_body};
use crate::error::{Delivery, ErrorKind};

/// What a reader finds where there is nothing: the original's words.
const NO_RESPONSE: &str = "(no response)";

/// A peer's answer to a message, or the platform's word that it will be delivered later.
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
    /// The agent answered with a task: done, failed, or still to be done.
    Task(Task),
    /// The platform took the message and delivers it later: there is no answer yet.
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

/// The platform's word that it delivers a message later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued(Value);

impl Reply {
    /// What a person reads: the first text of a message (empty when it has parts and none is a text); the
    /// texts of a task's artifacts, a line each, and where it asks for something its status message, or else
    /// that message alone; `(no response)` where there is nothing of the kind.
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

    /// All parts, in their order: of a message, or of a task's artifacts and then of its status message.
    pub fn parts(&self) -> Vec<Part<'_>> {
        match self {
            Reply::Message(message) => message.raw_parts().iter().map(part).collect(),
            Reply::Task(task) => task.artifact_parts().chain(task.status_parts()).map(part).collect(),
            Reply::Queued(_) => Vec::new(),
        }
    }

    /// What is known of the message: an agent that answered has it ([`Delivery::Delivered`]); what is queued
    /// the platform has ([`Delivery::Accepted`]).
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Reply::Message(_) | Reply::Task(_) => Delivery::Delivered,
            Reply::Queued(_) => Delivery::Accepted,
        }
    }

    /// The whole body as it came (numbers as `serde_json` reads them: an integer beyond 64 bits is a float).
    #[must_use]
    pub fn as_json(&self) -> &Value {
        match self {
            Reply::Message(ReplyMessage(body)) | Reply::Task(Task { body, .. }) | Reply::Queued(Queued(body)) => body,
        }
    }
}

impl ReplyMessage {
    /// The conversation that it belongs to.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.object()["contextId"].as_str()
    }

    /// The task that it belongs to.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.object()["taskId"].as_str()
    }

    /// The whole body as it came.
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
    /// Its state in the words of protocol 0.3, whichever the agent speaks: `submitted`, `working`,
    /// `input-required`, `completed`, `canceled`, `failed`, `rejected`, `auth-required`, or another.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.object()["id"].as_str()
    }

    /// The conversation that it belongs to.
    #[must_use]
    pub fn context_id(&self) -> Option<&str> {
        self.object()["contextId"].as_str()
    }

    /// The artifacts, each with its parts.
    #[must_use]
    pub fn artifacts(&self) -> Vec<Vec<Part<'_>>> {
        let artifacts = list(&self.object()["artifacts"]).iter();
        artifacts.map(|artifact| list(&artifact["parts"]).iter().map(part).collect()).collect()
    }

    /// The parts of its status message; none where it has none.
    pub fn status_message(&self) -> Vec<Part<'_>> {
        self.status_parts().map(part).collect()
    }

    /// The whole body as it came.
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
            // It has a question, beside what it has done so far.
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
    /// The id by which the platform has it in its queue, where it gave one.
    #[must_use]
    pub fn queue_id(&self) -> Option<&str> {
        self.object()["queue_id"].as_str()
    }

    /// The method that will be called.
    #[must_use]
    pub fn method(&self) -> &str {
        self.object()["method"].as_str().unwrap_or("message/send")
    }

    /// The whole body as it came; `null` where a 202 had none.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    fn object(&self) -> &Value {
        if is_queued(&self.0) { &self.0 } else { &self.0["result"] }
    }
}

/// Reads an answer to a message. `words` makes a text of the peer's or the platform's fit to be shown;
/// `excerpt` is the start of the body.
pub(crate) fn read(
    status: u16,
    body: &[u8],
    excerpt: impl Fn() -> String,
    words: impl Fn(&str) -> String,
) -> Result<Reply, Refusal> {
    let refusal = |kind, detail, delivery| Refusal {
        kind,
        detail,
        delivery,
        retry_after: None,
        asks_again: status == 429,
        rpc_code: None,
    };
    let unusable = |detail| {
        let kind = match status {
            200..300 => ErrorKind::Malformed,
            401 => ErrorKind::Unauthorized,
            _ => ErrorKind::Status,
        };
        Err(refusal(kind, detail, by_status(status)))
    };
    let body: Value = match value(body, &mut MemoryBudget::new(body.len(), CALL_ROOM)) {
        Ok(body) => body,
        Err(why @ Unread::TooLarge(_)) => {
            let detail = format!("HTTP {status} with a body that is too large: {why}");
            return Err(refusal(ErrorKind::TooLarge, detail, by_status(status)));
        }
        Err(_) if body.is_empty() && status == 202 => return Ok(Reply::Queued(Queued(Value::Null))),
        Err(_) if body.is_empty() => return unusable(without_body(status)),
        Err(_) => return unusable(format!("HTTP {status} with a body that is not JSON: {}", excerpt())),
    };
    // The word that it is queued counts only where there is neither an answer nor an error beside it.
    let result = &body["result"];
    let queued = if result.is_object() { is_queued(result) && !is_answer(result) } else { is_queued(&body) };
    if queued && status < 300 && body["error"].is_null() {
        return Ok(Reply::Queued(Queued(body)));
    }
    if result.is_object() {
        return reply(body).map_err(|(kind, detail)| refusal(kind, words(&detail), by_answer(kind)));
    }
    match &body["error"] {
        error @ Value::Object(_) => {
            // Whoever speaks JSON-RPC has read the request.
            let delivery = if status < 300 { Delivery::Delivered } else { Delivery::Unknown };
            Err(Refusal { rpc_code: rpc_code(error), ..refusal(ErrorKind::Rpc, words(&rpc_words(error)), delivery) })
        }
        Value::String(error) => Err(platform_refusal(status, &body, &words(error))),
        _ => unusable(format!("unexpected response shape (no result, no error): {}", excerpt())),
    }
}

/// The reply that a body with an object as its result is.
fn reply(body: Value) -> Result<Reply, (ErrorKind, String)> {
    let state = task_of(&body["result"])["status"]["state"].as_str().map(plain_state);
    let reply = match state {
        Some(state) => Reply::Task(Task { body, state }),
        None if body["result"]["task"].is_object() => Reply::Task(Task { body, state: "unknown".to_owned() }),
        None => Reply::Message(ReplyMessage(body)),
    };
    let raw: Vec<&Value> = match &reply {
        Reply::Task(task) => task.artifact_parts().chain(task.status_parts()).collect(),
        Reply::Message(message) => message.raw_parts().iter().collect(),
        Reply::Queued(_) => Vec::new(),
    };
    if let Some(broken) = raw.into_iter().find(|part| is_broken_text(part)) {
        return Err((ErrorKind::Malformed, format!("the reply has a part whose text is no string: {broken}")));
    }
    let text = reply.text();
    if text.starts_with("Agent error:") {
        return Err((ErrorKind::Agent, text.into_owned()));
    }
    drop(text);
    Ok(reply)
}

fn by_answer(kind: ErrorKind) -> Delivery {
    if kind == ErrorKind::Agent { Delivery::Delivered } else { Delivery::Unknown }
}

/// Whether a result is a message or a task, whatever else it says.
fn is_answer(result: &Value) -> bool {
    result["parts"].is_array()
        || result["message"]["parts"].is_array()
        || result["task"].is_object()
        || result["status"]["state"].is_string()
}

fn is_queued(object: &Value) -> bool {
    object["status"] == "queued" || object["queued"] == true
}

fn task_of(result: &Value) -> &Value {
    if result["task"].is_object() { &result["task"] } else { result }
}

/// `TASK_STATE_INPUT_REQUIRED` of 1.0 is `input-required` of 0.3.
fn plain_state(state: &str) -> String {
    match state.strip_prefix("TASK_STATE_").unwrap_or(state).to_lowercase().replace('_', "-").as_str() {
        "cancelled" => "canceled".to_owned(),
        "unspecified" => "unknown".to_owned(),
        state => state.to_owned(),
    }
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
