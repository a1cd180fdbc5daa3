//! Calls about our own workspace.

use super::Client;
use crate::error::{Error, guard};
use crate::platform::{Workspace, WorkspaceState, workspace, workspace_state};

/// Our own workspace.
impl Client {
    /// Fetches the client's own workspace from the platform, in at most 10 s.
    ///
    /// # Errors
    ///
    /// The same cases as for [`peers`](Client::peers), and a body that is no JSON object.
    pub fn workspace(&self) -> Result<Workspace, Error> {
        guard(|| workspace(&self.inner.http, self.inner.deadline()))
    }

    /// Asks whether our own workspace is online, paused or deleted, in at most 10 s.
    ///
    /// Unlike [`workspace`](Client::workspace) it needs the workspace's own token, so that a success proves the token.
    ///
    /// # Errors
    ///
    /// A refused token ([`Unauthorized`](crate::ErrorKind::Unauthorized): 401 and 403); a workspace that was removed
    /// ([`Removed`](crate::ErrorKind::Removed)); any other status; a body that is no JSON object; a failed transport.
    pub fn state(&self) -> Result<WorkspaceState, Error> {
        guard(|| workspace_state(&self.inner.http, self.inner.deadline()))
    }
}
