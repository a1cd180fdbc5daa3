//! Lookups leave a part of the platform's rate limit for what matters.

use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::testing::Platform;
use a2a_blocking::{ClientBuilder, ErrorKind, LookupSource};

use crate::support::{PEER, RECORD, Reaction, Server, builder, client, eventually};

fn stranger(n: u32) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

/// Without a limit that is told there is no account, and all are looked up.
#[test]
fn lookups_stop_at_a_fifth_of_the_limit_and_calls_go_on() {
    for (limit, made) in [(Some(60), 49), (Some(200), 161), (None, 250)] {
        let platform = Platform::start().unwrap();
        let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
        platform.rate_limit(limit);
        let client = ops.client().background_threads(0).build().unwrap();
        let sources: Vec<_> = (0..250).map(|n| client.lookup(stranger(n)).source).collect();
        let (absent, shed) = sources.split_at(made);
        assert!(absent.iter().all(|source| *source == LookupSource::Absent), "{limit:?}");
        assert!(shed.iter().all(|source| *source == LookupSource::Shed), "{limit:?}");
        let stats = client.stats();
        assert_eq!((stats.lookups, stats.rate_limited), (made as u64, 0));
        assert_eq!((stats.shed, stats.rate_limit_shed), (shed.len() as u64, shed.len() as u64));
        assert_eq!(stats.rate_limit_left, limit.map(|limit| u64::from(limit) - made as u64));
        // What a user calls is not held back.
        assert_eq!(client.discover(dev.id()).unwrap().name(), Some("dev"));
        client.send(dev.id(), "hi").unwrap();
    }
}

/// The lookups under way are not in the platform's numbers yet.
#[test]
fn threads_together_leave_the_same_part() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    platform.rate_limit(60);
    let client = ops.client().background_threads(0).build().unwrap();
    client.lookup(stranger(0));
    thread::scope(|scope| {
        for n in 0..8 {
            let client = &client;
            scope.spawn(move || (0..40).for_each(|m| drop(client.lookup(stranger(1 + 40 * n + m)))));
        }
    });
    let stats = client.stats();
    assert!((40..=49).contains(&stats.lookups), "{stats}");
    assert_eq!((stats.lookups + stats.rate_limit_shed, stats.rate_limited), (321, 0));
}

#[test]
fn expired_record_is_served_as_it_is_and_refreshed_in_the_next_window() {
    // A window of one second, in which little is left, and then much.
    let low = |reset: &'static str| {
        let reply = Reaction::reply(200, RECORD).header("X-Ratelimit-Limit", "60");
        reply.header("X-Ratelimit-Remaining", "11").header("X-Ratelimit-Reset", reset)
    };
    let server = Server::play([low("0"), Reaction::reply(200, RECORD.replace("ops-agent", "renamed"))]);
    let client = builder(&server).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    let later = client.lookup_at(PEER, start + Duration::from_secs(301));
    if start.elapsed() < Duration::from_millis(900) {
        assert_eq!((later.source, later.from_cache, server.requests().len()), (LookupSource::Stale, true, 1));
    }
    eventually("it is refreshed in the background", || client.peer_name(PEER).as_deref() == Some("renamed"));
    assert!(start.elapsed() >= Duration::from_secs(1), "not before the next window");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn background_lookups_wait_for_the_next_window() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    platform.rate_limit(60);
    let client = ops.client().build().unwrap();
    (0..49).for_each(|n| drop(client.lookup(stranger(n))));
    (49..200).for_each(|n| drop(client.enrich_nonblocking(stranger(n))));
    assert!(!client.wait_until_idle(Duration::from_millis(200)), "they are still to be made");
    let stats = client.stats();
    assert_eq!((stats.lookups, stats.rate_limited, stats.rate_limit_left), (49, 0, Some(11)));
}

#[test]
fn hostile_numbers_stop_no_lookup_for_long_and_no_call_at_all() {
    let told = |limit: &str, left: &str, reset: &str| {
        let reply = Reaction::reply(200, RECORD).header("X-Ratelimit-Limit", limit);
        reply.header("X-Ratelimit-Remaining", left).header("X-Ratelimit-Reset", reset)
    };
    for (limit, left, reset) in [
        ("-1", "0", "60"),
        ("60", "-1", "60"),
        ("60", "0", "-60"),
        ("0", "0", "60"),
        ("60", "99999999999999999999999999", "99999999999999999999999999"),
        ("unlimited", "unlimited", "unlimited"),
        ("\u{e9}", "\u{e9}", "\u{e9}"),
    ] {
        let server = Server::play([told(limit, left, reset)]);
        let client = client(&server);
        let sources: Vec<_> = (0..20).map(|n| client.lookup(stranger(n)).source).collect();
        assert!(sources.iter().all(|source| *source == LookupSource::Fetched), "{limit} {left} {reset}");
    }
    let server = Server::play([told("99999999999999999999999999", "0", "99999999999999999999999999")]);
    let client = client(&server);
    assert_eq!([0, 1].map(|n| client.lookup(stranger(n)).source), [LookupSource::Fetched, LookupSource::Shed]);
    client.discover(PEER).unwrap();
}

#[test]
fn wait_of_a_429_is_read_from_its_header_or_its_body() {
    let secs = |reply: Reaction| {
        let server = Server::play([reply]);
        let error = client(&server).discover(PEER).unwrap_err();
        assert_eq!((error.kind(), error.status(), error.is_transient()), (ErrorKind::Status, Some(429), true));
        error.retry_after().map(|wait| wait.as_secs())
    };
    let body = |wait: &str| Reaction::reply(429, format!(r#"{{"error":"rate limit exceeded","retry_after":{wait}}}"#));
    assert_eq!(secs(body("59").header("Retry-After", "7")), Some(7));
    assert_eq!(secs(body("59")), Some(59));
    assert_eq!(secs(body("1e300")), Some(86_400));
    assert_eq!([secs(body("-1")), secs(body("\"59\"")), secs(Reaction::reply(429, ""))], [None; 3]);
}

/// Each client has its own account: another workspace has another token.
#[test]
fn account_is_that_of_one_client() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    platform.rate_limit(60);
    let build = |builder: ClientBuilder| builder.background_threads(0).build().unwrap();
    let (first, second) = (build(ops.client()), build(dev.client()));
    (0..60).for_each(|n| drop(first.lookup(stranger(n))));
    assert_eq!(first.lookup(stranger(60)).source, LookupSource::Shed);
    assert_eq!(second.lookup(stranger(60)).source, LookupSource::Absent);
}
