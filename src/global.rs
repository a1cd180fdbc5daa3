//! The functions of the Python module `a2a_client`, under its names, over one process-wide client.
//!
//! The client is the one given to [`init`], or else built from the environment on first use. Where the environment has
//! no usable settings, the functions answer as the Python module does when its platform is down. The reason is logged
//! once, as an error.
//!
//! ```
//! use a2a_blocking::{Client, global};
//!
//! let client = Client::builder().workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100").build()?;
//! global::init(client.clone()).expect("set once, before its first use");
//! assert!(global::init(client).is_err());
//! assert_eq!(global::enrich_peer_metadata("ops-agent"), None);
//! # Ok::<(), a2a_blocking::Error>(())
//! ```
//!
//! The [`guide`](crate::guide) shows the functions of the Python module beside these.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use once_cell::sync::{Lazy, OnceCell};
use serde_json::{Value, json};

use crate::client::{Client, ClientBuilder};
use crate::error::failure_log::{FailureLog, severity_of_lookup};
use crate::error::{Error, ErrorKind, WorkspaceRemoved};
use crate::peer::{Peer, PeerId};
use crate::util::log_safe::log_safe;
use crate::util::text::excerpt;
use crate::wire::Reply;

static CLIENT: OnceCell<Client> = OnceCell::new();

/// Log of [`discover_peer`], whose callers do not see the error.
static DISCOVERIES: Lazy<FailureLog> = Lazy::new(|| {
    FailureLog::new("a2a_blocking::global", "discover: no record", "discover: the registry answers again")
});

/// Sets the process-wide client. Works once, before its first use.
///
/// # Errors
///
/// The client that was given, where there is one already.
pub fn init(client: Client) -> Result<(), Client> {
    CLIENT.set(client)
}

/// Returns the process-wide client. Builds it from the environment if none was set.
///
/// That one has the Python module's one TTL of 300 s for records, absent peers and failed lookups. A client that is given
/// to [`init`] has its own.
///
/// # Errors
///
/// As [`Client::from_env`]. The next call tries again.
pub fn client() -> Result<&'static Client, Error> {
    // `error_ttl` is at most `negative_ttl`.
    CLIENT.get_or_try_init(|| ClientBuilder::from_env().error_ttl(Duration::MAX).build())
}

/// Calls [`Client::enrich`] on the process-wide client.
#[must_use]
pub fn enrich_peer_metadata(peer_id: &str) -> Option<Peer> {
    client_or_log().ok()?.enrich(peer_id)
}

/// Calls [`Client::enrich_nonblocking`] on the process-wide client.
#[must_use]
pub fn enrich_peer_metadata_nonblocking(peer_id: &str) -> Option<Peer> {
    client_or_log().ok()?.enrich_nonblocking(peer_id)
}

/// Calls [`Client::discover`] on the process-wide client. An error is `None`.
///
/// Of a series of errors the first is logged as a warning, or as an error where the token is refused. The others, and
/// peers that the registry does not know or show, are logged at debug level.
#[must_use]
pub fn discover_peer(peer_id: &str) -> Option<Peer> {
    let client = client_or_log().ok()?;
    let found = client.discover(peer_id);
    match &found {
        Ok(_) => DISCOVERIES.succeeded(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DISCOVERIES.succeeded();
            log_safe!(debug, "discover: {error}");
        }
        Err(error) if error.kind() == ErrorKind::InvalidPeerId => log_safe!(debug, "discover: {error}"),
        Err(error) => DISCOVERIES.failed(severity_of_lookup(error), error, format_args!("")),
    }
    found.ok()
}

/// Calls [`Client::send`] on the process-wide client. Returns a string of the Python module:
///
/// - the reply's text
/// - `[A2A_ERROR] … [target=URL]`
/// - `[A2A_ERROR] Agent error: …`, where the agent's answer is a text that starts so
/// - `[A2A_QUEUED] target=URL method=METHOD`, where the platform delivers the message later
#[must_use]
pub fn send_a2a_message(peer_id: &str, message: &str) -> String {
    let Ok(peer) = PeerId::parse(peer_id) else {
        return format!("[A2A_ERROR] invalid peer_id (expected UUID): '{}'", excerpt(peer_id));
    };
    let client = match client_or_log() {
        Ok(client) => client,
        Err(error) => return format!("[A2A_ERROR] {error} [target=/workspaces/{peer}/a2a]"),
    };
    let target = client.message_url(peer);
    match client.send(peer, message) {
        Ok(Reply::Queued(queued)) => format!("[A2A_QUEUED] target={target} method={}", queued.method()),
        Ok(reply) => reply.text().into_owned(),
        // The agent reports it as its reply. The Python module hands on a reply without the target.
        Err(error) if error.kind() == ErrorKind::Agent && error.detail().starts_with("Agent error:") => {
            format!("[A2A_ERROR] {}", error.detail())
        }
        Err(error) => format!("[A2A_ERROR] {} [target={target}]", error.in_httpx_words().detail()),
    }
}

/// Calls [`Client::peers`] on the process-wide client. Returns an empty list where it failed.
#[must_use]
pub fn get_peers() -> Vec<Peer> {
    get_peers_with_diagnostic().0
}

/// Calls [`Client::peers`] on the process-wide client. Returns also the reason where it failed, in the words of the
/// Python module.
pub fn get_peers_with_diagnostic() -> (Vec<Peer>, Option<String>) {
    match client_or_log().and_then(Client::peers) {
        Ok(peers) => (peers, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

/// Calls [`Client::workspace`] on the process-wide client. Returns the platform's object, or an object with an error:
///
/// - `{"error": "removed", "id", "removed_at", "hint"}` for a workspace that was removed
/// - `{"error": "not found"}` for any other status
/// - `{"error": "…"}` for any other failure
pub fn get_workspace_info() -> Value {
    let error = match client_or_log().and_then(Client::workspace) {
        Ok(workspace) => return Value::Object(workspace.as_json().clone()),
        Err(error) => error,
    };
    match (error.removed(), error.status()) {
        (Some(WorkspaceRemoved { id, removed_at, hint }), _) => {
            json!({ "error": "removed", "id": id, "removed_at": removed_at, "hint": hint })
        }
        // The Python module says so for every other status.
        (None, Some(status)) if status != 200 => json!({ "error": "not found" }),
        (None, _) => json!({ "error": error.in_httpx_words().to_string() }),
    }
}

/// Calls [`Client::discover_url`] on the process-wide client. Returns `None` for a text that is no peer id.
#[must_use]
pub fn agent_card_url_for(peer_id: &str) -> Option<String> {
    client_or_log().ok()?.discover_url(peer_id).ok()
}

/// Returns the canonical form of a peer id, or `None` for a text that is no peer id. It needs no client.
#[must_use]
pub fn validate_peer_id(peer_id: &str) -> Option<String> {
    PeerId::parse(peer_id).ok().map(|id| id.to_string())
}

/// Returns the process-wide client. The first error is also logged.
///
/// # Errors
///
/// As [`client`].
fn client_or_log() -> Result<&'static Client, Error> {
    static LOGGED: AtomicBool = AtomicBool::new(false);
    client().inspect_err(|error| {
        if !LOGGED.swap(true, Relaxed) {
            log_safe!(error, "no A2A client: {error}");
        }
    })
}
