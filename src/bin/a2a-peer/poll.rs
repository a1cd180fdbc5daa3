//! `poll`: what arrives in our inbox, as it arrives.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{ExitCode, exit};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use a2a_blocking::{Client, Delivery, InboxPoller, Peer, PollerHandle, Push, PushKind, StopReason, Verdict};
use serde_json::json;

use crate::send::known;
use crate::text::{json_line, lines, printable};
use crate::{Failure, report};

/// The options of the command line.
pub(crate) struct Options {
    pub(crate) once: bool,
    pub(crate) reply_with: Option<String>,
    pub(crate) cursor: Option<PathBuf>,
    pub(crate) interval: Duration,
}

pub(crate) fn poll(client: Client, options: Options, as_json: bool) -> Result<ExitCode, Failure> {
    let Options { once, reply_with, cursor, interval } = options;
    let mut builder = InboxPoller::builder(client).interval(interval);
    if let Some(path) = cursor {
        builder = builder.cursor_file(path);
    }
    let mut callback = move |push: &Push| match show(push, as_json, &mut io::stdout().lock()) {
        Ok(()) => answer(push, reply_with.as_deref()),
        // What nobody could read is not through, and is neither tried again nor given up here: it is what the
        // cursor has in flight, and comes again the next time.
        Err(why) => exit(report(Failure::Output(why)).into()),
    };
    if once {
        let mut poller = builder.build()?;
        while poller.poll_once(&mut callback)?.more {}
        return Ok(ExitCode::SUCCESS);
    }
    let handle: Arc<OnceLock<PollerHandle>> = Arc::default();
    let asked = Arc::<OnceLock<()>>::default();
    let (stopped, again) = (handle.clone(), asked.clone());
    let on_interrupt = move || {
        if again.set(()).is_err() {
            // Asked a second time: whatever it is that keeps us, it can wait no longer.
            exit(130);
        }
        let handle = stopped.clone();
        // It waits for a callback that is running, and a second Ctrl-C is to be heard meanwhile.
        thread::spawn(move || handle.get().map(PollerHandle::stop));
    };
    ctrlc::set_handler(on_interrupt).map_err(|why| Failure::Usage(format!("Ctrl-C cannot be caught: {why}")))?;
    let poller = builder.spawn(callback)?;
    let poller = handle.get_or_init(|| poller);
    if asked.get().is_some() {
        // Perhaps before there was anything to stop.
        poller.stop();
    }
    match poller.join() {
        Some(StopReason::Removed(removed)) => {
            let _ = writeln!(io::stderr(), "a2a-peer: the workspace was removed: {}", lines(&removed.hint));
            Ok(ExitCode::FAILURE)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn show(push: &Push, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let sender = push.sender();
    if as_json {
        let line = json!({ "activity_id": push.activity_id(), "kind": push.kind().as_str(),
            "peer": push.peer().map(|peer| peer.to_string()), "sender": sender.as_ref().map(Peer::as_json),
            "text": push.text(), "method": push.method(), "created_at": push.created_at(),
            "attempt": push.attempt(), "row": push.row() });
        return writeln!(out, "{}", json_line(&line));
    }
    let who = match (push.kind(), sender.as_ref(), push.peer()) {
        (PushKind::CanvasUser, _, _) => "the human".to_owned(),
        (PushKind::DelegationResult, _, _) => "a delegation".to_owned(),
        (_, Some(peer), Some(id)) => format!("{} ({}) {id}", peer.name().unwrap_or("?"), peer.role().unwrap_or("?")),
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
    writeln!(out, "{}  {}:{files} {text}", printable(at, 35), printable(&who, 100))
}

fn answer(push: &Push, text: Option<&str>) -> Verdict {
    let takes_one = matches!(push.kind(), PushKind::PeerAgent | PushKind::CanvasUser);
    let Some(text) = text.filter(|_| takes_one) else { return Verdict::Ack };
    let Err(error) = push.reply(text) else { return Verdict::Ack };
    let again = error.is_transient() && error.delivery() == Delivery::NotSent;
    let what = if again { "; it is tried again" } else { "" };
    let (id, known) = (push.activity_id(), known(error.delivery()));
    let _ =
        writeln!(io::stderr(), "a2a-peer: the answer to {}: {known}: {}{what}", lines(id), lines(&error.to_string()));
    if again { Verdict::Retry } else { Verdict::Ack }
}
