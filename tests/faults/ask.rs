//! One cell: the call while something is wrong, once more, and again when all is well.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use a2a_blocking::{
    Client, ClientBuilder, Error, InboxMessage, InboxPoller, LookupSource, Message, PollerBuilder, RetryPolicy,
    SendOptions, Verdict,
};

use crate::cell::{Answer, Call, ErrorKind, Wait};
use crate::late;
use crate::machine;
use crate::support::platform::{Platform, SECOND};
use crate::support::{PEER, WORKSPACE, eventually};

/// What a call may take beyond its bound: for its own work in an unoptimised build; and for a machine that is busy with
/// other things so many times what a thread is late by there, since a call waits for several threads in a row.
const SLACK: Duration = Duration::from_secs(2);
const THREADS: u32 = 8;
/// What a call may take that nothing holds up, bodies of many megabytes among them.
const QUICK: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_secs(60);
/// What is to run out, but not before a busy machine has made a connection.
const BRIEF: Duration = Duration::from_secs(5);
const CALL_BOUND: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_secs(300);
pub const TOKEN: &str = "hush-hush";
/// The rows that were delivered before anything is wrong, and those that come then.
const BEFORE: i64 = 3;
const AFTER: i64 = 2;

/// What is called, and can be told to break.
pub trait Site {
    fn url(&self) -> String;
    /// Whether it can be well before it breaks.
    fn begins_well(&self) -> bool;
    fn break_down(&mut self);
    fn heal(&mut self);
}

/// What came of the call while something was wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    pub answer: String,
    /// Of a send: its attempts.
    pub attempts: Option<u32>,
    pub delivery: String,
}

/// The platform's inbox, the same in each process.
pub fn inbox() -> Platform {
    let platform = Platform::new();
    fill(&platform, BEFORE + AFTER);
    platform
}

/// So far apart that nothing can come late between them.
fn fill(platform: &Platform, rows: i64) {
    for n in 1..=rows {
        platform.add(10 * n * SECOND, PEER, &format!("message {n}"));
    }
}

/// Makes the call, and looks at what is left of it. Panics where that is not as it should be for what was answered.
pub fn ask(call: Call, wait: Wait, upload: usize, site: &mut dyn Site, dir: &Path) -> Observed {
    late::watch();
    let url = site.url();
    let client = client(&url, wait);
    match call {
        Call::Enrich => enrich(&client, wait, site),
        Call::Nonblocking => nonblocking(&client, wait, site),
        Call::Discover => {
            let target = format!("GET {url}/registry/discover/{PEER}: ");
            plain(&client, wait, site, &target, |client| client.discover(PEER))
        }
        // Its text is a diagnosis, made for an agent.
        Call::Peers => plain(&client, wait, site, "", Client::peers),
        Call::Workspace => {
            plain(&client, wait, site, &format!("GET {url}/workspaces/{WORKSPACE}: "), Client::workspace)
        }
        Call::Send => send(&client, wait, upload, site),
        Call::Poll => poll(&client, wait, site, dir),
    }
}

/// Within what time a call has to end whose own bound is this.
fn kept(wait: Wait, bound: Duration) -> Duration {
    if wait == Wait::Quick { QUICK } else { bound }
}

fn lookup_bound(wait: Wait) -> Duration {
    if wait == Wait::Quick { LONG } else { BRIEF }
}

fn builder(url: &str) -> ClientBuilder {
    let builder = Client::builder().platform_url(url).workspace_id(WORKSPACE).token(TOKEN).ttl_spread(0.0);
    // No probe comes in between.
    builder.ttl(TTL).circuit_backoff(LONG * 60, LONG * 60).circuit_threshold(u32::MAX)
}

fn client(url: &str, wait: Wait) -> Client {
    builder(url).lookup_timeout(lookup_bound(wait)).build().unwrap()
}

fn timed<T>(bound: Duration, call: impl FnOnce() -> T) -> T {
    let start = machine::now();
    let answer = call();
    let (took, late) = (machine::now() - start, late::since(start));
    assert!(took < bound + SLACK + late * THREADS, "it took {took:?}, and its bound is {bound:?}, with {late:?} late");
    answer
}

fn observed(answer: Answer) -> Observed {
    Observed { answer: format!("{answer:?}"), attempts: None, delivery: "NotSent".to_owned() }
}

fn of_source(source: LookupSource) -> Answer {
    match source {
        LookupSource::Fetched | LookupSource::Fresh => Answer::Good,
        LookupSource::Absent => Answer::Absent,
        LookupSource::Failed => Answer::Failed,
        other => panic!("answered {other:?}"),
    }
}

/// The text names what was asked, shows no secret, and fits a line of a log.
fn of_error(error: &Error, target: &str) -> Observed {
    let text = error.to_string();
    assert!(text.starts_with(target), "{text} does not begin with {target}");
    assert!(!format!("{error} {error:?}").contains(TOKEN), "it shows the token: {text}");
    assert!(!text.contains(char::is_control) && text.len() < 2_000, "{text}");
    let by_status = matches!(error.status(), Some(429 | 500 | 502 | 503 | 504));
    let by_kind = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout);
    assert_eq!(error.is_transient(), by_kind || by_status, "{error:?}");
    let mut observed = observed(Answer::Error(error.kind()));
    observed.delivery = format!("{:?}", error.delivery());
    observed
}

fn enrich(client: &Client, wait: Wait, site: &mut dyn Site) -> Observed {
    site.break_down();
    let first = timed(kept(wait, lookup_bound(wait)), || client.lookup(PEER));
    let again = timed(Duration::ZERO, || client.lookup(PEER));
    site.heal();
    assert!(!first.from_cache && again.from_cache, "{first:?}, then {again:?}");
    assert_eq!((again.peer.is_some(), of_source(again.source)), (first.peer.is_some(), of_source(first.source)));
    assert_eq!(client.stats().entries, 1);
    recovers(client, || client.lookup(PEER).source == LookupSource::Fetched);
    if site.begins_well() {
        with_an_older_record(wait, of_source(first.source), site);
    }
    observed(of_source(first.source))
}

/// Its TTL is over: the registry's no drops it, and what is no usable answer leaves it.
fn with_an_older_record(wait: Wait, answer: Answer, site: &mut dyn Site) {
    // No thread is started for a refresh.
    let client = builder(&site.url()).lookup_timeout(lookup_bound(wait)).background_threads(0).build().unwrap();
    let start = Instant::now();
    recovers(&client, || client.lookup_at(PEER, start).source == LookupSource::Fetched);
    let later = start + TTL + Duration::from_secs(1);
    site.break_down();
    for turn in 0..2 {
        let lookup = timed(kept(wait, lookup_bound(wait)), || client.lookup_at(PEER, later));
        let expected = match answer {
            Answer::Good => (if turn == 0 { LookupSource::Fetched } else { LookupSource::Fresh }, true),
            Answer::Failed => (LookupSource::Stale, true),
            _ => (LookupSource::Absent, false),
        };
        assert_eq!((lookup.source, lookup.peer.is_some()), expected, "with an older record, ask {turn}");
        assert_eq!(lookup.from_cache, turn == 1, "with an older record, ask {turn}");
    }
    site.heal();
    let recovered = client.lookup_at(PEER, later + TTL + Duration::from_secs(1));
    assert!(recovered.peer.is_some(), "{recovered:?}");
}

fn nonblocking(client: &Client, wait: Wait, site: &mut dyn Site) -> Observed {
    site.break_down();
    assert_eq!(timed(Duration::ZERO, || client.enrich_nonblocking(PEER)), None);
    assert!(client.wait_until_idle(lookup_bound(wait) + LONG), "the background does not come to rest");
    let stats = client.stats();
    assert_eq!((stats.longest_wait, stats.lookups), (Duration::ZERO, stats.refreshes), "somebody waited: {stats}");
    if stats.lookups == 0 {
        assert_eq!((client.enrich_nonblocking(PEER), stats.entries), (None, 0));
        site.heal();
        recovers(client, || client.enrich(PEER).is_some());
        return observed(Answer::Unasked);
    }
    let again = client.lookup(PEER);
    assert!(again.from_cache, "{again:?}");
    assert_eq!(client.enrich_nonblocking(PEER).is_some(), again.peer.is_some());
    site.heal();
    recovers(client, || {
        assert_eq!(client.enrich_nonblocking(PEER), None);
        client.wait_until_idle(LONG) && client.enrich_nonblocking(PEER).is_some()
    });
    observed(of_source(again.source))
}

/// What is remembered is forgotten, and all is well: where the bound is short, a busy machine may need several tries.
fn recovers(client: &Client, mut holds: impl FnMut() -> bool) {
    eventually("a record", || {
        client.forget(PEER);
        holds()
    });
}

fn plain<T>(
    client: &Client,
    wait: Wait,
    site: &mut dyn Site,
    target: &str,
    call: impl Fn(&Client) -> Result<T, Error>,
) -> Observed {
    site.break_down();
    let outcome = timed(kept(wait, CALL_BOUND), || call(client));
    site.heal();
    if outcome.is_err() {
        let stats = client.stats();
        assert_eq!((stats.entries, stats.lookups), (0, 0), "something was filed");
    }
    if let Err(why) = call(client) {
        panic!("it does not recover: {why}");
    }
    match outcome {
        Ok(_) => observed(Answer::Good),
        Err(error) => of_error(&error, target),
    }
}

fn send(client: &Client, wait: Wait, upload: usize, site: &mut dyn Site) -> Observed {
    let policy = RetryPolicy::new().with_base(Duration::from_millis(1));
    let (policy, bound) = match wait {
        Wait::Quick => (policy.with_budget(LONG), LONG),
        Wait::Silence => (policy.with_budget(LONG).with_silence(Duration::from_millis(100)), LONG),
        Wait::Budget => (policy.with_budget(BRIEF), BRIEF),
    };
    let attempts = Arc::new(AtomicU32::new(0));
    let seen = attempts.clone();
    let options = SendOptions::new().retry(policy).on_progress(move |at| seen.store(at.attempt, SeqCst));
    let message = Message::from("x".repeat(upload));
    site.break_down();
    let outcome = timed(kept(wait, bound), || client.send_with(PEER, &message, &options));
    site.heal();
    let attempts = attempts.load(SeqCst);
    let mut observed = match &outcome {
        Ok(reply) => Observed { delivery: format!("{:?}", reply.delivery()), ..observed(Answer::Good) },
        Err(error) => {
            assert_eq!(error.attempts(), attempts, "{error}");
            of_error(error, &format!("POST {}/workspaces/{PEER}/a2a: ", site.url()))
        }
    };
    observed.attempts = Some(attempts);
    if let Err(why) = client.send(PEER, "again") {
        panic!("it does not recover: {why}");
    }
    assert_eq!(client.stats().entries, 0, "something was filed");
    observed
}

fn poller(client: &Client, dir: &Path) -> PollerBuilder {
    let retry = RetryPolicy::new().with_base(Duration::from_millis(1)).with_cap(Duration::from_millis(4));
    InboxPoller::builder(client.clone()).cursor_file(dir.join("cursor.json")).retry(retry)
}

/// Polls until there is no more at once: the texts that were delivered, and how it ended.
fn drain(poller: &mut InboxPoller, texts: &mut Vec<String>) -> Result<(), Error> {
    loop {
        let polled = poller.poll_once(|push: &InboxMessage| {
            texts.push(push.text().to_owned());
            Verdict::Ack
        })?;
        if !polled.has_more {
            return Ok(());
        }
    }
}

fn names(range: std::ops::RangeInclusive<i64>) -> Vec<String> {
    range.map(|n| format!("message {n}")).collect()
}

/// The cursor is behind the first rows, and there are new ones.
fn poll(client: &Client, wait: Wait, site: &mut dyn Site, dir: &Path) -> Observed {
    begin(dir);
    let before = fs::read(dir.join("cursor.json")).unwrap();
    let mut poller = poller(client, dir).build().unwrap();
    let mut texts = Vec::new();
    site.break_down();
    let outcome = timed(kept(wait, CALL_BOUND), || drain(&mut poller, &mut texts));
    site.heal();
    let cursor = fs::read(dir.join("cursor.json")).unwrap();
    if outcome.is_err() {
        assert_eq!((texts.len(), cursor == before), (0, true), "a poll that failed moved something");
    } else {
        assert_eq!(texts, names(BEFORE + 1..=BEFORE + AFTER), "delivered while something was wrong");
    }
    if let Err(why) = drain(&mut poller, &mut texts) {
        panic!("it does not recover: {why}");
    }
    assert_eq!(texts, names(BEFORE + 1..=BEFORE + AFTER), "each row once, and in order");
    drop(poller);
    // The file is right, too: whoever goes on from it gets nothing twice.
    let mut next = crate::ask::poller(client, dir).build().unwrap();
    drain(&mut next, &mut texts).unwrap();
    assert_eq!(texts.len(), usize::try_from(AFTER).unwrap(), "it came again after a restart: {texts:?}");
    match outcome {
        Ok(()) => observed(Answer::Good),
        Err(error) => of_error(&error, &format!("GET {}/workspaces/{WORKSPACE}/activity?", site.url())),
    }
}

/// A cursor behind the first rows, as another poller left it: made once, and then copied.
fn begin(dir: &Path) {
    let (begun, cursor) = (dir.join("begun.json"), dir.join("cursor.json"));
    if begun.exists() {
        // What was synced in another cell is of another time.
        let _ = fs::remove_file(dir.join("cursor.json.synced"));
    } else {
        let platform = Platform::new();
        fill(&platform, BEFORE);
        let server = platform.serve();
        let client = builder(&server.url()).build().unwrap();
        let mut texts = Vec::new();
        drain(&mut poller(&client, dir).build().unwrap(), &mut texts).unwrap();
        assert_eq!(texts, names(1..=BEFORE));
        fs::copy(&cursor, &begun).unwrap();
        let _ = fs::remove_file(&cursor);
    }
    fs::copy(begun, cursor).unwrap();
}
