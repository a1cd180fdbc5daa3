//! The embedded platform of the demo: the two workspaces that it polls for, and the peers that write to them.

use std::io;
use std::time::Duration;

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{Client, Error};

use crate::exit::CommandFailure;

/// Number of workspaces that the demo polls for.
pub(super) const WORKSPACES: usize = 2;
/// The peers of the demo that the registry knows: name and role.
const PEERS: [(&str, &str); 4] =
    [("ops-agent", "sre"), ("lead", "team lead"), ("søren", "reviewer"), ("billing", "finance")];

/// The platform, and a client for each workspace that is polled.
pub(super) struct DemoPlatform {
    platform: Platform,
    workspaces: Vec<WorkspaceHandle>,
    clients: Vec<Client>,
    /// The peers of [`PEERS`], one that was removed, and one that the registry does not know.
    peers: Vec<WorkspaceHandle>,
}

/// Numbers of calls: those of the clients, and what the platform accepted of them.
#[derive(Clone, Copy)]
pub(super) struct RequestCounts {
    pub(super) lookups: u64,
    pub(super) messages: u64,
    pub(super) notices: u64,
    pub(super) heartbeats: u64,
}

impl DemoPlatform {
    pub(super) fn start() -> Result<Self, CommandFailure> {
        let listening =
            |error: io::Error| CommandFailure::Internal(format!("cannot listen on a loopback port: {error}"));
        let platform = Platform::start().map_err(listening)?;
        // Its inboxes are polled far more often than the real one allows.
        platform.rate_limit(None);
        let workspaces: Vec<_> = ["first inbox", "second inbox"].map(|name| platform.workspace(name)).into();
        let mut peers = Vec::new();
        for (name, role) in PEERS {
            let peer = platform.workspace(name);
            peer.set_role(Some(role));
            peers.push(peer);
        }
        let (removed, unknown) = (platform.workspace("retired"), platform.workspace("stranger"));
        removed.remove();
        unknown.purge();
        peers.extend([removed, unknown]);
        let clients = workspaces.iter().map(client).collect::<Result<_, Error>>()?;
        Ok(DemoPlatform { platform, workspaces, clients, peers })
    }

    /// Returns the address of the platform.
    pub(super) fn url(&self) -> String {
        self.platform.url()
    }

    /// Returns the number of peers.
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Returns the id of a workspace that is polled.
    pub(super) fn id(&self, workspace: usize) -> &str {
        self.workspaces[workspace].id()
    }

    /// Returns the client of a workspace that is polled.
    pub(super) fn client(&self, workspace: usize) -> &Client {
        &self.clients[workspace]
    }

    /// Adds a message to a workspace's inbox. Without a peer it is the human's.
    pub(super) fn add_message(&self, workspace: usize, peer: Option<usize>, text: &str) -> io::Result<()> {
        let to = &self.workspaces[workspace];
        match peer {
            Some(peer) => self.platform.send(&self.peers[peer], to, text)?,
            None => self.platform.human(to, text)?,
        };
        Ok(())
    }

    /// Turns the registry on or off. While it is off it accepts connections and does not answer.
    pub(super) fn set_registry_up(&self, is_up: bool) {
        self.platform.registry_silent(!is_up);
    }

    /// Returns the ids of the messages that a workspace was sent, in their order. Its own notices are left out.
    pub(super) fn message_ids(&self, workspace: usize) -> Vec<String> {
        let rows = self.platform.ledger().into_iter();
        let own = rows.filter(|row| row.workspace_id == self.id(workspace) && row.method == "message/send");
        own.map(|row| row.row_id).collect()
    }

    pub(super) fn request_counts(&self) -> RequestCounts {
        let stats: Vec<_> = self.clients.iter().map(Client::stats).collect();
        let sent = self.platform.sent();
        let notices = sent.iter().filter(|message| message.to.is_none()).count();
        RequestCounts {
            lookups: stats.iter().map(|stats| stats.lookups).sum(),
            messages: (sent.len() - notices) as u64,
            notices: notices as u64,
            heartbeats: stats.iter().map(|stats| stats.inbox.heartbeats).sum(),
        }
    }
}

/// Returns a client with shorter times than the defaults, so that the demo takes seconds.
///
/// The TTL lets records expire while the registry does not answer.
fn client(workspace: &WorkspaceHandle) -> Result<Client, Error> {
    let client = workspace.client().ttl(Duration::from_millis(300)).lookup_timeout(Duration::from_millis(200));
    client.circuit_backoff(Duration::from_millis(100), Duration::from_secs(1)).build()
}
