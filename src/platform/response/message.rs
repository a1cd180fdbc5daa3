//! The meaning of an answer to a message, above all for its delivery.
//!
//! | answer | kind | delivery |
//! | --- | --- | --- |
//! | message or task | none | `Delivered` |
//! | queued | none | `Accepted` |
//! | text that starts with `Agent error:` | `Agent` | `Delivered` |
//! | JSON-RPC error | `Rpc` | `Delivered` below 300, `NotSent` for 407, 425 and 511, else `Unknown` |
//! | platform's error | `Platform`; `Unauthorized` for 401 | by its flags, then by its status |
//! | anything else | `Malformed`, `Unauthorized`, `Status` or `TooLarge` | by its status |

use serde_json::Value;

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
        MessageAnswer::AgentError(text) => failed(ErrorKind::Agent, response.safe_text(&text), Delivery::Delivered),
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
        MessageAnswer::PlatformError { text, body } => Err(platform_error(response, &text, &body)),
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

/// Returns the error of an answer. Advice on the token or the organisation comes after the Python module's words.
fn error(response: &Response, kind: ErrorKind, detail: String) -> Error {
    let advice = match kind {
        ErrorKind::Unauthorized => Some(token_advice(response)),
        _ => is_organisation_missing(response).then_some(ORGANISATION_ADVICE),
    };
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

/// Returns the failure for an error of the platform itself, which may say in flags what became of the message.
fn platform_error(response: &Response, text: &str, body: &Value) -> FailedAttempt {
    let status = response.status;
    let has = |flag: &str| body[flag] == true;
    let wait = body["retry_after"].as_f64().and_then(retry_after);
    let mut detail = format!("{} (HTTP {status}", response.safe_text(text));
    for flag in ["restarting", "waking", "busy"] {
        if has(flag) {
            detail += &format!(", {flag}");
        }
    }
    if let Some(wait) = wait {
        detail += &format!(", retry after {} s", wait.as_secs_f64());
    }
    detail.push(')');

    // A busy agent has probably received it.
    let may_have_it = has("busy") || has("delivery_confirmed");
    let is_coming_back = status == 503 && (has("restarting") || has("waking")) && !may_have_it;
    let delivery = if has("delivery_confirmed") {
        Delivery::Delivered
    } else if has("busy") {
        Delivery::Unknown
    } else if is_coming_back || (400..500).contains(&status) {
        // The platform does not pass on a message that it refuses in its own words.
        Delivery::NotSent
    } else if status >= 500 {
        // Also a 511: with these words it is the platform's own.
        Delivery::Unknown
    } else {
        delivery_by_status(status)
    };
    let kind = if status == 401 { ErrorKind::Unauthorized } else { ErrorKind::Platform };
    let wait = response.retry_after.or(wait);
    let is_asked = is_coming_back || (status == 429 && !may_have_it);
    FailedAttempt {
        error: error(response, kind, detail).with_delivery(delivery).with_retry_after(wait),
        hint: if is_asked { RetryHint::Asked(wait) } else { RetryHint::No },
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

/// Returns the state of the delivery where only the status is known.
///
/// With some statuses the platform, or a proxy in front of it, refuses a request before it passes it on. A network's login
/// page answers 511: RFC 6585, section 6, <https://www.rfc-editor.org/rfc/rfc6585#section-6>. With any other status the
/// agent may have received the message.
fn delivery_by_status(status: u16) -> Delivery {
    match status {
        300..=399 | 401..=405 | 407 | 411 | 413..=415 | 417 | 421 | 425 | 426 | 429 | 431 | 511 => Delivery::NotSent,
        _ => Delivery::Unknown,
    }
}
