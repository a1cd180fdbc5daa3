//! The health of a poller: what its handle, the counters and the error callback report of a platform that fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, SystemTime};

use a2a_blocking::{CircuitState, ErrorKind, LookupSource, PollerHandle, PollerHealth, RetryPolicy, Verdict};

use crate::poll::{fast_poller, logged, logged_by_any_thread};
use crate::support::platform::{Platform, SECOND};
use crate::support::{Dir, PEER, Reaction, Server, TIMEOUT, eventually};

/// A platform that refuses every request until it is told otherwise.
fn refusing(platform: &Platform, status: u16) -> (Server, Arc<AtomicBool>) {
    let (refuses, inner) = (Arc::new(AtomicBool::new(true)), platform.clone());
    let switch = refuses.clone();
    let server = Server::decide(move |_, request| match switch.load(SeqCst) {
        true => Reaction::reply(status, r#"{"error":"not you"}"#),
        false => inner.answer(request),
    });
    (server, refuses)
}

/// A wrong token, or a workspace that is not registered, shows at `env_logger`'s default level, which is error.
#[test]
fn refusal_is_an_error_in_the_log_and_in_the_health_and_so_is_its_end() {
    for (status, kind) in [(401, ErrorKind::Unauthorized), (403, ErrorKind::Unauthorized), (404, ErrorKind::Status)] {
        let (platform, dir) = (Platform::new(), Dir::new("health-refused"));
        platform.fill(1, 2, PEER);
        let (server, refuses) = refusing(&platform, status);
        let url = server.url();
        let builder = fast_poller(&server, &dir.file("c")).interval(Duration::from_millis(5));
        let (report, reports) = mpsc::channel();
        let builder = builder.heartbeat(Some(Duration::from_millis(5))).on_error(move |error| {
            report.send((error.kind(), error.status())).unwrap();
            panic!("in the error callback");
        });
        let poller = builder.spawn(|_| Verdict::Ack).unwrap();
        // The callback goes on after its panic.
        for _ in 0..4 {
            assert_eq!(reports.recv_timeout(TIMEOUT), Ok((kind, Some(status))));
        }
        let health = poller.health();
        assert!(health.consecutive_failures >= 4 && health.heartbeat_failures > 0, "{health:?}");
        let failure = health.last_failure.as_ref().unwrap();
        assert_eq!((failure.kind, failure.status), (kind, Some(status)));
        assert!(failure.message.contains("not you") && failure.message.contains(&url), "{failure:?}");
        assert_eq!((health.since_success, health.since_heartbeat), (None, None));
        assert_eq!(health.without_success(), health.uptime);
        assert_eq!(logged_by_any_thread(&["ERROR", "nothing is delivered: GET", &url]), 1);
        eventually("the heartbeat's line", || logged_by_any_thread(&["ERROR", "no heartbeat: POST", &url]) == 1);

        refuses.store(false, SeqCst);
        eventually("the end of the series", || {
            let health = poller.health();
            health.consecutive_failures == 0 && health.heartbeat_failures == 0
        });
        let health = poller.health();
        assert!(health.since_success.unwrap() < TIMEOUT && health.since_heartbeat.unwrap() < TIMEOUT, "{health:?}");
        assert!(health.last_failure.is_some(), "it stays known");
        eventually("lines at the end", || {
            let ends = ["answers again, after", "takes heartbeats again, after"];
            ends.iter().all(|end| logged_by_any_thread(&["WARN", end, &url]) == 1)
        });
        poller.stop();
        assert_eq!(logged_by_any_thread(&["ERROR", "nothing is delivered", &url]), 1, "it is said once");
    }
}

#[test]
fn counters_of_the_inbox_are_in_the_clients_stats() {
    let (platform, dir) = (Platform::new(), Dir::new("health-stats"));
    platform.fill(1, 3, PEER);
    let (server, refuses) = refusing(&platform, 503);
    let client = crate::support::client(&server);
    assert!(!client.stats().to_string().contains("inbox"));
    let retry = RetryPolicy::new().with_attempts(2).with_base(Duration::ZERO);
    let builder = a2a_blocking::InboxPoller::builder(client.clone()).cursor_file(dir.file("c")).retry(retry);
    let mut poller = builder.build().unwrap();
    for _ in 0..2 {
        assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap_err().status(), Some(503));
    }
    let failing = client.stats().inbox;
    assert_eq!((failing.polls, failing.failed_polls, failing.consecutive_failures), (2, 2, 2));
    assert_eq!((failing.since_success, failing.last_success), (None, None));
    refuses.store(false, SeqCst);
    let before = SystemTime::now();
    let ack_all_but_two = |message: &a2a_blocking::InboxMessage| match message.text() {
        "message 2" => Verdict::Retry,
        _ => Verdict::Ack,
    };
    while poller.poll_once(ack_all_but_two).unwrap().has_more {}
    let stats = client.stats();
    let inbox = stats.inbox;
    assert_eq!((inbox.failed_polls, inbox.consecutive_failures), (2, 0));
    assert_eq!((inbox.deliveries, inbox.acked, inbox.dead_lettered), (4, 2, 1));
    assert_eq!((inbox.heartbeats, inbox.skipped), (0, 0));
    assert!(inbox.since_success.unwrap() < TIMEOUT);
    assert!(inbox.last_success.unwrap() + Duration::from_secs(1) > before);
    assert!(stats.to_string().ends_with("(2 failed, 0 in a row), 2 acked, 1 dead-lettered"), "{stats}");
    let page = stats.to_prometheus(&[]);
    for line in
        ["polls_failed_total 2", "messages_acked_total 2", "messages_dead_lettered_total 1", "deliveries_total 4"]
    {
        assert!(page.contains(&format!("\na2a_blocking_inbox_{line}\n")), "{page}");
    }
    assert_eq!(poller.health().consecutive_failures, 0);
}

/// A message that is tried again keeps its poll going: the outage before it is over all the same.
#[test]
fn listing_that_succeeds_ends_the_series_before_its_messages_are_handled() {
    let (platform, dir) = (Platform::new(), Dir::new("health-listed"));
    platform.fill(1, 2, PEER);
    let (server, refuses) = refusing(&platform, 503);
    let _logging = fast_poller(&server, &dir.file("other"));
    let (client, url) = (crate::support::client(&server), server.url());
    let builder = a2a_blocking::InboxPoller::builder(client.clone()).cursor_file(dir.file("c")).heartbeat(None);
    let handle = Arc::<OnceLock<PollerHandle>>::default();
    let (report, reports) = mpsc::channel();
    let (inside, words) = (handle.clone(), url.clone());
    let poller = builder.interval(Duration::from_millis(5)).spawn(move |_| {
        let ended = logged_by_any_thread(&["answers again", &words]);
        let _ = report.send((inside.get().unwrap().health(), client.stats().inbox, ended));
        Verdict::Retry
    });
    let handle = handle.get_or_init(|| poller.unwrap());
    eventually("failures", || handle.health().consecutive_failures >= 2);
    refuses.store(false, SeqCst);
    let (health, stats, ended) = reports.recv_timeout(TIMEOUT).unwrap();
    assert_eq!((health.consecutive_failures, stats.consecutive_failures, ended), (0, 0, 1), "{health:?}");
    assert!(health.since_success.is_some() && stats.last_success.is_some(), "{health:?} {stats:?}");
    assert!(health.last_failure.is_some(), "it stays known");
    assert_eq!(stats.polls, stats.failed_polls, "the poll itself goes on");
    handle.stop();
}

/// From the callback's own thread, too.
#[test]
fn health_shows_the_cursor_and_the_running_callback() {
    let (platform, dir) = (Platform::new(), Dir::new("health-cursor"));
    let ids: Vec<String> = (1..=30).map(|n| platform.add(n * SECOND, PEER, "x")).collect();
    platform.state().now = 60 * SECOND;
    let server = platform.serve();
    let (handle, (report, reports)) = (Arc::<OnceLock<PollerHandle>>::default(), mpsc::channel::<PollerHealth>());
    let (inside, (set, is_set)) = (handle.clone(), mpsc::channel::<()>());
    let poller = fast_poller(&server, &dir.file("c")).interval(Duration::from_millis(5)).heartbeat(None);
    let poller = poller.spawn(move |_| {
        let _ = is_set.recv();
        let _ = report.send(inside.get().unwrap().health());
        Verdict::Ack
    });
    let handle = handle.get_or_init(|| poller.unwrap());
    eventually("the first message", || handle.health().in_callback.is_some());
    // Everything is listed from the oldest row on before the first message is delivered.
    assert_eq!(handle.health().cursor.map(|cursor| cursor.activity_id).as_ref(), ids.first());
    drop(set);
    let during = reports.recv_timeout(TIMEOUT).unwrap();
    assert!(during.in_callback.is_some() && during.in_callback <= Some(during.uptime), "{during:?}");
    eventually("the cursor", || handle.health().cursor.is_some());
    eventually("the last message", || reports.try_iter().count() > 0 && handle.health().in_callback.is_none());
    let health = handle.health();
    let cursor = health.cursor.unwrap();
    assert!(cursor.created_at.ends_with('Z') && ids.contains(&cursor.activity_id), "{cursor:?}");
    assert_eq!((health.circuit, health.is_cursor_failing), (CircuitState::Closed, false));
    handle.stop();
    assert!(handle.health().since_success.is_some(), "it can be read after the end");
}

/// Each success ends a series, so that each failure begins one.
#[test]
fn failures_that_alternate_with_successes_are_said_once_a_minute() {
    let (dir, polls) = (Dir::new("health-flapping"), Arc::new(AtomicUsize::new(0)));
    let counted = polls.clone();
    let server = Server::decide(move |_, _| match counted.fetch_add(1, SeqCst) % 2 {
        0 => Reaction::reply(502, r#"{"error":"flapping"}"#),
        _ => Reaction::reply(200, "[]"),
    });
    let poller = fast_poller(&server, &dir.file("c")).heartbeat(None).interval(Duration::from_millis(2));
    let poller = poller.spawn(|_| Verdict::Ack).unwrap();
    eventually("more polls", || polls.load(SeqCst) >= 20);
    poller.stop();
    assert_eq!(logged_by_any_thread(&["WARN", "flapping", &server.url()]), 1);
    assert_eq!(logged_by_any_thread(&["INFO", "answers again, after 1 failure in", &server.url()]), 1);
}

#[test]
fn failed_lookups_of_peers_are_said_once_and_so_is_their_end() {
    for (status, level) in [(401, "ERROR"), (500, "WARN")] {
        let (server, refuses) = refusing(&Platform::new(), status);
        let _logging = fast_poller(&server, &Dir::new("health-lookups").file("c"));
        let client =
            crate::support::builder(&server).circuit_threshold(u32::MAX).background_threads(0).build().unwrap();
        let peer = |n: u32| format!("{n:08x}-0000-4000-8000-000000000000");
        (0..5).for_each(|n| assert_eq!(client.enrich(peer(n)), None));
        assert_eq!(logged(&[level, "peers are unknown, or as last known: GET", &server.url()]), 1);
        assert_eq!(logged(&["peers are unknown", &server.url()]), 1);
        refuses.store(false, SeqCst);
        (5..10).for_each(|n| assert_eq!(client.lookup(peer(n)).source, LookupSource::Fetched));
        let end = if level == "ERROR" { "WARN" } else { "INFO" };
        assert_eq!(logged(&[end, "answers lookups of peers again, after 5 failures", &server.url()]), 1);
    }
}
