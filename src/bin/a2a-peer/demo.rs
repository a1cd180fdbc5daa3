//! `demo`: the main job on an embedded platform. Two pollers get pushes, and ask of each who sent it; then
//! four messages go out.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, Lookup, Message, Peer, Reply, SendOptions, Source};
use serde_json::json;

use crate::Failure;
use crate::platform::{ANSWERS, PEERS, Platform, TOKEN, WORKSPACE};
use crate::send::known;
use crate::text::{millis, printable, spoken};

const POLLERS: usize = 2;
const PUSHES_EACH: usize = 120;
/// Between two pushes of a poller, so that a person can follow.
const PACE: Duration = Duration::from_millis(8);
const TEXTS: &[&str] = &[
    "disk is full on node 7",
    "please review #4211",
    "the build is green again",
    "who is on call tonight?",
    "invoice 88 was paid",
    "rolled back to v1.9",
    "standup in five minutes",
];

/// One push, once its callback is through.
struct Handled {
    poller: usize,
    at: Duration,
    peer: &'static str,
    text: &'static str,
    lookup: Lookup,
    took: Duration,
}

pub(crate) fn run(as_json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let platform = Platform::start().map_err(|why| Failure::Usage(format!("no loopback port to be had: {why}")))?;
    let client = Client::builder().platform_url(&platform.url).workspace_id(WORKSPACE).token(TOKEN).build()?;
    if !as_json {
        let peers = PEERS.len();
        writeln!(out, "an embedded platform at {}, {peers} peers: one unknown, one forbidden, one slow", platform.url)?;
        writeln!(out, "{:>7}  {:8}  {:24}  {:26}  {:24}  TOOK", "AT", "POLLER", "FROM", "TEXT", "ANSWER")?;
    }
    let start = Instant::now();
    let (send, pushes) = mpsc::channel();
    for poller in 0..POLLERS {
        let (client, send) = (client.clone(), send.clone());
        thread::Builder::new().name(format!("poller-{poller}")).spawn(move || poll(poller, start, &client, &send))?;
    }
    drop(send);
    let mut all = Vec::new();
    for push in pushes {
        print(&push, as_json, out)?;
        all.push(push);
    }
    summarise(&all, &platform, start.elapsed(), as_json, out)?;
    write_back(&client, &platform, as_json, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Then four messages: one is answered at once, one after a reset, one is queued, one refused.
fn write_back(client: &Client, platform: &Platform, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    if !as_json {
        writeln!(out, "\n{:24}  {:>8}  {:>8}  ANSWER", "TO", "ATTEMPTS", "TOOK")?;
    }
    for (peer, _) in ANSWERS {
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = attempts.clone();
        let options = SendOptions::new().on_progress(move |at| counted.store(at.attempt, Relaxed));
        let start = Instant::now();
        let outcome = client.send_with(peer, &Message::from("who is on call tonight?"), &options);
        let (took, attempts) = (start.elapsed(), attempts.load(Relaxed));
        let answer = match &outcome {
            Ok(Reply::Queued(_)) => "queued: the platform delivers it later".to_owned(),
            Ok(reply) => format!("\"{}\"", reply.text()),
            Err(error) => format!("{:?}, {}: {error}", error.kind(), known(error.delivery())),
        };
        if as_json {
            let (sent, ms) = (outcome.is_ok(), millis(took));
            writeln!(out, "{}", json!({ "to": peer, "attempts": attempts, "sent": sent, "answer": answer, "ms": ms }))?;
            continue;
        }
        // It has been talking to us: its name is a hit.
        let name = client.enrich(peer).and_then(|peer| peer.name().map(str::to_owned)).unwrap_or_default();
        let (name, took, answer) = (printable(&name, 24), spoken(took), printable(&answer, 200));
        writeln!(out, "{name:24}  {attempts:>8}  {took:>8}  {answer}")?;
    }
    if !as_json {
        writeln!(out, "\n{} messages sent, {} read by the platform", ANSWERS.len(), platform.messages())?;
    }
    Ok(())
}

/// A poller: for each push its callback asks who sent it.
fn poll(poller: usize, start: Instant, client: &Client, handled: &Sender<Handled>) {
    for n in 0..PUSHES_EACH {
        thread::sleep(PACE);
        // The two walk the peers in different orders, and meet.
        let peer = PEERS[(n * (2 * poller + 3) + poller) % PEERS.len()].0;
        let text = TEXTS[(n * 5 + poller) % TEXTS.len()];
        let called = Instant::now();
        let lookup = client.lookup(peer);
        let took = called.elapsed();
        if handled.send(Handled { poller, at: start.elapsed(), peer, text, lookup, took }).is_err() {
            return;
        }
    }
}

fn print(push: &Handled, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let Handled { poller, at, peer, text, lookup, took } = push;
    let record = lookup.peer.as_ref();
    let source = format!("{:?}", lookup.source).to_lowercase();
    if as_json {
        let record = record.map(Peer::as_json);
        let (remembered, ms) = (lookup.remembered, took.as_secs_f64() * 1e3);
        return writeln!(
            out,
            "{}",
            json!({ "poller": poller, "peer": peer, "text": text, "record": record, "source": source, "remembered": remembered, "ms": ms })
        );
    }
    let who = match record {
        Some(peer) => format!("{} ({})", peer.name().unwrap_or("?"), peer.role().unwrap_or("?")),
        None => format!("somebody ({}…{})", &peer[..4], &peer[32..]),
    };
    let answer = match (lookup.source, lookup.remembered) {
        (Source::Fresh, _) => "from the cache".to_owned(),
        (Source::Fetched, _) => "from the registry".to_owned(),
        (_, true) => format!("{source}, remembered"),
        (_, false) => format!("{source}, asked"),
    };
    let (at, who, text, took) = (spoken(*at), printable(&who, 24), printable(text, 26), spoken(*took));
    writeln!(out, "{at:>7}  poller-{poller}  {who:24}  {text:26}  {answer:24}  {took}")
}

fn summarise(
    all: &[Handled],
    platform: &Platform,
    took: Duration,
    as_json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let count = |remembered: bool, known: bool| {
        all.iter().filter(|push| push.lookup.remembered == remembered && push.lookup.peer.is_some() == known).count()
    };
    let (hits, negative_hits) = (count(true, true), count(true, false));
    let waited = all.len() - hits - negative_hits;
    let (pushes, gets) = (all.len(), platform.lookups());
    let slowest = all.iter().map(|push| push.took).max().unwrap_or_default();
    let mut remembered: Vec<Duration> =
        all.iter().filter(|push| push.lookup.remembered).map(|push| push.took).collect();
    remembered.sort_unstable();
    let median = remembered.get(remembered.len() / 2).copied().unwrap_or_default();
    if as_json {
        let (slowest, median) = (millis(slowest), median.as_secs_f64() * 1e3);
        let summary = json!({ "pushes": pushes, "gets": gets, "hits": hits, "negative_hits": negative_hits,
            "waited": waited, "slowest_ms": slowest, "median_hit_ms": median });
        return writeln!(out, "{summary}");
    }
    let (took, slowest, median) = (spoken(took), spoken(slowest), spoken(median));
    writeln!(
        out,
        "\n{pushes} pushes in {took}: {gets} GETs by the platform's own count, {waited} callbacks waited for one"
    )?;
    writeln!(out, "{hits} hits and {negative_hits} negative hits, {median} in the median")?;
    writeln!(out, "slowest callback {slowest}: the slow peer's lookup, cut at its bound of 2 s")
}
