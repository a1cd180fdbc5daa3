//! The activity feed: the rows that the platform keeps of messages to our workspace.

use percent_encoding::utf8_percent_encode;

use super::post::UNRESERVED;
use super::response::{Call, is_removal, refusal, unusable_body};
use crate::error::Error;
use crate::http::{Http, Pool, Request};
use crate::util::clock::Deadline;
use crate::wire::{self, ActivityRows, Timestamp};

/// Largest number of rows in a page. The platform reduces a larger `limit` to it.
pub(crate) const MAX_PAGE: usize = 500;
/// Longest page that is read, in bytes of JSON. A message has at most 1 MiB, and few are near that.
const MAX_RESPONSE: u64 = 32 * 1024 * 1024;

/// The rows that a page starts with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PageRequest {
    /// The rows after the one with this id, oldest first.
    After(String),
    /// The rows before a time and of the last `secs` seconds, newest first.
    Newest { before: Option<Timestamp>, secs: Option<u64> },
}

/// A page of the feed.
#[derive(Debug)]
pub(crate) enum ActivityPage {
    /// The rows, and the approximate memory that they take, in bytes.
    Rows(ActivityRows, usize),
    /// The row of [`PageRequest::After`] no longer exists.
    AnchorGone,
}

/// Asks for one page of our inbox.
///
/// # Errors
///
/// [`ErrorKind::Removed`](crate::ErrorKind::Removed) where our workspace was removed, any other status, a body that is no
/// list of rows, or a failure of the transport.
pub(crate) fn activity(
    http: &Http,
    pool: &Pool,
    page: &PageRequest,
    limit: usize,
    deadline: Deadline,
) -> Result<ActivityPage, Error> {
    let workspace_id = http.workspace_id();
    let path = path(workspace_id, page, limit);
    let request = Request::get(&path).deadline(deadline).max_response(MAX_RESPONSE);
    let response = http.execute(&request, pool)?;
    match response.status {
        200 => {
            response.check_encoding()?;
            let mut listed = wire::activity(&response.body).map_err(|why| unusable_body(&response, &why))?;
            // Excerpts of malformed rows are logged, and the platform may echo the token in them.
            for excerpt in listed.malformed.excerpts.iter_mut().chain(&mut listed.unreadable.excerpts) {
                *excerpt = response.excerpt_of(&*excerpt);
            }
            let bytes = response.body.len() + listed.bytes;
            Ok(ActivityPage::Rows(listed, bytes))
        }
        410 if matches!(page, PageRequest::After(_)) && !is_removal(&response) => Ok(ActivityPage::AnchorGone),
        _ => Err(refusal(&response, Call::Activity, workspace_id)),
    }
}

fn path(workspace_id: &str, page: &PageRequest, limit: usize) -> String {
    let mut path = format!("/workspaces/{workspace_id}/activity?type=a2a_receive&include=peer_info&limit={limit}");
    match page {
        PageRequest::After(row) => path += &format!("&since_id={}", query_value(row)),
        PageRequest::Newest { before, secs } => {
            path += &secs.map(|secs| format!("&since_secs={secs}")).unwrap_or_default();
            path += &before.map(|at| format!("&before_ts={}", query_value(&at.to_string()))).unwrap_or_default();
        }
    }
    path
}

fn query_value(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_id_stays_inside_its_query_parameter() {
        assert_eq!(query_value("a-B_1.~"), "a-B_1.~");
        assert_eq!(query_value("x&limit=1#é +"), "x%26limit%3D1%23%C3%A9%20%2B");
    }
}
