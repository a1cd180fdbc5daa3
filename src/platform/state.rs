//! The state of our own workspace.

use serde_json::{Map, Value};

use super::response::{Call, read_object, refusal};
use crate::error::Error;
use crate::http::{Http, Pool, Request};
use crate::token::Token;
use crate::util::clock::Deadline;
use crate::wire::CALL_MEMORY;

/// The state of our own workspace (online, paused, deleted): the platform's JSON object, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceState {
    fields: Map<String, Value>,
}

impl WorkspaceState {
    /// Returns the field `status`, if it is a text: `online`, `offline`, `paused`, `hibernated`, `awaiting_agent` and others.
    pub fn status(&self) -> Option<&str> {
        self.fields.get("status").and_then(Value::as_str)
    }

    /// Returns whether the workspace is paused. Its rows can be listed all the same.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.has("paused") || self.status() == Some("paused")
    }

    /// Returns whether the workspace is hibernated. Its rows can be listed all the same.
    #[must_use]
    pub fn is_hibernated(&self) -> bool {
        self.status() == Some("hibernated")
    }

    /// Returns whether the platform says that the workspace was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.has("deleted")
    }

    /// Returns the whole object.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn has(&self, field: &str) -> bool {
        self.fields.get(field) == Some(&Value::Bool(true))
    }
}

/// Asks the platform for the state of our own workspace. The answer proves that it takes our token, or `token` in its place.
///
/// # Errors
///
/// [`Unauthorized`](crate::ErrorKind::Unauthorized) for 401 and 403. Any other status, a body that is no JSON object, and a
/// failure of the transport are errors, too.
pub(crate) fn workspace_state(
    http: &Http,
    pool: &Pool,
    token: Option<&Token>,
    deadline: Deadline,
) -> Result<WorkspaceState, Error> {
    let path = format!("/workspaces/{}/state", http.workspace_id());
    let request = Request::get(&path).deadline(deadline);
    let response = http.execute(&token.map_or(request, |token| request.token(token)), pool)?;
    match response.status {
        200 => Ok(WorkspaceState { fields: read_object(&response, CALL_MEMORY)? }),
        _ => Err(refusal(&response, Call::State, http.workspace_id())),
    }
}
