//! `send --wait`: waits for the end of a message that the platform queued, and says which one it was.

use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use a2a_blocking::{Client, Error, Queued, QueuedOutcome, QueuedState, Reply};
use serde_json::Value;

use crate::exit::{CommandFailure, ExitStatus};
use crate::terminal::note;
use crate::text::excerpt;

/// An event that ends the wait.
pub(crate) enum WaitEvent {
    /// The library's wait is over.
    Ended(Result<QueuedState, Error>),
    Interrupted,
}

/// The last that is known of a queued message when the wait is over.
#[derive(Default)]
pub(crate) struct QueueEnd {
    /// `None` where the platform was not asked, or did not say.
    pub(crate) outcome: Option<QueuedOutcome>,
    /// The platform's last answer about the message.
    pub(crate) state: Option<QueuedState>,
    is_interrupted: bool,
}

/// Waits for the end of a queued message, for at most `timeout`, or until Ctrl-C.
///
/// # Errors
///
/// The platform does not say what became of the message.
pub(crate) fn wait(
    client: &Client,
    queued: &Queued,
    timeout: Duration,
    (sender, events): (&Sender<WaitEvent>, &Receiver<WaitEvent>),
) -> Result<QueueEnd, CommandFailure> {
    if queued.queue_id().is_none() {
        let is_in_inbox = queued.as_json()["delivery_mode"] == "poll";
        return Ok(QueueEnd { outcome: is_in_inbox.then_some(QueuedOutcome::InInbox), ..QueueEnd::default() });
    }
    let pending =
        |is_interrupted| Ok(QueueEnd { outcome: Some(QueuedOutcome::Pending), is_interrupted, ..QueueEnd::default() });
    if timeout.is_zero() {
        return pending(false);
    }
    let (client, queued, ended) = (client.clone(), queued.clone(), sender.clone());
    let wait = move || {
        // Fails once the wait was interrupted.
        let _ = ended.send(WaitEvent::Ended(client.wait_queued(&queued, timeout)));
    };
    // The library's wait cannot be cancelled: after Ctrl-C its thread ends with the process.
    let spawned = thread::Builder::new().name("wait".to_owned()).spawn(wait);
    spawned.map_err(|error| CommandFailure::Internal(format!("cannot start a thread: {error}")))?;
    match events.recv() {
        Ok(WaitEvent::Ended(outcome)) => {
            let state = outcome.map_err(CommandFailure::Wait)?;
            Ok(QueueEnd { outcome: Some(state.outcome()), state: Some(state), is_interrupted: false })
        }
        Ok(WaitEvent::Interrupted) | Err(_) => pending(true),
    }
}

impl QueueEnd {
    /// Returns the agent's answer, where there is one.
    pub(crate) fn reply(&self) -> Option<&Reply> {
        self.state.as_ref()?.reply()
    }

    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self.outcome {
            _ if self.is_interrupted => ExitStatus::Interrupted,
            Some(QueuedOutcome::InInbox) => ExitStatus::Done,
            Some(QueuedOutcome::Answered) => self.reply().map_or(ExitStatus::Failed, ExitStatus::of_reply),
            Some(QueuedOutcome::Expired | QueuedOutcome::Failed) => ExitStatus::Failed,
            Some(QueuedOutcome::Lost) => ExitStatus::MaybeDelivered,
            _ => ExitStatus::Queued,
        }
    }

    /// Returns where the message is, in the words of an error about the output.
    pub(crate) fn fate(&self) -> &'static str {
        match self.outcome {
            Some(QueuedOutcome::InInbox | QueuedOutcome::Answered) => "delivered",
            Some(QueuedOutcome::Expired) => "expired",
            Some(QueuedOutcome::Failed) => "failed",
            Some(QueuedOutcome::Lost) => "handed over without an answer",
            _ => "queued",
        }
    }

    /// Prints a note that names the end. An answer needs none.
    pub(crate) fn note(&self) {
        let text = match self.outcome {
            Some(QueuedOutcome::Answered) => return,
            Some(QueuedOutcome::InInbox) => {
                "in the peer's inbox: it polls, and an answer comes as a message".to_owned()
            }
            Some(QueuedOutcome::Expired) => {
                "expired: the platform did not deliver it in its time, and does not any more".to_owned()
            }
            Some(QueuedOutcome::Lost) => {
                "handed over, but the platform has no answer: ask the peer whether the message arrived".to_owned()
            }
            Some(QueuedOutcome::Failed) => {
                format!("failed: {}", self.reason().unwrap_or_else(|| "the platform gives no reason".to_owned()))
            }
            None => "queued without an id: the platform cannot be asked what becomes of it".to_owned(),
            _ => "still queued: the platform delivers it later".to_owned(),
        };
        note(&text);
    }

    /// Returns the agent's or the platform's words for a failure, on one line.
    fn reason(&self) -> Option<String> {
        let state = self.state.as_ref()?;
        let response = state.as_json().get("response_body").unwrap_or(&Value::Null);
        let error = &response["error"];
        let words = error.as_str().or_else(|| error["message"].as_str()).or_else(|| state.last_error());
        let shown = match (words, response) {
            (Some(words), _) => excerpt(words),
            (None, Value::Null) => excerpt(state.status()?),
            (None, response) => excerpt(&response.to_string()),
        };
        Some(shown)
    }
}
