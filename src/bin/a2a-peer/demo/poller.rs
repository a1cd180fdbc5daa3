//! The pollers of the demo, one for each workspace.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, InboxMessage, InboxMessageKind, InboxPoller, Peer, PollerHandle, RetryPolicy, Verdict};

use super::event::{CallbackOutcome, CallbackRecord, DemoEvent};
use super::platform::{DemoPlatform, TOKEN, WORKSPACES};
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
    // Shorter times than the defaults, so that the demo takes seconds. The TTL lets records expire while the registry
    // does not answer.
    let client = Client::builder()
        .platform_url(&platform.url)
        .workspace_id(WORKSPACES[workspace])
        .token(TOKEN)
        .ttl(Duration::from_millis(300))
        .lookup_timeout(Duration::from_millis(200))
        .circuit_backoff(Duration::from_millis(100), Duration::from_secs(1))
        .build()?;
    let retry = RetryPolicy::new().with_base(Duration::from_millis(20)).with_cap(Duration::from_millis(80));
    let report = move |events: &Sender<DemoEvent>, message: &InboxMessage, sender: Option<Peer>, outcome, took| {
        let message = message.clone();
        let record = CallbackRecord { workspace, at: start.elapsed(), message, sender, outcome, took };
        // Fails once the demo is over.
        let _ = events.send(DemoEvent::Handled(record));
    };
    let (callback_events, dead_letter_events) = (events.clone(), events.clone());
    let builder = InboxPoller::builder(client)
        .register(false)
        .cursor_file(dir.join(format!("inbox-{workspace}")))
        .interval(Duration::from_millis(50))
        .heartbeat(Some(Duration::from_millis(500)))
        .retry(retry)
        .on_dead_letter(move |message| {
            report(&dead_letter_events, message, None, CallbackOutcome::GivenUp, Duration::ZERO);
        });
    let handle = builder.spawn(move |message: &InboxMessage| {
        let called = Instant::now();
        let sender = message.sender();
        let outcome = handle_message(message);
        report(&callback_events, message, sender, outcome, called.elapsed());
        match outcome {
            CallbackOutcome::Acked | CallbackOutcome::Answered => Verdict::Ack,
            // Unlike `panic!`, this skips the panic hook, which would print to standard error.
            CallbackOutcome::Panicked => std::panic::resume_unwind(Box::new("a panic of the demo")),
            CallbackOutcome::Failed | CallbackOutcome::GivenUp => Verdict::Retry,
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
            Err(_) => CallbackOutcome::Failed,
        },
        _ => CallbackOutcome::Acked,
    }
}
