//! The registry: the record of one peer, and the list of our peers.

use std::sync::Arc;

use super::response::{Call, peers_refusal, peers_unreachable, read_object, read_peers, refusal};
use crate::error::Error;
use crate::http::{Http, Identity, Pool, RateLimit, Request};
use crate::peer::{Peer, PeerId};
use crate::util::clock::Deadline;
use crate::wire::{PeerList, RECORD_MEMORY};

/// Longest record that is read, in bytes.
///
/// The platform's own records are below 1 KiB, and below 16 KiB with an agent card.
const MAX_RECORD: u64 = 256 * 1024;

/// The registry of one platform.
pub(crate) struct Registry {
    http: Arc<Http>,
}

impl Registry {
    pub(crate) fn new(http: Arc<Http>) -> Self {
        Registry { http }
    }

    /// Returns the account of the platform's rate limit.
    pub(crate) fn rate_limit(&self) -> &Arc<RateLimit> {
        self.http.rate_limit()
    }

    /// Returns the number of the token in use.
    pub(crate) fn token_number(&self) -> u64 {
        self.http.tokens().number()
    }

    /// Asks for the record of one peer, on behalf of a callback that waits.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover).
    pub(crate) fn lookup(&self, peer: PeerId, deadline: Deadline) -> Result<Peer, Error> {
        let path = discover_path(peer);
        self.record(peer, record_request(&path, deadline).ignores_removal(), self.http.lookups())
    }

    /// Asks for the record of one peer, on behalf of a user that waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where the registry itself answers that there is none. Any other
    /// error is a failed lookup.
    pub(crate) fn discover(&self, peer: PeerId, deadline: Deadline) -> Result<Peer, Error> {
        let path = discover_path(peer);
        self.record(peer, record_request(&path, deadline), self.http.calls())
    }

    fn record(&self, peer: PeerId, request: Request<'_>, pool: &Pool) -> Result<Peer, Error> {
        let response = self.http.execute(&request, pool)?;
        if response.status != 200 {
            return Err(refusal(&response, Call::Discover, self.http.workspace_id()));
        }
        Ok(Peer::discovered(peer, read_object(&response, RECORD_MEMORY)?))
    }

    /// Asks for the peers of our own workspace.
    ///
    /// # Errors
    ///
    /// The whole text is the diagnostic of the Python module `a2a_client`, word for word.
    pub(crate) fn peers(&self, deadline: Deadline) -> Result<PeerList, Error> {
        let workspace_id = self.http.workspace_id();
        let path = format!("/registry/{workspace_id}/peers");
        let request = Request::get(&path).identity(Identity::Workspace).deadline(deadline);
        let response = self
            .http
            .execute(&request, self.http.calls())
            .map_err(|error| peers_unreachable(error, self.http.platform()))?;
        match response.status {
            200 => read_peers(&response),
            _ => Err(peers_refusal(&response, workspace_id)),
        }
    }

    /// Returns the URL of a peer's record.
    pub(crate) fn discover_url(&self, peer: PeerId) -> String {
        format!("{}{}", self.http.platform(), discover_path(peer))
    }
}

fn record_request(path: &str, deadline: Deadline) -> Request<'_> {
    Request::get(path).identity(Identity::Workspace).deadline(deadline).max_response(MAX_RECORD)
}

fn discover_path(peer: PeerId) -> String {
    format!("/registry/discover/{peer}")
}
