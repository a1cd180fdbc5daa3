//! `send`: sends a text to a peer and prints its answer. On a terminal a line shows the progress.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    CancelToken, Client, FileContent, Message, Part, PeerId, QueuedOutcome, QueuedState, Reply, RetryPolicy,
    SendOptions, SendProgress,
};
use serde_json::json;

use crate::args::SendArgs;
use crate::exit::{CommandFailure, ExitStatus, on_interrupt};
use crate::queued::{self, QueueEnd, WaitEvent};
use crate::terminal::{can_redraw, note};
use crate::text::{escape_lines, excerpt, json_line, millis};

/// Time between two redraws of the progress line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum size of a text from standard input, in bytes. The platform takes less in all.
const MAX_TEXT: u64 = 1024 * 1024;
/// Maximum number of parts that notes describe. All of them are in the output of `--json`.
const MAX_NOTES: usize = 20;
/// Moves the cursor to the first column and erases the line: ECMA-48, `EL`.
const ERASE_LINE: &str = "\r\x1b[K";

/// Returns the message of the command line. The text `-` reads standard input.
fn message(args: &SendArgs) -> Result<Message, CommandFailure> {
    let message = Message::from(text(&args.text)?);
    Ok(match &args.context {
        Some(id) => message.context_id(id),
        None => message,
    })
}

/// Returns a text of the command line. The text `-` reads standard input.
pub(crate) fn text(text: &str) -> Result<String, CommandFailure> {
    if text == "-" { read_stdin() } else { Ok(text.to_owned()) }
}

fn read_stdin() -> Result<String, CommandFailure> {
    let refused = |why: String| CommandFailure::Usage(format!("standard input {why}"));
    let mut text = Vec::new();
    let read = io::stdin().lock().take(MAX_TEXT + 1).read_to_end(&mut text);
    read.map_err(|error| refused(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_TEXT {
        return Err(refused("is longer than the limit of 1 MiB: send a shorter text, or a link to it".to_owned()));
    }
    String::from_utf8(text).map_err(|error| refused(format!("is not UTF-8: {error}: send UTF-8 text")))
}

/// The last that is known of a message that was sent.
struct Sent {
    /// The agent's answer, or the platform's, if it queued the message.
    reply: Reply,
    /// The end of the wait for a message that the platform queued.
    end: Option<QueueEnd>,
    took: Duration,
}

/// Sends the message and prints the answer. Ctrl-C cancels the send, or ends the wait after it.
pub(crate) fn send(
    client: &Client,
    args: &SendArgs,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let (message, timeout) = (message(args)?, Duration::from_secs(args.timeout));
    let token = CancelToken::new();
    let (interrupted, (sender, events)) = (token.clone(), mpsc::channel());
    let interrupt = sender.clone();
    on_interrupt(move || {
        interrupted.cancel();
        // Fails once nobody waits.
        let _ = interrupt.send(WaitEvent::Interrupted);
    })?;

    let policy = RetryPolicy::new().with_attempts(args.attempts).with_budget(timeout);
    let mut options = SendOptions::new().retry(policy).own(args.own).cancel(&token);
    let progress_line = can_redraw().then(ProgressLine::start);
    if let Some(line) = &progress_line {
        let progress = line.progress.clone();
        options = options.on_progress(move |state| {
            // Fails once the line has ended.
            let _ = progress.send(state);
        });
    }
    let start = Instant::now();
    let outcome = client.send_with(args.peer, &message, &options);
    // The callback in the options holds a sender, and the line ends with the last sender.
    drop(options);
    if let Some(line) = progress_line {
        line.end();
    }
    let reply = outcome.map_err(CommandFailure::Send)?;
    let end = match &reply {
        Reply::Queued(message) => {
            note_queued(message.queue_id(), args.wait);
            let left = timeout.saturating_sub(start.elapsed());
            args.wait.then(|| queued::wait(client, message, left, (&sender, &events))).transpose()?
        }
        _ => None,
    };
    let sent = Sent { reply, end, took: start.elapsed() };
    let exit = sent.exit_status();
    sent.print(args.peer, as_json, out).map_err(|error| CommandFailure::Unprinted(error, exit, sent.fate()))?;
    Ok(exit)
}

fn note_queued(id: Option<&str>, waits: bool) {
    let then = if waits { "waiting for its end" } else { "the platform delivers it later" };
    match id {
        Some(id) => note(&format!("queued, queue id {id}: {then}")),
        // The note of the wait's end says so.
        None if waits => {}
        None => note(&format!("queued: {then}")),
    }
}

impl Sent {
    /// Returns the agent's answer, also where it came over the queue, or else the platform's.
    fn answer(&self) -> &Reply {
        self.end.as_ref().and_then(QueueEnd::reply).unwrap_or(&self.reply)
    }

    fn exit_status(&self) -> ExitStatus {
        self.end.as_ref().map_or_else(|| ExitStatus::of_reply(&self.reply), QueueEnd::exit_status)
    }

    /// Returns where the message is, in the words of an error about the output.
    fn fate(&self) -> &'static str {
        match (&self.end, &self.reply) {
            (Some(end), _) => end.fate(),
            (None, Reply::Queued(_)) => "queued",
            (None, _) => "delivered",
        }
    }

    fn print(&self, peer: PeerId, as_json: bool, out: &mut impl Write) -> io::Result<()> {
        let reply = self.answer();
        if let Some(end) = &self.end {
            end.note();
        }
        let mut state = None;
        if let Reply::Task(task) = reply {
            state = Some(task.state());
            let is = if task.state() == "unknown" { "the task's state is" } else { "the task is" };
            note(&format!("{is} {}", excerpt(task.state())));
        }
        if as_json {
            let (id, delivery) = (peer.to_string(), reply.delivery().as_str());
            let outcome = self.end.as_ref().and_then(|end| end.outcome).map(QueuedOutcome::as_str);
            let queued = self.end.as_ref().and_then(|end| end.state.as_ref()).map(QueuedState::as_json);
            let line = json!({ "peer": id, "text": reply.all_text(), "state": state, "reply": reply.as_json(),
                "delivery": delivery, "outcome": outcome, "queued": queued, "ms": millis(self.took) });
            writeln!(out, "{}", json_line(&line))?;
        } else if !matches!(reply, Reply::Queued(_)) {
            let text = reply.all_text();
            // A pipe or a file gets the text unchanged.
            let text = if io::stdout().is_terminal() { escape_lines(&text) } else { text.into_owned() };
            writeln!(out, "{text}")?;
            note_parts(&reply.parts());
        }
        out.flush()
    }
}

/// Names the parts of an answer that are no text.
fn note_parts(parts: &[Part<'_>]) {
    let mut described = parts.iter().filter_map(describe_part);
    described.by_ref().take(MAX_NOTES).for_each(|part| note(&format!("the answer has {part}")));
    let more = described.count();
    if more > 0 {
        note(&format!("the answer has {more} more parts: --json prints them"));
    }
}

/// Describes a part that is no text, on one line.
fn describe_part(part: &Part<'_>) -> Option<String> {
    let shown = match part {
        Part::Text(_) => return None,
        Part::File(file) => {
            let content = match &file.content {
                FileContent::Uri(uri) => (*uri).to_owned(),
                FileContent::Bytes(bytes) => format!("{} bytes", bytes.len()),
                _ => "content that this version does not know".to_owned(),
            };
            let words = [file.name, file.media_type, Some(&content)].into_iter().flatten();
            format!("a file: {}", words.collect::<Vec<_>>().join(", "))
        }
        Part::Data(data) => format!("data: {data}"),
        Part::Other(other) => format!("a part of another kind: {other}"),
        _ => "a part of another kind".to_owned(),
    };
    Some(excerpt(&shown))
}

/// A line on a terminal that shows which attempt is made, and how long the send waits for the next.
struct ProgressLine {
    progress: mpsc::Sender<SendProgress>,
    drawing: thread::JoinHandle<()>,
}

impl ProgressLine {
    fn start() -> Self {
        let (progress, updates) = mpsc::channel();
        ProgressLine { progress, drawing: thread::spawn(move || draw(&updates)) }
    }

    /// Erases the line and waits for its thread, which ends within [`REDRAW_INTERVAL`].
    fn end(self) {
        drop(self.progress);
        // The line is a convenience: a panic in its thread is no error of the send.
        let _ = self.drawing.join();
    }
}

/// Draws the line until the last sender of `updates` is dropped.
fn draw(updates: &Receiver<SendProgress>) {
    let start = Instant::now();
    let mut latest: Option<(SendProgress, Instant)> = None;
    loop {
        match updates.recv_timeout(REDRAW_INTERVAL) {
            Ok(progress) => latest = Some((progress, Instant::now())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let Some((SendProgress { attempt, max_attempts, pause, .. }, since)) = latest else { continue };
        let elapsed = start.elapsed().as_secs();
        let state = match pause {
            None => "waiting".to_owned(),
            Some(pause) => format!("next in {} s", pause.saturating_sub(since.elapsed()).as_secs() + 1),
        };
        // Short, because a line that wraps cannot be erased.
        let _ = write!(io::stderr(), "{ERASE_LINE}{attempt}/{max_attempts}, {elapsed} s: {state}");
    }
    let _ = write!(io::stderr(), "{ERASE_LINE}");
}
