//! The poller's reports of pending requests, and what its heartbeats say of the program.

use std::sync::mpsc;
use std::time::Duration;

use a2a_blocking::testing::Platform;
use a2a_blocking::{Delivery, ErrorKind, InboxPoller, NewRequest, RequestAction, Verdict};
use serde_json::Value;

use crate::support::{Dir, Reaction, Server, TIMEOUT, builder, eventually};

const PENDING: &str = "/requests/inbox?status=pending";

#[test]
fn pending_request_is_reported_and_can_be_responded_to_in_the_callback() {
    let (platform, dir) = (Platform::start().unwrap(), Dir::new("on-request"));
    let client = |name| platform.workspace(name).client().build().unwrap();
    let (asker, doer) = (client("asker"), client("doer"));
    let (first, second) = (NewRequest::task("first"), NewRequest::approval("second"));
    for request in [first, second] {
        asker.request(&request.to_agent(doer.workspace_id()).unwrap()).unwrap();
    }
    let (sender, reported) = mpsc::channel();
    let answering = doer.clone();
    let poller = InboxPoller::builder(doer).cursor_file(dir.file("cursor")).interval(Duration::from_millis(5));
    let poller = poller.on_request(move |request| {
        let action = if request.kind() == Some("task") { RequestAction::Done } else { RequestAction::Approved };
        answering.respond(request.id(), action).unwrap();
        sender.send(request.title().unwrap().to_owned()).unwrap();
    });
    let poller = poller.spawn(|_| Verdict::Ack).unwrap();
    assert_eq!([(), ()].map(|()| reported.recv_timeout(TIMEOUT).unwrap()), ["first", "second"], "the oldest first");
    let statuses: Vec<_> = asker.requests().unwrap().iter().map(|own| own.status().unwrap().to_owned()).collect();
    assert_eq!(statuses, ["approved", "done"]);
    poller.stop();
    assert!(reported.try_recv().is_err());
}

/// Starts a poller against a platform that answers lists of requests so, and polls until `holds`.
fn poll_until(asks: bool, answer: Reaction, holds: impl Fn(usize, usize) -> bool) -> (usize, usize) {
    let server = Server::decide(move |_, request| match request.path.contains("/requests") {
        true => answer.clone(),
        false => Reaction::reply(200, "[]"),
    });
    let dir = Dir::new("request-watch");
    let poller = InboxPoller::builder(builder(&server).build().unwrap()).cursor_file(dir.file("cursor"));
    let poller = poller.interval(Duration::from_millis(1)).heartbeat(None);
    let poller = if asks { poller.on_request(|_| {}) } else { poller };
    let poller = poller.spawn(|_| Verdict::Ack).unwrap();
    let count = || {
        let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
        let lists = paths.iter().filter(|path| path.ends_with(PENDING)).count();
        (lists, paths.iter().filter(|path| path.contains("/activity")).count())
    };
    eventually("the polls", || {
        let (lists, polls) = count();
        holds(lists, polls)
    });
    poller.stop();
    count()
}

#[test]
fn platform_is_asked_only_for_a_callback_and_once_a_minute() {
    let good = Reaction::reply(200, "[]");
    assert_eq!(poll_until(false, good.clone(), |_, polls| polls > 20).0, 0);
    assert_eq!(poll_until(true, good, |lists, polls| lists > 0 && polls > 20).0, 1);
}

#[test]
fn list_that_fails_stops_no_poll() {
    for answer in [Reaction::reply(404, "404 page not found"), Reaction::reply(500, "{}"), Reaction::Close] {
        poll_until(true, answer, |lists, polls| lists > 0 && polls > 20);
    }
}

#[test]
fn stop_does_not_wait_for_a_silent_list() {
    let start = std::time::Instant::now();
    poll_until(true, Reaction::Hang, |lists, _| lists > 0);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn failed_poll_asks_for_no_requests() {
    let server = Server::decide(|_, _| Reaction::reply(503, "{}"));
    let dir = Dir::new("request-watch-down");
    let poller = InboxPoller::builder(builder(&server).build().unwrap()).cursor_file(dir.file("cursor"));
    let mut poller = poller.on_request(|_| {}).build().unwrap();
    assert!(poller.poll_once(|_| Verdict::Ack).is_err());
    assert!(server.requests().iter().all(|request| request.path.contains("/activity")));
}

#[test]
fn heartbeats_have_the_task_that_was_set() {
    let server = Server::decide(|_, request| match request.path.ends_with("/heartbeat") {
        true => Reaction::reply(200, "{}"),
        false => Reaction::reply(200, "[]"),
    });
    let dir = Dir::new("set-task");
    let poller = InboxPoller::builder(builder(&server).build().unwrap()).cursor_file(dir.file("cursor"));
    let poller = poller.heartbeat(Some(Duration::from_millis(5))).spawn(|_| Verdict::Ack).unwrap();
    let has_task = |task: &str| {
        let beats = server.requests().into_iter().filter(|request| request.path.ends_with("/heartbeat"));
        let mut bodies = beats.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
        bodies.any(|body| body["current_task"] == task)
    };
    eventually("a heartbeat without a task", || has_task(""));
    poller.set_task("reindexing").unwrap();
    for (bad, kind) in [("a\0b".to_owned(), ErrorKind::InvalidMessage), ("x".repeat(1_025), ErrorKind::TooLarge)] {
        let error = poller.set_task(bad).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{error}");
    }
    eventually("a heartbeat with the task", || has_task("reindexing"));
    let longest = "x".repeat(1_024);
    poller.set_task(longest.as_str()).unwrap();
    eventually("a heartbeat with the longest task", || has_task(&longest));
    poller.stop();
}
