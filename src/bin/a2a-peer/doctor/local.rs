//! The steps of `doctor` on this machine that need the library's settings: token and cursor.

use std::fs::Metadata;

use a2a_blocking::{Client, InboxPoller};

use super::step::{Finding, StepResult};
use crate::advice;
use crate::args::Args;
use crate::connection::TokenFileState;
use crate::report::ErrorReport;

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

/// Tries the cursor of the user's own program, where the library puts it. It is not changed.
///
/// A directory that does not exist fails no step: only polling needs it.
pub(super) fn cursor(client: &Client, args: &Args) -> StepResult<()> {
    if let TokenFileState::NoDirectory(dir) = args.connection.token_file_state() {
        let detail = format!("no poller can keep a cursor: directory {} does not exist", dir.display());
        return Finding::warning((), detail, advice::MISSING_DIRECTORY);
    }
    let path = InboxPoller::builder(client.clone()).check_cursor().map_err(|error| {
        let report = ErrorReport::of_call(&error, args);
        ErrorReport { next: Some(advice::CURSOR.to_owned()), ..report }
    })?;
    Finding::ok((), format!("a poller can write its cursor {}", path.display()))
}
