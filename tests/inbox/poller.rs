//! The poller and its callback: which rows it delivers, how often, in which order, and how it ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    Client, Delivery, ErrorKind, InboxMessage, InboxMessageKind, InboxPoller, PollerBuilder, PollerHandle, RetryPolicy,
    StopReason, Verdict,
};
use serde_json::{Value, json};

use crate::support::platform::{Platform, SECOND, param};
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE, client};

const SELF: &str = WORKSPACE;
/// Time limit for events that take milliseconds on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Time limit for what ends at once, on a busy machine.
const PROMPT: Duration = Duration::from_secs(4);

/// Returns a builder whose waits a test can afford.
fn fast_poller(client: Client, dir: &Dir) -> PollerBuilder {
    let retry = RetryPolicy::new().with_base(Duration::from_millis(1)).with_cap(Duration::from_millis(4));
    let builder = InboxPoller::builder(client).cursor_file(dir.file("cursor.json"));
    builder.interval(Duration::from_millis(10)).retry(retry).heartbeat(None)
}

type Texts = Arc<Mutex<Vec<String>>>;

fn recorder() -> (Texts, impl FnMut(&InboxMessage) -> Verdict + Send + 'static) {
    let texts = Texts::default();
    let record = texts.clone();
    (texts, move |message: &InboxMessage| {
        record.lock().unwrap().push(message.text().to_owned());
        Verdict::Ack
    })
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "did not happen in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn promptly<T>(what: impl FnOnce() -> T) -> T {
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
    let (platform, dir) = (Platform::new(), Dir::new("inbox-push"));
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

    assert_eq!((peer.text(), peer.kind(), peer.method()), ("hello", InboxMessageKind::PeerAgent, "message/send"));
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

    assert_eq!((human.text(), human.kind(), human.peer()), ("from the human", InboxMessageKind::CanvasUser, None));
    assert_eq!((human.method(), &human.row()["extra"], human.sender()), ("", &json!([1]), None));
    assert_eq!((result.text(), result.kind().as_str()), ("done", "delegation_result"));
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
    poller.poll_once(&mut callback).unwrap();
    assert_eq!(*texts.lock().unwrap(), ["theirs"]);
    // The cursor has passed them. The first one is old enough to be the anchor.
    let after = param(platform.state().polls.last().unwrap(), "since_id");
    assert_eq!(after.as_deref(), Some(support::platform::id(1).as_str()));
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

/// Text of a message, and the result of the reply to it.
type Replied = (String, Result<Option<String>, (ErrorKind, String)>);

fn replying(platform: &Platform, name: &str, text: &'static str) -> Vec<Replied> {
    let dir = Dir::new(name);
    let server = platform.serve();
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut replies = Vec::new();
    let polled = poller.poll_once(|message| {
        let reply = message.reply(text);
        let reply = reply.map(|reply| reply.map(|reply| reply.text().into_owned()));
        replies.push((message.text().to_owned(), reply.map_err(|error| (error.kind(), error.to_string()))));
        Verdict::Ack
    });
    polled.unwrap();
    replies
}

#[test]
fn reply_goes_to_a_peer_as_a_message_and_to_a_human_as_a_notice() {
    let platform = Platform::new();
    platform.add(SECOND, PEER, "peer");
    platform.add_row(2 * SECOND, json!({ "summary": "human" }));
    platform.add_row(3 * SECOND, json!({ "summary": "result", "method": "delegate_result", "source_id": PEER }));
    platform.add_row(4 * SECOND, json!({ "summary": "who", "source_id": "nobody" }));
    let replies = replying(&platform, "inbox-reply", "on it");
    let refused = |why: &str| Err((ErrorKind::InvalidMessage, format!("reply: {why}")));
    assert_eq!(replies[0].1, Ok(Some("thanks".to_owned())));
    assert_eq!(replies[1].1, Ok(None));
    assert_eq!(replies[2].1, refused("a delegation's result takes no reply"));
    assert_eq!(replies[3].1, refused("the row names no sender that a reply could go to; see InboxMessage::row"));
    let state = platform.state();
    assert_eq!(state.notices, ["on it"]);
    let (to, request) = &state.messages[0];
    let message = &request["params"]["message"];
    assert_eq!((state.messages.len(), to.as_str(), &message["role"]), (1, PEER, &"agent".into()));
    assert_eq!(message["parts"], json!([{ "kind": "text", "text": "on it" }]));
    drop(state);
    for (_, reply) in replying(&platform, "inbox-reply-empty", " \n") {
        assert_eq!(reply, refused("the text is empty"));
    }
    assert_eq!(platform.state().messages.len(), 1);
}

/// A reply is repeated only where it cannot have been delivered.
#[test]
fn reply_that_may_have_arrived_is_not_repeated() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-reply-once"));
    platform.add(SECOND, PEER, "peer");
    platform.add_row(2 * SECOND, json!({ "summary": "human" }));
    let posts = Arc::new(AtomicUsize::new(0));
    let (inner, counted) = (platform.clone(), posts.clone());
    let server = Server::decide(move |_, request| match request.method.as_str() {
        "POST" => {
            counted.fetch_add(1, SeqCst);
            Reaction::Close
        }
        _ => inner.answer(request),
    });
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut deliveries = Vec::new();
    let polled = poller.poll_once(|message| {
        deliveries.push(message.reply("on it").unwrap_err().delivery());
        Verdict::Ack
    });
    polled.unwrap();
    assert_eq!((deliveries, posts.load(SeqCst)), (vec![Delivery::Unknown; 2], 2));
}

#[test]
fn stop_ends_a_wait_at_once() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-stop-wait"));
    let server = platform.serve();
    let (_, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).interval(Duration::from_secs(600)).spawn(callback).unwrap();
    eventually("the first poll", || !platform.state().polls.is_empty());
    promptly(|| poller.stop());
    assert!(poller.is_finished());
}

#[test]
fn stop_ends_a_poll_and_a_connect_at_once() {
    let dir = Dir::new("inbox-stop-wire");
    let (reached, ready) = mpsc::channel();
    let server = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Reaction::Hang
    });
    let (_, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).spawn(callback).unwrap();
    ready.recv_timeout(TIMEOUT).unwrap();
    promptly(|| poller.stop());

    // A listener with a full queue that accepts no connection, so connecting to it hangs.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let listener: std::net::TcpListener = socket.into();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
    }
    let client = Client::builder().platform_url(format!("http://{address}")).workspace_id(WORKSPACE).build().unwrap();
    let (_, callback) = recorder();
    let poller = fast_poller(client, &dir).heartbeat(Some(Duration::from_secs(1))).spawn(callback).unwrap();
    thread::sleep(Duration::from_millis(100));
    promptly(|| poller.stop());
}

#[test]
fn stop_during_a_backoff_leaves_the_cursor_exact() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-stop-retry"));
    platform.fill(1, 2, PEER);
    let server = platform.serve();
    let patient = RetryPolicy::new().with_base(Duration::from_secs(600)).with_cap(Duration::from_secs(600));
    let (tried, tries) = mpsc::channel();
    let poller = fast_poller(client(&server), &dir).retry(patient).spawn(move |message| {
        tried.send((message.text().to_owned(), message.delivery_attempt())).unwrap();
        if message.text() == "message 1" { Verdict::Ack } else { Verdict::Retry }
    });
    let poller = poller.unwrap();
    assert_eq!(tries.recv_timeout(TIMEOUT).unwrap(), ("message 1".to_owned(), 1));
    assert_eq!(tries.recv_timeout(TIMEOUT).unwrap(), ("message 2".to_owned(), 1));
    assert!(tries.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
    promptly(|| poller.stop());
    // The acked row is not repeated. The other one is, and its first attempt counts.
    let mut again = Vec::new();
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let polled = poller.poll_once(|message| {
        again.push((message.text().to_owned(), message.delivery_attempt()));
        Verdict::Ack
    });
    polled.unwrap();
    assert_eq!(again, [("message 2".to_owned(), 2)]);
}

#[test]
fn stop_waits_for_the_callback_unless_called_from_it() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-stop-inside"));
    platform.fill(1, 3, PEER);
    let server = platform.serve();
    let handle: Arc<OnceLock<PollerHandle>> = Arc::default();
    let (inside, (report, reported)) = (handle.clone(), mpsc::channel());
    let (set, is_set) = mpsc::channel::<()>();
    let poller = fast_poller(client(&server), &dir).spawn(move |message| {
        let _ = is_set.recv();
        inside.get().unwrap().stop();
        report.send(message.text().to_owned()).unwrap();
        Verdict::Ack
    });
    let handle = handle.get_or_init(|| poller.unwrap());
    drop(set);
    assert_eq!(reported.recv_timeout(TIMEOUT).unwrap(), "message 1");
    assert_eq!(promptly(|| handle.join()), Some(StopReason::Stopped));
    assert!(reported.try_recv().is_err(), "no message after the stop");

    let running = Arc::new(AtomicBool::new(false));
    let (started, (begun, has_begun)) = (running.clone(), mpsc::channel());
    let poller = fast_poller(client(&server), &dir).spawn(move |_| {
        started.store(true, SeqCst);
        begun.send(()).unwrap();
        thread::sleep(Duration::from_millis(100));
        started.store(false, SeqCst);
        Verdict::Ack
    });
    let poller = poller.unwrap();
    has_begun.recv_timeout(TIMEOUT).unwrap();
    poller.stop();
    assert!(!running.load(SeqCst));
    // The running message is acked, and so is the first one.
    let (texts, callback) = recorder();
    fast_poller(client(&server), &dir).build().unwrap().poll_once(callback).unwrap();
    assert_eq!(*texts.lock().unwrap(), ["message 3"]);
}

#[test]
fn dropped_handle_ends_the_poller_without_waiting() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-drop"));
    platform.fill(1, 2, PEER);
    let server = platform.serve();
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (ended, has_ended) = mpsc::channel();
    struct Ends(mpsc::Sender<()>);
    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let ends = Ends(ended);
    let poller = fast_poller(client(&server), &dir).spawn(move |message| {
        let _ = &ends;
        begun.send(message.text().to_owned()).unwrap();
        let _ = released.recv();
        Verdict::Ack
    });
    assert_eq!(has_begun.recv_timeout(TIMEOUT).unwrap(), "message 1");
    promptly(|| drop(poller));
    assert!(has_ended.try_recv().is_err(), "the callback is still running");
    release.send(()).unwrap();
    has_ended.recv_timeout(TIMEOUT).unwrap();
    assert!(has_begun.try_recv().is_err(), "no message after the drop");
}

#[test]
fn heartbeat_is_sent_during_a_slow_callback() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-heart"));
    platform.fill(1, 1, PEER);
    let server = platform.serve();
    let (release, released) = mpsc::channel::<()>();
    let builder = fast_poller(client(&server), &dir).heartbeat(Some(Duration::from_millis(5)));
    let poller = builder.spawn(move |message| {
        let _ = released.recv();
        if message.delivery_attempt() == 1 { Verdict::Retry } else { Verdict::Ack }
    });
    let beats = |test: &dyn Fn(&Value) -> bool| platform.state().heartbeats.iter().any(test);
    eventually("a heartbeat during the callback", || beats(&|beat| beat["active_tasks"] == 1));
    release.send(()).unwrap();
    eventually("a heartbeat that reports the failed attempt", || beats(&|beat| beat["error_rate"] == 1.0));
    drop(release);
    let before = platform.state().heartbeats.len();
    eventually("a heartbeat without active tasks", || {
        platform.state().heartbeats[before..].iter().any(|beat| beat["active_tasks"] == 0)
    });
    promptly(|| poller.unwrap().stop());
    let beat = platform.state().heartbeats[0].clone();
    assert_eq!((&beat["workspace_id"], &beat["current_task"]), (&WORKSPACE.into(), &"".into()));
    assert!(beat["uptime_seconds"].is_u64() && beat["error_rate"] == 0.0, "{beat}");

    let count = platform.state().heartbeats.len();
    let (_, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).heartbeat(None).spawn(callback).unwrap();
    let polls = platform.state().polls.len();
    eventually("some polls", || platform.state().polls.len() > polls + 3);
    poller.stop();
    assert_eq!(platform.state().heartbeats.len(), count, "turned off");
}

#[test]
fn removed_workspace_ends_the_poller_with_the_reason() {
    let gone = r#"{"error":"removed","id":"w","removed_at":"2026-05-01T00:00:00Z","hint":"make another"}"#;
    for by_heartbeat in [false, true] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-removed"));
        let inner = platform.clone();
        let server = Server::decide(move |_, request| match request.path.starts_with("/registry") == by_heartbeat {
            true => Reaction::reply(410, gone),
            false => inner.answer(request),
        });
        let (_, callback) = recorder();
        let builder = fast_poller(client(&server), &dir).heartbeat(by_heartbeat.then_some(Duration::from_millis(20)));
        let poller = builder.spawn(callback).unwrap();
        eventually("its end", || poller.is_finished());
        let Some(StopReason::Removed(removed)) = promptly(|| poller.join()) else { panic!("{poller:?}") };
        assert_eq!((removed.id.as_str(), removed.hint.as_str()), ("w", "make another"));
        assert_eq!(poller.reason(), Some(StopReason::Removed(removed)));
        poller.stop();
    }
    let (server, dir) = (Server::play([Reaction::reply(410, gone)]), Dir::new("inbox-removed-once"));
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap_err().kind(), ErrorKind::Removed);
}

#[test]
fn several_workspaces_are_polled_in_parallel() {
    let dir = Dir::new("inbox-several");
    let platforms: Vec<Platform> = (0..4).map(|_| Platform::new()).collect();
    let pollers: Vec<_> = platforms
        .iter()
        .enumerate()
        .map(|(n, platform)| {
            platform.fill(1, 20 + n as i64, PEER);
            let (server, (texts, callback)) = (platform.serve(), recorder());
            let builder = fast_poller(client(&server), &dir).cursor_file(dir.file(&format!("cursor-{n}")));
            (builder.spawn(callback).unwrap(), texts, server)
        })
        .collect();
    for (n, (poller, texts, _server)) in pollers.iter().enumerate() {
        eventually("its rows", || texts.lock().unwrap().len() == 20 + n);
        poller.stop();
    }
}

#[test]
fn full_page_is_followed_by_another_poll_at_once() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-full"));
    platform.add(SECOND, PEER, "the first");
    platform.add(10 * SECOND, PEER, "the second");
    let server = platform.serve();
    let (texts, mut callback) = recorder();
    fast_poller(client(&server), &dir).build().unwrap().poll_once(&mut callback).unwrap();
    platform.fill(20, 1_234, PEER);
    let poller =
        fast_poller(client(&server), &dir).interval(Duration::from_secs(600)).page_size(100).spawn(callback).unwrap();
    eventually("all of them without a wait", || texts.lock().unwrap().len() == 1_236);
    poller.stop();
    let expected = (20..1_254).map(|n| format!("message {n}"));
    assert!(texts.lock().unwrap()[2..].iter().cloned().eq(expected));
    assert!(platform.state().polls.iter().skip(1).all(|poll| param(poll, "limit").as_deref() == Some("100")));
}

#[test]
fn failed_poll_returns_a_typed_error_and_loses_nothing() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-fails"));
    platform.fill(1, 3, PEER);
    let acts = [
        Reaction::reply(500, r#"{"error":"query failed"}"#),
        Reaction::reply(429, "").header("Retry-After", "7"),
        Reaction::reply(200, r#"{"rows":[]}"#),
        Reaction::reply(200, "<html>"),
        Reaction::reply(404, ""),
        Reaction::reply(401, r#"{"error":"bad token"}"#),
        Reaction::reply(410, r#"{"error":"gone"}"#),
        Reaction::Close,
        Reaction::Reset(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[{".to_vec()),
        Reaction::reply(200, b"\x1f\x8b").header("Content-Encoding", "gzip"),
    ];
    let (inner, count) = (platform.clone(), acts.len());
    let server = Server::decide(move |n, request| acts.get(n).cloned().unwrap_or_else(|| inner.answer(request)));
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    use ErrorKind::{Disconnected, Malformed, Status, Unauthorized};
    let kinds =
        [Status, Status, Malformed, Malformed, Status, Unauthorized, Status, Disconnected, Disconnected, Malformed];
    // A GET that may have met a closing connection is repeated once.
    while server.requests().len() < count {
        let n = server.requests().len();
        let error = poller.poll_once(|_| panic!("nothing was listed")).unwrap_err();
        assert_eq!(error.kind(), kinds[server.requests().len() - 1], "{n}: {error}");
        assert!(n != 0 || error.to_string().ends_with("answered 500 (query failed)"), "{error}");
        assert!(n != 1 || error.retry_after() == Some(Duration::from_secs(7)));
    }
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap().delivered, 3);
    assert!(server.requests().iter().all(|request| param(&request.path, "limit").as_deref() == Some("500")));
}

#[test]
fn page_that_is_too_large_is_requested_in_quarters() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-large"));
    let text = "x".repeat(1_000_000);
    for n in 0..50 {
        platform.add(n * 10 * SECOND, PEER, &text);
    }
    let server = platform.serve();
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut delivered = 0;
    while delivered < 50 {
        match poller.poll_once(|_| Verdict::Ack) {
            Ok(polled) => {
                assert!(polled.delivered > 0);
                delivered += polled.delivered;
            }
            // A slow machine may time out on 50 MB, which shortens the page, too.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error}"),
        }
    }
    let limits: Vec<String> = platform.state().polls.iter().filter_map(|poll| param(poll, "limit")).collect();
    assert_eq!(limits[..3], ["500", "125", "31"], "down to the first that fits");
}

#[test]
fn backoffs_after_failures_grow_and_honor_retry_after() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-backoff"));
    platform.fill(1, 1, PEER);
    let (inner, times) = (platform.clone(), Arc::new(Mutex::new(Vec::new())));
    let noted = times.clone();
    let server = Server::decide(move |n, request| {
        noted.lock().unwrap().push(Instant::now());
        match n {
            0 | 1 => Reaction::reply(503, ""),
            2 => Reaction::reply(429, "").header("Retry-After", "1"),
            _ => inner.answer(request),
        }
    });
    let (texts, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).interval(Duration::from_millis(40)).spawn(callback).unwrap();
    eventually("the row", || texts.lock().unwrap().len() == 1);
    promptly(|| poller.stop());
    let times = times.lock().unwrap();
    let waits: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 40 ms ± 25 %, then twice that, then `Retry-After`.
    assert!(waits[0] >= Duration::from_millis(30) && waits[1] >= Duration::from_millis(60), "{waits:?}");
    assert!(waits[2] >= Duration::from_secs(1), "{waits:?}");
}

#[test]
fn token_is_reread_after_a_401() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-token"));
    platform.fill(1, 2, PEER);
    let inner = platform.clone();
    let server = Server::decide(move |_, request| match request.header("authorization") {
        Some("Bearer new") => inner.answer(request),
        _ => Reaction::reply(401, r#"{"error":"bad token"}"#),
    });
    let file = dir.file("token");
    std::fs::write(&file, "old").unwrap();
    let client = support::builder(&server).token_file(&file).build().unwrap();
    std::fs::write(&file, "new").unwrap();
    // With a token file the cursor file needs no setting.
    let mut poller = InboxPoller::builder(client).build().unwrap();
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap().delivered, 2);
    assert!(dir.file(&format!("inbox-cursor-{WORKSPACE}.json")).is_file());
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
    assert!(with(|builder| builder.cursor_file("/nonexistent/cursor")).contains("is in no directory that is there"));
    let error = InboxPoller::builder(client(&server)).build().unwrap_err();
    assert!(error.to_string().starts_with("cursor_file: required"), "{error}");
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
