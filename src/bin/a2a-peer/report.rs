//! The report of a failure: exit status, text and advice, in words and as JSON.

use std::io::{self, Write};

use a2a_blocking::{Delivery, Error, ErrorKind};
use serde_json::{Value, json};

use crate::advice;
use crate::args::Args;
use crate::exit::{CommandFailure, ExitStatus};
use crate::terminal::note;
use crate::text::{cell, json_line};

/// A failure, ready to be printed.
pub(crate) struct ErrorReport {
    pub(crate) exit: ExitStatus,
    /// The library's [`ErrorKind::as_str`], `usage` or `output`.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// Advice, where there is any.
    pub(crate) next: Option<String>,
    /// HTTP status of the answer, where there is one.
    pub(crate) status: Option<u16>,
    /// Delivery of the message. `None` where none was to be sent.
    pub(crate) delivery: Option<Delivery>,
    /// Time that the platform asks to wait, in seconds.
    pub(crate) retry_after: Option<f64>,
}

impl ErrorReport {
    pub(crate) fn new(exit: ExitStatus, kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        ErrorReport { exit, kind, message, next: None, status: None, delivery: None, retry_after: None }
    }

    /// Returns the report of a resource that this process lacks.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let report = ErrorReport::new(ExitStatus::Failed, ErrorKind::Internal.as_str(), message);
        ErrorReport { next: Some(advice::INTERNAL.to_owned()), ..report }
    }

    /// Returns the report of a call that failed.
    pub(crate) fn of_call(error: &Error, args: &Args) -> Self {
        let message = match error.kind() {
            ErrorKind::Config => args.connection.setting_error(error),
            // With the line breaks of a peer's own text, which `note` marks.
            _ => format!("{error:#}"),
        };
        let report = ErrorReport::new(ExitStatus::of_call(error), error.kind().as_str(), message);
        let retry_after = error.retry_after().map(|wait| wait.as_secs_f64());
        ErrorReport { next: advice::advice(error, args), status: error.status(), retry_after, ..report }
    }

    fn of_send(error: &Error, args: &Args) -> Self {
        // The delivery comes first: a peer's words, which can follow it, cannot pretend another one.
        let message = format!("{}: {error:#}", describe_delivery(error.delivery()));
        let delivery = Some(error.delivery());
        ErrorReport { exit: ExitStatus::of_send(error), message, delivery, ..ErrorReport::of_call(error, args) }
    }

    /// Returns the report of a message that the platform queued, and whose end it does not tell.
    fn of_wait(error: &Error, args: &Args) -> Self {
        let report = ErrorReport::of_call(error, args);
        let next = if error.kind() == ErrorKind::NotFound { Some(advice::UNKNOWN_END.to_owned()) } else { report.next };
        let message = format!("queued, but its end is not known: {}", report.message);
        let (exit, delivery) = (ExitStatus::MaybeDelivered, Some(Delivery::Accepted));
        ErrorReport { exit, message, delivery, next, ..report }
    }

    pub(crate) fn of_failure(failure: &CommandFailure, args: &Args) -> Self {
        match failure {
            CommandFailure::Output(error) => {
                ErrorReport::new(ExitStatus::Failed, "output", format!("cannot write the output: {error}"))
            }
            CommandFailure::Unprinted(error, exit, fate) => {
                ErrorReport::new(*exit, "output", format!("{fate}, but cannot write the answer: {error}"))
            }
            CommandFailure::Usage(text) => ErrorReport::new(ExitStatus::Usage, "usage", text),
            CommandFailure::TokenFile(text, next) => {
                let report = ErrorReport::new(ExitStatus::Usage, "usage", text);
                ErrorReport { next: Some((*next).to_owned()), ..report }
            }
            CommandFailure::Internal(text) => ErrorReport::internal(text),
            CommandFailure::Call(error) => ErrorReport::of_call(error, args),
            CommandFailure::Send(error) => ErrorReport::of_send(error, args),
            CommandFailure::Wait(error) => ErrorReport::of_wait(error, args),
            CommandFailure::Removed(removed) => {
                let message = format!("the workspace was removed: {}", removed.hint);
                let report = ErrorReport::new(ExitStatus::Removed, ErrorKind::Removed.as_str(), message);
                ErrorReport { status: Some(410), next: Some(advice::REMOVED.to_owned()), ..report }
            }
        }
    }

    /// Returns the value of the field `error` of the JSON output.
    pub(crate) fn as_json(&self) -> Value {
        json!({ "kind": self.kind, "status": self.status, "message": self.message, "next": self.next,
            "delivery": self.delivery.map(Delivery::as_str), "retry_after": self.retry_after,
            "exit": self.exit.code() })
    }

    /// Prints the JSON document of the failure on standard output.
    pub(crate) fn print_json(&self) {
        // Standard error has the same failure in words.
        let _ = writeln!(io::stdout(), "{}", json_line(&json!({ "error": self.as_json() })));
    }

    fn print_text(&self) {
        note(&self.message);
        if let Some(next) = &self.next {
            let _ = writeln!(io::stderr(), "  next: {}", cell(next, None));
        }
    }
}

/// Prints why a command failed, and returns its exit status.
///
/// Prints nothing where the reader of standard output left early: it has read enough.
pub(crate) fn print_failure(failure: &CommandFailure, args: &Args) -> ExitStatus {
    match failure {
        CommandFailure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitStatus::Done,
        CommandFailure::Unprinted(error, exit, _) if error.kind() == io::ErrorKind::BrokenPipe => return *exit,
        _ => {}
    }
    let report = ErrorReport::of_failure(failure, args);
    report.print_text();
    if args.json && !matches!(failure, CommandFailure::Output(_) | CommandFailure::Unprinted(..)) {
        report.print_json();
    }
    report.exit
}

/// Returns where a message may be, in words.
pub(crate) fn describe_delivery(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => "not delivered",
        Delivery::Delivered => "delivered",
        Delivery::Accepted => "accepted for delivery",
        _ => "it may have been delivered",
    }
}
