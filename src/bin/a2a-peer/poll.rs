//! `poll`: what arrives in our inbox, as it arrives.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use a2a_blocking::{
    Client, Delivery, InboxMessage, InboxMessageKind, InboxPoller, Peer, PollerHandle, Settings, StopReason, Verdict,
};
use serde_json::json;

use crate::args::Args;
use crate::failure::{Failure, exit, known, note, report};
use crate::interrupt::on_interrupt;
use crate::text::{cell, json_line, lines};

/// How long a Ctrl-C waits for an answer that is on its way.
const GRACE: Duration = Duration::from_secs(5);
/// How many columns of a terminal a sender's name and role may take.
const NAME: usize = 64;

/// The options of the command line.
pub(crate) struct Options {
    pub(crate) once: bool,
    pub(crate) reply_with: Option<String>,
    pub(crate) cursor: Option<PathBuf>,
    pub(crate) heartbeat: bool,
    pub(crate) interval: Duration,
}

pub(crate) fn poll(client: Client, options: Options, args: &Arc<Args>) -> Result<u8, Failure> {
    let Options { once, reply_with, cursor, heartbeat, interval } = options;
    let cursor = cursor.or_else(|| own_cursor(&client));
    let mut builder = InboxPoller::builder(client).interval(interval);
    // Who only looks is not the agent, and says nothing for it.
    if !heartbeat && reply_with.is_none() {
        builder = builder.heartbeat(None);
    }
    if let Some(path) = cursor {
        builder = builder.cursor_file(path);
    }
    let (callers, shared) = (args.clone(), Arc::<Shared>::default());
    let answering = shared.clone();
    let mut callback = move |push: &InboxMessage| {
        let shown = show(push, callers.json, &mut io::stdout().lock());
        match shown {
            Ok(()) => answering.answer(push, reply_with.as_deref()),
            // What nobody could read is not through, and is neither tried again nor given up here: it is what the
            // cursor has in flight, and comes again the next time.
            Err(why) => process::exit(report(&Failure::Output(why), &callers).into()),
        }
    };
    if once {
        let mut poller = builder.build()?;
        while poller.poll_once(&mut callback)?.has_more {}
        return Ok(exit::DONE);
    }
    let interrupted = shared.clone();
    on_interrupt(move || interrupted.interrupt())?;
    let poller = builder.spawn(callback)?;
    let poller = shared.handle.get_or_init(|| poller);
    if shared.asked.load(SeqCst) {
        // Perhaps before there was anything to stop.
        poller.stop();
    }
    match poller.join() {
        Some(StopReason::Removed(removed)) => Err(Failure::Removed(removed)),
        _ => Ok(exit::DONE),
    }
}

/// Beside the token, and not the library's: else what is looked at here would never come to the program whose inbox it is.
fn own_cursor(client: &Client) -> Option<PathBuf> {
    let Settings { token_file, workspace_id, .. } = client.settings();
    Some(token_file.as_ref()?.with_file_name(format!("a2a-peer-cursor-{workspace_id}.json")))
}

/// What a Ctrl-C and the callback know of each other.
#[derive(Default)]
struct Shared {
    handle: OnceLock<PollerHandle>,
    asked: AtomicBool,
    answering: AtomicBool,
}

impl Shared {
    fn interrupt(self: &Arc<Self>) {
        self.asked.store(true, SeqCst);
        let shared = self.clone();
        // It waits for a callback that is running, and a second Ctrl-C is to be heard meanwhile.
        thread::spawn(move || shared.handle.get().map(PollerHandle::stop));
        if self.answering.load(SeqCst) {
            note(&format!("an answer is under way and has {} s; Ctrl-C again ends it now", GRACE.as_secs()));
            thread::spawn(|| {
                thread::sleep(GRACE);
                // As after a crash: its message comes again the next time.
                process::exit(exit::INTERRUPTED.into());
            });
        }
    }

    fn answer(&self, push: &InboxMessage, text: Option<&str>) -> Verdict {
        let takes_one = matches!(push.kind(), InboxMessageKind::PeerAgent | InboxMessageKind::CanvasUser);
        let Some(text) = text.filter(|_| takes_one) else { return Verdict::Ack };
        self.answering.store(true, SeqCst);
        // One of the two sees the other: no answer begins of which a Ctrl-C does not know.
        let verdict = if self.asked.load(SeqCst) { Verdict::Retry } else { answer(push, text) };
        self.answering.store(false, SeqCst);
        verdict
    }
}

fn show(push: &InboxMessage, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let sender = push.sender();
    if as_json {
        let line = json!({ "activity_id": push.activity_id(), "kind": push.kind().as_str(),
            "peer": push.peer().map(|peer| peer.to_string()), "sender": sender.as_ref().map(Peer::as_json),
            "text": push.text(), "method": push.method(), "created_at": push.created_at(),
            "attempt": push.delivery_attempt(), "row": push.row() });
        return writeln!(out, "{}", json_line(&line));
    }
    let columns = io::stdout().is_terminal().then_some(NAME);
    let who = match (push.kind(), sender.as_ref(), push.peer()) {
        (InboxMessageKind::CanvasUser, _, _) => "the human".to_owned(),
        (InboxMessageKind::DelegationResult, _, _) => "a delegation".to_owned(),
        (_, Some(peer), Some(id)) => {
            let name = format!("{} ({})", peer.name().unwrap_or("?"), peer.role().unwrap_or("?"));
            format!("{} {id}", cell(&name, columns))
        }
        (_, _, Some(id)) => id.to_string(),
        _ => "an unknown sender".to_owned(),
    };
    let files = match push.attachments().len() {
        0 => String::new(),
        files => format!(" [+{files} files]"),
    };
    // Each further line of a text is set in, so that none of it looks like another push.
    let text = lines(push.text()).replace('\n', "\n    ");
    let at = push.created_at().unwrap_or("-");
    writeln!(out, "{}  {who}:{files} {text}", cell(at, columns))
}

fn answer(push: &InboxMessage, text: &str) -> Verdict {
    let Err(error) = push.reply(text) else { return Verdict::Ack };
    let again = error.is_transient() && error.delivery() == Delivery::NotSent;
    let what = if again { "; it is tried again" } else { "" };
    let (id, known) = (push.activity_id(), known(error.delivery()));
    note(&format!("the answer to {id}: {known}: {error}{what}"));
    if again { Verdict::Retry } else { Verdict::Ack }
}
