//! The end of a command: its exit status, a failure, or Ctrl-C.

use std::io;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use a2a_blocking::{Delivery, Error, ErrorKind, Reply, WorkspaceRemoved};

/// The exit status of the process. `--help` and the README list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Queued = 3,
    Absent = 4,
    Unreachable = 5,
    Unauthorized = 6,
    Removed = 7,
    MaybeDelivered = 8,
    /// 128 + SIGINT, as a shell reports it.
    Interrupted = 130,
}

impl ExitStatus {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Ends the process at once. Destructors do not run.
    pub(crate) fn exit_now(self) -> ! {
        process::exit(self.code().into())
    }

    /// Returns the status of a call that failed.
    pub(crate) fn of_call(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Config | ErrorKind::InvalidPeerId | ErrorKind::InvalidMessage => ExitStatus::Usage,
            ErrorKind::NotFound => ExitStatus::Absent,
            // The platform's own answer to a message for a workspace that it does not have.
            ErrorKind::Platform if matches!(error.status(), Some(404 | 410)) => ExitStatus::Absent,
            ErrorKind::Connect
            | ErrorKind::Disconnected
            | ErrorKind::Timeout
            | ErrorKind::Tls
            | ErrorKind::Protocol => ExitStatus::Unreachable,
            ErrorKind::Unauthorized => ExitStatus::Unauthorized,
            ErrorKind::Removed => ExitStatus::Removed,
            ErrorKind::Cancelled => ExitStatus::Interrupted,
            _ => ExitStatus::Failed,
        }
    }

    /// Returns the status of a send that was answered.
    ///
    /// An answer can be a task that did not succeed, or one that does not go on before the user is authorised elsewhere.
    pub(crate) fn of_reply(reply: &Reply) -> Self {
        match reply {
            Reply::Queued(_) => ExitStatus::Queued,
            Reply::Task(task) if task.is_failed() || task.state() == "auth-required" => ExitStatus::Failed,
            _ => ExitStatus::Done,
        }
    }

    /// Returns the status of a send that failed. It depends on where the message may be.
    pub(crate) fn of_send(error: &Error) -> Self {
        match (error.delivery(), error.kind()) {
            (_, ErrorKind::Cancelled) => ExitStatus::Interrupted,
            (Delivery::NotSent, _) => ExitStatus::of_call(error),
            (Delivery::Delivered, _) => ExitStatus::Failed,
            _ => ExitStatus::MaybeDelivered,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status.code())
    }
}

/// The reason why a command failed.
pub(crate) enum CommandFailure {
    /// Standard output cannot be written.
    Output(io::Error),
    /// The command line or a setting is wrong. Nothing was sent.
    Usage(String),
    /// The file that `--token-file` names has no token. The texts say what is wrong, and what to do.
    TokenFile(String, &'static str),
    /// This process lacks a resource, such as a thread or a port.
    Internal(String),
    /// A call of the library failed.
    Call(Error),
    /// A message was not sent, or its fate is unknown.
    Send(Error),
    /// The platform queued a message, and does not say what became of it.
    Wait(Error),
    /// A message was sent, but the answer cannot be written. The text says where the message is.
    Unprinted(io::Error, ExitStatus, &'static str),
    /// The platform removed the workspace while it was polled.
    Removed(WorkspaceRemoved),
}

impl From<io::Error> for CommandFailure {
    fn from(error: io::Error) -> Self {
        CommandFailure::Output(error)
    }
}

impl From<Error> for CommandFailure {
    fn from(error: Error) -> Self {
        CommandFailure::Call(error)
    }
}

/// Calls `callback` on its own thread at the first Ctrl-C, SIGTERM or SIGHUP. The second one ends the process at once.
///
/// # Errors
///
/// Fails where the handler cannot be installed.
pub(crate) fn on_interrupt(callback: impl Fn() + Send + 'static) -> Result<(), CommandFailure> {
    let interrupted = AtomicBool::new(false);
    let handler = move || {
        // Whatever blocks the process, a user who asks twice does not wait for it.
        if interrupted.swap(true, Ordering::SeqCst) {
            ExitStatus::Interrupted.exit_now();
        }
        callback();
    };
    ctrlc::set_handler(handler).map_err(|error| CommandFailure::Internal(format!("cannot handle Ctrl-C: {error}")))
}
