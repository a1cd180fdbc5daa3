//! `demo`: the main job on an embedded platform. Two workspaces' pollers get what peers write, ask of each who sent
//! it, and answer some; meanwhile the registry dies and comes back, and callbacks fail.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, InboxMessage, InboxMessageKind, InboxPoller, Peer, PollerHandle, RetryPolicy, Verdict};
use serde_json::json;

use crate::failure::{Failure, exit};
use crate::interrupt::on_interrupt;
use crate::platform::{PEERS, Platform, TOKEN, WORKSPACES};
use crate::table::Table;
use crate::text::{lines, millis, spoken};

/// What is written to each workspace, and how fast, so that a person can follow.
const ROWS_EACH: usize = 120;
const PACE: Duration = Duration::from_millis(20);
/// How long the whole may take: what has not arrived by then is lost.
const PATIENCE: Duration = Duration::from_secs(30);
const TEXTS: &[&str] = &[
    "disk is full on node 7",
    "please review #4211",
    "the build is green again",
    "who is on call tonight?",
    "invoice 88 was paid",
    "rolled back to v1.9",
    "standup in five minutes",
];
const FAILS_ONCE: &str = "this one fails once";
const PANICS_ONCE: &str = "this one panics once";
const POISON: &str = "this one always fails";

/// What happens meanwhile.
enum Event {
    Handled(Handled),
    /// Whether the registry lives from now on.
    Registry(bool),
    Interrupted,
}

/// What a callback did with a push.
struct Handled {
    workspace: usize,
    at: Duration,
    push: InboxMessage,
    sender: Option<Peer>,
    done: Done,
    took: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Done {
    Acked,
    Answered,
    Failed,
    Panicked,
    GivenUp,
}

pub(crate) fn run(as_json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    let (send, events) = mpsc::channel();
    let interrupted = send.clone();
    // Before there is anything to leave behind. Where nobody listens any more, the demo is over.
    on_interrupt(move || drop(interrupted.send(Event::Interrupted)))?;
    let platform = Platform::start().map_err(|why| Failure::Internal(format!("no loopback port to be had: {why}")))?;
    let dir =
        Cursors::make().map_err(|why| Failure::Internal(format!("no directory for the cursors to be had: {why}")))?;
    let table = Table::new(
        &[("     AT", 7), ("INBOX", 5), ("FROM", 24), ("TEXT", 26), ("DONE", 10), ("TOOK", 7)],
        &[3, 2, 4, 5, 1, 0],
    );
    if !as_json {
        let peers = PEERS.len();
        writeln!(
            out,
            "an embedded platform at {}, two workspaces, {peers} peers: one unknown, one forbidden",
            platform.url
        )?;
        table.heading(out)?;
    }
    let start = Instant::now();
    let mut pollers = Vec::new();
    for workspace in 0..WORKSPACES.len() {
        pollers.push(poller(&platform, &dir.0, workspace, start, &send)?);
    }
    let peers = platform.clone();
    thread::Builder::new().name("peers".into()).spawn(move || write(&peers, &send))?;

    let (mut all, expected) = (Vec::new(), ROWS_EACH * WORKSPACES.len());
    let through = |all: &[Handled]| all.iter().filter(|one| one.is_through()).count();
    while through(&all) < expected {
        let left = PATIENCE.saturating_sub(start.elapsed());
        match events.recv_timeout(left) {
            Ok(Event::Registry(_)) if as_json => {}
            Ok(Event::Registry(true)) => writeln!(out, "{:>7}  the registry is back", spoken(start.elapsed()))?,
            Ok(Event::Registry(false)) => writeln!(out, "{:>7}  the registry dies", spoken(start.elapsed()))?,
            Ok(Event::Handled(one)) => {
                print(&one, &table, as_json, out)?;
                all.push(one);
            }
            Ok(Event::Interrupted) => {
                pollers.iter().for_each(PollerHandle::stop);
                return Ok(exit::INTERRUPTED);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    pollers.iter().for_each(PollerHandle::stop);
    let lost = summarise(&all, &platform, start.elapsed(), as_json, out)?;
    Ok(if lost > 0 { exit::FAILED } else { exit::DONE })
}

/// A workspace's poller. Its callback asks who it is from, without waiting, and answers a question.
fn poller(
    platform: &Platform,
    dir: &Path,
    workspace: usize,
    start: Instant,
    events: &Sender<Event>,
) -> Result<PollerHandle, Failure> {
    let builder = Client::builder().platform_url(&platform.url).workspace_id(WORKSPACES[workspace]).token(TOKEN);
    // Faster than in life, so that nobody has to wait, and that records outlive the registry.
    let builder = builder.ttl(Duration::from_millis(300));
    let client = builder
        .lookup_timeout(Duration::from_millis(200))
        .circuit_backoff(Duration::from_millis(100), Duration::from_secs(1))
        .build()?;
    let retry = RetryPolicy::new().with_base(Duration::from_millis(20)).with_cap(Duration::from_millis(80));
    let (send, given_up) = (events.clone(), events.clone());
    let report = move |send: &Sender<Event>, push: &InboxMessage, sender, done, took| {
        // Where nobody listens any more, the demo is over.
        let handled = Handled { workspace, at: start.elapsed(), push: push.clone(), sender, done, took };
        let _ = send.send(Event::Handled(handled));
    };
    let builder = InboxPoller::builder(client)
        .cursor_file(dir.join(format!("inbox-{workspace}")))
        .interval(Duration::from_millis(50))
        .heartbeat(Some(Duration::from_millis(500)))
        .retry(retry)
        .on_dead_letter(move |push| report(&given_up, push, None, Done::GivenUp, Duration::ZERO));
    let callback = move |push: &InboxMessage| {
        let called = Instant::now();
        let sender = push.sender();
        let done = match (push.text(), push.delivery_attempt()) {
            (POISON, _) | (FAILS_ONCE, 1) => Done::Failed,
            (PANICS_ONCE, 1) => Done::Panicked,
            (text, _) if text.ends_with('?') || push.kind() == InboxMessageKind::CanvasUser => {
                match push.reply("on it") {
                    Ok(_) => Done::Answered,
                    Err(_) => Done::Failed,
                }
            }
            _ => Done::Acked,
        };
        report(&send, push, sender, done, called.elapsed());
        match done {
            Done::Acked | Done::Answered => Verdict::Ack,
            // A panic without the words that it would print.
            Done::Panicked => std::panic::resume_unwind(Box::new("as a callback may")),
            Done::Failed | Done::GivenUp => Verdict::Retry,
        }
    };
    Ok(builder.spawn(callback)?)
}

/// What the peers do; in the second third of it the registry is dead.
fn write(platform: &Platform, events: &Sender<Event>) {
    for n in 0..ROWS_EACH {
        if n == ROWS_EACH / 3 || n == 2 * ROWS_EACH / 3 {
            let alive = n > ROWS_EACH / 3;
            platform.set_registry(alive);
            // Where nobody listens any more, the demo is over.
            let _ = events.send(Event::Registry(alive));
        }
        for workspace in 0..WORKSPACES.len() {
            let peer = PEERS[(n * (2 * workspace + 3) + workspace) % PEERS.len()].0;
            let (peer, text) = match (n, workspace) {
                (20, 0) => (Some(peer), FAILS_ONCE),
                (50, 1) => (Some(peer), PANICS_ONCE),
                (90, 0) => (Some(peer), POISON),
                (30 | 60, _) => (None, "what is the state of things"),
                _ => (Some(peer), TEXTS[(n * 5 + workspace) % TEXTS.len()]),
            };
            platform.write(workspace, peer, text);
        }
        thread::sleep(PACE);
    }
}

impl Handled {
    fn is_through(&self) -> bool {
        matches!(self.done, Done::Acked | Done::Answered | Done::GivenUp)
    }
}

fn print(one: &Handled, table: &Table, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let Handled { workspace, at, push, sender, done, took } = one;
    let done = match done {
        Done::Acked => "acked",
        Done::Answered => "answered",
        Done::Failed => "failed",
        Done::Panicked => "panicked",
        Done::GivenUp => "given up",
    };
    if as_json {
        let (id, kind, record) = (push.activity_id(), push.kind().as_str(), sender.as_ref().map(Peer::as_json));
        let (attempt, ms) = (push.delivery_attempt(), millis(*took));
        return writeln!(
            out,
            "{}",
            json!({ "workspace": WORKSPACES[*workspace], "id": id, "kind": kind, "text": push.text(), "record": record,
                "attempt": attempt, "done": done, "ms": ms })
        );
    }
    let who = match (sender, push.peer()) {
        (Some(peer), _) => format!("{} ({})", peer.name().unwrap_or("?"), peer.role().unwrap_or("?")),
        (None, Some(id)) => format!("somebody ({}…)", &id.to_string()[..8]),
        (None, None) => "the human".to_owned(),
    };
    let (at, took) = (format!("{:>7}", spoken(*at)), spoken(*took));
    table.row(out, &[&at, &workspace.to_string(), &who, push.text(), done, &took])
}

/// What became of each row that the platform has: how many are lost, came twice, or do not stand in a prompt as they
/// came.
fn summarise(
    all: &[Handled],
    platform: &Platform,
    took: Duration,
    as_json: bool,
    out: &mut impl Write,
) -> io::Result<usize> {
    let ledger: Vec<String> = (0..WORKSPACES.len()).flat_map(|workspace| platform.ids(workspace)).collect();
    let with = |done: &[Done]| all.iter().filter(|one| done.contains(&one.done)).count();
    let is_through: HashSet<&str> =
        all.iter().filter(|one| one.is_through()).map(|one| one.push.activity_id()).collect();
    let rows = ledger.len();
    // Of those that were yet to be written when it was over nothing is known either.
    let unwritten = (ROWS_EACH * WORKSPACES.len()).saturating_sub(rows);
    let lost = ledger.iter().filter(|id| !is_through.contains(id.as_str())).count() + unwritten;
    let (delivered, dead) = (with(&[Done::Acked, Done::Answered]), with(&[Done::GivenUp]));
    let retried = with(&[Done::Failed, Done::Panicked]);
    let twice = (delivered + dead).saturating_sub(is_through.len());
    let known = all.iter().filter(|one| one.sender.is_some()).count();
    let callback = all.iter().filter(|one| one.done != Done::Answered).map(|one| one.took).max().unwrap_or_default();
    // None of the texts looks like a header: each stands in its prompt as it came.
    let is_garbled = |one: &&Handled| !one.push.envelope().content().ends_with(&format!("]\n{}", one.push.text()));
    let garbled = all.iter().filter(is_garbled).count();
    let [lookups, messages, notices, heartbeats] = platform.counts();
    if as_json {
        let summary = json!({ "rows": rows, "delivered": delivered, "retried": retried, "dead_lettered": dead,
            "twice": twice, "lost": lost, "garbled": garbled, "gets": lookups, "messages": messages, "notices": notices,
            "heartbeats": heartbeats, "slowest_ms": millis(callback) });
        writeln!(out, "{summary}")?;
        return Ok(lost + twice + garbled);
    }
    writeln!(
        out,
        "\n{rows} rows by the platform's own ledger, in {}, the registry dead for a third of it",
        spoken(took)
    )?;
    writeln!(out, "delivered: {delivered}, retried: {retried}, dead-lettered: {dead}, twice: {twice}, lost: {lost}")?;
    writeln!(
        out,
        "{known} callbacks knew the sender's record; {lookups} lookups, slowest callback without an answer {}",
        spoken(callback)
    )?;
    writeln!(out, "{messages} answers to peers, {notices} to the human, {heartbeats} heartbeats")?;
    if let Some(one) = all.iter().rfind(|one| one.sender.is_some()) {
        let prompt = one.push.envelope().content().replace('\n', "  ");
        writeln!(out, "an agent's prompt has the last one as: {}", lines(&prompt))?;
    }
    Ok(lost + twice + garbled)
}

/// Where the cursors are kept, for as long as the demo runs.
struct Cursors(PathBuf);

impl Cursors {
    fn make() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("a2a-peer-demo-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Cursors(dir))
    }
}

impl Drop for Cursors {
    fn drop(&mut self) {
        // Some system cleans up behind us where this fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
