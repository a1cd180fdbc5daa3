//! The registry: one question, one typed answer. No cache, no retry.

use std::sync::Arc;

use crate::clock::Deadline;
use crate::error::{Error, ErrorKind, excerpt};
use crate::http::{Http, Reply};
use crate::peer::{Peer, PeerId};
use crate::wire;

/// The largest record that is read, in bytes of JSON. The platform's own are below 1 KiB; those with an
/// agent card below 16.
const MAX_RECORD: u64 = 256 * 1024;

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
    /// [`ErrorKind::Absent`] is the registry's own no; everything else is no usable answer.
    pub(crate) fn discover(&self, peer: PeerId, deadline: Deadline) -> Result<Peer, Error> {
        let path = discover_path(peer);
        let reply = self.http.get(&path, deadline, MAX_RECORD)?;
        let target = || format!("GET {}{path}", self.http.platform());
        if reply.status != 200 {
            return Err(refusal(&target(), &reply));
        }
        let malformed = |why: &str| {
            Error::new(ErrorKind::Malformed, format!("{}: {why}", target()))
                .with_status(200)
                .with_excerpt(reply.excerpt())
        };
        if let Some(encoding) = reply.encoding.as_deref().filter(|encoding| *encoding != "identity") {
            let shown = excerpt(encoding);
            return Err(malformed(&format!("the body has the encoding {shown:?}, which was not asked for")));
        }
        let fields = wire::object(&reply.body).map_err(|why| malformed(&format!("answered {why}")))?;
        Ok(Peer::new(Some(peer), fields, reply.body.len()))
    }

    /// Where a peer's agent card is to be had.
    pub(crate) fn agent_card_url(&self, peer: PeerId) -> String {
        format!("{}{}", self.http.platform(), discover_path(peer))
    }
}

fn discover_path(peer: PeerId) -> String {
    format!("/registry/discover/{peer}")
}

/// A status other than 200, in the platform's words where it has some.
fn refusal(target: &str, reply: &Reply) -> Error {
    let status = reply.status;
    let kind = match status {
        401 => ErrorKind::Unauthorized,
        403 | 404 | 410 if wire::is_no(&reply.body) => ErrorKind::Absent,
        _ => ErrorKind::Status,
    };
    let mut message = format!("{target}: answered {status}");
    if let Some(words) = wire::error_words(&reply.body) {
        message += &format!(" ({})", excerpt(&reply.redact(&words)));
    }
    match status {
        401 if reply.sent_a_token() => message += "; the token was refused",
        401 => message += "; no token was sent: give one, or a token file",
        403 | 404 if reply.body.is_empty() => message += " without a body; check the origin and the org id",
        _ => {}
    }
    Error::new(kind, message).with_status(status).with_retry_after(reply.retry_after).with_excerpt(reply.excerpt())
}
