//! The pollers of the demo, one for each workspace.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use a2a_blocking::{InboxMessage, InboxMessageKind, InboxPoller, Peer, PollerHandle, RetryPolicy, Verdict};

use super::event::{CallbackOutcome, CallbackRecord, DemoEvent};
use super::platform::DemoPlatform;
use super::senders::{ALWAYS_FAILS, FAILS_ONCE, PANICS_ONCE};
use crate::exit::CommandFailure;

/// Starts the poller of a workspace, with its cursor in `dir`. It sends an event for each call of its callback.
pub(super) fn spawn_poller(
    platform: &DemoPlatform,
    dir: &Path,
    workspace: usize,
    start: Instant,
    events: &Sender<DemoEvent>,
) -> Result<PollerHandle, CommandFailure> {
    let client = platform.client(workspace).clone();
    // The registry's answer about one peer has no role. The list has.
    client.peers()?;
    let retry = RetryPolicy::new().with_base(Duration::from_millis(20)).with_cap(Duration::from_millis(80));
    let workspace_id = platform.id(workspace).to_owned();
    let report = move |events: &Sender<DemoEvent>, message: &InboxMessage, sender: Option<Peer>, outcome, took| {
        let (workspace_id, message) = (workspace_id.clone(), message.clone());
        let at = start.elapsed();
        let record = CallbackRecord { workspace, workspace_id, at, message, sender, outcome, took };
        // Fails once the demo is over.
        let _ = events.send(DemoEvent::Handled(record));
    };
    let report_dead_letter = report.clone();
    let (callback_events, dead_letter_events) = (events.clone(), events.clone());
    let builder = InboxPoller::builder(client)
        .register(false)
        .cursor_file(dir.join(format!("inbox-{workspace}")))
        .interval(Duration::from_millis(50))
        .heartbeat(Some(Duration::from_millis(500)))
        .retry(retry)
        .on_dead_letter(move |message| {
            report_dead_letter(&dead_letter_events, message, None, CallbackOutcome::GivenUp, Duration::ZERO);
        });
    let handle = builder.spawn(move |message: &InboxMessage| {
        let called = Instant::now();
        let sender = message.sender();
        let outcome = handle_message(message);
        report(&callback_events, message, sender, outcome, called.elapsed());
        match outcome {
            // Unlike `panic!`, this skips the panic hook, which would print to standard error.
            CallbackOutcome::Panicked => std::panic::resume_unwind(Box::new("a panic of the demo")),
            outcome if outcome.is_delivered() => Verdict::Ack,
            _ => Verdict::Retry,
        }
    })?;
    Ok(handle)
}

/// Answers questions and the human. Some deliveries fail, as their texts say.
fn handle_message(message: &InboxMessage) -> CallbackOutcome {
    match (message.text(), message.delivery_attempt()) {
        (ALWAYS_FAILS, _) | (FAILS_ONCE, 1) => CallbackOutcome::Failed,
        (PANICS_ONCE, 1) => CallbackOutcome::Panicked,
        (text, _) if text.ends_with('?') || message.kind() == InboxMessageKind::Human => match message.reply("on it") {
            Ok(_) => CallbackOutcome::Answered,
            Err(error) if error.is_transient() => CallbackOutcome::Failed,
            // As `Verdict::after` does, but without its warning: another attempt would be in vain.
            Err(_) => CallbackOutcome::Refused,
        },
        _ => CallbackOutcome::Acked,
    }
}
