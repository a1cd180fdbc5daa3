//! Platforms and senders that make a reader lose a message, stand still, or report what did not happen.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use a2a_blocking::{InboxPoller, Verdict};
use serde_json::json;

use crate::poll::fast_poller;
use crate::support::platform::{id, param};
use crate::support::{Dir, Reaction, Server};
use crate::world::World;

fn world() -> World {
    let world = World::new("hostile");
    world.allow_broadcasts();
    world
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
    let world = world();
    let builder = || world.builder().late(Duration::ZERO);
    world.platform.skew_rows(-7_200);
    world.send("hello");
    let mut poller = builder().backlog(Duration::from_secs(10_000)).build().unwrap();
    assert_eq!(received(&mut poller), ["hello"]);
    drop(poller);
    world.platform.skew_rows(-7_000);
    world.broadcast("news");
    world.send("while it is down");
    let mut got = received(&mut builder().build().unwrap());
    got.sort();
    assert_eq!(got, ["news", "while it is down"]);
}

#[test]
fn all_broadcasts_of_the_backlog_are_delivered_in_order_whatever_the_page_size() {
    let world = world();
    let texts: Vec<String> = (0..5).map(|n| format!("news {n}")).collect();
    texts.iter().for_each(|text| world.broadcast(text));
    assert_eq!(received(&mut world.builder().page_size(2).build().unwrap()), texts);
}

/// A program that lives for less than a minute, started again and again: the key of a broadcast is kept for 24 h only.
#[test]
fn broadcasts_are_settled_by_programs_that_live_for_a_moment() {
    let world = world();
    let run = || received(&mut world.builder().build().unwrap());
    world.broadcast("news");
    assert_eq!(run(), ["news"]);
    world.send("hello");
    assert_eq!(run(), ["hello"]);
    // Each of these lists the broadcasts once, before it has seen one: only the messages say what is settled.
    for _ in 0..3 {
        let mut poller = world.builder().late(Duration::ZERO).build().unwrap();
        assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap().delivered, 0);
    }
    let saved = std::fs::read_to_string(world.cursor()).unwrap();
    assert!(saved.contains(r#"{"broadcasts":["#), "{saved}");
}

/// As with a message whose attempts are exhausted: the report comes first.
#[test]
fn crash_in_the_dead_letter_callback_loses_no_large_row() {
    let world = world();
    let crashed = world.dir.file("crashed");
    let (from, to) = (world.cursor(), crashed.clone());
    let builder = world.builder().max_row(64 * 1024).on_dead_letter(move |_| {
        std::fs::copy(&from, &to).unwrap();
    });
    world.send("before");
    let mut poller = builder.build().unwrap();
    received(&mut poller);
    world.send(&"<".repeat(100_000));
    received(&mut poller);
    let reported = Arc::new(AtomicUsize::new(0));
    let count = reported.clone();
    let builder = world.builder().cursor_file(&crashed).max_row(64 * 1024).on_dead_letter(move |_| {
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
