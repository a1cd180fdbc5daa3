//! Messages and tasks as agents write them, in protocol 0.3, its drafts, and 1.0.
//!
//! These are views of a JSON object. Fields that are `null`, empty or of another type count as missing.

use std::ptr;

use serde_json::Value;

use super::part::Part;
use super::part::read::{part, parts, text};

/// A message: an agent's answer, an entry of a task's history, or the message of an inbox row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceivedMessage<'a>(&'a Value);

impl<'a> ReceivedMessage<'a> {
    /// Returns the message of a JSON-RPC result, which protocol 1.0 wraps in `message`.
    pub(super) fn in_result(result: &'a Value) -> Self {
        let inner = &result["message"];
        let is_wrapped = parts(result).is_empty() && (inner.is_object() || inner.is_string());
        ReceivedMessage(if is_wrapped { inner } else { result })
    }

    /// Returns the message of a request. Its body may also be the parameters alone, or the message itself.
    ///
    /// It is the first place that has parts other than empty texts, or else an id of the message.
    pub(crate) fn in_request(body: &'a Value) -> Self {
        let within = |params: &'a Value| {
            let request = &params["request"];
            [&params["message"], &request["message"], request, params].map(ReceivedMessage)
        };
        let places = [within(&body["params"]), within(body)].concat();
        let first = |is_found: fn(&Self) -> bool| places.iter().copied().find(is_found);
        first(|message| message.parts().iter().any(|part| text(part) != Some("")))
            .or_else(|| first(|message| message.message_id().is_some()))
            .unwrap_or(ReceivedMessage(&Value::Null))
    }

    /// Returns the parts, without reading them.
    pub(crate) fn parts(self) -> &'a [Value] {
        parts(self.0)
    }

    /// Returns the parts.
    pub(crate) fn typed_parts(self) -> Vec<Part<'a>> {
        self.parts().iter().map(part).collect()
    }

    pub(crate) fn message_id(self) -> Option<&'a str> {
        text_of(self.0, &["messageId", "message_id"])
    }

    pub(crate) fn context_id(self) -> Option<&'a str> {
        text_of(self.0, &["contextId", "context_id"])
    }

    pub(crate) fn task_id(self) -> Option<&'a str> {
        text_of(self.0, &["taskId", "task_id"])
    }

    /// Returns the id of the message that this one answers, as replies of this crate have it in their metadata.
    pub(crate) fn in_reply_to(self) -> Option<&'a str> {
        text_of(&self.0["metadata"], &["in_reply_to"])
    }

    /// Returns whether the agent wrote the message, and not the user: `agent`, in protocol 1.0 `ROLE_AGENT`.
    pub(crate) fn is_by_agent(self) -> bool {
        text_of(self.0, &["role"]).is_some_and(|role| matches!(role, "agent" | "ROLE_AGENT"))
    }
}

/// Returns whether a JSON-RPC result has a message with parts.
pub(super) fn has_parts(result: &Value) -> bool {
    !ReceivedMessage::in_result(result).parts().is_empty()
}

/// A task, or an event that tells of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceivedTask<'a>(&'a Value);

impl<'a> ReceivedTask<'a> {
    /// Returns the task of a JSON-RPC result, which protocol 1.0 wraps. An empty wrapper beside a message says nothing.
    pub(super) fn in_result(result: &'a Value) -> Self {
        let wrapped = ["task", "statusUpdate", "artifactUpdate"].into_iter().map(|field| &result[field]);
        let says_something =
            |task: &&Value| task.as_object().is_some_and(|fields| !fields.is_empty() || !has_parts(result));
        ReceivedTask(wrapped.into_iter().find(says_something).unwrap_or(result))
    }

    /// Returns whether a JSON-RPC result is a task, and not a message.
    pub(super) fn is_result(result: &Value) -> bool {
        let task = ReceivedTask::in_result(result);
        let is_wrapped = !ptr::eq(task.0, result);
        is_wrapped || task.state().is_some() || (task.has_fields() && !has_parts(result))
    }

    /// Returns whether it has a field that only a task or an event of one has.
    fn has_fields(self) -> bool {
        let kind = self.0["kind"].as_str().unwrap_or_default();
        matches!(kind, "task" | "status-update" | "artifact-update")
            || ["artifacts", "history"].into_iter().any(|field| self.0[field].is_array())
            || self.0["artifact"].is_object()
    }

    /// Returns the state in the agent's words.
    pub(super) fn state(self) -> Option<&'a str> {
        self.0["status"]["state"].as_str()
    }

    pub(super) fn id(self) -> Option<&'a str> {
        // An event has the task's id in the second field.
        text_of(self.0, &["id", "taskId", "task_id"])
    }

    pub(super) fn context_id(self) -> Option<&'a str> {
        text_of(self.0, &["contextId", "context_id"])
    }

    /// Returns the parts of each artifact.
    pub(super) fn artifacts(self) -> impl Iterator<Item = &'a [Value]> {
        let artifacts = self.0["artifacts"].as_array().map_or(&[][..], Vec::as_slice);
        artifacts.iter().chain(self.0.get("artifact")).map(parts)
    }

    /// Returns the parts of the status message.
    pub(super) fn status_parts(self) -> &'a [Value] {
        parts(&self.0["status"]["message"])
    }

    /// Returns the parts of the answer: those of the artifacts and of the status message.
    ///
    /// If none of them is a text, those of the history follow: what the agent wrote after the user's last message.
    pub(super) fn answer_parts(self) -> Vec<&'a Value> {
        let mut answer: Vec<&Value> = self.artifacts().flatten().chain(self.status_parts()).collect();
        if !answer.iter().any(|part| text(part).is_some()) {
            answer.extend(self.history_parts());
        }
        answer
    }

    /// Returns the parts of what the agent wrote after the user's last message.
    fn history_parts(self) -> impl Iterator<Item = &'a Value> {
        let history = self.0["history"].as_array().map_or(&[][..], Vec::as_slice);
        let question = history.iter().rposition(|message| !ReceivedMessage(message).is_by_agent());
        history.iter().skip(question.map_or(0, |question| question + 1)).flat_map(parts)
    }
}

/// Returns the first of these fields that is a text, unless it is empty.
fn text_of<'a>(object: &'a Value, fields: &[&str]) -> Option<&'a str> {
    fields.iter().filter_map(|field| object[*field].as_str()).find(|text| !text.is_empty())
}
