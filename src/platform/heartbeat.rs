//! The heartbeat, by which the platform knows that our workspace is online.

use std::time::Duration;

use serde_json::{Value, json};

use super::register::hide_secrets;
use super::response::{Call, refusal};
use crate::error::Error;
use crate::http::{Http, Pool, Request, RequestBody};
use crate::util::clock::Deadline;

/// Longest response that is read, in bytes. Only its status and a removal are used.
const MAX_RESPONSE: u64 = 64 * 1024;

/// State of our workspace that a heartbeat reports.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vitals {
    /// Fraction of failed deliveries, from 0 to 1.
    pub(crate) error_rate: f64,
    /// Number of messages that are being handled.
    pub(crate) active_tasks: u32,
    /// Text of [`PollerHandle::set_task`](crate::PollerHandle::set_task), or an empty one.
    pub(crate) current_task: String,
    pub(crate) uptime: Duration,
}

/// Reports that our workspace is alive.
///
/// After 90 s without a heartbeat the platform shows the workspace as offline.
///
/// # Errors
///
/// [`ErrorKind::Removed`](crate::ErrorKind::Removed) where our workspace was removed, any other status outside 200 to 299,
/// or a failure of the transport.
pub(crate) fn heartbeat(http: &Http, pool: &Pool, vitals: Vitals, deadline: Deadline) -> Result<(), Error> {
    post(http, pool, &payload(http.workspace_id(), &vitals), deadline)
}

/// Like [`heartbeat`], without a state of our workspace.
pub(crate) fn bare_heartbeat(http: &Http, pool: &Pool, deadline: Deadline) -> Result<(), Error> {
    post(http, pool, &json!({ "workspace_id": http.workspace_id() }), deadline)
}

fn post(http: &Http, pool: &Pool, payload: &Value, deadline: Deadline) -> Result<(), Error> {
    let body = RequestBody::new(payload.to_string().into_bytes());
    let request = Request::post("/registry/heartbeat", &body).deadline(deadline).max_response(MAX_RESPONSE);
    let mut response = http.execute(&request, pool)?;
    hide_secrets(&mut response);
    match response.status {
        200..300 => Ok(()),
        _ => Err(refusal(&response, Call::Heartbeat, http.workspace_id())),
    }
}

fn payload(workspace_id: &str, vitals: &Vitals) -> Value {
    json!({
        "workspace_id": workspace_id,
        "error_rate": vitals.error_rate,
        "active_tasks": vitals.active_tasks,
        "current_task": vitals.current_task,
        "uptime_seconds": vitals.uptime.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_has_the_platforms_fields() {
        let vitals = Vitals {
            error_rate: 0.25,
            active_tasks: 2,
            current_task: "x".to_owned(),
            uptime: Duration::from_millis(7_900),
        };
        let expected = json!({
            "workspace_id": "w", "error_rate": 0.25, "active_tasks": 2, "current_task": "x", "uptime_seconds": 7,
        });
        assert_eq!(payload("w", &vitals), expected);
    }
}
