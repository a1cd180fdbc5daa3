#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use serde_json::Value;

use super::message::message_answer;
use crate::error::{Delivery, ErrorKind};
use crate::http::Response;
use crate::platform::{FailedAttempt, RetryHint};
use crate::wire::{Part, Reply, to_utf8};

/// Statuses of the platform, and of proxies in front of it.
const STATUSES: [u16; 19] =
    [200, 201, 202, 204, 302, 400, 401, 403, 404, 407, 408, 413, 425, 429, 500, 502, 503, 504, 511];

/// Checks the meaning of any answer to a message.
///
/// A reply has the body as it came, and no error in it. A failure never claims that the message was not sent where somebody
/// may have it.
pub fn reply(data: &[u8]) {
    let Some((status, body)) = data.split_first() else { return };
    let status = STATUSES.get(usize::from(*status)).copied().unwrap_or(100 + 2 * u16::from(*status));
    let json: Option<Value> = serde_json::from_slice(&to_utf8(body)).ok();
    match message_answer(&Response::for_test(status, body)) {
        Ok(reply) => {
            if body.is_empty() {
                assert!(status == 202 && *reply.as_json() == Value::Null);
            } else {
                assert_eq!(Some(reply.as_json()), json.as_ref());
            }
            assert_whole(status, &reply);
        }
        Err(failure) => assert_honest(status, json.as_ref().unwrap_or(&Value::Null), &failure),
    }
}

/// Asserts that a reply's text, parts and delivery are those of its body.
fn assert_whole(status: u16, reply: &Reply) {
    let (body, text, parts) = (reply.as_json(), reply.text(), reply.parts());
    assert!(!text.starts_with("Agent error:"), "{text}");
    let texts: Vec<&str> =
        parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(*text) } else { None }).collect();
    let all_text = reply.all_text();
    assert!(!all_text.is_empty() && texts.iter().all(|words| all_text.contains(words)));
    let result = &body["result"];
    match reply {
        Reply::Message(message) => {
            assert_eq!(reply.delivery(), Delivery::Delivered);
            assert!(result.is_object());
            assert_eq!(text, if parts.is_empty() { "(no response)" } else { texts.first().unwrap_or(&"") });
            let anywhere = [result, &result["message"]];
            let names = ["contextId", "context_id"];
            let mut ids = anywhere.iter().flat_map(|object| names.iter().map(|name| object[*name].as_str()));
            assert!(message.context_id().is_none_or(|id| ids.any(|found| found == Some(id))));
            assert!(anywhere.iter().any(|object| count_parts(object) == parts.len()));
        }
        Reply::Task(task) => {
            assert_eq!(reply.delivery(), Delivery::Delivered);
            assert!(!task.state().contains(|c: char| c == '_' || c.is_ascii_uppercase()), "{}", task.state());
            assert_eq!(task.is_failed(), ["failed", "rejected", "canceled"].contains(&task.state()));
            let work: Vec<Part<'_>> = task.artifacts().into_iter().flatten().chain(task.status_message()).collect();
            // What follows is of the history, and only where there are no other words.
            assert!(parts.starts_with(&work));
            assert!(parts.len() == work.len() || !work.iter().any(|part| matches!(part, Part::Text(_))));
            // Each line of it is the text of a part.
            assert!(text == "(no response)" || texts.contains(&&*text) || texts.join("\n").contains(&*text));
            assert!(texts.is_empty() || text != "(no response)" || texts.contains(&"(no response)"));
        }
        Reply::Queued(_) => {
            assert_eq!(reply.delivery(), Delivery::Accepted);
            assert!(status < 300 && body["error"].is_null() && parts.is_empty());
            // A body with an answer is not queued.
            assert!(
                !result["parts"].is_array() && !result["task"].is_object() && !result["status"]["state"].is_string()
            );
        }
    }
}

/// Returns the number of parts that a message has, in a list or alone.
fn count_parts(message: &Value) -> usize {
    let count = |parts: &Value| match parts {
        Value::Array(parts) => parts.len(),
        Value::Object(_) => 1,
        Value::String(text) => usize::from(!text.is_empty()),
        _ => 0,
    };
    if message.is_string() {
        return count(message);
    }
    let (parts, content) = (count(&message["parts"]), count(&message["content"]));
    if parts == 0 { content } else { parts }
}

/// Asserts that a failure's kind and delivery agree with the status and the body.
fn assert_honest(status: u16, body: &Value, failure: &FailedAttempt) {
    let FailedAttempt { error, hint } = failure;
    let (kind, detail, delivery) = (error.kind(), error.detail(), error.delivery());
    let is = |flag: &str| body[flag] == true;
    assert!(!detail.is_empty() && detail.len() < 4_000 * 10 + 1_000);
    assert!(!detail.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{detail:?}");
    assert!(*hint == RetryHint::No || (matches!(hint, RetryHint::Asked(_)) && matches!(status, 429 | 503)));
    assert!(error.retry_after().is_none() || body["retry_after"].as_f64().is_some_and(|secs| secs >= 0.0));
    assert!(error.rpc_data().is_none_or(|data| kind == ErrorKind::Rpc && *data == body["error"]["data"]));
    assert!(error.rpc_code().is_none() || (kind == ErrorKind::Rpc && body["error"]["code"].is_number()));
    match kind {
        ErrorKind::Rpc => {
            assert!(body["error"].is_object());
            assert!(delivery != Delivery::NotSent || matches!(status, 407 | 425 | 511));
        }
        // Words of the agent: a reply that says so, or an error that the platform passed on.
        ErrorKind::Agent => {
            assert!((body["result"].is_object() || body["error"].is_string()) && delivery == Delivery::Delivered);
        }
        ErrorKind::Platform => assert!(body["error"].is_string()),
        ErrorKind::Malformed => assert!(body["result"].is_object() || (200..300).contains(&status)),
        ErrorKind::Unauthorized => assert_eq!(status, 401),
        ErrorKind::Status => assert!(!(200..300).contains(&status) && status != 401),
        kind => panic!("{kind:?}"),
    }
    match delivery {
        // The platform has kept the message, and could not hand it on.
        Delivery::Accepted => assert!(kind == ErrorKind::Platform && matches!(status, 502 | 503)),
        Delivery::Delivered => {
            let answered = body["error"].is_object() && status < 300;
            assert!(answered || kind == ErrorKind::Agent || (body["error"].is_string() && is("delivery_confirmed")));
        }
        Delivery::NotSent => {
            // A result beside the platform's error is empty, or it would be a reply.
            assert!(!body["result"].is_object() || body["error"].is_string());
            assert!(!(body["error"].is_string() && (is("busy") || is("delivery_confirmed"))));
            let coming_back = status == 503 && (is("restarting") || is("waking") || is("warming"));
            let by_the_network = status == 511 && !body["error"].is_string();
            assert!((300..500).contains(&status) || coming_back || by_the_network, "{status}");
        }
        Delivery::Unknown => {}
    }
}
