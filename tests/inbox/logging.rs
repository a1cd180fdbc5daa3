//! The log of a poller: invalid entries, unusual times, outages and failed heartbeats, each logged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use a2a_blocking::{Client, InboxPoller, RetryPolicy, StopReason, Verdict};
use serde_json::json;

use crate::poll::{drain, fast_poller, logged, logged_by_any_thread};
use crate::support::platform::{Platform, SECOND};
use crate::support::{self, Dir, PEER, Reaction, Server};

/// An entry that is no row is listed again and again, and logged once.
#[test]
fn invalid_entry_is_logged_once() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-odd"));
    let server = platform.serve();
    platform.add_row(
        SECOND,
        json!({ "id": null, "a_mark": "odd-one-out", "echo": "hush-hush", "long": "x".repeat(9_000) }),
    );
    platform.fill(2, 2, PEER);
    let client = support::builder(&server).token("hush-hush").build().unwrap();
    let _logging = fast_poller(&server, &dir.file("other"));
    let mut poller = InboxPoller::builder(client).cursor_file(dir.file("c")).build().unwrap();
    for _ in 0..5 {
        drain(&mut poller);
    }
    assert_eq!(logged(&["WARN", "odd-one-out"]), 1);
    assert_eq!((logged(&["[token]"]), logged(&["hush-hush"])), (1, 0));
}

/// Most rows come behind the anchor.
#[test]
fn unreadable_entries_behind_the_anchor_are_logged_and_counted() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-odd-later"));
    let server = platform.serve();
    let deep = (0..130).fold(json!("deep"), |value, _| json!([value]));
    let unread = || json!({ "source_id": PEER, "summary": "x", "extra": deep });
    let before = platform.add_row(SECOND, unread());
    platform.fill(2, 19, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).build().unwrap();
    drain(&mut poller);
    assert_eq!(logged(&["WARN", "cannot be read", &before]), 1);
    platform.add_row(21 * SECOND, json!({ "id": null, "a_mark": "odd-behind-the-anchor" }));
    let behind = platform.add_row(22 * SECOND, unread());
    let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
    assert!(platform.state().polls.last().unwrap().contains("since_id="));
    assert_eq!((polled.delivered, polled.skipped), (1, 1));
    assert_eq!(logged(&["WARN", "no row", "odd-behind-the-anchor"]), 1);
    assert_eq!(logged(&["WARN", "cannot be read", &behind]), 1);
    assert_eq!(logged(&[" 2 more beside these"]), 0, "there was one of each");
    // The first ten are logged, one of them earlier, and the others counted. Nothing is logged twice.
    (0..47).for_each(|n| drop(platform.add_row(23 * SECOND, json!({ "id": null, "many": n }))));
    (0..3).for_each(|_| drop(drain(&mut poller)));
    assert_eq!((logged(&["WARN", "no row", "\"many\""]), logged(&[" 38 more beside these"])), (9, 1));
    assert_eq!(logged(&[" 0 more beside these"]), 0);
}

/// A row without a time, or with an impossible one, takes its neighbour's, which changes from poll to poll.
#[test]
fn row_whose_time_changes_is_not_delivered_twice() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-moves"));
    for at in [json!(null), json!("9999-12-31T23:59:59Z")] {
        platform.add_row(20 * 86_400 * SECOND, json!({ "source_id": PEER, "summary": "odd", "created_at": at }));
    }
    platform.state().now = SECOND;
    let server = platform.serve();
    let mut all = Vec::new();
    for n in 1..30 {
        platform.add(n * 7 * SECOND, PEER, "x");
        platform.state().now = n * 7 * SECOND;
        // Each start lists them again.
        all.extend(drain(&mut fast_poller(&server, &dir.file("c")).build().unwrap()));
    }
    assert_eq!((all.len(), all.iter().filter(|text| *text == "odd").count()), (31, 2), "{all:?}");
}

/// The platform lists by its own clock. A row of its future hides no row while it is not settled.
#[test]
fn row_far_in_the_future_hides_no_row_while_it_is_not_settled() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-future"));
    platform.add(100 * SECOND, PEER, "a");
    let far = json!({ "source_id": PEER, "summary": "far", "created_at": "2199-01-01T00:00:00Z" });
    platform.add_row(20 * 86_400 * SECOND, far);
    platform.state().now = 100 * SECOND;
    let server = platform.serve();
    let start = || fast_poller(&server, &dir.file("c")).build().unwrap();
    let mut poller = start();
    assert_eq!(drain(&mut poller), ["a", "far"]);
    for (at, text) in [(110, "b"), (107, "late"), (120, "c"), (116, "late again")] {
        platform.add(at * SECOND, PEER, text);
        drop(poller);
        poller = start();
        assert_eq!(drain(&mut poller), [text]);
    }
    assert!(drain(&mut poller).is_empty());
    assert_eq!(logged(&["WARN", "2199-01-01", "ahead of this machine's clock"]), 1);
}

#[test]
fn removal_found_by_the_heartbeat_is_logged() {
    let dir = Dir::new("cursor-removed");
    let server = Server::decide(|_, request| match request.path.starts_with("/registry") {
        true => Reaction::reply(410, r#"{"error":"removed","hint":"found by the heartbeat"}"#),
        false => Reaction::reply(200, "[]"),
    });
    let poller = fast_poller(&server, &dir.file("c")).spawn(|_| Verdict::Ack).unwrap();
    assert!(matches!(poller.join(), Some(StopReason::Removed(_))));
    assert_eq!(logged_by_any_thread(&["ERROR", "found by the heartbeat"]), 1);
}

#[test]
fn outage_and_recovery_of_the_platform_are_logged_once() {
    let (dir, polls) = (Dir::new("cursor-again"), Arc::new(AtomicUsize::new(0)));
    let counted = polls.clone();
    let server = Server::decide(move |_, _| match counted.fetch_add(1, SeqCst) {
        0..3 => Reaction::reply(500, r#"{"error":"not yet"}"#),
        _ => Reaction::reply(200, "[]"),
    });
    let poller = fast_poller(&server, &dir.file("c")).heartbeat(None).interval(Duration::from_millis(5));
    let poller = poller.spawn(|_| Verdict::Ack).unwrap();
    support::eventually("more polls", || polls.load(SeqCst) >= 8);
    poller.stop();
    assert_eq!(logged_by_any_thread(&["WARN", "not yet", &server.url()]), 1, "the others are at debug level");
    assert_eq!(logged_by_any_thread(&["INFO", "answers again", &server.url()]), 1);
}

/// The heartbeat goes on, so that a platform that is back gets it at once. The failure is logged once.
#[test]
fn failed_heartbeat_is_logged_once_and_ends_nothing() {
    let (dir, beats) = (Dir::new("cursor-heartless"), Arc::new(AtomicUsize::new(0)));
    let counted = beats.clone();
    let server = Server::decide(move |_, request| match request.path.starts_with("/registry") {
        true => {
            counted.fetch_add(1, SeqCst);
            Reaction::reply(500, r#"{"error":"heartless"}"#)
        }
        false => Reaction::reply(200, "[]"),
    });
    let poller = fast_poller(&server, &dir.file("c")).heartbeat(Some(Duration::from_millis(5)));
    let poller = poller.spawn(|_| Verdict::Ack).unwrap();
    support::eventually("more beats", || beats.load(SeqCst) >= 4);
    assert_eq!((poller.reason(), poller.is_finished()), (None, false));
    poller.stop();
    assert_eq!(logged_by_any_thread(&["WARN", "no heartbeat", &server.url()]), 1);
}

/// The line about a message that is tried again, given up or acknowledged after a failure has the failure and the id.
#[test]
fn verdict_after_a_failure_is_logged_with_the_error_and_the_rows_id() {
    let (platform, dir) = (Platform::new(), Dir::new("log-verdict"));
    let id = platform.add(SECOND, PEER, "first");
    let server = platform.serve();
    let down = Client::builder().platform_url("http://127.0.0.1:1").workspace_id("w").build().unwrap();
    let retry = RetryPolicy::new().with_attempts(2).with_base(Duration::ZERO);
    let mut poller = fast_poller(&server, &dir.file("c")).retry(retry).build().unwrap();
    assert_eq!(poller.poll_once(|_| Verdict::after(down.workspace())).unwrap().dead_lettered, 1);
    assert_eq!(logged(&["DEBUG", "tried again because of", &id, "127.0.0.1:1"]), 2);
    assert_eq!(logged(&["ERROR", "it is given up", &id, "127.0.0.1:1"]), 1);

    let acked = platform.add(2 * SECOND, PEER, "second");
    assert_eq!(poller.poll_once(|message| Verdict::after(message.reply(""))).unwrap().delivered, 1);
    assert_eq!(logged(&["WARN", "in spite of", &acked, "the text is empty"]), 1);

    // A callback that makes the verdict by itself: nothing of an earlier failure is told.
    let silent = platform.add(3 * SECOND, PEER, "third");
    assert_eq!(poller.poll_once(|_| Verdict::Retry).unwrap().dead_lettered, 1);
    assert_eq!(logged(&["ERROR", &silent]), 1);
    assert_eq!(logged(&["ERROR", &silent, "failed"]), 0);
    assert_eq!(Verdict::after(down.workspace()), Verdict::Retry);
    assert_eq!(logged(&["DEBUG", "a message is to be tried again because of", "127.0.0.1:1"]), 1);
}
