//! What our workspace says of itself: to its human, and that it is alive.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::activity::{is_removal, refused};
use super::workspace::removal;
use crate::error::{Delivery, Error, ErrorKind};
use crate::http::{Ask, Http, Identity, RequestBody, SEND_SILENCE, Wire};
use crate::retry::RetryPolicy;
use crate::util::clock::Deadline;
use crate::util::random::random;

/// The largest answer that is read, in bytes: nothing of it is used.
const MAX_ANSWER: u64 = 64 * 1024;
/// The largest text for the human, in bytes: there the platform cuts a request.
const MAX_TEXT: usize = 1024 * 1024;

/// Says a text to the human on the canvas. Tried again, as the policy says, only while nothing can have arrived.
///
/// # Errors
///
/// An empty text or one above 1 MiB, a status that is no yes, a transport that failed; with what is known
/// of the delivery.
pub(crate) fn notify(http: &Arc<Http>, text: &str, policy: RetryPolicy) -> Result<(), Error> {
    let path = format!("/workspaces/{}/notify", http.workspace_id());
    let target = || format!("POST {}{path}", http.platform());
    if text.trim().is_empty() {
        return Err(Error::new(ErrorKind::InvalidMessage, "the text is empty").with_target(target()));
    }
    let upload = RequestBody::new(json!({ "message": text }).to_string().into_bytes());
    if upload.len() > MAX_TEXT {
        let detail = format!("the request has {} bytes; the platform takes {MAX_TEXT}", upload.len());
        return Err(Error::new(ErrorKind::TooLarge, detail).with_target(target()));
    }
    let deadline = Deadline::after(policy.budget());
    let silence = SEND_SILENCE;
    let ask = Ask { path: &path, identity: Identity::TokenOnly, deadline, cap: MAX_ANSWER, silence };
    for attempt in 1.. {
        let error = match http.post(&ask, &upload, None) {
            Ok(reply) if (200..300).contains(&reply.status) => return Ok(()),
            Ok(reply) if reply.status < 500 => return Err(refused(&reply).with_attempts(attempt)),
            Ok(reply) => return Err(refused(&reply).with_delivery(Delivery::Unknown).with_attempts(attempt)),
            Err(error) => error.with_attempts(attempt),
        };
        let pause = policy.backoff(attempt, random());
        let again = error.is_transient() && attempt < policy.attempts() && pause < deadline.left();
        if upload.may_be_sent() || !again {
            let delivery = if upload.may_be_sent() { Delivery::Unknown } else { Delivery::NotSent };
            return Err(error.with_delivery(delivery));
        }
        thread::sleep(pause);
    }
    // The loop has no other end than those above.
    Err(Error::new(ErrorKind::Internal, "the attempts ran out").with_target(target()))
}

/// What a sign of life tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Vitals {
    pub(crate) error_rate: f64,
    pub(crate) active_tasks: u32,
    pub(crate) uptime: Duration,
}

/// Says that we are alive: a workspace that does not for 90 s is offline to its peers.
///
/// # Errors
///
/// [`ErrorKind::Removed`] where our workspace was removed; a status that is no yes, a transport that failed.
pub(crate) fn heartbeat(http: &Arc<Http>, wire: &Wire, vitals: Vitals, deadline: Deadline) -> Result<(), Error> {
    let body = json!({
        "workspace_id": http.workspace_id(),
        "error_rate": vitals.error_rate,
        "active_tasks": vitals.active_tasks,
        "current_task": "",
        "uptime_seconds": vitals.uptime.as_secs(),
    });
    let (path, cap) = ("/registry/heartbeat", MAX_ANSWER);
    let ask = Ask { path, identity: Identity::TokenOnly, deadline, cap, silence: SEND_SILENCE };
    let reply = http.post(&ask, &RequestBody::new(body.to_string().into_bytes()), Some(wire))?;
    match reply.status {
        200..300 => Ok(()),
        410 if is_removal(&reply) => Err(removal(&reply, http.workspace_id())),
        _ => Err(refused(&reply)),
    }
}
