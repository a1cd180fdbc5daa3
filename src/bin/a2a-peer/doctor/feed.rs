//! The steps of `doctor` that read what the platform keeps for the user's workspace: peers, inbox, event stream.
//!
//! No step but that of the event stream bounds its own time: see `run_within`.

use std::time::Duration;

use a2a_blocking::{Client, ErrorKind, InboxPoller, RetryPolicy, Verdict};

use super::step::{Finding, StepResult};
use crate::advice;
use crate::args::Args;
use crate::report::ErrorReport;
use crate::temp_dir::TempDir;

/// Fraction of the step's limit that the event stream has for its first bytes, so that it can report before the limit.
const EVENTS_SHARE: f64 = 0.9;

/// Counts the peers that the registry lists for the workspace.
pub(super) fn peers(client: &Client, args: &Args) -> StepResult<()> {
    let peers = client.peers().map_err(|error| ErrorReport::of_call(&error, args))?;
    match peers.len() {
        0 => Finding::warning(
            (),
            "the registry lists no peers",
            "create a sibling, a child or a parent of the workspace on the platform's canvas: only these are listed",
        ),
        1 => Finding::ok((), "the registry lists 1 peer"),
        count => Finding::ok((), format!("the registry lists {count} peers")),
    }
}

/// Lists the newest row of the inbox, with a cursor that is removed again. No message counts as handled by that.
///
/// A platform may answer the steps before this one whatever the token is.
pub(super) fn inbox(client: &Client, args: &Args) -> StepResult<()> {
    let dir = match TempDir::create("doctor") {
        Ok(dir) => dir,
        Err(why) => {
            let detail = format!("not checked: no directory for temporary files: {why}");
            return Finding::warning((), detail, "set TMPDIR to a directory that this user can write");
        }
    };
    let builder = InboxPoller::builder(client.clone()).cursor_file(dir.path().join("cursor"));
    let builder = builder.page_size(1).backlog(Duration::from_secs(1)).retry(RetryPolicy::new().with_attempts(1));
    let polled = builder.on_dead_letter(|_| ()).build().and_then(|mut poller| poller.poll_once(|_| Verdict::Retry));
    match polled {
        Ok(_) => Finding::ok((), "the platform lists the inbox"),
        Err(error) => Err(ErrorReport::of_call(&error, args)),
    }
}

/// Opens the event stream and waits for its first bytes. Without it the inbox works, and a message is seen later.
pub(super) fn events(client: &Client, limit: Duration, args: &Args) -> StepResult<()> {
    let Err(error) = client.check_events(limit.mul_f64(EVENTS_SHARE)) else {
        return Finding::ok((), "the platform has an event stream, which says at once that there is a message");
    };
    match (error.kind(), error.status()) {
        (ErrorKind::Status, Some(404 | 501 | 502)) => Finding::warning(
            (),
            "the platform has no event stream: a message is seen with the next poll",
            advice::NO_EVENTS,
        ),
        (ErrorKind::Timeout | ErrorKind::Malformed, _) => {
            let detail = format!("the event stream is held back, and a message is seen with the next poll: {error}");
            Finding::warning((), detail, advice::EVENTS_HELD_BACK)
        }
        _ => Err(ErrorReport::of_call(&error, args)),
    }
}
