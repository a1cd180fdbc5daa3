//! What `doctor` tries, one step at a time; the way to the platform is in `route`. None of it is bounded by itself: each runs in a thread of its own, and is
//! not waited for beyond its time.

use std::fs::Metadata;

use a2a_blocking::{Client, Error, ErrorKind, Workspace};

use crate::advice::WHERE_A_TOKEN_GOES;
use crate::args::Args;
use crate::failure::Trouble;
use crate::setup::TokenState;

/// What a step that did not fail has found.
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) status: Status,
    pub(crate) detail: String,
    /// What to do about a warning.
    pub(crate) next: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Status {
    Ok,
    Warning,
    Skipped,
    Failed,
}

pub(crate) type Outcome<T> = Result<Found<T>, Trouble>;

impl<T> Found<T> {
    pub(crate) fn ok(value: T, detail: impl Into<String>) -> Outcome<T> {
        Ok(Found { value, status: Status::Ok, detail: detail.into(), next: None })
    }

    fn warning(value: T, detail: impl Into<String>, next: impl Into<String>) -> Outcome<T> {
        Ok(Found { value, status: Status::Warning, detail: detail.into(), next: Some(next.into()) })
    }
}

/// The client as all other commands have it. What the token is, nobody is told.
pub(crate) fn token_file(args: &Args) -> Outcome<Client> {
    let path = args.setup.token_file();
    let shown = path.display();
    let client = args.setup.client().map_err(|failure| Trouble::of(&failure, args))?;
    let file = match args.setup.token_state() {
        TokenState::Missing => {
            return Found::warning(client, format!("no token: {shown} is not there"), WHERE_A_TOKEN_GOES);
        }
        TokenState::Blank => {
            return Found::warning(client, format!("no token: {shown} is empty"), WHERE_A_TOKEN_GOES);
        }
        TokenState::There(file) => file,
    };
    match others_may_read(&file) {
        Some(mode) => {
            let next = format!("chmod 600 {shown}");
            Found::warning(client, format!("{shown} has the mode {mode:04o}: others may read the token"), next)
        }
        None => Found::ok(client, format!("{shown} can be read, and by nobody else")),
    }
}

#[cfg(unix)]
fn others_may_read(file: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.permissions().mode() & 0o7777;
    (file.is_file() && mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn others_may_read(_: &Metadata) -> Option<u32> {
    None
}

/// What the platform says of our workspace, whatever it is, so long as it is an answer.
pub(crate) fn http(client: &Client, args: &Args) -> Outcome<Result<Workspace, Error>> {
    let answer = client.workspace();
    let through = args.setup.proxy_from().map_or("", |_| ", through the proxy");
    match answer {
        Ok(workspace) => Found::ok(Ok(workspace), format!("answered 200{through}")),
        Err(error) => match (error.kind(), error.status()) {
            (ErrorKind::Unauthorized | ErrorKind::NotFound | ErrorKind::Removed, Some(status)) => {
                Found::ok(Err(error), format!("answered {status}{through}"))
            }
            _ => Err(Trouble::of_call(&error, args)),
        },
    }
}

pub(crate) fn authorisation(answer: Result<Workspace, Error>, args: &Args) -> Outcome<Result<Workspace, Error>> {
    match &answer {
        Err(error) if error.kind() == ErrorKind::Unauthorized => Err(Trouble::of_call(error, args)),
        _ => Found::ok(answer, "the platform does not refuse us"),
    }
}

pub(crate) fn registration(answer: Result<Workspace, Error>, args: &Args) -> Outcome<()> {
    let workspace = answer.map_err(|error| Trouble::of_call(&error, args))?;
    let text = |field: &str| workspace.get(field).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
    Found::ok((), format!("the workspace is {:?}, status {:?}", text("name"), text("status")))
}

pub(crate) fn peers(client: &Client, args: &Args) -> Outcome<()> {
    let peers = client.peers().map_err(|error| Trouble::of_call(&error, args))?;
    match peers.len() {
        0 => Found::warning(
            (),
            "the registry lists no peers",
            "siblings, children and the parent are listed: make one on the platform's canvas",
        ),
        1 => Found::ok((), "the registry lists 1 peer"),
        count => Found::ok((), format!("the registry lists {count} peers")),
    }
}
