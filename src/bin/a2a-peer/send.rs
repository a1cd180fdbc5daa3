//! `send`: a text to a peer, its answer, and a live line meanwhile.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CancelToken, Client, Message, PeerId, Reply, RetryPolicy, SendOptions, SendProgress};
use serde_json::json;

use crate::failure::{Failure, exit, note};
use crate::interrupt::on_interrupt;
use crate::terminal::redraws;
use crate::text::{json_line, lines, millis};

/// How often the live line is drawn anew.
const TICK: Duration = Duration::from_millis(200);
/// The longest text that is read, in bytes: more than the platform takes in all.
const MAX_TEXT: u64 = 1024 * 1024;

/// The message of the command line; `-` stands for standard input.
pub(crate) fn message(text: &str, context: Option<&str>) -> Result<Message, Failure> {
    let text = match text {
        "-" => {
            let refused = |why: String| Failure::Usage(format!("standard input {why}"));
            let mut text = Vec::new();
            let read = io::stdin().lock().take(MAX_TEXT + 1).read_to_end(&mut text);
            read.map_err(|why| refused(format!("cannot be read: {why}")))?;
            if text.len() as u64 > MAX_TEXT {
                return Err(refused(
                    "is longer than the 1 MiB that the platform takes: send less, or a link".to_owned(),
                ));
            }
            String::from_utf8(text).map_err(|why| refused(format!("is no text in UTF-8: {why}")))?
        }
        text => text.to_owned(),
    };
    let message = Message::from(text);
    Ok(match context {
        Some(id) => message.context_id(id),
        None => message,
    })
}

pub(crate) fn send(
    client: &Client,
    peer: PeerId,
    message: &Message,
    policy: RetryPolicy,
    as_json: bool,
    out: &mut impl Write,
) -> Result<u8, Failure> {
    let token = CancelToken::new();
    let interrupted = token.clone();
    on_interrupt(move || interrupted.cancel())?;

    let mut options = SendOptions::new().retry(policy).cancel(&token);
    let live = redraws().then(Live::start);
    if let Some(Live { progress, .. }) = &live {
        let progress = progress.clone();
        options = options.on_progress(move |at| {
            // The line may have ended: then nobody is to be told.
            let _ = progress.send(at);
        });
    }
    let start = Instant::now();
    let outcome = client.send_with(peer, message, &options);
    let took = start.elapsed();
    // Its sender goes with the options, and it ends.
    drop(options);
    if let Some(live) = live {
        live.end();
    }
    let reply = outcome.map_err(Failure::Send)?;
    let code = if matches!(reply, Reply::Queued(_)) { exit::QUEUED } else { exit::DONE };
    match &reply {
        Reply::Queued(queued) => {
            let id = queued.queue_id().map(|id| format!(", queue id {id}")).unwrap_or_default();
            note(&format!("queued{id}: the platform delivers it later"));
        }
        Reply::Task(task) => note(&format!("the task is {}", task.state())),
        _ => {}
    }
    let printed = if as_json {
        let (id, delivery) = (peer.to_string(), reply.delivery().as_str());
        let line = json!({ "peer": id, "text": reply.text(), "reply": reply.as_json(), "delivery": delivery,
            "ms": millis(took) });
        writeln!(out, "{}", json_line(&line))
    } else if code == exit::DONE {
        let text = reply.text();
        // A program that reads it gets it as it is.
        let text = if io::stdout().is_terminal() { lines(&text) } else { text.into_owned() };
        writeln!(out, "{text}")
    } else {
        Ok(())
    };
    printed.and_then(|()| out.flush()).map_err(|why| Failure::Unprinted(why, code))?;
    Ok(code)
}

/// The line on a terminal that tells what a send waits for.
struct Live {
    progress: mpsc::Sender<SendProgress>,
    drawing: thread::JoinHandle<()>,
}

impl Live {
    fn start() -> Self {
        let (progress, told) = mpsc::channel();
        Live { progress, drawing: thread::spawn(move || draw(&told)) }
    }

    fn end(self) {
        drop(self.progress);
        // It ends within a tick; that it panicked would be no news for the user.
        let _ = self.drawing.join();
    }
}

fn draw(told: &Receiver<SendProgress>) {
    let (start, mut now, mut since) = (Instant::now(), None::<SendProgress>, Instant::now());
    loop {
        match told.recv_timeout(TICK) {
            Ok(progress) => (now, since) = (Some(progress), Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let Some(SendProgress { attempt, max_attempts, pause, .. }) = now else { continue };
        let elapsed = start.elapsed().as_secs();
        let waits = match pause {
            None => "waiting".to_owned(),
            Some(pause) => format!("again in {} s", pause.saturating_sub(since.elapsed()).as_secs() + 1),
        };
        // Short enough for a narrow terminal: a line that wraps cannot be drawn over.
        let line = format!("{attempt}/{max_attempts}, {elapsed} s: {waits}");
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }
    let _ = write!(io::stderr(), "\r\x1b[K");
}
