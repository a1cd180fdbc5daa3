//! The process-wide client, under the names that the original Python module had.
//!
//! It is the one given to [`init`], or else made from the environment on first use. Where the
//! environment has no usable settings, the functions answer as the original does when its platform is
//! dead, and the reason is logged once, as an error.

use std::sync::Once;

use once_cell::sync::OnceCell;

use crate::client::Client;
use crate::error::Error;
use crate::peer::{Peer, PeerId};

static CLIENT: OnceCell<Client> = OnceCell::new();

/// Sets the process-wide client, once, before its first use.
///
/// # Errors
///
/// Hands the client back where there is one already.
pub fn init(client: Client) -> Result<(), Client> {
    CLIENT.set(client)
}

/// The process-wide client; made from the environment if nobody has set it.
///
/// # Errors
///
/// As [`Client::from_env`]. The next call tries again.
pub fn client() -> Result<&'static Client, Error> {
    CLIENT.get_or_try_init(Client::from_env)
}

/// [`Client::enrich`] of the process-wide client.
pub fn enrich_peer_metadata(peer_id: &str) -> Option<Peer> {
    usable()?.enrich(peer_id)
}

/// [`Client::discover`] of the process-wide client, with its error logged at debug level and left out.
pub fn discover_peer(peer_id: &str) -> Option<Peer> {
    usable()?.discover(peer_id).inspect_err(|error| log::debug!("discover: {error}")).ok()
}

/// [`Client::agent_card_url`] of the process-wide client; `None` for a text that is no peer id.
pub fn agent_card_url_for(peer_id: &str) -> Option<String> {
    usable()?.agent_card_url(peer_id).ok()
}

/// The canonical form of a peer id; `None` for a text that is none. It needs no client.
pub fn validate_peer_id(peer_id: &str) -> Option<String> {
    PeerId::parse(peer_id).ok().map(|id| id.to_string())
}

fn usable() -> Option<&'static Client> {
    static SAID: Once = Once::new();
    client().inspect_err(|error| SAID.call_once(|| log::error!("no A2A client: {error}"))).ok()
}
