//! Platforms and senders that make a reader lose a message, stand still, or report what did not happen.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{InboxPoller, PollerBuilder, Verdict};
use serde_json::json;

use crate::poll::fast_poller;
use crate::support::platform::{id, param};
use crate::support::{Dir, Reaction, Server};

struct World {
    platform: Platform,
    ops: WorkspaceHandle,
    dev: WorkspaceHandle,
    dir: Dir,
}

impl World {
    fn new() -> World {
        let platform = Platform::start().unwrap();
        platform.rate_limit(None);
        let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
        let world = World { platform, ops, dev, dir: Dir::new("attack") };
        world.call(&world.platform.admin_token(), "PATCH", "abilities", r#"{"broadcast_enabled":true}"#);
        world
    }

    fn builder(&self, file: &str) -> PollerBuilder {
        InboxPoller::builder(self.ops.client().build().unwrap()).cursor_file(self.dir.file(file))
    }

    fn send(&self, text: &str) {
        self.platform.send(&self.dev, &self.ops, text).unwrap();
    }

    fn broadcast(&self, text: &str) {
        let body = format!(r#"{{"message":"{text}"}}"#);
        self.call(&self.dev.token().unwrap(), "POST", "broadcast", &body);
    }

    fn call(&self, token: &str, method: &str, path: &str, body: &str) {
        let host = self.platform.url().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&host).unwrap();
        write!(
            stream,
            "{method} /workspaces/{}/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.dev.id(),
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// Polls so often that the broadcasts are listed once.
fn received(poller: &mut InboxPoller) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..13 {
        let polled = poller.poll_once(|message| {
            texts.push(message.text().trim_start_matches("Broadcast from dev: ").to_owned());
            Verdict::Ack
        });
        polled.unwrap();
    }
    texts
}

/// The poller was down for longer than the backlog, and had never listed a broadcast.
#[test]
fn first_broadcast_of_a_downtime_is_delivered() {
    let world = World::new();
    let builder = || world.builder("cursor").late(Duration::ZERO).backlog(Duration::from_secs(1));
    world.send("hello");
    let mut poller = builder().build().unwrap();
    assert_eq!(received(&mut poller), ["hello"]);
    drop(poller);
    world.broadcast("news");
    world.send("while it is down");
    sleep(Duration::from_millis(2_100));
    let mut got = received(&mut builder().build().unwrap());
    got.sort();
    assert_eq!(got, ["news", "while it is down"]);
}

#[test]
fn all_broadcasts_of_the_backlog_are_delivered_in_order_whatever_the_page_size() {
    let world = World::new();
    let texts: Vec<String> = (0..5).map(|n| format!("news {n}")).collect();
    texts.iter().for_each(|text| world.broadcast(text));
    assert_eq!(received(&mut world.builder("cursor").page_size(2).build().unwrap()), texts);
}

/// A program that lives for less than a minute, started again and again: the key of a broadcast is kept for 24 h only.
#[test]
fn broadcasts_are_settled_by_programs_that_live_for_a_moment() {
    let world = World::new();
    let run = || received(&mut world.builder("cursor").late(Duration::from_secs(2)).build().unwrap());
    world.broadcast("news");
    assert_eq!(run(), ["news"]);
    world.send("hello");
    assert_eq!(run(), ["hello"]);
    sleep(Duration::from_millis(2_500));
    assert_eq!((run(), run()), (vec![], vec![]));
    let saved = std::fs::read_to_string(world.dir.file("cursor")).unwrap();
    assert!(saved.contains(r#"{"broadcasts":["#), "{saved}");
}

/// As with a message whose attempts are exhausted: the report comes first.
#[test]
fn crash_in_the_dead_letter_callback_loses_no_large_row() {
    let world = World::new();
    let crashed = world.dir.file("crashed");
    let (from, to) = (world.dir.file("cursor"), crashed.clone());
    let builder = world.builder("cursor").max_row(64 * 1024).on_dead_letter(move |_| {
        std::fs::copy(&from, &to).unwrap();
    });
    world.send("before");
    let mut poller = builder.build().unwrap();
    received(&mut poller);
    world.send(&"<".repeat(100_000));
    received(&mut poller);
    let reported = Arc::new(AtomicUsize::new(0));
    let count = reported.clone();
    let builder = world.builder("crashed").max_row(64 * 1024).on_dead_letter(move |_| {
        count.fetch_add(1, SeqCst);
    });
    assert_eq!(received(&mut builder.build().unwrap()), [""; 0]);
    assert_eq!(reported.load(SeqCst), 1, "it is reported to the program that comes after the crash");
}

/// A server with one row, and another behind it once `has_next` is set. `slow` answers for the second row with its sender.
fn two_rows(has_next: Arc<AtomicBool>, slow: impl Fn() -> Reaction + Send + Sync + 'static) -> Server {
    let row = |n, at| json!({ "id": id(n), "created_at": at, "seq": n, "activity_type": "a2a_receive" });
    let first = serde_json::to_vec(&[row(1, "2026-05-01T00:00:00Z")]).unwrap();
    let second = serde_json::to_vec(&[row(2, "2026-05-01T00:00:01Z")]).unwrap();
    Server::decide(move |_, request| {
        if request.path.contains("broadcast_receive") {
            return Reaction::reply(400, r#"{"error":"unknown type"}"#);
        }
        let has_next = has_next.load(SeqCst);
        match param(&request.path, "since_id") {
            Some(after) if after == id(2) || !has_next => Reaction::reply(200, "[]"),
            Some(_) if request.path.contains("include=") => slow(),
            Some(_) => Reaction::reply(200, &second),
            None => Reaction::reply(200, &first),
        }
    })
}

/// With `include=peer_info` a row begins with its attachments, which may be the whole of a message. Over a slow line its id
/// never comes: any peer could make the inbox stand still.
#[test]
fn slow_row_that_begins_with_its_attachments_does_not_block_the_inbox() {
    let has_next = Arc::new(AtomicBool::new(false));
    let start = format!(r#"[{{"activity_type":"a2a_receive","attachments":[{{"bytes":"{}"#, "A".repeat(200_000));
    let server = two_rows(has_next.clone(), move || Reaction::Trickle {
        head: format!("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{start}").into_bytes(),
        slow: b"A".repeat(60),
        pause: Duration::from_secs(1),
    });
    let dir = Dir::new("hostile-slow");
    let mut poller = fast_poller(&server, &dir.file("c")).ack(false).build().unwrap();
    poller.poll_once(|_| Verdict::Ack).unwrap();
    has_next.store(true, SeqCst);
    let (began, mut got) = (Instant::now(), Vec::new());
    while got.is_empty() && began.elapsed() < Duration::from_secs(40) {
        let _ = poller.poll_once(|message| {
            got.push(message.activity_id().to_owned());
            Verdict::Ack
        });
    }
    assert_eq!(got, [id(2)], "{:?}", server.requests().iter().map(|request| request.path.clone()).collect::<Vec<_>>());
}

/// An old platform knows no broadcasts: that costs the pages of messages nothing.
#[test]
fn broadcasts_that_cannot_be_listed_make_no_page_smaller() {
    let server = two_rows(Arc::default(), || Reaction::Hang);
    let dir = Dir::new("hostile-pages");
    let mut poller = fast_poller(&server, &dir.file("c")).ack(false).page_size(100).build().unwrap();
    (0..6).for_each(|_| assert!(!poller.poll_once(|_| Verdict::Ack).unwrap().has_more));
    let limits = Mutex::new(Vec::new());
    for request in server.requests().iter().filter(|request| request.path.contains("since_id")) {
        limits.lock().unwrap().push(param(&request.path, "limit"));
    }
    let limits = limits.into_inner().unwrap();
    assert!(limits.len() > 4 && limits.iter().all(|limit| limit.as_deref() == Some("100")), "{limits:?}");
}

/// "Polls go on within 10 s of the end of an outage": also of one in which the host is gone, and not only its program.
#[test]
fn poll_of_a_host_that_takes_no_connection_ends_in_time() {
    let listener = crate::support::SilentListener::new();
    let dir = Dir::new("hostile-gone");
    let mut poller =
        InboxPoller::builder(listener.client().build().unwrap()).cursor_file(dir.file("c")).build().unwrap();
    let began = Instant::now();
    poller.poll_once(|_| Verdict::Ack).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
