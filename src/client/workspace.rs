//! Calls about our own workspace: its record, state, card and heartbeat.

use std::time::Duration;

use super::Client;
use crate::error::{Error, guard};
use crate::platform::{
    Workspace, WorkspaceState, bare_heartbeat, is_origin_of_canvas, probe_events, update_card, workspace,
    workspace_state,
};
use crate::util::clock::Deadline;
use crate::wire::AgentCard;

/// Our own workspace.
impl Client {
    /// Fetches the client's own workspace from the platform, in at most 10 s.
    ///
    /// # Errors
    ///
    /// The same cases as for [`peers`](Client::peers), and a body that is no JSON object.
    pub fn workspace(&self) -> Result<Workspace, Error> {
        guard(|| workspace(&self.inner.http, self.inner.http.calls(), self.inner.deadline())?.into_result())
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
        guard(|| workspace_state(&self.inner.http, self.inner.http.calls(), None, self.inner.deadline()))
    }

    /// Publishes a card in place of the one that is there, in at most 10 s. It changes nothing else of the registration.
    ///
    /// The platform takes a card also for a workspace that was removed, so its state is asked before.
    ///
    /// # Errors
    ///
    /// As [`state`](Client::state), and as [`register`](Client::register) for a card that cannot be sent.
    pub fn update_card(&self, card: &AgentCard) -> Result<(), Error> {
        guard(|| {
            card.check()?;
            let (http, deadline) = (&self.inner.http, self.inner.deadline());
            workspace_state(http, http.calls(), None, deadline)?;
            update_card(http, http.messages(), &card.as_json().clone().into(), deadline)
        })
    }

    /// Tells the platform that our agent is alive, in at most 10 s. A poller does so every 30 s.
    ///
    /// Without one for 90 s peers see the workspace as offline, and after 180 s its status is `awaiting_agent`. A
    /// heartbeat brings it back. The platform takes one also for a workspace that was removed, so that a success proves
    /// nothing: [`state`](Client::state) does.
    ///
    /// # Errors
    ///
    /// [`Unauthorized`](crate::ErrorKind::Unauthorized) (401, 403), any other status that is no 2xx, a failed transport.
    pub fn heartbeat(&self) -> Result<(), Error> {
        guard(|| bare_heartbeat(&self.inner.http, self.inner.http.messages(), self.inner.deadline()))
    }

    /// Returns the card that the environment describes, which a poller registers: see
    /// [`ClientBuilder::from_env`](crate::ClientBuilder::from_env).
    #[must_use]
    pub fn agent_card(&self) -> Option<&AgentCard> {
        self.inner.agent_card.as_ref()
    }

    /// Tries the platform's event stream: opens it, waits for its first bytes, and closes it, in at most `timeout` (more
    /// than 10 s is taken for that).
    ///
    /// The stream says at once that there is a message. Without it a message is seen with the next poll.
    ///
    /// # Errors
    ///
    /// A refused token ([`Unauthorized`](crate::ErrorKind::Unauthorized)); a platform without the stream
    /// ([`Status`](crate::ErrorKind::Status), 404); a stream whose first bytes do not arrive, as behind a proxy that
    /// buffers it ([`Timeout`](crate::ErrorKind::Timeout)); an answer that is no stream
    /// ([`Malformed`](crate::ErrorKind::Malformed)); a failed transport.
    pub fn check_events(&self, timeout: Duration) -> Result<(), Error> {
        guard(|| probe_events(&self.inner.http, Deadline::after(timeout.min(self.inner.settings.call_timeout))))
    }

    /// Asks whether the platform takes the client's `Origin` for the canvas's, in at most 10 s.
    ///
    /// If so, the client's messages are stamped as a human's, whatever its token is, and whoever reaches the platform can
    /// write as the human. Set [`origin(None)`](crate::ClientBuilder::origin) then. A client that sends no `Origin` makes
    /// no request and gets `false`.
    ///
    /// # Errors
    ///
    /// Any status but 401, 403 and the platform's own 404; a failed transport.
    pub fn is_origin_of_canvas(&self) -> Result<bool, Error> {
        let sends_origin = self.inner.settings.origin.is_some();
        guard(|| Ok(sends_origin && is_origin_of_canvas(&self.inner.http, self.inner.deadline())?))
    }
}
