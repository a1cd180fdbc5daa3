//! Our own workspace, as the platform has it.

use std::fmt;

use serde_json::{Map, Value};

use super::response::{Call, read_object, refusal};
use crate::error::Error;
use crate::http::{Http, Request};
use crate::util::clock::Deadline;
use crate::wire::CALL_MEMORY;

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

/// Asks the platform for our own workspace.
///
/// # Errors
///
/// [`Removed`](crate::ErrorKind::Removed) for 410, [`NotFound`](crate::ErrorKind::NotFound) for 404,
/// [`Unauthorized`](crate::ErrorKind::Unauthorized) for 401 and 403. Any other status, a body that is no JSON object, and a
/// failure of the transport are errors, too.
pub(crate) fn workspace(http: &Http, deadline: Deadline) -> Result<Workspace, Error> {
    let path = format!("/workspaces/{}", http.workspace_id());
    let response = http.execute(&Request::get(&path).deadline(deadline).ignores_removal(), http.calls())?;
    match response.status {
        200 => Ok(Workspace { fields: read_object(&response, CALL_MEMORY)? }),
        _ => Err(refusal(&response, Call::Workspace, http.workspace_id())),
    }
}
