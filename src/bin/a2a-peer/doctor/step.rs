//! The result of one step of `doctor`, and its time limit.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use clap::builder::styling::AnsiColor;

use crate::report::ErrorReport;

/// The outcome of a step, as the report names it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum StepStatus {
    Ok,
    Warning,
    Skipped,
    Failed,
}

impl StepStatus {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            StepStatus::Ok => "ok",
            StepStatus::Warning => "warning",
            StepStatus::Skipped => "skipped",
            StepStatus::Failed => "failed",
        }
    }

    pub(super) fn colour(self) -> AnsiColor {
        match self {
            StepStatus::Ok => AnsiColor::Green,
            StepStatus::Warning => AnsiColor::Yellow,
            StepStatus::Skipped => AnsiColor::BrightBlack,
            StepStatus::Failed => AnsiColor::Red,
        }
    }
}

/// The result of a step that did not fail. The next step gets its `value`.
pub(super) struct Finding<T> {
    pub(super) value: T,
    pub(super) status: StepStatus,
    pub(super) detail: String,
    /// Advice about a warning.
    pub(super) next: Option<String>,
}

/// The result of a step. An error skips the steps that depend on it.
pub(super) type StepResult<T> = Result<Finding<T>, ErrorReport>;

impl<T> Finding<T> {
    pub(super) fn ok(value: T, detail: impl Into<String>) -> StepResult<T> {
        Ok(Finding { value, status: StepStatus::Ok, detail: detail.into(), next: None })
    }

    pub(super) fn warning(value: T, detail: impl Into<String>, next: impl Into<String>) -> StepResult<T> {
        Ok(Finding { value, status: StepStatus::Warning, detail: detail.into(), next: Some(next.into()) })
    }
}

/// Runs `work` on its own thread and returns its result, or `timeout_report` if it takes longer than `limit`.
///
/// A thread that takes longer is not stopped. It ends with the process.
pub(super) fn run_within<T: Send + 'static>(
    limit: Duration,
    timeout_report: ErrorReport,
    work: impl FnOnce() -> StepResult<T> + Send + 'static,
) -> StepResult<T> {
    let (sender, receiver) = mpsc::channel();
    // The send fails where nobody waits for the result any more.
    let worker = thread::Builder::new().name("step".to_owned()).spawn(move || drop(sender.send(work())));
    if let Err(error) = worker {
        return Err(ErrorReport::internal(format!("cannot start a thread: {error}")));
    }
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(timeout_report),
        Err(RecvTimeoutError::Disconnected) => Err(ErrorReport::internal("the step panicked")),
    }
}
