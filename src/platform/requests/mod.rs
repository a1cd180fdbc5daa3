//! Requests: tasks and approvals that an agent or a person is asked for. And the platform's rules for agents.

mod new;
mod record;

use std::sync::Arc;

use serde_json::{Value, json};

use super::post::{OutgoingPost, path_segment};
use super::response::{Call, read_object, read_objects, read_text, refusal, without_text};
use crate::error::Error;
use crate::http::{Http, Pool, Request};
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;
use crate::util::text::{Untrusted, strip};
use crate::wire::CALL_MEMORY;
pub use new::{NewRequest, RequestAction};
pub use record::{RequestDetails, RequestMessage, WorkspaceRequest};

/// The name of a request's id in errors.
const ID: &str = "request id";

/// The requests that a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestList {
    /// Those that our workspace made.
    Own,
    /// Those that were put to our workspace.
    Inbox,
    /// Those that were put to our workspace, and that nobody has responded to or asked about.
    Pending,
}

/// Lists requests, the newest first.
///
/// # Errors
///
/// Any status but 200, a body that is no list, or a failure of the transport.
pub(crate) fn requests(
    http: &Http,
    pool: &Pool,
    list: RequestList,
    deadline: Deadline,
) -> Result<Vec<WorkspaceRequest>, Error> {
    let tail = match list {
        RequestList::Own => "",
        RequestList::Inbox => "/inbox",
        RequestList::Pending => "/inbox?status=pending",
    };
    let path = format!("/workspaces/{}/requests{tail}", http.workspace_id());
    let response = http.execute(&Request::get(&path).deadline(deadline), pool)?;
    if response.status != 200 {
        return Err(refusal(&response, Call::Own, http.workspace_id()));
    }
    let (objects, mut skipped) = read_objects(&response)?;
    let count = objects.len();
    let mut requests: Vec<_> = objects.into_iter().filter_map(WorkspaceRequest::new).collect();
    skipped += count - requests.len();
    if list == RequestList::Pending {
        // A platform that does not know the filter lists all.
        requests.retain(|request| request.status().is_none_or(|status| status == "pending"));
    }
    if skipped > 0 {
        let target = Untrusted::new(&response.target);
        log_safe!(warn, "{target}: {skipped} entries are left out: they are no objects, or have no id");
    }
    Ok(requests)
}

/// Asks for one request, with its messages.
///
/// # Errors
///
/// [`NotFound`](crate::ErrorKind::NotFound) for 404; any other status but 200, such as a 403 for a request of others; a body
/// without a request; a failure of the transport.
pub(crate) fn request_details(http: &Http, id: &str, deadline: Deadline) -> Result<RequestDetails, Error> {
    let path = format!("/workspaces/{}/requests/{}", http.workspace_id(), path_segment(ID, id)?);
    let response = http.execute(&Request::get(&path).deadline(deadline), http.calls())?;
    if response.status != 200 {
        return Err(refusal(&response, Call::Request, http.workspace_id()));
    }
    let mut fields = read_object(&response, CALL_MEMORY)?;
    let Some(Value::Object(request)) = fields.remove("request") else {
        return Err(without_text(&response, "request.id"));
    };
    let request = WorkspaceRequest::new(request).ok_or_else(|| without_text(&response, "request.id"))?;
    Ok(RequestDetails { request, messages: RequestMessage::list(fields.remove("messages")) })
}

/// Makes a request. The answer is its id.
///
/// # Errors
///
/// A blank title, a text with U+0000 in it, or more than 1 MiB.
pub(crate) fn new_request(http: &Arc<Http>, request: &NewRequest) -> Result<OutgoingPost<String>, Error> {
    let body = request.to_json()?;
    OutgoingPost::json(http, "requests", &body, Call::Own, |response| read_text(response, "request_id"))
}

/// Responds to a request that was put to us.
///
/// # Errors
///
/// An id that is none.
pub(crate) fn respond(http: &Arc<Http>, id: &str, action: RequestAction) -> Result<OutgoingPost<()>, Error> {
    let path = format!("requests/{}/respond", path_segment(ID, id)?);
    OutgoingPost::json(http, &path, &json!({ "action": action.as_str() }), Call::Request, |_| Ok(()))
}

/// Adds a message to a request. The answer is the message's id.
///
/// # Errors
///
/// An id that is none, a blank text, one with U+0000 in it, or more than 1 MiB.
pub(crate) fn request_message(http: &Arc<Http>, id: &str, text: &str) -> Result<OutgoingPost<String>, Error> {
    let path = format!("requests/{}/messages", path_segment(ID, id)?);
    if strip(text).is_empty() {
        return Err(Error::blank_text());
    }
    let body = json!({ "body": text, "author_type": "agent" });
    OutgoingPost::json(http, &path, &body, Call::Request, |response| read_text(response, "message_id"))
}

/// Takes back a request of ours.
///
/// # Errors
///
/// An id that is none.
pub(crate) fn cancel_request(http: &Arc<Http>, id: &str) -> Result<OutgoingPost<()>, Error> {
    let path = format!("requests/{}/cancel", path_segment(ID, id)?);
    OutgoingPost::json(http, &path, &json!({}), Call::Request, |_| Ok(()))
}

/// Asks for the platform's rules for our agent, which may be an empty text.
///
/// # Errors
///
/// Any status but 200, a body without that text, or a failure of the transport.
pub(crate) fn instructions(http: &Http, deadline: Deadline) -> Result<String, Error> {
    let path = format!("/workspaces/{}/instructions/resolve", http.workspace_id());
    let response = http.execute(&Request::get(&path).deadline(deadline), http.calls())?;
    match response.status {
        200 => read_text(&response, "instructions"),
        _ => Err(refusal(&response, Call::Own, http.workspace_id())),
    }
}
