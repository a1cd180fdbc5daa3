//! How a command ends: its exit status, and what is said of a failure, in text and as JSON.

use std::io::{self, Write};

use a2a_blocking::{Delivery, Error, ErrorKind, WorkspaceRemoved};
use serde_json::{Value, json};

use crate::advice::{ANOTHER_WORKSPACE, OUR_OWN_PART, advice};
use crate::args::Args;
use crate::setup::in_our_words;
use crate::terminal::Paint;
use crate::text::{json_line, lines};

/// The exit statuses, as `--help` describes them.
pub(crate) mod exit {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const QUEUED: u8 = 3;
    pub(crate) const ABSENT: u8 = 4;
    pub(crate) const UNREACHABLE: u8 = 5;
    pub(crate) const UNAUTHORISED: u8 = 6;
    pub(crate) const REMOVED: u8 = 7;
    pub(crate) const PERHAPS_DELIVERED: u8 = 8;
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Why a command did not end by itself.
pub(crate) enum Failure {
    Output(io::Error),
    Usage(String),
    /// This process could not do its part.
    Internal(String),
    Call(Error),
    /// A message that was to be delivered.
    Send(Error),
    /// A message was delivered, or is queued, as the exit status tells; its answer could not be written.
    Unprinted(io::Error, u8),
    Removed(WorkspaceRemoved),
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Output(why)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Call(error)
    }
}

/// A failure as it is told.
pub(crate) struct Trouble {
    /// The exit status.
    pub(crate) exit: u8,
    /// The library's `ErrorKind` in its word, or `usage` or `output`.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// What to do next.
    pub(crate) next: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) delivery: Option<Delivery>,
    /// How long the platform asks us to wait, in seconds.
    pub(crate) retry_after: Option<f64>,
}

impl Trouble {
    pub(crate) fn new(exit: u8, kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Trouble { exit, kind, message, next: None, status: None, delivery: None, retry_after: None }
    }

    /// This process could not do its part.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let trouble = Trouble::new(exit::FAILED, ErrorKind::Internal.as_str(), message);
        Trouble { next: Some(OUR_OWN_PART.to_owned()), ..trouble }
    }

    /// What a call of the library's says.
    pub(crate) fn of_call(error: &Error, args: &Args) -> Self {
        let message =
            if error.kind() == ErrorKind::Config { in_our_words(error, &args.setup) } else { error.to_string() };
        let trouble = Trouble::new(exit_of(error), error.kind().as_str(), message);
        let retry_after = error.retry_after().map(|wait| wait.as_secs_f64());
        Trouble { next: advice(error, args), status: error.status(), retry_after, ..trouble }
    }

    fn of_send(error: &Error, args: &Args) -> Self {
        let trouble = Trouble::of_call(error, args);
        let exit = match (error.delivery(), error.kind()) {
            (_, ErrorKind::Cancelled) => exit::INTERRUPTED,
            (Delivery::NotSent, _) => trouble.exit,
            (Delivery::Delivered, _) => exit::FAILED,
            _ => exit::PERHAPS_DELIVERED,
        };
        // The verdict is ours, and comes first: the words after it are the peer's.
        let message = format!("{}: {error}", known(error.delivery()));
        Trouble { exit, message, delivery: Some(error.delivery()), ..trouble }
    }

    pub(crate) fn of(failure: &Failure, args: &Args) -> Self {
        match failure {
            Failure::Output(why) => {
                Trouble::new(exit::FAILED, "output", format!("the output cannot be written: {why}"))
            }
            Failure::Unprinted(why, code) => {
                let verdict = if *code == exit::QUEUED { "queued" } else { "delivered" };
                Trouble::new(*code, "output", format!("{verdict}, but the answer cannot be written: {why}"))
            }
            Failure::Usage(why) => Trouble::new(exit::USAGE, "usage", why),
            Failure::Internal(why) => Trouble::internal(why),
            Failure::Call(error) => Trouble::of_call(error, args),
            Failure::Send(error) => Trouble::of_send(error, args),
            Failure::Removed(removed) => {
                let said = format!("the workspace was removed: {}", removed.hint);
                let next = Some(ANOTHER_WORKSPACE.to_owned());
                Trouble { status: Some(410), next, ..Trouble::new(exit::REMOVED, ErrorKind::Removed.as_str(), said) }
            }
        }
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({ "kind": self.kind, "status": self.status, "message": self.message, "next": self.next,
            "delivery": self.delivery.map(Delivery::as_str), "retry_after": self.retry_after, "exit": self.exit })
    }
}

/// Says why a command failed: its exit status.
pub(crate) fn report(failure: &Failure, args: &Args) -> u8 {
    match failure {
        // Whoever reads our output has seen enough.
        Failure::Output(why) if why.kind() == io::ErrorKind::BrokenPipe => return exit::DONE,
        Failure::Unprinted(why, code) if why.kind() == io::ErrorKind::BrokenPipe => return *code,
        _ => {}
    }
    let trouble = Trouble::of(failure, args);
    complain(&trouble);
    if args.json && !matches!(failure, Failure::Output(_) | Failure::Unprinted(..)) {
        print_json(&trouble);
    }
    trouble.exit
}

pub(crate) fn print_json(trouble: &Trouble) {
    // It stands on standard error, too.
    let _ = writeln!(io::stdout(), "{}", json_line(&json!({ "error": trouble.as_json() })));
}

fn complain(trouble: &Trouble) {
    note(&trouble.message);
    if let Some(next) = &trouble.next {
        let _ = writeln!(io::stderr(), "  next: {}", lines(next));
    }
}

/// A line on standard error. Those that a peer's words add are set apart: none of them looks like one of ours.
pub(crate) fn note(what: &str) {
    let (name, what) = (Paint::stderr().bold("a2a-peer:"), lines(what).replace('\n', "\n  | "));
    // Nothing is left to do where even this cannot be written.
    let _ = writeln!(io::stderr(), "{name} {what}");
}

fn exit_of(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Config | ErrorKind::InvalidPeerId | ErrorKind::InvalidMessage => exit::USAGE,
        ErrorKind::NotFound => exit::ABSENT,
        // The platform's own words on a message to nobody.
        ErrorKind::Platform if matches!(error.status(), Some(404 | 410)) => exit::ABSENT,
        ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout | ErrorKind::Tls | ErrorKind::Protocol => {
            exit::UNREACHABLE
        }
        ErrorKind::Unauthorized => exit::UNAUTHORISED,
        ErrorKind::Removed => exit::REMOVED,
        ErrorKind::Cancelled => exit::INTERRUPTED,
        _ => exit::FAILED,
    }
}

/// What is known of a message whose send failed, in words.
pub(crate) fn known(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => "not delivered",
        Delivery::Delivered => "delivered",
        Delivery::Accepted => "accepted for delivery",
        _ => "it may have been delivered",
    }
}
