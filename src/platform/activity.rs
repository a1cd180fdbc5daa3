//! The activity feed: the rows that the platform keeps of messages to our workspace.

use percent_encoding::utf8_percent_encode;

use super::post::UNRESERVED;
use super::response::{Call, is_removal, refusal, unusable_body};
use crate::error::Error;
use crate::http::{Http, Pool, Request, Response};
use crate::util::clock::Deadline;
use crate::wire::{ActivityRows, IncomingEnd, IncomingPage, LargeRows, RowHead, Timestamp};

/// Largest number of rows in a page. The platform reduces a larger `limit` to it.
pub(crate) const MAX_PAGE: usize = 500;
/// Longest body of a response that is no page, in bytes.
const MAX_REFUSAL: u64 = 64 * 1024;
/// Bytes of a row that are read where only its head is wanted.
const HEAD: usize = 64 * 1024;

/// A page to ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PageRequest {
    pub(crate) rows: RowsToList,
    /// Most rows of the page. `None` leaves it to whoever fetches it.
    pub(crate) limit: Option<usize>,
    pub(crate) detail: RowDetail,
}

/// The rows that a page starts with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RowsToList {
    /// The rows after the one with this id, and before a time, oldest first.
    After { id: String, before: Option<Timestamp> },
    /// The rows before a time and of the last `secs` seconds, newest first.
    Newest { before: Option<Timestamp>, secs: Option<u64> },
}

/// How much of each row is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowDetail {
    /// Messages with what the platform knows of their senders.
    Full,
    /// Messages as they were stored: without what the platform knows of their senders, which comes before a row's id.
    Stored,
    /// The same, and no more than the first 64 KiB of each.
    Head,
    /// The first 64 KiB of rows of any type.
    HeadOfAnyType,
    /// Broadcasts with what the platform knows of their senders.
    Broadcasts,
}

/// A page of the feed.
#[expect(clippy::large_enum_variant, reason = "it is moved once for each page")]
#[derive(Debug)]
pub(crate) enum ActivityPage {
    Rows(ActivityRows, ListEnd),
    /// The row of [`RowsToList::After`] no longer exists.
    AnchorGone,
}

/// How the rows of a page ended.
#[derive(Debug)]
pub(crate) enum ListEnd {
    /// The whole page was read.
    Complete,
    /// The rows take the memory of a page. More were not read.
    Full,
    /// The next row is larger than a row may be.
    LargeRow(RowHead),
    /// The page broke off after the rows, in this one if its head came.
    Broken(Error, Option<RowHead>),
}

impl PageRequest {
    pub(crate) fn new(rows: RowsToList) -> Self {
        PageRequest { rows, limit: None, detail: RowDetail::Full }
    }
}

/// Asks for one page of our inbox, and reads its rows as they come: each, and all of them, of at most `max_row` bytes.
///
/// A row of `known_large` is not read beyond its head.
///
/// # Errors
///
/// [`ErrorKind::Removed`](crate::ErrorKind::Removed) where our workspace was removed, any other status, a failure of the
/// transport before the first byte of the page.
pub(crate) fn activity(
    http: &Http,
    pool: &Pool,
    page: &PageRequest,
    limit: usize,
    max_row: usize,
    known_large: &LargeRows,
    deadline: Deadline,
) -> Result<ActivityPage, Error> {
    let workspace_id = http.workspace_id();
    let path = path(workspace_id, page, limit);
    let request = Request::get(&path).deadline(deadline).max_response(MAX_REFUSAL);
    let max_row = match page.detail {
        RowDetail::Full | RowDetail::Stored | RowDetail::Broadcasts => max_row,
        RowDetail::Head | RowDetail::HeadOfAnyType => HEAD,
    };
    let mut incoming = IncomingPage::new(max_row, known_large.clone());
    let mut is_begun = false;
    let outcome = http.open(&request, pool, &mut |bytes| {
        is_begun = true;
        incoming.push(bytes)
    });
    let response = match outcome {
        Ok(response) => response,
        // The rows that came are good.
        Err(error) if is_begun => {
            let (mut rows, end) = incoming.finish();
            // Nobody has cut the token out of them.
            rows.malformed.forget_texts();
            rows.unreadable.forget_texts();
            let head = if let IncomingEnd::Broken(_, head) = end { head } else { None };
            return Ok(ActivityPage::Rows(rows, ListEnd::Broken(error, head)));
        }
        Err(error) => return Err(error),
    };
    match response.status {
        200 => {
            response.check_encoding()?;
            let (mut rows, end) = incoming.finish();
            cut_token(&response, &mut rows);
            let end = match end {
                IncomingEnd::Complete => ListEnd::Complete,
                IncomingEnd::Full => ListEnd::Full,
                IncomingEnd::LargeRow(head) => ListEnd::LargeRow(head),
                IncomingEnd::Broken(why, head) => ListEnd::Broken(unusable_body(&response, &why), head),
            };
            Ok(ActivityPage::Rows(rows, end))
        }
        410 if matches!(page.rows, RowsToList::After { .. }) && !is_removal(&response) => Ok(ActivityPage::AnchorGone),
        _ => Err(refusal(&response, Call::Activity, workspace_id)),
    }
}

/// Cuts the token out of the excerpts of malformed rows, which are logged: the platform may echo it there.
fn cut_token(response: &Response, rows: &mut ActivityRows) {
    for excerpt in rows.malformed.excerpts.iter_mut().chain(&mut rows.unreadable.excerpts) {
        *excerpt = response.excerpt_of(&*excerpt);
    }
}

fn path(workspace_id: &str, page: &PageRequest, limit: usize) -> String {
    let filter = match page.detail {
        RowDetail::Full => "type=a2a_receive&include=peer_info&",
        RowDetail::Stored | RowDetail::Head => "type=a2a_receive&",
        RowDetail::HeadOfAnyType => "",
        RowDetail::Broadcasts => "type=broadcast_receive&include=peer_info&",
    };
    let mut path = format!("/workspaces/{workspace_id}/activity?{filter}limit={limit}");
    let before = match &page.rows {
        RowsToList::After { id, before } => {
            path += &format!("&since_id={}", query_value(id));
            before
        }
        RowsToList::Newest { before, secs } => {
            path += &secs.map(|secs| format!("&since_secs={secs}")).unwrap_or_default();
            before
        }
    };
    path + &before.map(|at| format!("&before_ts={}", query_value(&at.to_string()))).unwrap_or_default()
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
