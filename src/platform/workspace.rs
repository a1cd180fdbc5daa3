//! Our own workspace, as the platform has it.

use std::fmt;

use serde_json::{Map, Value};

use super::response::{Call, read_object, refusal};
use crate::error::Error;
use crate::http::{Http, Pool, Request, Response};
use crate::util::clock::Deadline;
use crate::wire::{self, CALL_MEMORY};

/// Our own workspace: the platform's JSON object, as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Workspace {
    fields: Map<String, Value>,
}

impl Workspace {
    /// Returns the field `id`, if it is a text.
    pub fn id(&self) -> Option<&str> {
        self.get("id").and_then(Value::as_str)
    }

    /// Returns the field `name`, if it is a text.
    pub fn name(&self) -> Option<&str> {
        self.get("name").and_then(Value::as_str)
    }

    /// Returns a field of any type, or `None` where there is none of that name.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// Returns the whole object.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.fields
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Workspace").field(&self.fields).finish()
    }
}

/// An answer about our own workspace.
pub(crate) enum WorkspaceAnswer {
    Found(Workspace),
    /// The platform says that it was removed.
    Removed(Error),
    /// The platform says in its own words that there is no workspace of this id: it was purged, or the id is mistyped.
    Unknown(Error),
}

impl WorkspaceAnswer {
    /// Returns the workspace.
    ///
    /// # Errors
    ///
    /// [`Removed`](crate::ErrorKind::Removed) or [`NotFound`](crate::ErrorKind::NotFound), where it is no more.
    pub(crate) fn into_result(self) -> Result<Workspace, Error> {
        match self {
            WorkspaceAnswer::Found(workspace) => Ok(workspace),
            WorkspaceAnswer::Removed(error) | WorkspaceAnswer::Unknown(error) => Err(error),
        }
    }
}

/// Asks the platform for our own workspace.
///
/// # Errors
///
/// [`NotFound`](crate::ErrorKind::NotFound) for a 404 of something before the platform,
/// [`Unauthorized`](crate::ErrorKind::Unauthorized) for 401 and 403. Any other status, a body that is no JSON object, and a
/// failure of the transport are errors, too.
pub(crate) fn workspace(http: &Http, pool: &Pool, deadline: Deadline) -> Result<WorkspaceAnswer, Error> {
    let path = format!("/workspaces/{}", http.workspace_id());
    let response = http.execute(&Request::get(&path).deadline(deadline).ignores_removal(), pool)?;
    if response.status == 200 {
        return Ok(WorkspaceAnswer::Found(Workspace { fields: read_object(&response, CALL_MEMORY)? }));
    }
    let error = refusal(&response, Call::Workspace, http.workspace_id());
    match response.status {
        410 => Ok(WorkspaceAnswer::Removed(error)),
        404 if is_unknown(&response) => Ok(WorkspaceAnswer::Unknown(error)),
        _ => Err(error),
    }
}

/// Returns whether a 404 has the platform's own words for a workspace that it does not have.
fn is_unknown(response: &Response) -> bool {
    wire::error_text(&response.body).is_some_and(|text| text.to_ascii_lowercase().contains("workspace not found"))
}
