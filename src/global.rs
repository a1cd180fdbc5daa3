//! The process-wide client, under the names that the original Python module had.
//!
//! It is the one given to [`init`], or else made from the environment on first use. Where the
//! environment has no usable settings, the functions answer as the original does when its platform is
//! dead, and the reason is logged once, as an error.
//!
//! ```
//! use a2a_blocking::{Client, global};
//!
//! let client = Client::builder().workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100").build()?;
//! global::init(client.clone()).expect("it is set once, before its first use");
//! assert!(global::init(client).is_err());
//! assert_eq!(global::enrich_peer_metadata("ops-agent"), None);
//! # Ok::<(), a2a_blocking::Error>(())
//! ```
//!
//! The [`guide`](crate::guide) has the original's functions beside ours.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use once_cell::sync::OnceCell;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::{Error, WorkspaceRemoved, guard};
use crate::peer::{Peer, PeerId};
use crate::util::log_safe::log_safe;
use crate::util::text::excerpt;
use crate::wire::Reply;

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
#[must_use]
pub fn enrich_peer_metadata(peer_id: &str) -> Option<Peer> {
    usable().ok()?.enrich(peer_id)
}

/// [`Client::enrich_nonblocking`] of the process-wide client.
#[must_use]
pub fn enrich_peer_metadata_nonblocking(peer_id: &str) -> Option<Peer> {
    usable().ok()?.enrich_nonblocking(peer_id)
}

/// [`Client::discover`] of the process-wide client, with its error logged at debug level and left out.
#[must_use]
pub fn discover_peer(peer_id: &str) -> Option<Peer> {
    let client = usable().ok()?;
    guard(|| client.discover(peer_id).inspect_err(|error| log::debug!("discover: {error}"))).ok()
}

/// [`Client::send`] of the process-wide client, in the original's strings: the reply's text, or
/// `[A2A_ERROR] … [target=URL]`, or `[A2A_QUEUED] target=URL method=METHOD` where the platform delivers it
/// later.
#[must_use]
pub fn send_a2a_message(peer_id: &str, message: &str) -> String {
    let Ok(peer) = PeerId::parse(peer_id) else {
        return format!("[A2A_ERROR] invalid peer_id (expected UUID): '{}'", excerpt(peer_id));
    };
    let client = match usable() {
        Ok(client) => client,
        Err(error) => return format!("[A2A_ERROR] {error} [target=/workspaces/{peer}/a2a]"),
    };
    let target = client.message_url(peer);
    match client.send(peer, message) {
        Ok(Reply::Queued(queued)) => format!("[A2A_QUEUED] target={target} method={}", queued.method()),
        Ok(reply) => reply.text().into_owned(),
        Err(error) => format!("[A2A_ERROR] {} [target={target}]", error.in_httpx_words().detail()),
    }
}

/// [`Client::peers`] of the process-wide client; none where it failed.
#[must_use]
pub fn get_peers() -> Vec<Peer> {
    get_peers_with_diagnostic().0
}

/// [`Client::peers`] of the process-wide client, and where it failed the reason in the original's words.
pub fn get_peers_with_diagnostic() -> (Vec<Peer>, Option<String>) {
    match usable().and_then(Client::peers) {
        Ok(peers) => (peers, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

/// [`Client::workspace`] of the process-wide client: the platform's object, or
/// `{"error": "removed", "id", "removed_at", "hint"}`, `{"error": "not found"}`, `{"error": "…"}`.
pub fn get_workspace_info() -> Value {
    let error = match usable().and_then(Client::workspace) {
        Ok(workspace) => return Value::Object(workspace.as_json().clone()),
        Err(error) => error,
    };
    match (error.removed(), error.status()) {
        (Some(WorkspaceRemoved { id, removed_at, hint }), _) => {
            json!({ "error": "removed", "id": id, "removed_at": removed_at, "hint": hint })
        }
        // The original's word for every other status.
        (None, Some(status)) if status != 200 => json!({ "error": "not found" }),
        (None, _) => json!({ "error": error.in_httpx_words().to_string() }),
    }
}

/// [`Client::discover_url`] of the process-wide client; `None` for a text that is no peer id.
#[must_use]
pub fn agent_card_url_for(peer_id: &str) -> Option<String> {
    usable().ok()?.discover_url(peer_id).ok()
}

/// The canonical form of a peer id; `None` for a text that is none. It needs no client.
#[must_use]
pub fn validate_peer_id(peer_id: &str) -> Option<String> {
    PeerId::parse(peer_id).ok().map(|id| id.to_string())
}

/// The client, and if there is none the reason, which is also logged once.
fn usable() -> Result<&'static Client, Error> {
    static SAID: AtomicBool = AtomicBool::new(false);
    client().inspect_err(|error| {
        if !SAID.swap(true, Relaxed) {
            log_safe!(error, "no A2A client: {error}");
        }
    })
}
