//! `send`: sends a text to a peer and prints its answer. On a terminal a line shows the progress.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    CancelToken, Client, FileContent, Message, Part, PeerId, Reply, RetryPolicy, SendOptions, SendProgress,
};
use serde_json::json;

use crate::exit::{CommandFailure, ExitStatus, on_interrupt};
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
pub(crate) fn message(text: &str, context: Option<&str>) -> Result<Message, CommandFailure> {
    let message = Message::from(self::text(text)?);
    Ok(match context {
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

/// Sends the message and prints the answer. Ctrl-C cancels the send.
pub(crate) fn send(
    client: &Client,
    peer: PeerId,
    message: &Message,
    policy: RetryPolicy,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let token = CancelToken::new();
    let interrupted = token.clone();
    on_interrupt(move || interrupted.cancel())?;

    let mut options = SendOptions::new().retry(policy).cancel(&token);
    let progress_line = can_redraw().then(ProgressLine::start);
    if let Some(line) = &progress_line {
        let progress = line.progress.clone();
        options = options.on_progress(move |state| {
            // Fails once the line has ended.
            let _ = progress.send(state);
        });
    }
    let start = Instant::now();
    let outcome = client.send_with(peer, message, &options);
    let took = start.elapsed();
    // The callback in the options holds a sender, and the line ends with the last sender.
    drop(options);
    if let Some(line) = progress_line {
        line.end();
    }
    let reply = outcome.map_err(CommandFailure::Send)?;
    let exit = ExitStatus::of_reply(&reply);
    print_reply(&reply, peer, took, as_json, out).map_err(|error| CommandFailure::Unprinted(error, exit))?;
    Ok(exit)
}

fn print_reply(reply: &Reply, peer: PeerId, took: Duration, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let mut state = None;
    match reply {
        Reply::Queued(queued) => {
            let id = queued.queue_id().map(|id| format!(", queue id {id}")).unwrap_or_default();
            note(&format!("queued{id}: the platform delivers it later"));
        }
        Reply::Task(task) => {
            state = Some(task.state());
            let is = if task.state() == "unknown" { "the task's state is" } else { "the task is" };
            note(&format!("{is} {}", excerpt(task.state())));
        }
        _ => {}
    }
    if as_json {
        let (id, delivery) = (peer.to_string(), reply.delivery().as_str());
        let line = json!({ "peer": id, "text": reply.all_text(), "state": state, "reply": reply.as_json(),
            "delivery": delivery, "ms": millis(took) });
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
