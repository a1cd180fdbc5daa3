//! The meaning of an answer to a message, above all for its delivery.
//!
//! | answer | kind | delivery |
//! | --- | --- | --- |
//! | message or task | none | `Delivered` |
//! | queued | none | `Accepted` |
//! | text that starts with `Agent error:` | `Agent` | `Delivered` |
//! | JSON-RPC error | `Rpc` | `Delivered` below 300, `NotSent` for 407, 425 and 511, else `Unknown` |
//! | error that is a text | by [its author](super::author) | by its author |
//! | anything else | `Malformed`, `Unauthorized`, `Status` or `TooLarge` | by its status |

use std::borrow::Cow;

use serde_json::Value;

use super::author::{ErrorAuthor, delivery_by_status};
use super::{EDGE_ADVICE, ORGANISATION_ADVICE, is_from_edge, is_organisation_missing, retry_after, token_advice};
use crate::error::{Delivery, Error, ErrorKind};
use crate::http::{RequestBody, Response};
use crate::platform::attempt::{FailedAttempt, RetryHint, lost};
use crate::wire::{MemoryBudget, MessageAnswer, Reply, parse_json, read_answer};

/// Longest data of a JSON-RPC error that is kept, in bytes of JSON. Its lists and maps may take as much and five times that.
const MAX_RPC_DATA: usize = 64 * 1024;

/// Reads the answer to a message.
///
/// # Errors
///
/// Any answer that is no reply.
pub(in crate::platform) fn message_answer(response: &Response) -> Result<Reply, FailedAttempt> {
    let status = response.status;
    if status < 300 {
        response.check_encoding().map_err(|error| FailedAttempt::permanent(error.with_delivery(Delivery::Unknown)))?;
    }
    let failed = |kind, detail: String, delivery| Err(failure(response, kind, detail, delivery));
    let unusable = |detail| failed(unusable_kind(status), detail, delivery_by_status(status));
    match read_answer(status, &response.body) {
        MessageAnswer::Reply(reply) => Ok(reply),
        MessageAnswer::AgentError(text) => {
            let FailedAttempt { error, hint } =
                failure(response, ErrorKind::Agent, response.safe_text(&text), Delivery::Delivered);
            let status = (status != 200).then(|| format!("HTTP {status}"));
            Err(FailedAttempt { error: error.with_advice(status), hint })
        }
        MessageAnswer::BrokenPart(part) => {
            let detail = response.safe_text(format_args!("the reply has a part whose text is no string: {part}"));
            failed(ErrorKind::Malformed, detail, Delivery::Unknown)
        }
        MessageAnswer::RpcError { text, code, data } => {
            // A peer that speaks JSON-RPC has read the request.
            let delivery = match status {
                0..300 => Delivery::Delivered,
                // A proxy's own words, in JSON.
                407 | 425 | 511 => Delivery::NotSent,
                _ => Delivery::Unknown,
            };
            let FailedAttempt { error, hint } = failure(response, ErrorKind::Rpc, response.safe_text(&text), delivery);
            let error = with_rpc_data(error.with_rpc_code(code), response, data.as_ref());
            Err(FailedAttempt { error, hint })
        }
        MessageAnswer::ErrorText { text, body } => Err(error_text(response, &text, &body)),
        MessageAnswer::TooLarge(why) => {
            let detail = format!("HTTP {status} with a body that is too large: {why}");
            failed(ErrorKind::TooLarge, detail, delivery_by_status(status))
        }
        MessageAnswer::UnknownShape => {
            unusable(format!("unexpected response shape (no result, no error): {}", response.excerpt()))
        }
        MessageAnswer::EmptyResult => {
            // Somebody who speaks JSON-RPC has read the request.
            let detail = format!("HTTP {status} with an empty result: {}", response.excerpt());
            failed(unusable_kind(status), detail, Delivery::Unknown)
        }
        MessageAnswer::NotJson => {
            unusable(format!("HTTP {status} with a body that is not JSON: {}", response.excerpt()))
        }
        MessageAnswer::Empty if is_from_edge(response) => unusable(format!("HTTP {status} {EDGE_ADVICE}")),
        MessageAnswer::Empty => unusable(format!("HTTP {status} without a body")),
    }
}

/// Returns the failure of an attempt at a message that brought no whole response.
pub(in crate::platform) fn message_lost(error: Error, body: &RequestBody) -> FailedAttempt {
    let is_transport = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout);
    // A status is an answer even where its body is lost, except a 200, whose body is the reply.
    let is_unanswered = error.status().is_none_or(|status| status == 200);
    let hint = if is_transport && is_unanswered { RetryHint::Transport } else { RetryHint::No };
    FailedAttempt { error: lost(error, body), hint }
}

fn failure(response: &Response, kind: ErrorKind, detail: String, delivery: Delivery) -> FailedAttempt {
    let hint = if response.status == 429 { RetryHint::Asked(response.retry_after) } else { RetryHint::No };
    FailedAttempt { error: error(response, kind, detail).with_delivery(delivery), hint }
}

/// Returns the error of an answer. Advice on the token comes after the Python module's words.
fn error(response: &Response, kind: ErrorKind, detail: String) -> Error {
    let advice = (kind == ErrorKind::Unauthorized).then(|| token_advice(response));
    response.error(kind, detail).with_advice(advice)
}

/// Adds the data of a JSON-RPC error: an excerpt for the text, and the whole of it where that is small.
fn with_rpc_data(error: Error, response: &Response, data: Option<&Value>) -> Error {
    let Some(data) = data else { return error };
    let excerpt = match data {
        Value::String(text) => response.excerpt_of(text),
        data => response.excerpt_of(data),
    };
    // Read again without the token, which may be anywhere in it, also in a name or a number.
    let kept = response.json_without_token(data, MAX_RPC_DATA);
    let kept = kept.and_then(|json| parse_json(json.as_bytes(), &mut MemoryBudget::new(json.len(), MAX_RPC_DATA)).ok());
    error.with_rpc_data(kept, excerpt)
}

/// Returns the failure for an error that is a text: the platform's, or the agent's that it passed on.
fn error_text(response: &Response, text: &str, body: &Value) -> FailedAttempt {
    let status = response.status;
    let wait = response.retry_after.or_else(|| body["retry_after"].as_f64().and_then(retry_after));
    let author = ErrorAuthor::find(status, text, body, response.retry_after.is_some());
    let mut detail = format!("{} (HTTP {status}", response.safe_text(text));
    for flag in ["restarting", "waking", "warming", "busy"] {
        if body[flag] == true {
            detail += &format!(", {flag}");
        }
    }
    if let Some(wait) = body["retry_after"].as_f64().and_then(retry_after) {
        detail += &format!(", retry after {} s", wait.as_secs_f64());
    }
    detail.push(')');
    let error = response.error(author.kind(), detail).with_advice(advice(response, author, body));
    FailedAttempt {
        error: error.with_delivery(author.delivery()).with_retry_after(wait),
        hint: if author == ErrorAuthor::PlatformAsks { RetryHint::Asked(wait) } else { RetryHint::No },
    }
}

/// Returns what to say after the words of an error.
fn advice(response: &Response, author: ErrorAuthor, body: &Value) -> Option<Cow<'static, str>> {
    let of = |field: &str| Some(&body[field]).filter(|value| !value.is_null()).map(|value| response.excerpt_of(value));
    match (author, response.status) {
        (ErrorAuthor::Agent, _) => Some("the agent answered so".into()),
        (ErrorAuthor::PlatformRefusesToken, _) => Some(token_advice(response).into()),
        (ErrorAuthor::Platform(Delivery::Accepted), _) => {
            Some("the platform has the message, and its agent has not: it may find it in its inbox".into())
        }
        (ErrorAuthor::Platform(Delivery::Delivered), _) => Some("the agent has the message, its answer is lost".into()),
        _ if is_organisation_missing(response) => Some(ORGANISATION_ADVICE.into()),
        (_, 402) => Some(format!("the peer's budget is spent: {}", of("exceeded_periods")?).into()),
        (_, 403) if body["error"] == "tool call failed" => {
            Some("the platform lets this workspace send to nobody".into())
        }
        (_, 413) => Some(format!("the platform takes {} bytes", of("max_bytes")?).into()),
        _ => body["hint"].as_str().map(|hint| response.excerpt_of(hint).into()),
    }
}

/// Returns the kind of error for an answer that is neither a reply nor an error object.
fn unusable_kind(status: u16) -> ErrorKind {
    match status {
        200..300 => ErrorKind::Malformed,
        401 => ErrorKind::Unauthorized,
        _ => ErrorKind::Status,
    }
}
