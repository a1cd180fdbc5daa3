//! The polls themselves: page sizes, failures, backoffs and the token.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use a2a_blocking::{ErrorKind, InboxPoller, Verdict};

use crate::poller::{eventually, fast_poller, promptly, recorder};
use crate::support::platform::{Platform, SECOND};
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE, client};

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
    let listed_behind = |poll: &&String| poll.contains("since_id=");
    let state = platform.state();
    assert!(state.polls.iter().rev().filter(listed_behind).take(13).all(|poll| poll.contains("limit=100&")));
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
        // Whether the workspace was removed, is not known.
        Reaction::reply(500, ""),
        Reaction::reply(410, r#"{"error":"gone"}"#),
        Reaction::Close,
        Reaction::Reset(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[{".to_vec()),
        Reaction::reply(200, b"\x1f\x8b").header("Content-Encoding", "gzip"),
    ];
    let (inner, count) = (platform.clone(), acts.len());
    let server = Server::decide(move |n, request| acts.get(n).cloned().unwrap_or_else(|| inner.answer(request)));
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    use ErrorKind::{Disconnected, Malformed, Status, Unauthorized};
    let kinds = [
        Status,
        Status,
        Malformed,
        Malformed,
        Status,
        Unauthorized,
        Unauthorized,
        Status,
        Disconnected,
        Disconnected,
        Malformed,
    ];
    // A GET that may have met a closing connection is repeated once.
    while server.requests().len() < count {
        let n = server.requests().len();
        let error = poller.poll_once(|_| panic!("nothing was listed")).unwrap_err();
        assert_eq!(error.kind(), kinds[server.requests().len() - 1], "{n}: {error}");
        assert!(n != 0 || error.to_string().ends_with("answered 500 (query failed)"), "{error}");
        assert!(n != 1 || error.retry_after() == Some(Duration::from_secs(7)));
    }
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap().delivered, 3);
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap().delivered, 0);
}

/// A page has rows of `max_row` bytes at most, and what the platform sends beyond them is not read.
#[test]
fn page_that_is_too_large_is_read_in_parts() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-large"));
    let text = "x".repeat(100_000);
    let ids: Vec<String> = (0..50).map(|n| platform.add(n * SECOND, PEER, &text)).collect();
    let server = platform.serve();
    let mut poller = fast_poller(client(&server), &dir).max_row(1_000_000).build().unwrap();
    let mut got = Vec::new();
    loop {
        let polled = poller.poll_once(|message| {
            got.push(message.activity_id().to_owned());
            Verdict::Ack
        });
        if !polled.unwrap().has_more {
            break;
        }
    }
    assert_eq!(got, ids);
    let pages = platform.state().polls.iter().filter(|poll| poll.contains("since_id=")).count();
    assert!(pages >= 5, "{pages} pages for 5 MB of rows");
}

/// A program with its own loop gets its turn after a page, also while the poller lists what came while it was away.
#[test]
fn poll_delivers_about_a_page() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-turn"));
    platform.fill(0, 500, PEER);
    let server = platform.serve();
    for name in ["first start", "restart"] {
        let (mut poller, mut delivered) = (fast_poller(client(&server), &dir).page_size(20).build().unwrap(), 0);
        loop {
            let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
            assert!(polled.delivered < 40, "{name}: {polled:?}");
            delivered += polled.delivered;
            if !polled.has_more {
                break;
            }
        }
        assert_eq!(delivered, 500, "{name}");
        drop(poller);
        platform.fill(500, 500, PEER);
    }
}

/// A page that breaks off delivers what came, and the next one begins behind that.
#[test]
fn page_that_breaks_off_delivers_the_rows_that_came() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-broken"));
    let ids = platform.fill(1, 40, PEER);
    let inner = platform.clone();
    let server = Server::decide(move |_, request| match inner.answer(request) {
        Reaction::Reply { body, .. } if request.path.contains("since_id=") && body.len() > 2_000 => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            Reaction::Reset([head.as_bytes(), &body[..2_000]].concat())
        }
        reaction => reaction,
    });
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut got = Vec::new();
    for _ in 0..100 {
        let polled = poller.poll_once(|message| {
            got.push(message.activity_id().to_owned());
            Verdict::Ack
        });
        if polled.is_ok_and(|polled| !polled.has_more) {
            break;
        }
    }
    assert_eq!(got, ids);
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
