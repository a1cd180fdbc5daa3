//! The meaning of a response: kind of error, delivery, hint to retry, and advice, for every call.
//!
//! | status | discover | peers | workspace | activity | notify, state, own | heartbeat | request |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | 401 | `Unauthorized` | the same | the same | the same | the same | the same | the same |
//! | 403 | `NotFound` if it is the platform's own, else `Status` | `Unauthorized` | the same | the same | the same, but `Platform` for `talk_to_user_disabled` | the same | `Status` if it is the platform's own, else `Unauthorized` |
//! | 404 | the same | `NotFound` | `NotFound` | `Status` | `Status` | `Status` | `NotFound` |
//! | 410 | the same | `Removed` if it says so | `Removed` | as peers | `Status` | as peers | `Status` |
//! | 503 | `NotFound` if it says that the peer was removed, else `Status` | `Status` | the same | the same | the same | the same | the same |
//! | other | `Status` | the same | the same | the same | the same | the same | the same |
//!
//! A message that the platform queued is as *discover*. A file of our workspace is as *own*, but 404 and 410 are as
//! *discover*, or `Removed` if they say so. *request* is a task or an approval by its id; *own* is the list of
//! those, registration and card, the ack, delegations, uploads,
//! instructions and the event stream.
//! Answers to a message say more of its delivery: see [`message`].

pub(super) mod author;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(super) mod message;

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Map, Value};

use super::attempt::{FailedAttempt, RetryHint, lost};
use crate::config::PlatformUrl;
use crate::error::{Delivery, Error, ErrorKind, MAX_RETRY_AFTER};
use crate::http::{RequestBody, Response, removal_details, removal_text};
use crate::wire::{self, BodyError, PeerList};

/// Advice for a response of the hosted platform's edge; see [`is_from_edge`].
const EDGE_ADVICE: &str = "without a body; check the origin and the org id";
/// Advice where a request had no organisation; see [`is_organisation_missing`].
const ORGANISATION_ADVICE: &str = "set the organisation: MOLECULE_ORG_ID, or ClientBuilder::org_id";

/// A call, as far as it decides what a status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Discover,
    Peers,
    Workspace,
    State,
    Activity,
    Notify,
    Heartbeat,
    /// One task or approval, by its id.
    Request,
    /// One message that the platform queued.
    Queue,
    /// One file that was dropped into our workspace.
    File,
    /// Registration and card, the ack, tasks and approvals, delegations, uploads and instructions of our own workspace.
    Own,
}

/// Returns the error for a status that is no success, with the platform's own text and advice.
pub(super) fn refusal(response: &Response, call: Call, workspace_id: &str) -> Error {
    let kind = kind(response, call);
    if kind == ErrorKind::Removed {
        let removed = removal_details(response, workspace_id);
        return response.error(kind, removal_text(&removed)).with_removed(removed);
    }
    let mut detail = format!("answered {}", response.status);
    if let Some(text) = wire::error_text(&response.body) {
        detail += &format!(" ({})", response.excerpt_of(text));
    }
    if let Some(Value::String(hint)) = wire::error_fields(&response.body).get("hint") {
        detail += &format!("; {}", response.excerpt_of(hint));
    }
    match response.status {
        401 => detail += &format!("; {}", token_advice(response)),
        400 if is_organisation_missing(response) => detail += &format!("; {ORGANISATION_ADVICE}"),
        _ if is_from_edge(response) => detail += &format!(" {EDGE_ADVICE}"),
        403 if kind == ErrorKind::Unauthorized && response.had_token() => detail += "; the platform refuses our token",
        404 if call == Call::Workspace => detail += &format!("; the platform knows no workspace {workspace_id}"),
        _ => {}
    }
    response.error(kind, detail).with_retry_after(asked_wait(response))
}

/// Returns the wait that a response asks for: in its header, or in the body of a 429.
fn asked_wait(response: &Response) -> Option<Duration> {
    let in_body = || wire::error_fields(&response.body).get("retry_after").and_then(Value::as_f64);
    let wait = response.retry_after;
    if response.status == 429 { wait.or_else(|| in_body().and_then(retry_after)) } else { wait }
}

/// Returns a wait of so many seconds, at most a day. A negative number is no wait.
fn retry_after(secs: f64) -> Option<Duration> {
    (secs >= 0.0).then(|| Duration::try_from_secs_f64(secs).map_or(MAX_RETRY_AFTER, |wait| wait.min(MAX_RETRY_AFTER)))
}

/// Returns what a 401 says of the token, in every call.
fn token_advice(response: &Response) -> &'static str {
    if response.had_token() { "the token was refused" } else { "no token was sent: give one, or a token file" }
}

/// Returns the kind of error that a status is.
fn kind(response: &Response, call: Call) -> ErrorKind {
    match (response.status, call) {
        (401, _) => ErrorKind::Unauthorized,
        // Only the registry's own answer counts. A gateway's page says nothing of the peer.
        (403 | 404 | 410, Call::Discover) if wire::is_platform_error(&response.body) => ErrorKind::NotFound,
        (503, Call::Discover) if wire::is_removed_peer(&response.body) => ErrorKind::NotFound,
        (403 | 404 | 410, Call::Discover) => ErrorKind::Status,
        (403 | 404, Call::Queue) if wire::is_platform_error(&response.body) => ErrorKind::NotFound,
        (403 | 404, Call::Queue) => ErrorKind::Status,
        (410, Call::File) if is_removal(response) => ErrorKind::Removed,
        (404 | 410, Call::File) if wire::is_platform_error(&response.body) => ErrorKind::NotFound,
        // The platform's own says that the request is another's. A refused token is a 401 here.
        (403, Call::Request) if wire::is_platform_error(&response.body) => ErrorKind::Status,
        // The human does not want to hear from us. Our token is good.
        (403, Call::Notify) if wire::error_text(&response.body).is_some_and(|text| text == "talk_to_user_disabled") => {
            ErrorKind::Platform
        }
        (403, _) => ErrorKind::Unauthorized,
        (404, Call::Peers | Call::Workspace | Call::Request) => ErrorKind::NotFound,
        (410, Call::Workspace) => ErrorKind::Removed,
        (410, Call::Peers | Call::Activity | Call::Heartbeat) if is_removal(response) => ErrorKind::Removed,
        _ => ErrorKind::Status,
    }
}

/// Returns whether a response says that the platform belongs to an organisation, which the request did not name.
///
/// Registration and heartbeat are exempt, so a heartbeat that succeeds does not say that the organisation is right.
fn is_organisation_missing(response: &Response) -> bool {
    let code = || wire::error_fields(&response.body).remove("code");
    response.status == 400 && code().is_some_and(|code| code == "TENANT_ORG_HEADER_REQUIRED")
}

/// Returns whether a response is a 403 or 404 without a body.
///
/// The platform's own have one, but for two: an `Origin` that it does not know is an empty 403, and another organisation than
/// its own an empty 404. The edge of a hosted platform answers so, too.
fn is_from_edge(response: &Response) -> bool {
    matches!(response.status, 403 | 404) && response.body.is_empty()
}

/// Returns whether a 410 says that our workspace was removed. Others are about a row of the feed.
pub(super) fn is_removal(response: &Response) -> bool {
    wire::error_fields(&response.body).get("error").is_some_and(|error| error == "removed")
}

/// Reads the body of a 200 as a JSON object. Its values may take `memory` bytes and a multiple of its text.
///
/// # Errors
///
/// A body in an encoding, or one that is no object or too large.
pub(super) fn read_object(response: &Response, memory: usize) -> Result<Map<String, Value>, Error> {
    response.check_encoding()?;
    wire::object(&response.body, memory).map_err(|why| unusable_body(response, &why))
}

/// Reads the body of a 200 as a list of JSON objects, and returns it with the number of its other entries.
///
/// # Errors
///
/// A body in an encoding, or one that is no list or too large.
pub(super) fn read_objects(response: &Response) -> Result<(Vec<Map<String, Value>>, usize), Error> {
    response.check_encoding()?;
    wire::objects(&response.body).map_err(|why| unusable_body(response, &why))
}

/// Reads a text in the body of a 2xx that is a JSON object.
///
/// # Errors
///
/// A body in an encoding, one that is no object or too large, or one without that text.
pub(super) fn read_text(response: &Response, field: &str) -> Result<String, Error> {
    match read_object(response, wire::CALL_MEMORY)?.remove(field) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(without_text(response, field)),
    }
}

/// Returns the error for a 2xx whose body lacks a text.
pub(super) fn without_text(response: &Response, field: &str) -> Error {
    let detail = format!("answered {} with a body without a text in `{field}`", response.status);
    response.error(ErrorKind::Malformed, detail)
}

/// Returns the error for a 200 whose body cannot be used.
pub(super) fn unusable_body(response: &Response, why: &BodyError) -> Error {
    response.error(why.kind, format!("answered {why}"))
}

/// Reads the body of a 200 as a list of peers.
///
/// # Errors
///
/// Any other body, in the words of the Python module `a2a_client`.
pub(super) fn read_peers(response: &Response) -> Result<PeerList, Error> {
    let unusable = |kind, why: &dyn Display| {
        response.error(kind, "").with_text(format!("Platform returned 200 but body was not {why}"))
    };
    if let Some(encoding) = response.foreign_encoding() {
        let why = format!("JSON: it has the encoding {encoding}, which was not asked for");
        return Err(unusable(ErrorKind::Malformed, &why));
    }
    wire::peer_list(&response.body).map_err(|why| unusable(why.kind, &why))
}

/// Returns the error for a list of peers that the platform refused, in the words of the Python module `a2a_client`.
pub(super) fn peers_refusal(response: &Response, workspace_id: &str) -> Error {
    let status = response.status;
    let words = match status {
        401 | 403 => format!(
            "Authentication to platform failed (HTTP {status}). The workspace bearer token may be invalid — \
             restarting the workspace usually re-mints it."
        ),
        404 => format!(
            "Workspace ID {workspace_id} is not registered with the platform (HTTP 404). Re-registration via the \
             platform's /registry/register endpoint is needed."
        ),
        500.. => format!("Platform error: HTTP {status}."),
        _ => format!("Unexpected platform response: HTTP {status}."),
    };
    let kind = kind(response, Call::Peers);
    let error = response.error(kind, "").with_text(words).with_retry_after(asked_wait(response));
    if kind == ErrorKind::Removed { error.with_removed(removal_details(response, workspace_id)) } else { error }
}

/// Returns the error for a list of peers that did not arrive, in the words of the Python module `a2a_client`.
pub(super) fn peers_unreachable(error: Error, platform: &PlatformUrl) -> Error {
    let error = error.in_httpx_words();
    let words = match error.status() {
        None => format!("Cannot reach platform at {platform}: {}", error.detail()),
        Some(status) => format!("Platform returned {status} but its body did not arrive: {}", error.detail()),
    };
    error.with_text(words)
}

/// Reads the status of the answer to a POST about our own workspace.
///
/// # Errors
///
/// Any status outside 200 to 299. None is worth another attempt.
pub(super) fn post_answer(response: &Response, call: Call) -> Result<(), FailedAttempt> {
    if (200..300).contains(&response.status) {
        return Ok(());
    }
    let error = refusal(response, call, "");
    // Below 500 the platform has refused it. A network's login page answers 511, without the platform's words.
    let is_refused = response.status < 500 || (response.status == 511 && !wire::has_error_text(&response.body));
    let delivery = if is_refused { Delivery::NotSent } else { Delivery::Unknown };
    Err(FailedAttempt::permanent(error.with_delivery(delivery)))
}

/// Returns the failure of an attempt at a POST about our own workspace that brought no whole response.
///
/// Unlike for a message, a status does not speak against another attempt: the policy for these calls only repeats what
/// cannot have been sent.
pub(super) fn post_lost(error: Error, body: &RequestBody) -> FailedAttempt {
    if let Some(why) = body.fault() {
        let error = Error::new(ErrorKind::InvalidMessage, format!("the content cannot be read: {why}"));
        return FailedAttempt::permanent(lost(error, body));
    }
    let hint = if error.is_transient() { RetryHint::Transport } else { RetryHint::No };
    FailedAttempt { error: lost(error, body), hint }
}

#[cfg(test)]
mod tests;
