//! Calls that only try something: the event stream, and whose the platform takes our `Origin` for.

use super::response::{Call, refusal};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Identity, Request};
use crate::util::clock::Deadline;
use crate::wire;

/// Beginnings of a line of server-sent events: a comment, or a field with its name.
///
/// <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>
const LINE_STARTS: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];

/// Id of a queued send that does not exist: the nil UUID, which no generator makes.
///
/// <https://www.rfc-editor.org/rfc/rfc9562#section-5.9>
const NO_QUEUED_SEND: &str = "00000000-0000-0000-0000-000000000000";

/// Opens the event stream, waits for its first bytes, and closes it.
///
/// The platform sends a comment at once (`: ping`). A proxy that buffers answers holds it back.
///
/// # Errors
///
/// [`Unauthorized`](ErrorKind::Unauthorized) for 401 and 403; [`Timeout`](ErrorKind::Timeout) where nothing arrives;
/// [`Malformed`](ErrorKind::Malformed) for a body that is no event stream. Any other status is an error, too: an older
/// platform has no stream (404).
pub(crate) fn probe_events(http: &Http, deadline: Deadline) -> Result<(), Error> {
    let path = format!("/workspaces/{}/events/stream", http.workspace_id());
    let response = http.execute(&Request::get(&path).deadline(deadline).first_event(), http.calls())?;
    if response.status != 200 {
        return Err(refusal(&response, Call::Own, http.workspace_id()));
    }
    response.check_encoding()?;
    if LINE_STARTS.iter().any(|start| response.body.starts_with(start)) {
        return Ok(());
    }
    Err(response.error(ErrorKind::Malformed, format!("answered no event stream: {}", response.excerpt())))
}

/// Returns whether the platform takes the `Origin` that we send for the canvas's.
///
/// Without one there is nothing to ask.
///
/// Such a platform serves canvas and server from one host. It does not look at the token, and stamps our messages as a
/// human's. The proof is a request without a token for a queued send that does not exist: only who is let in hears that it
/// does not exist.
///
/// # Errors
///
/// Any status but 401, 403 and the platform's own 404, and a failure of the transport.
pub(crate) fn is_origin_of_canvas(http: &Http, deadline: Deadline) -> Result<bool, Error> {
    let path = format!("/workspaces/{}/a2a/queue/{NO_QUEUED_SEND}", http.workspace_id());
    let request =
        Request::get(&path).identity(Identity::Anonymous).refuses_token(|_| false).ignores_removal().deadline(deadline);
    let response = http.execute(&request, http.calls())?;
    match response.status {
        404 if wire::error_fields(&response.body).contains_key("retryable") => Ok(true),
        401 | 403 => Ok(false),
        _ => Err(refusal(&response, Call::Own, http.workspace_id())),
    }
}
