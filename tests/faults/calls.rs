//! One cell: the call during the fault, once more, and after the fault is over.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use a2a_blocking::{
    AgentCard, Client, ClientBuilder, Error, InboxMessage, InboxPoller, LookupSource, Message, PollerBuilder,
    RetryPolicy, SendOptions, Verdict,
};

use crate::cell::{Answer, Call, ErrorKind, Wait};
use crate::late;
use crate::machine;
use crate::support::platform::{Platform, SECOND};
use crate::support::{PEER, WORKSPACE, eventually};

/// Time that a call may take beyond its bound, for its own work in an unoptimised build.
const SLACK: Duration = Duration::from_secs(2);
/// Factor for the lateness of threads on a busy machine: a call waits for several threads in a row.
const THREADS: u32 = 8;
/// Time that a call may take that waits for nothing, with bodies of many megabytes.
const QUICK: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_secs(60);
/// A timeout that the test waits for. A busy machine can make a connection in it.
const SHORT: Duration = Duration::from_secs(5);
const CALL_BOUND: Duration = Duration::from_secs(10);
/// Longest time for a page of which nothing comes, and for the question whether the platform answers otherwise: each waits
/// 10 s for an address, or for a body behind its head, and 5 s for anything else.
pub const POLL_BOUND: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(300);
pub const TOKEN: &str = "hush-hush";
/// The file to fetch, of `WORKSPACE`.
const FILE: &str = "platform-pending:0f0e0d0c-0b0a-4908-8706-050403020100/f-1";
pub const FILE_PATH: &str = "/workspaces/0f0e0d0c-0b0a-4908-8706-050403020100/pending-uploads/f-1";
/// Number of rows that were delivered before the fault.
const BEFORE: i64 = 3;
/// Number of rows that arrive with the fault.
pub const AFTER: i64 = 2;

/// The platform that is called. It can be broken.
pub trait Site {
    fn url(&self) -> String;
    /// Returns whether it works before it is broken.
    fn begins_well(&self) -> bool;
    fn break_down(&mut self);
    fn heal(&mut self);
}

/// Result of the call during the fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    pub answer: String,
    /// Number of attempts of a send.
    pub attempts: Option<u32>,
    pub delivery: String,
    /// Number of rows that a poll delivered.
    pub rows: usize,
}

/// Returns the platform's inbox, which is the same in each process.
pub fn inbox() -> Platform {
    let platform = Platform::new();
    fill(&platform, BEFORE + AFTER);
    platform
}

/// Adds rows that are too far apart for one to count as late.
fn fill(platform: &Platform, rows: i64) {
    for n in 1..=rows {
        platform.add(10 * n * SECOND, PEER, &format!("message {n}"));
    }
}

/// Makes the call and checks what it leaves behind. Panics where that does not fit the result.
pub fn run_call(call: Call, wait: Wait, upload: usize, site: &mut dyn Site, dir: &Path) -> Observed {
    late::watch();
    let url = site.url();
    let client = client(&url, wait);
    match call {
        Call::Enrich => enrich(&client, wait, site),
        Call::Nonblocking => nonblocking(&client, wait, site),
        Call::Discover => {
            let target = format!("GET {url}/registry/discover/{PEER}: ");
            plain(&client, wait, site, &[&target], |client| client.discover(PEER))
        }
        // The text of this error is a diagnosis for an agent and does not begin with the target.
        Call::Peers => plain(&client, wait, site, &[""], Client::peers),
        Call::Workspace => {
            plain(&client, wait, site, &[&format!("GET {url}/workspaces/{WORKSPACE}: ")], Client::workspace)
        }
        Call::Register | Call::UpdateCard => {
            let card = card(upload);
            let (question, path): (_, _) = match call {
                Call::Register => (format!("GET {url}/workspaces/{WORKSPACE}: "), "register"),
                _ => (format!("GET {url}/workspaces/{WORKSPACE}/state: "), "update-card"),
            };
            let targets = [question, format!("POST {url}/registry/{path}: ")];
            plain(&client, wait, site, &targets.each_ref().map(String::as_str), |client| match call {
                Call::Register => client.register(&card),
                _ => client.update_card(&card),
            })
        }
        Call::Send => send(&client, wait, upload, site),
        Call::Poll => poll(&client, site, dir),
        Call::Download => {
            let target = format!("GET {url}{FILE_PATH}/content: ");
            plain(&client, wait, site, &[&target], download)
        }
    }
}

/// Returns a card with a description of that many bytes.
pub fn card(bytes: usize) -> AgentCard {
    AgentCard::new("ops").with_description("x".repeat(bytes))
}

/// Fetches the file, with the bound of the other calls.
pub fn download(client: &Client) -> Result<u64, Error> {
    client.open_file(FILE)?.max_size(10_000_000).timeout(CALL_BOUND).write_to(Vec::new())
}

/// Returns the time within which a call must end whose own bound is `bound`.
fn time_limit(wait: Wait, bound: Duration) -> Duration {
    if wait == Wait::Quick { QUICK } else { bound }
}

fn lookup_bound(wait: Wait) -> Duration {
    if wait == Wait::Quick { LONG } else { SHORT }
}

fn builder(url: &str) -> ClientBuilder {
    let builder = Client::builder().platform_url(url).workspace_id(WORKSPACE).token(TOKEN).ttl_spread(0.0);
    // No probe interferes.
    builder.ttl(TTL).circuit_backoff(LONG * 60, LONG * 60).circuit_threshold(u32::MAX)
}

fn client(url: &str, wait: Wait) -> Client {
    builder(url).lookup_timeout(lookup_bound(wait)).build().unwrap()
}

pub fn timed<T>(bound: Duration, call: impl FnOnce() -> T) -> T {
    let start = machine::now();
    let answer = call();
    let (took, late) = (machine::now() - start, late::since(start));
    assert!(took < bound + SLACK + late * THREADS, "it took {took:?}, and its bound is {bound:?}, with {late:?} late");
    answer
}

fn observed(answer: Answer) -> Observed {
    Observed { answer: format!("{answer:?}"), attempts: None, delivery: "NotSent".to_owned(), rows: 0 }
}

fn of_source(source: LookupSource) -> Answer {
    match source {
        LookupSource::Fetched | LookupSource::Fresh => Answer::Good,
        LookupSource::Absent => Answer::Absent,
        LookupSource::Failed => Answer::Failed,
        other => panic!("answered {other:?}"),
    }
}

/// Checks that the text names one of the targets, does not show the token, and fits a line of a log.
fn of_error(error: &Error, targets: &[&str]) -> Observed {
    let text = error.to_string();
    assert!(targets.iter().any(|target| text.starts_with(target)), "{text} begins with none of {targets:?}");
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
    let first = timed(time_limit(wait, lookup_bound(wait)), || client.lookup(PEER));
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

/// Repeats the lookup with an expired record in the cache. Only an absent peer drops it.
fn with_an_older_record(wait: Wait, answer: Answer, site: &mut dyn Site) {
    // There are no background threads, so no refresh interferes.
    let client = builder(&site.url()).lookup_timeout(lookup_bound(wait)).background_threads(0).build().unwrap();
    let start = Instant::now();
    recovers(&client, || client.lookup_at(PEER, start).source == LookupSource::Fetched);
    let later = start + TTL + Duration::from_secs(1);
    site.break_down();
    for turn in 0..2 {
        let lookup = timed(time_limit(wait, lookup_bound(wait)), || client.lookup_at(PEER, later));
        let expected = match answer {
            Answer::Good => (if turn == 0 { LookupSource::Fetched } else { LookupSource::Fresh }, true),
            Answer::Failed => (LookupSource::Stale, true),
            _ => (LookupSource::Absent, false),
        };
        assert_eq!((lookup.source, lookup.peer.is_some()), expected, "with an older record, run_call {turn}");
        assert_eq!(lookup.from_cache, turn == 1, "with an older record, run_call {turn}");
    }
    site.heal();
    let recovered = client.lookup_at(PEER, later + TTL + Duration::from_secs(1));
    assert!(recovered.peer.is_some(), "{recovered:?}");
}

fn nonblocking(client: &Client, wait: Wait, site: &mut dyn Site) -> Observed {
    site.break_down();
    assert_eq!(timed(Duration::ZERO, || client.enrich_nonblocking(PEER)), None);
    assert!(client.wait_until_idle(lookup_bound(wait) + LONG), "the background threads do not become idle");
    let stats = client.stats();
    assert_eq!((stats.longest_wait, stats.lookups), (Duration::ZERO, stats.refreshes), "a caller waited: {stats}");
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

/// Checks that a lookup succeeds again. Where the timeout is short, a busy machine may need several attempts.
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
    targets: &[&str],
    call: impl Fn(&Client) -> Result<T, Error>,
) -> Observed {
    site.break_down();
    let outcome = timed(time_limit(wait, CALL_BOUND), || call(client));
    site.heal();
    if outcome.is_err() {
        let stats = client.stats();
        assert_eq!((stats.entries, stats.lookups), (0, 0), "something was cached");
    }
    if let Err(why) = call(client) {
        panic!("it does not recover: {why}");
    }
    match outcome {
        Ok(_) => observed(Answer::Good),
        Err(error) => of_error(&error, targets),
    }
}

fn send(client: &Client, wait: Wait, upload: usize, site: &mut dyn Site) -> Observed {
    let policy = RetryPolicy::new().with_base(Duration::from_millis(1));
    let (policy, bound) = match wait {
        Wait::Quick => (policy.with_budget(LONG), LONG),
        Wait::Silence => (policy.with_budget(LONG).with_silence(Duration::from_millis(100)), LONG),
        Wait::Budget => (policy.with_budget(SHORT), SHORT),
    };
    let attempts = Arc::new(AtomicU32::new(0));
    let seen = attempts.clone();
    let options = SendOptions::new().retry(policy).on_progress(move |at| seen.store(at.attempt, SeqCst));
    let message = Message::from("x".repeat(upload));
    site.break_down();
    let outcome = timed(time_limit(wait, bound), || client.send_with(PEER, &message, &options));
    site.heal();
    let attempts = attempts.load(SeqCst);
    let mut observed = match &outcome {
        Ok(reply) => Observed { delivery: format!("{:?}", reply.delivery()), ..observed(Answer::Good) },
        Err(error) => {
            assert_eq!(error.attempts(), attempts, "{error}");
            of_error(error, &[&format!("POST {}/workspaces/{PEER}/a2a: ", site.url())])
        }
    };
    observed.attempts = Some(attempts);
    if let Err(why) = client.send(PEER, "again") {
        panic!("it does not recover: {why}");
    }
    assert_eq!(client.stats().entries, 0, "something was cached");
    observed
}

fn poller(client: &Client, dir: &Path) -> PollerBuilder {
    let retry = RetryPolicy::new().with_base(Duration::from_millis(1)).with_cap(Duration::from_millis(4));
    InboxPoller::builder(client.clone()).ack(false).cursor_file(dir.join("cursor.json")).retry(retry)
}

/// Polls until there are no more rows, and collects their texts. Returns the number of entries that were no rows.
fn drain(poller: &mut InboxPoller, texts: &mut Vec<String>) -> Result<u64, Error> {
    let mut malformed = 0;
    loop {
        let polled = poller.poll_once(|message: &InboxMessage| {
            texts.push(message.text().to_owned());
            Verdict::Ack
        })?;
        malformed += polled.skipped_by.malformed;
        if !polled.has_more {
            return Ok(malformed);
        }
    }
}

fn names(range: std::ops::RangeInclusive<i64>) -> Vec<String> {
    range.map(|n| format!("message {n}")).collect()
}

/// Polls with a cursor behind the first rows and with new rows to deliver.
fn poll(client: &Client, site: &mut dyn Site, dir: &Path) -> Observed {
    begin(dir);
    let before = fs::read(dir.join("cursor.json")).unwrap();
    let mut poller = poller(client, dir).build().unwrap();
    let mut texts = Vec::new();
    site.break_down();
    let outcome = timed(POLL_BOUND, || drain(&mut poller, &mut texts));
    site.heal();
    let (cursor, rows) = (fs::read(dir.join("cursor.json")).unwrap(), texts.len());
    let all = names(BEFORE + 1..=BEFORE + AFTER);
    assert!(all.starts_with(&texts), "delivered during the fault: {texts:?}");
    match outcome {
        // What is not delivered is counted.
        Ok(malformed) => assert_eq!(malformed, (all.len() - rows) as u64, "entries that are no rows, beside {texts:?}"),
        // The rows that came before a page broke are good.
        Err(_) => assert!(rows > 0 || cursor == before, "a failed poll moved the cursor"),
    }
    if let Err(why) = drain(&mut poller, &mut texts) {
        panic!("it does not recover: {why}");
    }
    assert_eq!(texts, all, "each row once, and in order");
    drop(poller);
    // A poller that continues from the cursor file gets nothing twice.
    let mut next = crate::calls::poller(client, dir).build().unwrap();
    drain(&mut next, &mut texts).unwrap();
    assert_eq!(texts.len(), usize::try_from(AFTER).unwrap(), "rows came again after a restart: {texts:?}");
    let observed = match outcome {
        Ok(_) => observed(Answer::Good),
        Err(error) => of_error(&error, &[&format!("GET {}/workspaces/{WORKSPACE}/activity?", site.url())]),
    };
    Observed { rows, ..observed }
}

/// Writes a cursor behind the first rows, as another poller left it. It is made once and then copied.
fn begin(dir: &Path) {
    let (begun, cursor) = (dir.join("begun.json"), dir.join("cursor.json"));
    if begun.exists() {
        // The synced file belongs to another cell.
        let _ = fs::remove_file(dir.join("cursor.json.synced"));
    } else {
        let platform = Platform::new();
        fill(&platform, BEFORE);
        let server = platform.serve();
        let client = builder(&server.url()).build().unwrap();
        let mut texts = Vec::new();
        drain(&mut poller(&client, dir).build().unwrap(), &mut texts).unwrap();
        assert_eq!(texts, names(1..=BEFORE));
        // The newest row is settled, and is where the next poller begins.
        drain(&mut poller(&client, dir).late(Duration::ZERO).build().unwrap(), &mut texts).unwrap();
        fs::copy(&cursor, &begun).unwrap();
        let _ = fs::remove_file(&cursor);
    }
    fs::copy(begun, cursor).unwrap();
}
