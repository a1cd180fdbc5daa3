//! The registry: one question, one typed answer. No cache, no retry.

use std::sync::Arc;

use super::activity::is_removal;
use super::workspace::removed;
use crate::error::{Error, ErrorKind};
use crate::http::{Ask, Http, Identity, Pace, Response, SEND_SILENCE};
use crate::peer::{Peer, PeerId};
use crate::util::clock::Deadline;
use crate::wire::{self, PeerList, RECORD_ROOM};

/// The largest record that is read, in bytes of JSON. The platform's own are below 1 KiB; those with an
/// agent card below 16.
const MAX_RECORD: u64 = 256 * 1024;
/// The largest list of peers that is read, in bytes of JSON.
const MAX_LISTING: u64 = 10_000_000;

/// The registry of one platform.
pub(crate) struct Registry {
    http: Arc<Http>,
}

impl Registry {
    pub(crate) fn new(http: Arc<Http>) -> Self {
        Registry { http }
    }

    /// Asks for the record of one peer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] is the registry's own no; everything else is no usable answer.
    pub(crate) fn discover(&self, peer: PeerId, pace: Pace, deadline: Deadline) -> Result<Peer, Error> {
        let path = discover_path(peer);
        let ask = Ask { path: &path, identity: Identity::Workspace, deadline, cap: MAX_RECORD, silence: SEND_SILENCE };
        let reply = self.http.get(&ask, pace)?;
        if reply.status != 200 {
            return Err(refusal(&reply));
        }
        reply.check_encoding()?;
        let fields =
            wire::object(&reply.body, RECORD_ROOM).map_err(|why| reply.error(why.kind, format!("answered {why}")))?;
        Ok(Peer::discovered(peer, fields))
    }

    /// Asks for our own workspace's peers.
    ///
    /// # Errors
    ///
    /// The text of each is the original's diagnostic, word for word.
    pub(crate) fn peers(&self, deadline: Deadline) -> Result<PeerList, Error> {
        let id = self.http.workspace_id();
        let path = format!("/registry/{id}/peers");
        let ask = Ask { path: &path, identity: Identity::Workspace, deadline, cap: MAX_LISTING, silence: SEND_SILENCE };
        let reply = self.http.get(&ask, Pace::Call).map_err(|error| {
            let words = match error.status() {
                None => format!("Cannot reach platform at {}: {}", self.http.platform(), error.detail()),
                Some(status) => format!("Platform returned {status} but its body did not arrive: {}", error.detail()),
            };
            error.with_text(words)
        })?;
        let status = reply.status;
        let (kind, words) = match status {
            200 => {
                let listing = match reply.foreign_encoding() {
                    Some(encoding) => {
                        let words = format!("JSON: it has the encoding {encoding}, which was not asked for");
                        Err((ErrorKind::Malformed, words))
                    }
                    None => wire::listing(&reply.body).map_err(|why| (why.kind, why.to_string())),
                };
                match listing {
                    Ok(listing) => return Ok(listing),
                    Err((kind, why)) => (kind, format!("Platform returned 200 but body was not {why}")),
                }
            }
            401 | 403 => (
                ErrorKind::Unauthorized,
                format!(
                    "Authentication to platform failed (HTTP {status}). The workspace bearer token may be invalid — \
                     restarting the workspace usually re-mints it."
                ),
            ),
            404 => (
                ErrorKind::NotFound,
                format!(
                    "Workspace ID {id} is not registered with the platform (HTTP 404). Re-registration via the \
                     platform's /registry/register endpoint is needed."
                ),
            ),
            500.. => (ErrorKind::Status, format!("Platform error: HTTP {status}.")),
            _ => (ErrorKind::Status, format!("Unexpected platform response: HTTP {status}.")),
        };
        if status == 410 && is_removal(&reply) {
            let removed = removed(&reply, id);
            return Err(reply.error(ErrorKind::Removed, "").with_text(words).with_removed(removed));
        }
        Err(reply.error(kind, "").with_text(words))
    }

    /// Where a peer's agent card is to be had.
    pub(crate) fn discover_url(&self, peer: PeerId) -> String {
        format!("{}{}", self.http.platform(), discover_path(peer))
    }
}

fn discover_path(peer: PeerId) -> String {
    format!("/registry/discover/{peer}")
}

/// A status other than 200, in the platform's words where it has some.
fn refusal(reply: &Response) -> Error {
    let status = reply.status;
    let kind = match status {
        401 => ErrorKind::Unauthorized,
        403 | 404 | 410 if wire::is_no(&reply.body) => ErrorKind::NotFound,
        _ => ErrorKind::Status,
    };
    let mut detail = format!("answered {status}");
    if let Some(words) = wire::error_words(&reply.body) {
        detail += &format!(" ({})", reply.shown(&words));
    }
    match status {
        401 if reply.sent_a_token() => detail += "; the token was refused",
        401 => detail += "; no token was sent: give one, or a token file",
        403 | 404 if reply.body.is_empty() => detail += " without a body; check the origin and the org id",
        _ => {}
    }
    reply.error(kind, detail)
}
