//! Reads the body of an answer to a message. Only says what the body is, not what that means for the delivery.

use std::fmt::Display;

use serde_json::Value;

use super::{Queued, Reply, ReplyMessage, Task, is_queued};
use crate::util::text::{MAX_FOREIGN_BYTES, prefix};
use crate::wire::json::{JsonError, MemoryBudget, parse_json};
use crate::wire::part::read::is_broken_text;
use crate::wire::received::{ReceivedTask, has_parts};
use crate::wire::record::CALL_MEMORY;

/// The body of an answer to a message. A text from it is its start, of which an error shows less.
#[derive(Debug)]
pub(crate) enum MessageAnswer {
    Reply(Reply),
    /// A reply whose text starts with `Agent error:`. That text.
    AgentError(String),
    /// A reply with a part whose text is no string. That part as JSON.
    BrokenPart(String),
    /// A JSON-RPC error, with its code if that is an integer, and its data if it has any.
    RpcError {
        text: String,
        code: Option<i64>,
        data: Option<Value>,
    },
    /// An error that is a text, with the whole body.
    ErrorText {
        text: String,
        body: Value,
    },
    /// JSON without a result and without an error.
    UnknownShape,
    /// A result without any content, whose status is no success.
    EmptyResult,
    /// JSON that would take too much memory.
    TooLarge(JsonError),
    NotJson,
    Empty,
}

/// Reads the body of an answer with this status.
pub(crate) fn read_answer(status: u16, body: &[u8]) -> MessageAnswer {
    let mut body = match parse_json(body, &mut MemoryBudget::new(body.len(), CALL_MEMORY)) {
        Ok(body) => body,
        Err(why @ JsonError::TooLarge(_)) => return MessageAnswer::TooLarge(why),
        Err(_) if body.is_empty() && status == 202 => {
            return MessageAnswer::Reply(Reply::Queued(Queued { body: Value::Null, peer: None }));
        }
        Err(_) if body.is_empty() => return MessageAnswer::Empty,
        Err(_) => return MessageAnswer::NotJson,
    };
    let result = &body["result"];
    // A notice that the message is queued counts only where there is neither an answer nor an error beside it.
    let queued = (is_queued(&body) || is_queued(result)) && !(result.is_object() && is_reply(result));
    if queued && status < 300 && body["error"].is_null() {
        return MessageAnswer::Reply(Reply::Queued(Queued { body, peer: None }));
    }
    let has_result = result.is_object();
    if has_result && !(is_overruled(result, &body["error"]) || (status >= 300 && is_empty(result))) {
        return read_result(body);
    }
    match body.get_mut("error") {
        Some(Value::Object(error)) => {
            let data = error.remove("data").filter(|data| !data.is_null());
            let error = &body["error"];
            MessageAnswer::RpcError { text: rpc_text(error), code: rpc_code(error), data }
        }
        Some(Value::String(text)) => MessageAnswer::ErrorText { text: start_of(text), body },
        _ if has_result => MessageAnswer::EmptyResult,
        _ => MessageAnswer::UnknownShape,
    }
}

/// Reads a body whose result is an object.
fn read_result(body: Value) -> MessageAnswer {
    let result = &body["result"];
    let reply = if ReceivedTask::is_result(result) {
        let state = ReceivedTask::in_result(result).state().map_or("unknown".to_owned(), canonical_state);
        Reply::Task(Task { body, state })
    } else {
        Reply::Message(ReplyMessage(body))
    };
    if let Some(broken) = reply.raw_parts().into_iter().find(|part| is_broken_text(part)) {
        return MessageAnswer::BrokenPart(start_of(broken));
    }
    let text = reply.text();
    if text.starts_with("Agent error:") {
        return MessageAnswer::AgentError(start_of(text));
    }
    drop(text);
    MessageAnswer::Reply(reply)
}

/// Returns whether a result is a message or a task, whatever else it says.
///
/// A text in `message` or `content` is no message here: a notice that a message is queued has such a text.
fn is_reply(result: &Value) -> bool {
    let mut messages = [result, &result["message"]].into_iter();
    messages.any(|message| message["parts"].is_array() || message["content"].is_array())
        || ReceivedTask::is_result(result)
}

/// Returns whether a result is neither a task nor a message with parts.
fn is_empty(result: &Value) -> bool {
    !has_parts(result) && !ReceivedTask::is_result(result)
}

/// Returns whether the error beside a result is the answer: the result has no part of a message or a task. An empty list
/// or object is no error.
fn is_overruled(result: &Value, error: &Value) -> bool {
    let is_error = match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    is_error && !has_parts(result) && ReceivedTask::in_result(result).answer_parts().is_empty()
}

/// Returns a state in the words of protocol 0.3: `TASK_STATE_INPUT_REQUIRED` of 1.0 is `input-required` there.
fn canonical_state(state: &str) -> String {
    match state.strip_prefix("TASK_STATE_").unwrap_or(state).to_lowercase().replace('_', "-").as_str() {
        "cancelled" => "canceled".to_owned(),
        "" | "unspecified" => "unknown".to_owned(),
        state => state.to_owned(),
    }
}

/// Returns the start of a text, or of a value's JSON: an error shows less, and the token has to be found in it.
fn start_of(value: impl Display) -> String {
    prefix(value, MAX_FOREIGN_BYTES)
}

/// Returns the text of a JSON-RPC error with its code, in the words of the Python module `a2a_client`.
fn rpc_text(error: &Value) -> String {
    let message = match &error["message"] {
        Value::String(message) => start_of(message.trim()),
        Value::Null => String::new(),
        other => start_of(other),
    };
    let message = if message.is_empty() { "JSON-RPC error with no message".to_owned() } else { message };
    match (rpc_code(error), &error["code"]) {
        (Some(code), _) => format!("{message} (code={code})"),
        (None, Value::Null) => message,
        (None, Value::String(code)) => format!("{message} (code={})", start_of(code)),
        (None, code) => format!("{message} (code={})", start_of(code)),
    }
}

/// Returns the code of a JSON-RPC error as an integer. Some JSON libraries write integers as floats.
fn rpc_code(error: &Value) -> Option<i64> {
    let code = &error["code"];
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and is small enough")]
    let whole = |float: f64| (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64);
    code.as_i64().or_else(|| code.as_f64().and_then(whole))
}
