//! The poller and its callback: which rows it delivers, how often, in which order, and how it ends.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    Client, ErrorKind, InboxMessage, InboxMessageKind, InboxPoller, PollerBuilder, PollerHandle, RetryPolicy,
    StopReason, Verdict,
};
use serde_json::json;

use crate::support::platform::{Platform, SECOND, param};
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE, client};

pub(crate) const SELF: &str = WORKSPACE;

/// Time limit for events that take milliseconds on an idle machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Time limit for what ends at once, on a busy machine.
pub(crate) const PROMPT: Duration = Duration::from_secs(4);

/// Returns a builder whose waits a test can afford.
pub(crate) fn fast_poller(client: Client, dir: &Dir) -> PollerBuilder {
    let retry = RetryPolicy::new().with_base(Duration::from_millis(1)).with_cap(Duration::from_millis(4));
    let builder = InboxPoller::builder(client).cursor_file(dir.file("cursor.json"));
    builder.interval(Duration::from_millis(10)).retry(retry).heartbeat(None)
}

pub(crate) type Texts = Arc<Mutex<Vec<String>>>;

pub(crate) fn recorder() -> (Texts, impl FnMut(&InboxMessage) -> Verdict + Send + 'static) {
    let texts = Texts::default();
    let record = texts.clone();
    (texts, move |message: &InboxMessage| {
        record.lock().unwrap().push(message.text().to_owned());
        Verdict::Ack
    })
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "did not happen in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn promptly<T>(what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    result
}

#[test]
fn rows_are_delivered_once_and_in_order() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-order"));
    platform.fill(100, 3, PEER);
    let server = platform.serve();
    let (texts, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).spawn(callback).unwrap();
    eventually("the backlog", || texts.lock().unwrap().len() == 3);
    platform.fill(103, 4, PEER);
    eventually("what is new", || texts.lock().unwrap().len() == 7);
    let polls = platform.state().polls.len();
    eventually("more polls", || platform.state().polls.len() > polls + 5);
    poller.stop();
    let expected: Vec<String> = (100..107).map(|n| format!("message {n}")).collect();
    assert_eq!(*texts.lock().unwrap(), expected);
    assert_eq!((poller.reason(), poller.is_finished()), (Some(StopReason::Stopped), true));
    let polls = platform.state().polls.len();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(platform.state().polls.len(), polls, "it has ended");
}

#[test]
fn message_has_the_fields_of_its_row() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-message"));
    platform.add_row(SECOND, json!({ "source_id": PEER, "method": "message/send", "peer_name": "row-name",
        "peer_role": "row-role", "request_body": json!({ "params": { "message": { "parts": [
            { "kind": "text", "text": "hel" }, { "type": "text", "text": "lo" },
            { "kind": "file", "file": { "uri": "workspace:f", "name": "f", "mime_type": "text/plain" } }] } } }).to_string() }));
    platform.add_row(2 * SECOND, json!({ "source_id": null, "summary": "from the human", "extra": [1] }));
    platform.add_row(3 * SECOND, json!({ "source_id": SELF, "method": "delegate_result", "data": { "text": "done" } }));
    platform.add_row(4 * SECOND, json!({ "id": "no-uuid", "created_at": null, "ts": "2026-05-01T00:00:04Z" }));
    let server = platform.serve();
    let client = client(&server);
    let mut poller = fast_poller(client.clone(), &dir).build().unwrap();
    let mut messages = Vec::new();
    let polled = poller.poll_once(|message| {
        messages.push(message.clone());
        Verdict::Ack
    });
    let polled = polled.unwrap();
    assert_eq!((polled.delivered, polled.skipped, polled.has_more), (4, 0, false));
    let [peer, human, result, bare] = &messages[..] else { panic!("{messages:?}") };

    assert_eq!((peer.text(), peer.kind(), peer.method()), ("hello", InboxMessageKind::Peer, "message/send"));
    assert_eq!((peer.peer().unwrap().to_string().as_str(), peer.delivery_attempt()), (PEER, 1));
    assert_eq!(peer.created_at(), Some("2026-05-01T00:00:01.000000Z"));
    let file = &peer.attachments()[0];
    assert_eq!(
        (file.kind.as_str(), file.uri.as_deref(), file.media_type.as_deref()),
        ("file", Some("workspace:f"), Some("text/plain"))
    );
    // The record of the row at once, and later the registry's.
    assert_eq!(peer.sender().unwrap().name(), Some("row-name"));
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!((peer.sender().unwrap().name(), peer.sender().unwrap().role()), (Some("ops-agent"), Some("sre")));
    assert_eq!(peer.enrich().unwrap().name(), Some("ops-agent"));

    assert_eq!((human.text(), human.kind(), human.peer()), ("from the human", InboxMessageKind::Human, None));
    assert_eq!((human.method(), &human.row()["extra"], human.sender()), ("", &json!([1]), None));
    assert_eq!((result.text(), result.kind().as_str()), ("done", "delegation"));
    assert_eq!(
        (bare.activity_id(), bare.text(), bare.created_at()),
        ("no-uuid", "(empty A2A message)", Some("2026-05-01T00:00:04Z"))
    );
    assert!(format!("{peer:?}").contains("hello"));
}

#[test]
fn own_rows_and_invalid_entries_are_skipped() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-own"));
    platform.add_row(SECOND, json!({ "method": "notify", "summary": "our notice" }));
    platform.add_row(2 * SECOND, json!({ "method": "message/send", "source_id": SELF, "summary": "our echo" }));
    platform.add_row(3 * SECOND, json!(7));
    platform.add_row(4 * SECOND, json!({ "id": null, "summary": "no id" }));
    platform.add(5 * SECOND, PEER, "theirs");
    platform.add_row(6 * SECOND, json!({ "method": "notify", "summary": "our last word" }));
    let server = platform.serve();
    let (texts, mut callback) = recorder();
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    assert_eq!(poller.poll_once(&mut callback).unwrap().skipped, 5);
    assert_eq!(poller.poll_once(&mut callback).unwrap().skipped, 0, "each is counted once");
    drop(poller);
    // The cursor passes them once they are settled.
    let mut poller = fast_poller(client(&server), &dir).late(Duration::ZERO).build().unwrap();
    for _ in 0..2 {
        poller.poll_once(&mut callback).unwrap();
    }
    assert_eq!(*texts.lock().unwrap(), ["theirs"]);
    let after = param(platform.state().polls.last().unwrap(), "since_id");
    assert_eq!(after.as_deref(), Some(support::platform::id(6).as_str()));
}

#[test]
fn retried_row_delays_later_rows_and_a_panic_counts_as_an_attempt() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-retry"));
    platform.fill(1, 3, PEER);
    let server = platform.serve();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let poller = fast_poller(client(&server), &dir).spawn(move |message| {
        seen.lock().unwrap().push((message.text().to_owned(), message.delivery_attempt()));
        match (message.text(), message.delivery_attempt()) {
            ("message 2", 1) => Verdict::Retry,
            ("message 2", 2) => panic!("in a callback"),
            _ => Verdict::Ack,
        }
    });
    eventually("all of them", || calls.lock().unwrap().len() >= 5);
    poller.unwrap().stop();
    let attempts: Vec<(String, u32)> = calls.lock().unwrap().clone();
    let attempts: Vec<(&str, u32)> = attempts.iter().map(|(text, attempt)| (text.as_str(), *attempt)).collect();
    assert_eq!(attempts, [("message 1", 1), ("message 2", 1), ("message 2", 2), ("message 2", 3), ("message 3", 1)]);
}

/// A panic's payload may itself panic when it is dropped. That must not end the poller's thread.
#[test]
fn panic_with_a_panicking_payload_is_caught() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }
    let (platform, dir) = (Platform::new(), Dir::new("inbox-bomb"));
    platform.fill(1, 2, PEER);
    let server = platform.serve();
    let panicking_callback = |_: &InboxMessage| std::panic::panic_any(Bomb);
    let mut poller = fast_poller(client(&server), &dir).on_dead_letter(panicking_callback).build().unwrap();
    let polled = poller.poll_once(|message| match message.text() {
        "message 1" => std::panic::panic_any(Bomb),
        _ => Verdict::Ack,
    });
    let polled = polled.unwrap();
    assert_eq!((polled.delivered, polled.dead_lettered), (1, 1));
}

/// The content of one row must not hide the others.
#[test]
fn row_with_unreadable_json_is_delivered() {
    let dir = Dir::new("inbox-unread");
    let row = |n: u32, rest: &str| {
        format!(r#"{{"id":"{n}","created_at":"2026-05-01T00:00:0{n}Z","source_id":"{PEER}","summary":"m{n}"{rest}}}"#)
    };
    let deep = format!(r#","request_body":{}{}"#, "[".repeat(130), "]".repeat(130));
    let page = [row(4, r#","x":1e999"#), row(3, r#","x":"\ud800""#), row(2, &deep), row(1, "")].join(",");
    let server = Server::play([Reaction::reply(200, format!("[{page}]"))]);
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut messages = Vec::new();
    let polled = poller.poll_once(|message| {
        messages.push((message.text().to_owned(), message.row().get("x").cloned()));
        Verdict::Ack
    });
    assert_eq!(polled.unwrap().delivered, 4);
    let kept = [None, None, Some(json!(r#""\ud800""#)), Some(json!("1e999"))];
    assert_eq!(messages, ["m1", "m2", "m3", "m4"].map(str::to_owned).into_iter().zip(kept).collect::<Vec<_>>());
}

#[test]
fn poison_row_is_dead_lettered_after_five_attempts() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-poison"));
    let ids = platform.fill(1, 3, PEER);
    let server = platform.serve();
    let (dead, tries) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (dead_letters, tried) = (dead.clone(), tries.clone());
    let builder = fast_poller(client(&server), &dir).on_dead_letter(move |message| {
        dead_letters.lock().unwrap().push((message.activity_id().to_owned(), message.delivery_attempt()));
        panic!("in a dead-letter callback");
    });
    let mut poller = builder.build().unwrap();
    let polled = poller.poll_once(|message| match message.text() {
        "message 2" => {
            tried.fetch_add(1, SeqCst);
            Verdict::Retry
        }
        _ => Verdict::Ack,
    });
    let polled = polled.unwrap();
    assert_eq!((polled.delivered, polled.dead_lettered, tries.load(SeqCst)), (2, 1, 5));
    assert_eq!(*dead.lock().unwrap(), [(ids[1].clone(), 5)]);
    assert_eq!(poller.poll_once(|_| panic!("nothing is left")).unwrap().delivered, 0);
}

/// After the last attempt there is no backoff.
#[test]
fn dead_lettered_row_does_not_delay_later_rows() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-last"));
    platform.fill(1, 2, PEER);
    let server = platform.serve();
    let patient =
        RetryPolicy::new().with_attempts(1).with_base(Duration::from_secs(600)).with_cap(Duration::from_secs(600));
    let (tried, tries) = mpsc::channel();
    let poller = fast_poller(client(&server), &dir).retry(patient).spawn(move |message| {
        tried.send(message.text().to_owned()).unwrap();
        Verdict::Retry
    });
    assert_eq!([(); 2].map(|()| tries.recv_timeout(TIMEOUT).unwrap()), ["message 1", "message 2"]);
    poller.unwrap().stop();
}

/// The default backoffs are 1, 2, 4 and 8 s.
#[test]
fn default_policy_has_five_attempts_and_backoffs_of_1_to_8_seconds() {
    let policy = RetryPolicy::new().with_attempts(5).with_base(Duration::from_secs(1)).with_cap(Duration::from_secs(8));
    assert_eq!([1, 2, 3, 4].map(|attempt| policy.backoff(attempt, 0.5).as_secs()), [1, 2, 4, 8]);
    assert_eq!(policy.backoff(4, 1.0).as_secs(), 8);
}

#[test]
fn invalid_settings_are_refused() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-settings"));
    let server = platform.serve();
    let with = |change: fn(PollerBuilder) -> PollerBuilder| {
        let error = change(fast_poller(client(&server), &dir)).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert!(with(|builder| builder.interval(Duration::ZERO)).starts_with("interval: zero"));
    assert!(with(|builder| builder.page_size(0)).starts_with("page_size: 0"));
    assert!(with(|builder| builder.page_size(501)).starts_with("page_size: 501"));
    assert!(with(|builder| builder.backlog(Duration::from_millis(999))).starts_with("backlog: "));
    assert!(with(|builder| builder.heartbeat(Some(Duration::ZERO))).starts_with("heartbeat: zero"));
    assert!(
        with(|builder| builder.cursor_file("/nonexistent/cursor")).contains("directory /nonexistent does not exist")
    );
    let error = InboxPoller::builder(client(&server)).build().unwrap_err();
    assert!(error.to_string().starts_with("cursor_file: required"), "{error}");
    let without_directory = support::builder(&server).token_file("/nonexistent/.auth_token").build().unwrap();
    let error = InboxPoller::builder(without_directory).build().unwrap_err();
    assert!(error.to_string().starts_with("token_file: directory /nonexistent,"), "{error}");
    assert!(error.to_string().contains("set token_file, or set `cursor_file`"), "{error}");
    // The limits of the ranges are accepted.
    for (page, backlog) in [(1, Duration::from_secs(1)), (500, Duration::MAX)] {
        fast_poller(client(&server), &dir).page_size(page).backlog(backlog).build().unwrap();
    }
    let poller = fast_poller(client(&server), &dir).build().unwrap();
    assert!(format!("{poller:?}").starts_with("InboxPoller { client: Client"), "{poller:?}");
    let shown = format!("{:?}", fast_poller(client(&server), &dir));
    assert!(shown.starts_with("PollerBuilder { client: Client") && shown.contains("interval: 10ms"), "{shown}");
}

#[test]
fn messages_and_handles_are_send() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<InboxMessage>();
    shared::<PollerHandle>();
    shared::<a2a_blocking::PromptEnvelope>();
    sent::<InboxPoller>();
    sent::<PollerBuilder>();
}
