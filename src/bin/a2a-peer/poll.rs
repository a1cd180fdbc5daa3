//! `poll`: prints the messages of an inbox as they arrive.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use a2a_blocking::{
    Client, Delivery, ErrorKind, InboxMessage, InboxMessageKind, InboxPoller, Part, Peer, PollerHandle, Reply,
    Settings, StopReason, Verdict,
};
use serde_json::json;

use crate::args::Args;
use crate::exit::{CommandFailure, ExitStatus, on_interrupt};
use crate::report::{describe_delivery, print_failure};
use crate::terminal::note;
use crate::text::{cell, escape_lines, excerpt, json_line};

/// Time that a reply in progress has after Ctrl-C.
const REPLY_GRACE: Duration = Duration::from_secs(5);
/// Maximum width of a sender's name and role on a terminal, in columns.
const NAME_WIDTH: usize = 64;

/// The options of `poll` on the command line.
pub(crate) struct PollOptions {
    pub(crate) once: bool,
    pub(crate) reply_with: Option<String>,
    pub(crate) cursor: Option<PathBuf>,
    pub(crate) heartbeat: bool,
    pub(crate) deliver_paused: bool,
    pub(crate) interval: Duration,
}

/// Prints messages until Ctrl-C, or until the inbox is empty with `once`.
pub(crate) fn poll(client: Client, options: PollOptions, args: &Arc<Args>) -> Result<ExitStatus, CommandFailure> {
    let PollOptions { once, reply_with, cursor, heartbeat, deliver_paused, interval } = options;
    let cursor = cursor.or_else(|| default_cursor(&client));
    let mut builder = InboxPoller::builder(client.clone()).interval(interval).deliver_paused(deliver_paused);
    // A user who only reads is not the agent: peers must not see the workspace as online because of it.
    if !heartbeat && reply_with.is_none() {
        builder = builder.heartbeat(None).register(false);
    }
    if let Some(path) = cursor {
        builder = builder.cursor_file(path);
    }
    // Without a cursor each run would answer the same messages again. What is only read here stays unacknowledged at the
    // platform: the agent's own program has still to handle it.
    builder = builder.require_cursor(reply_with.is_some()).ack(reply_with.is_some());
    let state = Arc::<PollState>::default();
    let (callback_args, callback_state) = (args.clone(), state.clone());
    let mut callback = move |message: &InboxMessage| {
        let printed = print_message(message, callback_args.json, &mut io::stdout().lock());
        match printed {
            Ok(()) => callback_state.reply(message, reply_with.as_deref()),
            // The message stays in flight in the cursor, and is printed by the next run. `Retry` would repeat it here,
            // and count an attempt.
            Err(error) => print_failure(&CommandFailure::Output(error), &callback_args).exit_now(),
        }
    };
    if once {
        let mut poller = builder.build()?;
        while poller.poll_once(&mut callback)?.has_more {}
        return Ok(ExitStatus::Done);
    }
    let interrupted = state.clone();
    on_interrupt(move || interrupted.interrupt())?;
    let handle = builder.spawn(callback)?;
    let handle = state.handle.get_or_init(|| handle);
    if state.is_interrupted.load(SeqCst) {
        // Ctrl-C can come before the handle is stored.
        handle.stop();
    }
    let reason = handle.join();
    note_failures(&client, handle);
    match reason {
        Some(StopReason::Removed(removed)) => Err(CommandFailure::Removed(removed)),
        _ => Ok(ExitStatus::Done),
    }
}

/// Notes how many polls failed, if any, and why the last of them did.
fn note_failures(client: &Client, handle: &PollerHandle) {
    let (stats, health) = (client.stats().inbox, handle.health());
    if let Some(failure) = health.last_failure.filter(|failure| failure.kind != ErrorKind::Removed) {
        let (failed, polls) = (stats.failed_polls, stats.polls);
        note(&format!("{failed} of {polls} polls failed, the last one so: {}", failure.message));
    }
}

/// Returns a cursor file in the folder of the library's default one.
///
/// It is not the library's default: with a shared cursor, the user's own program would not get what is printed here.
fn default_cursor(client: &Client) -> Option<PathBuf> {
    let Settings { cursor_dir, workspace_id, .. } = client.settings();
    Some(cursor_dir.as_ref()?.join(format!("a2a-peer-cursor-{workspace_id}.json")))
}

/// The state that the callback and the handler of Ctrl-C share.
#[derive(Default)]
struct PollState {
    handle: OnceLock<PollerHandle>,
    is_interrupted: AtomicBool,
    is_replying: AtomicBool,
}

impl PollState {
    /// Stops the poller. A reply in progress has [`REPLY_GRACE`].
    fn interrupt(self: &Arc<Self>) {
        self.is_interrupted.store(true, SeqCst);
        let state = self.clone();
        // `stop` waits for the callback, and this thread must be free for a second Ctrl-C.
        thread::spawn(move || state.handle.get().map(PollerHandle::stop));
        if self.is_replying.load(SeqCst) {
            note(&format!("a reply is in progress and has {} s; Ctrl-C again ends it now", REPLY_GRACE.as_secs()));
            thread::spawn(|| {
                thread::sleep(REPLY_GRACE);
                // As after a crash, the next run repeats the message.
                ExitStatus::Interrupted.exit_now();
            });
        }
    }

    /// Replies with `text`, if there is one and the message takes a reply and is none itself.
    fn reply(&self, message: &InboxMessage, text: Option<&str>) -> Verdict {
        let takes_reply = message.kind().takes_reply() && !message.is_reply();
        let Some(text) = text.filter(|_| takes_reply) else { return Verdict::Ack };
        // Both sides write their own flag before they read the other's. So either the handler sees this reply, or the
        // reply sees Ctrl-C and does not start.
        self.is_replying.store(true, SeqCst);
        let verdict = if self.is_interrupted.load(SeqCst) { Verdict::Retry } else { send_reply(message, text) };
        self.is_replying.store(false, SeqCst);
        verdict
    }
}

fn send_reply(message: &InboxMessage, text: &str) -> Verdict {
    let id = message.activity_id();
    let error = match message.reply(text) {
        Ok(reply) => {
            note_failed_task(id, reply.as_ref());
            return Verdict::Ack;
        }
        Err(error) => error,
    };
    let is_retried = error.is_transient() && error.delivery() == Delivery::NotSent;
    let retry = if is_retried { ": trying again" } else { "" };
    let (id, delivery) = (cell(id, None), describe_delivery(error.delivery()));
    note(&format!("reply to message {id}: {delivery}: {error:#}{retry}"));
    if is_retried { Verdict::Retry } else { Verdict::Ack }
}

/// Notes that the peer has the reply, and did not take it.
fn note_failed_task(id: &str, reply: Option<&Reply>) {
    let Some(reply @ Reply::Task(task)) = reply else { return };
    if ExitStatus::of_reply(reply) == ExitStatus::Failed {
        let (id, state, words) = (cell(id, None), task.state(), excerpt(&reply.all_text()));
        note(&format!("reply to message {id}: delivered, but the peer's task is {state}: {words}"));
    }
}

/// Prints a message as a line, or as several where its text has several.
fn print_message(message: &InboxMessage, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let sender = message.sender();
    if as_json {
        let line = json!({ "activity_id": message.activity_id(), "message_id": message.message_id(),
            "context_id": message.context_id(), "task_id": message.task_id(), "kind": message.kind().as_str(),
            "peer": message.peer().map(|peer| peer.to_string()), "user": user_json(message), "source": message.source(),
            "delegation_id": message.delegation_id(), "error_detail": message.error_detail(), "sender": sender.as_ref().map(Peer::as_json),
            "text": message.text(), "method": message.method(), "created_at": message.created_at(),
            "delivery_attempt": message.delivery_attempt(), "row": message.row() });
        return writeln!(out, "{}", json_line(&line));
    }
    let columns = io::stdout().is_terminal().then_some(NAME_WIDTH);
    let from = match (message.kind(), sender.as_ref(), message.peer()) {
        (InboxMessageKind::Human | InboxMessageKind::Upload, _, _) => "the human".to_owned(),
        (InboxMessageKind::Delegation, _, _) if message.error_detail().is_some() => "a failed delegation".to_owned(),
        (InboxMessageKind::Delegation, _, _) => "a delegation".to_owned(),
        (_, Some(peer), Some(id)) => {
            let name = format!("{} ({})", peer.name().unwrap_or("?"), peer.role().unwrap_or("?"));
            format!("{} {id}", cell(&name, columns))
        }
        (_, _, Some(id)) => id.to_string(),
        _ => message.source().map_or("an unknown sender".to_owned(), |source| cell(source, columns)),
    };
    let beside = describe_beside(message);
    // Further lines are indented, so that none of them looks like another message.
    let text = escape_lines(message.text()).replace('\n', "\n    ");
    let at = message.created_at().unwrap_or("-");
    writeln!(out, "{}  {from}:{beside} {text}", cell(at, columns))
}

/// Returns the human who wrote the message, if the platform knows them.
fn user_json(message: &InboxMessage) -> Option<serde_json::Value> {
    let user = message.user()?;
    Some(json!({ "id": user.id, "email": user.email, "username": user.username }))
}

/// Returns the number of files and of other parts that are no text, as in ` [+1 files, +2 data]`.
fn describe_beside(message: &InboxMessage) -> String {
    let parts = message.parts();
    let data = parts.iter().filter(|part| matches!(part, Part::Data(_))).count();
    let counts = [(message.attachments().len(), "files"), (data, "data")];
    let shown: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("+{count} {kind}")).collect();
    if shown.is_empty() { String::new() } else { format!(" [{}]", shown.join(", ")) }
}
