//! Answers to a message that are no reply.

use std::time::Duration;

use serde_json::Value;

use crate::error::{Delivery, ErrorKind, MAX_RETRY_AFTER};

/// An answer that is no reply.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) detail: String,
    pub(crate) delivery: Delivery,
    pub(crate) retry_after: Option<Duration>,
    /// A 429, or a 503 of an agent that is restarting or waking: the platform asks us to come again.
    pub(crate) asks_again: bool,
    pub(crate) rpc_code: Option<i64>,
}

/// What a bare status tells of the delivery: with these the platform, or what stands before it, refuses a
/// request before it passes it on. Behind any other may stand an agent that has it.
pub(super) fn by_status(status: u16) -> Delivery {
    match status {
        300..=399 | 401..=405 | 411 | 413..=415 | 417 | 421 | 426 | 429 | 431 => Delivery::NotSent,
        _ => Delivery::Unknown,
    }
}

/// The platform's own error, with what it says beside it.
pub(super) fn platform_refusal(status: u16, body: &Value, words: &str) -> Refusal {
    let is = |flag: &str| body[flag] == true;
    let retry_after = body["retry_after"].as_f64().and_then(wait);
    let mut detail = format!("{words} (HTTP {status}");
    for flag in ["restarting", "waking", "busy"] {
        if is(flag) {
            detail += &format!(", {flag}");
        }
    }
    if let Some(wait) = retry_after {
        detail += &format!(", retry after {} s", wait.as_secs_f64());
    }
    detail.push(')');
    // By then the agent likely has it.
    let may_have_it = is("busy") || is("delivery_confirmed");
    let coming_back = status == 503 && (is("restarting") || is("waking")) && !may_have_it;
    let delivery = match () {
        () if is("delivery_confirmed") => Delivery::Delivered,
        () if is("busy") => Delivery::Unknown,
        () if coming_back => Delivery::NotSent,
        // The platform's own words: what it refuses so, it has not passed on.
        () if (400..500).contains(&status) => Delivery::NotSent,
        () => by_status(status),
    };
    let kind = if status == 401 { ErrorKind::Unauthorized } else { ErrorKind::Platform };
    let asks_again = coming_back || (status == 429 && !may_have_it);
    Refusal { kind, detail, delivery, retry_after, asks_again, rpc_code: None }
}

/// A wait of so many seconds, a day at the most. A number below zero is none.
fn wait(secs: f64) -> Option<Duration> {
    (secs >= 0.0).then(|| Duration::try_from_secs_f64(secs).map_or(MAX_RETRY_AFTER, |wait| wait.min(MAX_RETRY_AFTER)))
}

/// A JSON-RPC error in the original's words.
pub(super) fn rpc_words(error: &Value) -> String {
    let words = match &error["message"] {
        Value::String(message) => message.trim().to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let words = if words.is_empty() { "JSON-RPC error with no message".to_owned() } else { words };
    match (rpc_code(error), &error["code"]) {
        (Some(code), _) => format!("{words} (code={code})"),
        (None, Value::Null) => words,
        (None, Value::String(code)) => format!("{words} (code={code})"),
        (None, code) => format!("{words} (code={code})"),
    }
}

/// The code as an integer; one that some JSON library wrote as a float is one, too.
pub(super) fn rpc_code(error: &Value) -> Option<i64> {
    let code = &error["code"];
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and is small enough")]
    let whole = |float: f64| (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64);
    code.as_i64().or_else(|| code.as_f64().and_then(whole))
}

/// A 403 without a body is not the platform's, but its hosted edge's.
pub(super) fn without_body(status: u16) -> String {
    let hint = if status == 403 { "; check the origin and the org id" } else { "" };
    format!("HTTP {status} without a body{hint}")
}
