//! Our own workspace: as the platform has it, its inbox, its human, its sign of life.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, WorkspaceRemoved};
use crate::http::{Ask, Http, Identity, Pace, Response, SEND_SILENCE};
use crate::util::clock::Deadline;
use crate::wire;

/// The largest description of a workspace that is read, in bytes of JSON.
const MAX_WORKSPACE: u64 = 10_000_000;
/// What to do about a removed workspace, where the platform does not say it: the original's words.
const HINT: &str = "Workspace was deleted on the platform. Regenerate workspace + token from the canvas → Tokens tab.";

/// Our own workspace: the platform's JSON object, kept as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Workspace {
    fields: Map<String, Value>,
}

impl Workspace {
    /// Its `id`, where it is a text.
    pub fn id(&self) -> Option<&str> {
        self.get("id").and_then(Value::as_str)
    }

    /// Its `name`, where it is a text.
    pub fn name(&self) -> Option<&str> {
        self.get("name").and_then(Value::as_str)
    }

    /// A field, of whatever type; `None` where there is none of that name.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// All of it.
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
/// WorkspaceRemoved (410), not known (404) and refused (401, 403) are kinds of their own; the rest is no usable
/// answer.
pub(crate) fn workspace(http: &Arc<Http>, deadline: Deadline) -> Result<Workspace, Error> {
    let id = http.workspace_id();
    let path = format!("/workspaces/{id}");
    let ask = Ask { path: &path, identity: Identity::TokenOnly, deadline, cap: MAX_WORKSPACE, silence: SEND_SILENCE };
    let reply = http.get(&ask, Pace::Call)?;
    let error = |kind, detail: String| Err(reply.error(kind, detail));
    match reply.status {
        200 => {
            reply.check_encoding()?;
            match wire::object(&reply.body, wire::CALL_ROOM) {
                Ok(fields) => Ok(Workspace { fields }),
                Err(why) => error(why.kind, format!("answered {why}")),
            }
        }
        403 if reply.body.is_empty() => {
            error(ErrorKind::Unauthorized, "answered 403 without a body; check the origin and the org id".to_owned())
        }
        401 | 403 => {
            error(ErrorKind::Unauthorized, format!("answered {}; the platform refuses our token", reply.status))
        }
        404 => error(ErrorKind::NotFound, format!("answered 404; the platform knows no workspace {id}")),
        410 => Err(removal(&reply, id)),
        status => error(ErrorKind::Status, format!("answered {status}")),
    }
}

/// The error that a 410 of a removed workspace is.
pub(super) fn removal(reply: &Response, our_id: &str) -> Error {
    let removed = removed(reply, our_id);
    let when = removed.removed_at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
    let detail = format!("the workspace {} was removed{when}: {}", removed.id, removed.hint);
    reply.error(ErrorKind::Removed, detail).with_removed(removed)
}

/// What a 410 says, with what is missing filled in as the original does.
pub(crate) fn removed(reply: &Response, our_id: &str) -> WorkspaceRemoved {
    let fields = wire::object(&reply.body, wire::RECORD_ROOM).unwrap_or_default();
    let text = |field: &str| fields.get(field).and_then(Value::as_str).map(|text| reply.shown(text));
    WorkspaceRemoved {
        id: text("id").unwrap_or_else(|| our_id.to_owned()),
        removed_at: text("removed_at"),
        hint: text("hint").unwrap_or_else(|| HINT.to_owned()),
    }
}
