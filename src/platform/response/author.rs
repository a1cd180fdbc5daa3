//! The author of an error in an answer to a message: the platform, or the agent behind it.
//!
//! The relay passes on an agent's error as `{"error": TEXT}` with the agent's status, and nothing else of its answer. So what
//! the platform says itself is known by its words, or by a field beside them:
//!
//! | status | words, or fields beside them | kind | delivery |
//! | --- | --- | --- | --- |
//! | any 2xx | | `Agent` | `Delivered` |
//! | any | `delivery_confirmed: true` | `Platform` | `Delivered` |
//! | any | `busy: true` | `Platform` | `Unknown` |
//! | 503 | `restarting`, `waking` or `warming: true` | `Platform`, to be tried again | `NotSent` |
//! | 400 | any field | `Platform` | `NotSent` |
//! | 401 | one of the [refusals of the caller](REFUSED_CALLERS), or any other field | `Unauthorized` | `NotSent` |
//! | 402 | `exceeded_periods` | `Platform` | `NotSent` |
//! | 403 | `access denied: … hierarchy rules`, `invalid caller ID`, `tool call failed` | `Platform` | `NotSent` |
//! | 404 | `workspace not found` | `Platform` | `NotSent` |
//! | 413 | `max_bytes` | `Platform` | `NotSent` |
//! | 429 | a number in `retry_after`, or a `Retry-After` header | `Platform`, to be tried again | `NotSent` |
//! | 502 | `failed to reach workspace agent`, `workspace URL is not publicly routable` | `Platform` | `Accepted` |
//! | 503 | `workspace has no URL`, and `status` | `Platform` | `Accepted` |
//! | any | any other field, or a `Retry-After` header | `Platform` | by the status |
//! | any | neither | `Agent` | `Delivered` |

use serde_json::Value;

use crate::error::{Delivery, ErrorKind};
use crate::wire;

/// The platform's words for a token that is missing, not valid, or another workspace's. No agent's 401 is about our token.
const REFUSED_CALLERS: [&str; 3] =
    ["missing caller auth token", "invalid caller auth token", "caller ID does not match workspace auth token"];

/// The author of an error, and what that says of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorAuthor {
    /// The agent, which had the message.
    Agent,
    /// The platform.
    Platform(Delivery),
    /// The platform, which asks to be called again. The message was not passed on.
    PlatformAsks,
    /// The platform, which refuses the token. The message was not passed on.
    PlatformRefusesToken,
}

impl ErrorAuthor {
    /// Finds the author of the error with this text in an object. `has_wait` says whether a `Retry-After` came with it.
    pub(super) fn find(status: u16, text: &str, body: &Value, has_wait: bool) -> Self {
        use Delivery::{Accepted, Delivered, NotSent, Unknown};
        let has = |field: &str| !body[field].is_null();
        let is_set = |field: &str| body[field] == true;
        let has_more = has_wait || body.as_object().is_some_and(|fields| fields.len() > 1);
        // The relay hands on the body of a success as the agent wrote it.
        if (200..300).contains(&status) {
            return ErrorAuthor::Agent;
        }
        if is_set("delivery_confirmed") {
            return ErrorAuthor::Platform(Delivered);
        }
        // A busy agent has probably received it.
        if is_set("busy") {
            return ErrorAuthor::Platform(Unknown);
        }
        match status {
            400 if has_more => ErrorAuthor::Platform(NotSent),
            401 if REFUSED_CALLERS.contains(&text) || has_more => ErrorAuthor::PlatformRefusesToken,
            402 if has("exceeded_periods") => ErrorAuthor::Platform(NotSent),
            403 if is_access_denied(text) => ErrorAuthor::Platform(NotSent),
            404 if text == "workspace not found" => ErrorAuthor::Platform(NotSent),
            413 if has("max_bytes") => ErrorAuthor::Platform(NotSent),
            429 if has_wait || body["retry_after"].is_number() => ErrorAuthor::PlatformAsks,
            502 if matches!(text, "failed to reach workspace agent" | "workspace URL is not publicly routable") => {
                ErrorAuthor::Platform(Accepted)
            }
            503 if ["restarting", "waking", "warming"].into_iter().any(is_set) => ErrorAuthor::PlatformAsks,
            503 if text == "workspace has no URL" && has("status") => ErrorAuthor::Platform(Accepted),
            _ if has_more => ErrorAuthor::Platform(delivery_by_status(status)),
            _ => ErrorAuthor::Agent,
        }
    }

    pub(super) fn kind(self) -> ErrorKind {
        match self {
            ErrorAuthor::Agent => ErrorKind::Agent,
            ErrorAuthor::Platform(_) | ErrorAuthor::PlatformAsks => ErrorKind::Platform,
            ErrorAuthor::PlatformRefusesToken => ErrorKind::Unauthorized,
        }
    }

    pub(super) fn delivery(self) -> Delivery {
        match self {
            ErrorAuthor::Agent => Delivery::Delivered,
            ErrorAuthor::Platform(delivery) => delivery,
            ErrorAuthor::PlatformAsks | ErrorAuthor::PlatformRefusesToken => Delivery::NotSent,
        }
    }
}

/// Returns whether the platform says that we may not send to this peer, or to none.
fn is_access_denied(text: &str) -> bool {
    let by_hierarchy = text.starts_with("access denied:") && text.ends_with("hierarchy rules");
    by_hierarchy || matches!(text, "invalid caller ID" | "tool call failed")
}

/// Returns the state of the delivery where only the status is known.
///
/// With some statuses the platform, or a proxy in front of it, refuses a request before it passes it on. A network's login
/// page answers 511: RFC 6585, section 6, <https://www.rfc-editor.org/rfc/rfc6585#section-6>. With any other status the
/// agent may have received the message.
pub(super) fn delivery_by_status(status: u16) -> Delivery {
    match status {
        300..=399 | 401..=405 | 407 | 411 | 413..=415 | 417 | 421 | 425 | 426 | 429 | 431 | 511 => Delivery::NotSent,
        _ => Delivery::Unknown,
    }
}

/// Returns whether the body of a 401 to a message is the platform's refusal of our token.
pub(in crate::platform) fn refuses_token(body: &[u8]) -> bool {
    wire::error_fields(body).get("error").and_then(Value::as_str).is_some_and(|text| REFUSED_CALLERS.contains(&text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::message::message_answer;
    use super::*;
    use crate::http::Response;
    use crate::platform::attempt::{FailedAttempt, RetryHint};

    fn failure(response: &Response) -> FailedAttempt {
        match message_answer(response) {
            Ok(reply) => panic!("{reply:?}"),
            Err(failure) => failure,
        }
    }

    #[test]
    fn author_decides_kind_and_delivery() {
        use Delivery::{Accepted, Delivered, NotSent, Unknown};
        use ErrorKind::{Agent, Platform, Unauthorized};
        for (status, body, kind, delivery) in [
            (400, json!({"error":"e"}), Agent, Delivered),
            (401, json!({"error":"e"}), Agent, Delivered),
            (402, json!({"error":"e"}), Agent, Delivered),
            (403, json!({"error":"access denied"}), Agent, Delivered),
            (429, json!({"error":"e"}), Agent, Delivered),
            (503, json!({"error":"e"}), Agent, Delivered),
            (503, json!({"error":"failed to reach workspace agent"}), Agent, Delivered),
            (511, json!({"error":"e"}), Agent, Delivered),
            (302, json!({"error":"Found"}), Agent, Delivered),
            (200, json!({"error":"e","status":"x","busy":true}), Agent, Delivered),
            (400, json!({"error":"e","code":"TENANT_ORG_HEADER_REQUIRED"}), Platform, NotSent),
            (400, json!({"error":"e","hint":"h"}), Platform, NotSent),
            (401, json!({"error":"e","path":"/x"}), Unauthorized, NotSent),
            (402, json!({"error":"e","exceeded_periods":["monthly"]}), Platform, NotSent),
            (403, json!({"error":"invalid caller ID"}), Platform, NotSent),
            (403, json!({"error":"tool call failed"}), Platform, NotSent),
            (403, json!({"error":"access denied: x per hierarchy rules"}), Platform, NotSent),
            (404, json!({"error":"workspace not found"}), Platform, NotSent),
            (413, json!({"error":"e","max_bytes":1}), Platform, NotSent),
            (429, json!({"error":"e","retry_after":"soon"}), Platform, NotSent),
            (502, json!({"error":"failed to reach workspace agent"}), Platform, Accepted),
            (502, json!({"error":"workspace URL is not publicly routable"}), Platform, Accepted),
            (503, json!({"error":"workspace has no URL","status":"paused"}), Platform, Accepted),
            (502, json!({"error":"e","delivery_confirmed":true,"max_bytes":1}), Platform, Delivered),
            (429, json!({"error":"e","delivery_confirmed":true,"retry_after":1}), Platform, Delivered),
            (503, json!({"error":"e","busy":true,"waking":true}), Platform, Unknown),
            (502, json!({"error":"e","restarting":true}), Platform, Unknown),
            (503, json!({"error":"e","waking":false}), Platform, Unknown),
            (409, json!({"error":"e","path":"/x"}), Platform, Unknown),
        ] {
            let FailedAttempt { error, hint } = failure(&Response::for_test(status, body.to_string()));
            assert_eq!((error.kind(), error.delivery(), hint), (kind, delivery, RetryHint::No), "{status} {body}");
        }
    }

    #[test]
    fn words_say_whose_error_it_is_and_what_to_do() {
        for (status, body, shown) in [
            (409, json!({"error":"no"}), "no (HTTP 409); the agent answered so"),
            (400, json!({"error":"no","hint":"do\nso"}), r"no (HTTP 400); do\nso"),
            (
                402,
                json!({"error":"no","exceeded_periods":["day"]}),
                r#"no (HTTP 402); the peer's budget is spent: ["day"]"#,
            ),
            (413, json!({"error":"no","max_bytes":9}), "no (HTTP 413); the platform takes 9 bytes"),
            (503, json!({"error":"no","busy":true,"retry_after":1.5}), "no (HTTP 503, busy, retry after 1.5 s)"),
            (403, json!({"error":"no","retry_after":1e300}), "no (HTTP 403, retry after 86400 s)"),
            (403, json!({"error":"no","retry_after":-1}), "no (HTTP 403)"),
        ] {
            let FailedAttempt { error, .. } = failure(&Response::for_test(status, body.to_string()));
            assert_eq!(error.to_string(), format!("POST http://p: {shown}"));
        }
    }

    #[test]
    fn platform_that_asks_to_wait_is_called_again() {
        let seconds = |seconds| RetryHint::Asked(Some(Duration::from_secs(seconds)));
        for (status, body, hint) in [
            (429, json!({"error":"rate limit exceeded","retry_after":59}), seconds(59)),
            (503, json!({"error":"e","restarting":true,"retry_after":5}), seconds(5)),
            (503, json!({"error":"e","waking":true,"retry_after":15}), seconds(15)),
            (503, json!({"error":"e","warming":true}), RetryHint::Asked(None)),
        ] {
            let failure = failure(&Response::for_test(status, body.to_string()));
            assert_eq!((failure.error.kind(), failure.error.delivery()), (ErrorKind::Platform, Delivery::NotSent));
            assert_eq!(failure.hint, hint, "{body}");
        }
        // The agent's own `Retry-After` is lost on its way, so this one is the platform's, or of somebody before it.
        for (status, hint) in [(429, seconds(7)), (503, RetryHint::No)] {
            let mut response = Response::for_test(status, r#"{"error":"e"}"#);
            response.retry_after = Some(Duration::from_secs(7));
            let failure = failure(&response);
            assert_eq!((failure.error.kind(), failure.hint), (ErrorKind::Platform, hint), "{status}");
            assert_eq!(failure.error.retry_after(), Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn only_three_texts_refuse_the_token() {
        for text in REFUSED_CALLERS {
            let body = json!({ "error": text }).to_string();
            let failure = failure(&Response::for_test(401, body.as_str()));
            assert!(refuses_token(body.as_bytes()) && failure.hint == RetryHint::No, "{text}");
            assert_eq!((failure.error.kind(), failure.error.delivery()), (ErrorKind::Unauthorized, Delivery::NotSent));
        }
        for body in [r#"{"error":"e"}"#, r#"{"error":"invalid workspace auth token"}"#, "<html>", "", r#"["error"]"#] {
            assert!(!refuses_token(body.as_bytes()), "{body}");
        }
    }
}
