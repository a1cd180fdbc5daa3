//! [`WorkspaceHandle`]: one workspace of a platform in process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::entities::DeliveryMode;
use super::state::{Shared, State};
use super::time::Micros;
use super::{feed, workspaces};
use crate::client::{Client, ClientBuilder};

/// A workspace of a [`Platform`](super::Platform), with what an operator can do to it.
///
/// A handle does not keep the platform running.
#[derive(Clone)]
pub struct WorkspaceHandle {
    shared: Arc<Shared>,
    id: String,
}

/// Without the token.
impl fmt::Debug for WorkspaceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl WorkspaceHandle {
    pub(super) fn new(shared: &Arc<Shared>, id: String) -> Self {
        WorkspaceHandle { shared: shared.clone(), id }
    }

    /// Returns the workspace's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the newest token that lives. `None` after a removal.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        let state = self.shared.lock();
        let own = state.tokens.iter().filter(|(_, token)| token.workspace == self.id);
        own.max_by_key(|(_, token)| token.created_at).map(|(text, _)| text.clone())
    }

    /// Returns the secret with which a request to `…/a2a/inbound` counts as the canvas's.
    #[must_use]
    pub fn inbound_secret(&self) -> Option<String> {
        self.shared.lock().workspace(&self.id).map(|workspace| workspace.inbound_secret.clone())
    }

    /// Returns a builder with all that a client of this workspace needs: the platform's URL, the id, the present token, and
    /// the organisation where the platform has one.
    ///
    /// ```
    /// # use a2a_blocking::testing::Platform;
    /// let platform = Platform::start()?;
    /// let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    /// let client = ops.client().build()?;
    /// assert_eq!(client.enrich(dev.id()).unwrap().name(), Some("dev"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client(&self) -> ClientBuilder {
        let organisation = self.shared.lock().setup.tenant.clone();
        let builder = Client::builder().platform_url(format!("http://{}", self.shared.host())).workspace_id(&self.id);
        let builder = builder.token(self.token().unwrap_or_default());
        match organisation {
            Some(organisation) => builder.org_id(organisation),
            None => builder,
        }
    }

    /// Returns the status, such as `online` or `awaiting_agent`. `None` after a purge.
    #[must_use]
    pub fn status(&self) -> Option<String> {
        self.shared.lock().workspace(&self.id).map(|workspace| workspace.status.clone())
    }

    /// Makes a new token, revokes the others, and returns the new one. Open event streams stay open.
    #[allow(clippy::must_use_candidate)]
    pub fn rotate_token(&self) -> String {
        self.change(|state, id| {
            state.revoke_tokens(id);
            state.mint_token(id)
        })
    }

    /// Revokes all tokens. Until the next registration anybody may speak for the workspace in the registry.
    pub fn revoke_tokens(&self) {
        self.change(State::revoke_tokens);
    }

    /// Removes the workspace: its tokens are refused from now on, and it answers 410.
    pub fn remove(&self) {
        self.change(workspaces::remove_workspace);
    }

    /// Forgets the workspace: it answers 404.
    pub fn purge(&self) {
        self.change(State::purge);
    }

    /// Pauses the workspace. It goes on to list, notify and take heartbeats: only its state says it.
    pub fn pause(&self) {
        self.set_status("paused");
    }

    /// Hibernates the workspace. As with a pause, only its state says it.
    pub fn hibernate(&self) {
        self.set_status("hibernated");
    }

    /// Ends a pause or a hibernation.
    pub fn resume(&self) {
        self.set_status("online");
    }

    /// Sets the status to any word, as an operator can in the database.
    pub fn set_status(&self, status: &str) {
        self.change(|state, id| workspaces::set_status(state, id, status));
    }

    /// Removes all rows of the inbox, as the platform does when they are old.
    pub fn prune(&self) {
        self.change(feed::prune);
    }

    /// Ages the last heartbeat beyond 180 s, after which the agent counts as gone (`awaiting_agent`).
    pub fn lapse_heartbeat(&self) {
        self.change(|state, id| {
            if let Some(workspace) = state.workspace_mut(id) {
                workspace.last_heartbeat = Some(Micros::now().minus(Duration::from_secs(181)));
            }
        });
    }

    /// Renames the workspace.
    pub fn rename(&self, name: &str) {
        self.change(|state, id| {
            if let Some(workspace) = state.workspace_mut(id) {
                name.clone_into(&mut workspace.name);
            }
        });
    }

    /// Sets the role, which peers and rows show.
    pub fn set_role(&self, role: Option<&str>) {
        self.change(|state, id| {
            if let Some(workspace) = state.workspace_mut(id) {
                workspace.role = role.map(str::to_owned);
            }
        });
    }

    /// Sets whether the workspace's budget is spent: messages to it are answered 402.
    pub fn over_budget(&self, is_over: bool) {
        self.change(|state, id| {
            if let Some(workspace) = state.workspace_mut(id) {
                workspace.over_budget = is_over;
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut State, &str) -> T) -> T {
        let result = change(&mut self.shared.lock(), &self.id);
        self.shared.notify();
        result
    }
}

/// Registers a workspace as its agent would: as a poller, or with a URL.
pub(super) fn register_in_process(state: &mut State, id: &str, url: Option<&str>) {
    let Some(workspace) = state.workspace_mut(id) else { return };
    workspace.mode = if url.is_some() { DeliveryMode::Push } else { DeliveryMode::Poll };
    url.unwrap_or_default().clone_into(&mut workspace.url);
    workspace.cached_url = url.map(str::to_owned);
    workspace.card = serde_json::json!({ "name": workspace.name, "description": workspace.name });
    workspace.last_heartbeat = Some(Micros::now());
    "online".clone_into(&mut workspace.status);
}
