//! The inbox: the rows that the platform keeps of what was sent to us.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::workspace::removal;
use crate::error::{Error, ErrorKind};
use crate::http::{Ask, Http, Identity, Response, SEND_SILENCE, Wire};
use crate::util::clock::Deadline;
use crate::wire::{self, Listed, Timestamp};

/// The most rows of a page: what the platform cuts a larger `limit` to.
pub(crate) const MAX_PAGE: usize = 500;
/// The largest page that is read, in bytes of JSON. A message has 1 MiB at the most, and few have.
const MAX_BODY: u64 = 32 * 1024 * 1024;
/// What may stand in a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Which rows are asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Position {
    /// Those after the row of this id, the oldest first.
    After(String),
    /// Those before a moment and of the last so many seconds, the newest first.
    Latest { before: Option<Timestamp>, secs: Option<u64> },
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum ActivityPage {
    /// The rows, and about how many bytes they take.
    Rows(Listed, usize),
    /// The row to begin after is gone.
    Gone,
}

/// Asks for one page of our inbox.
///
/// # Errors
///
/// [`ErrorKind::Removed`] where our workspace was removed; everything else is no usable answer.
pub(crate) fn activity(
    http: &Http,
    wire: &Wire,
    position: &Position,
    limit: usize,
    deadline: Deadline,
) -> Result<ActivityPage, Error> {
    let id = http.workspace_id();
    let mut path = format!("/workspaces/{id}/activity?type=a2a_receive&include=peer_info&limit={limit}");
    match position {
        Position::After(row) => path += &format!("&since_id={}", encoded(row)),
        Position::Latest { before, secs } => {
            path += &secs.map(|secs| format!("&since_secs={secs}")).unwrap_or_default();
            path += &before.map(|at| format!("&before_ts={}", encoded(&at.to_string()))).unwrap_or_default();
        }
    }
    let ask = Ask { path: &path, identity: Identity::TokenOnly, deadline, cap: MAX_BODY, silence: SEND_SILENCE };
    let reply = http.get_over(&ask, wire)?;
    match reply.status {
        200 => {
            reply.check_encoding()?;
            let listed = wire::activity(&reply.body);
            let mut listed = listed.map_err(|why| reply.error(why.kind, format!("answered {why}")))?;
            // They are logged.
            for odd in listed.odd.shown.iter_mut().chain(&mut listed.unread.shown) {
                *odd = reply.shown(odd);
            }
            let bytes = reply.body.len() + listed.bytes;
            Ok(ActivityPage::Rows(listed, bytes))
        }
        410 if is_removal(&reply) => Err(removal(&reply, id)),
        410 if matches!(position, Position::After(_)) => Ok(ActivityPage::Gone),
        _ => Err(refused(&reply)),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// Whether a 410 is about our workspace, and not about some row.
pub(crate) fn is_removal(reply: &Response) -> bool {
    wire::object(&reply.body, wire::RECORD_ROOM)
        .is_ok_and(|fields| fields.get("error").is_some_and(|error| error == "removed"))
}

/// A status that is no answer, in the platform's words where it has some.
pub(super) fn refused(reply: &Response) -> Error {
    let status = reply.status;
    let mut detail = format!("answered {status}");
    if let Some(words) = wire::error_words(&reply.body) {
        detail += &format!(" ({})", reply.shown(&words));
    } else if matches!(status, 403 | 404) && reply.body.is_empty() {
        detail += " without a body; check the origin and the org id";
    }
    let kind = if matches!(status, 401 | 403) { ErrorKind::Unauthorized } else { ErrorKind::Status };
    reply.error(kind, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_inside_its_parameter() {
        assert_eq!(encoded("a-B_1.~"), "a-B_1.~");
        assert_eq!(encoded("x&limit=1#é +"), "x%26limit%3D1%23%C3%A9%20%2B");
    }
}
