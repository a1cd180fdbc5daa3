//! Delegations: tasks that our workspace gives to another, and whose results come to our inbox.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::post::{OutgoingPost, invalid, path_segment};
use super::response::{Call, read_object, read_objects, refusal, without_text};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Request, Response};
use crate::peer::PeerId;
use crate::util::clock::Deadline;
use crate::util::text::strip;
use crate::wire::CALL_MEMORY;

/// Longest key by which a delegation is known again, in bytes.
const MAX_KEY: usize = 255;

/// A task to delegate: [`Client::delegate`](crate::Client::delegate). A text is one without a key.
///
/// ```
/// use a2a_blocking::DelegatedTask;
///
/// let task = DelegatedTask::new("Count the tickets of July").idempotency_key("tickets-2026-07");
/// # assert!(format!("{:?}", DelegatedTask::from("x")).contains("idempotency_key: None"));
/// # let _ = task;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct DelegatedTask {
    task: String,
    idempotency_key: Option<String>,
}

impl DelegatedTask {
    /// Returns a task of this text, without a key.
    pub fn new(text: impl Into<String>) -> Self {
        DelegatedTask { task: text.into(), idempotency_key: None }
    }

    /// Sets a text of at most 255 bytes by which the platform knows the delegation again: a second one of our workspace with
    /// the same key is not delegated, and answered as the first was. So a call that failed can be made again.
    ///
    /// Default: none. Each call then makes a delegation.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        DelegatedTask { idempotency_key: Some(key.into()), ..self }
    }

    fn to_json(&self, target: PeerId) -> Result<Value, Error> {
        if strip(&self.task).is_empty() {
            return Err(Error::blank_text());
        }
        let mut body = json!({ "target_id": target.to_string(), "task": self.task });
        match self.idempotency_key.as_deref() {
            None => {}
            Some(key) if key.is_empty() || key.len() > MAX_KEY => {
                return Err(invalid(format!("idempotency_key: it has {} bytes: give 1 to {MAX_KEY}", key.len())));
            }
            Some(key) => body["idempotency_key"] = key.into(),
        }
        Ok(body)
    }
}

impl<T: Into<String>> From<T> for DelegatedTask {
    fn from(text: T) -> Self {
        DelegatedTask::new(text)
    }
}

/// The platform's answer to a delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DelegationReceipt {
    /// Id of the delegation. The rows that tell of its result have it.
    pub delegation_id: String,
    /// State of the delegation, in the platform's word: `delegated` for a new one.
    pub status: String,
    /// True if the platform knew the [key](DelegatedTask::idempotency_key), so that nothing new was delegated.
    pub is_repeat: bool,
}

/// One row of the list of our delegations: the platform's JSON object, as it came. A delegation has several, one for each step.
///
/// Summary, preview and error can be the words of the agent that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationEntry {
    fields: Map<String, Value>,
}

impl DelegationEntry {
    /// Returns the field `delegation_id`, if it is a text.
    #[must_use]
    pub fn delegation_id(&self) -> Option<&str> {
        self.text("delegation_id")
    }

    /// Returns the field `target_id`: the workspace that was asked. `None` in the rows of an update.
    #[must_use]
    pub fn target_id(&self) -> Option<&str> {
        self.text("target_id")
    }

    /// Returns the field `status`: `dispatched`, `queued`, `completed`, `failed`, in a row that went to the inbox `ok` or
    /// `error`, or a word of a later platform.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.text("status")
    }

    /// Returns the field `summary`, if it is a text.
    #[must_use]
    pub fn summary(&self) -> Option<&str> {
        self.text("summary")
    }

    /// Returns the field `response_preview`: the start of the answer. The whole one comes to the inbox.
    #[must_use]
    pub fn response_preview(&self) -> Option<&str> {
        self.text("response_preview")
    }

    /// Returns the field `error`: the reason of a failure.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.text("error")
    }

    /// Returns the field `created_at`: a time in RFC 3339, by the platform's clock.
    #[must_use]
    pub fn created_at(&self) -> Option<&str> {
        self.text("created_at")
    }

    /// Returns the whole object.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }
}

/// Gives a task to another workspace.
///
/// # Errors
///
/// Our own workspace as the target, a blank task, a text with U+0000 in it, an empty or long key, or more than 1 MiB.
pub(crate) fn delegate(
    http: &Arc<Http>,
    target: PeerId,
    task: &DelegatedTask,
) -> Result<OutgoingPost<DelegationReceipt>, Error> {
    if PeerId::from_text(http.workspace_id()) == Some(target) {
        return Err(invalid("delegate: the target is our own workspace: the platform takes no delegation to oneself"));
    }
    OutgoingPost::json(http, "delegate", &task.to_json(target)?, Call::Own, receipt)
}

fn receipt(response: &Response) -> Result<DelegationReceipt, Error> {
    let mut fields = read_object(response, CALL_MEMORY)?;
    let is_repeat = fields.get("idempotent_hit") == Some(&Value::Bool(true));
    match (fields.remove("delegation_id"), fields.remove("status")) {
        (Some(Value::String(delegation_id)), Some(Value::String(status))) => {
            Ok(DelegationReceipt { delegation_id, status, is_repeat })
        }
        (Some(Value::String(_)), _) => Err(without_text(response, "status")),
        _ => Err(without_text(response, "delegation_id")),
    }
}

/// Lists the newest rows of our delegations.
///
/// # Errors
///
/// Any status but 200, a body that is no list of objects, or a failure of the transport.
pub(crate) fn delegations(http: &Http, deadline: Deadline) -> Result<Vec<DelegationEntry>, Error> {
    let path = format!("/workspaces/{}/delegations", http.workspace_id());
    let response = http.execute(&Request::get(&path).deadline(deadline), http.calls())?;
    if response.status != 200 {
        return Err(refusal(&response, Call::Own, http.workspace_id()));
    }
    match read_objects(&response)? {
        (entries, 0) => Ok(entries.into_iter().map(|fields| DelegationEntry { fields }).collect()),
        (_, others) => {
            let detail = format!("answered a list with {others} entries that are no objects");
            Err(response.error(ErrorKind::Malformed, detail))
        }
    }
}

/// Ends a delegation of ours: with the result, or with the reason of its failure.
///
/// # Errors
///
/// An id that is none, a text with U+0000 in it, or more than 1 MiB.
pub(crate) fn end_delegation(
    http: &Arc<Http>,
    id: &str,
    outcome: Result<&str, &str>,
) -> Result<OutgoingPost<()>, Error> {
    let path = format!("delegations/{}/update", path_segment("delegation id", id)?);
    let body = match outcome {
        Ok(result) => json!({ "status": "completed", "response_preview": result }),
        Err(reason) => json!({ "status": "failed", "error": reason }),
    };
    OutgoingPost::json(http, &path, &body, Call::Own, |_| Ok(()))
}
