//! The steps of `doctor` that depend on the user's workspace: token, answer, authorisation, registration, peers, inbox.
//!
//! No step bounds its own time: see `run_within`.

use std::fs::Metadata;
use std::time::Duration;

use a2a_blocking::{Client, Error, ErrorKind, InboxPoller, RetryPolicy, Verdict, Workspace};

use super::step::{Finding, StepResult};
use crate::advice;
use crate::args::Args;
use crate::connection::TokenFileState;
use crate::report::ErrorReport;
use crate::temp_dir::TempDir;

/// The platform's answer about the user's workspace. A refusal is an answer, too.
type WorkspaceAnswer = Result<Workspace, Error>;

/// Checks the token file, and returns the client that every other command uses. The token is never shown.
pub(super) fn token(args: &Args) -> StepResult<Client> {
    let path = args.connection.token_file();
    let path = path.display();
    let client = args.connection.client().map_err(|failure| ErrorReport::of_failure(&failure, args))?;
    if args.connection.has_token_variable() {
        return Finding::ok(client, "the token is from MOLECULE_WORKSPACE_TOKEN");
    }
    let file = match args.connection.token_file_state() {
        TokenFileState::NoDirectory(dir) => {
            let detail = format!("no token: directory {} does not exist", dir.display());
            return Finding::warning(client, detail, advice::MISSING_DIRECTORY);
        }
        TokenFileState::Missing => {
            return Finding::warning(client, format!("no token: {path} does not exist"), advice::MISSING_TOKEN);
        }
        TokenFileState::Blank => {
            return Finding::warning(client, format!("no token: {path} is empty"), advice::MISSING_TOKEN);
        }
        TokenFileState::Present(file) => file,
    };
    match mode_open_to_others(&file) {
        Some(mode) => {
            let detail = format!("{path} has the mode {mode:04o}: other users may read the token");
            Finding::warning(client, detail, format!("chmod 600 {path}"))
        }
        None => Finding::ok(client, format!("{path} is readable, and by nobody else")),
    }
}

/// Returns the permission bits of a file that its group or others can access, or `None` where only the owner can.
#[cfg(unix)]
fn mode_open_to_others(file: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.permissions().mode() & 0o7777;
    (file.is_file() && mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn mode_open_to_others(_: &Metadata) -> Option<u32> {
    None
}

/// Asks the platform for the user's workspace. Any answer of a platform passes, also a refusal.
pub(super) fn http(client: &Client, args: &Args) -> StepResult<WorkspaceAnswer> {
    let answer = client.workspace();
    let via = args.connection.proxy_source().map_or("", |_| ", through the proxy");
    match answer {
        Ok(workspace) => Finding::ok(Ok(workspace), format!("answered 200{via}")),
        Err(error) => match (error.kind(), error.status()) {
            (ErrorKind::Unauthorized | ErrorKind::NotFound | ErrorKind::Removed, Some(status)) => {
                Finding::ok(Err(error), format!("answered {status}{via}"))
            }
            _ => Err(ErrorReport::of_call(&error, args)),
        },
    }
}

/// Checks that the platform did not answer 401 or 403.
pub(super) fn authorisation(answer: WorkspaceAnswer, args: &Args) -> StepResult<WorkspaceAnswer> {
    match &answer {
        Err(error) if error.kind() == ErrorKind::Unauthorized => Err(ErrorReport::of_call(error, args)),
        _ => Finding::ok(answer, "the platform does not refuse the request"),
    }
}

/// Checks that the platform has the workspace, and that its agent has registered.
pub(super) fn registration(answer: WorkspaceAnswer, args: &Args) -> StepResult<()> {
    let workspace = answer.map_err(|error| ErrorReport::of_call(&error, args))?;
    let text = |field: &str| workspace.get(field).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
    let (name, status) = (text("name"), text("status"));
    if status == "awaiting_agent" {
        let detail = format!("{name:?} is not registered: senders get 503 and nothing is queued for it");
        return Finding::warning((), detail, "start the workspace's agent: it registers when it starts");
    }
    Finding::ok((), format!("the workspace is {name:?}, status {status:?}"))
}

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
