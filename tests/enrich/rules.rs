//! The rules of enrichment, one behaviour per test.

use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, Error, ErrorKind, Lookup, LookupSource, Peer, PeerId, Stats};

use crate::support::{PEER, RECORD, Reaction, Server, WORKSPACE, builder, client};

const TTL: Duration = Duration::from_secs(300);
const NANO: Duration = Duration::from_nanos(1);

fn absent() -> Reaction {
    Reaction::reply(404, r#"{"error":"workspace not found"}"#)
}

#[test]
fn invalid_peer_id_makes_no_request() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let client = client(&server);
    for text in ["", "../../foo", &PEER[1..], "urn:uuid:3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c"] {
        assert_eq!(client.enrich(text), None);
        let Lookup { source, from_cache, .. } = client.lookup(text);
        assert_eq!((source, from_cache), (LookupSource::Invalid, false));
        assert_eq!(client.enrich_at(text, Instant::now()), None);
        client.forget(text);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn all_spellings_of_an_id_share_one_entry() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let client = client(&server);
    let id = PeerId::parse(PEER).unwrap();
    let first = client.enrich(id).unwrap();
    for again in [
        client.enrich(PEER),
        client.enrich(PEER.to_uppercase()),
        client.enrich(format!(" {PEER}\n")),
        client.enrich(String::from(PEER).as_str()),
    ] {
        assert_eq!(again.as_ref(), Some(&first));
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].path, format!("/registry/discover/{PEER}"));
}

/// Checks each status with each kind of body against a `mockito` server, and that it costs one request.
#[test]
fn status_and_body_decide_between_found_absent_and_failed() {
    let no = r#"{"error":"not here"}"#;
    for (status, body, source) in [
        (200, RECORD, LookupSource::Fetched),
        (200, "{}", LookupSource::Fetched),
        (403, no, LookupSource::Absent),
        (404, no, LookupSource::Absent),
        (410, no, LookupSource::Absent),
        (403, "", LookupSource::Failed),
        (404, "<html>not here</html>", LookupSource::Failed),
        (404, r#"{"message":"not here"}"#, LookupSource::Failed),
        (404, r#"["error"]"#, LookupSource::Failed),
        (400, no, LookupSource::Failed),
        (401, no, LookupSource::Failed),
        (429, no, LookupSource::Failed),
        (500, no, LookupSource::Failed),
        (503, no, LookupSource::Failed),
        (201, RECORD, LookupSource::Failed),
        (204, "", LookupSource::Failed),
    ] {
        let mut platform = mockito::Server::new();
        let path = format!("/registry/discover/{PEER}");
        let mock = platform
            .mock("GET", path.as_str())
            .match_header("x-workspace-id", WORKSPACE)
            .match_header("accept-encoding", "identity")
            .with_status(status)
            .with_body(body)
            .expect(1)
            .create();
        let client = Client::builder().platform_url(platform.url()).workspace_id(WORKSPACE).build().unwrap();
        let first = client.lookup(PEER);
        assert_eq!((first.source, first.from_cache), (source, false), "{status} {body}");
        assert_eq!(first.peer.is_some(), source == LookupSource::Fetched);
        let again = client.lookup(PEER);
        let source = if source == LookupSource::Fetched { LookupSource::Fresh } else { source };
        assert_eq!((again.source, again.from_cache), (source, true), "{status} {body}");
        assert_eq!(again.peer, first.peer);
        mock.assert();
    }
}

#[test]
fn record_is_fresh_until_exactly_its_ttl() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    // Without background threads nothing refreshes it ahead of time.
    let client = builder(&server).background_threads(0).build().unwrap();
    let start = Instant::now();
    assert!(client.enrich_at(PEER, start).is_some());
    assert!(client.enrich_at(PEER, start + TTL - NANO).is_some());
    assert_eq!(server.requests().len(), 1);
    assert!(client.enrich_at(PEER, start + TTL).is_some());
    assert_eq!(server.requests().len(), 2);
    assert!(client.enrich_at(PEER, start + TTL + TTL - NANO).is_some());
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn absent_and_failed_expire_after_their_ttls() {
    let (seven, minute) = (Duration::from_secs(7), Duration::from_secs(60));
    for (act, negative_ttl, error_ttl) in [(absent(), seven, minute), (Reaction::reply(500, "boom"), minute, seven)] {
        let server = Server::play([act.clone(), act, Reaction::reply(200, RECORD)]);
        // Without background threads nothing refreshes it ahead of time.
        let client =
            builder(&server).negative_ttl(negative_ttl).error_ttl(error_ttl).background_threads(0).build().unwrap();
        let start = Instant::now();
        for (at, requests) in [(Duration::ZERO, 1), (seven - NANO, 1), (seven, 2), (seven * 2 - NANO, 2)] {
            assert_eq!(client.enrich_at(PEER, start + at), None);
            assert_eq!(server.requests().len(), requests, "at {at:?}");
        }
        assert!(client.enrich_at(PEER, start + seven * 2).is_some());
        assert!(client.enrich_at(PEER, start + seven * 2 + TTL - NANO).is_some(), "a record has the normal TTL");
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn negative_ttl_defaults_to_the_ttl_and_may_be_zero() {
    let server = Server::play([absent()]);
    let nine_seconds = builder(&server).ttl(Duration::from_secs(9)).build().unwrap();
    let start = Instant::now();
    for (at, requests) in [(0, 1), (8, 1), (9, 2)] {
        nine_seconds.enrich_at(PEER, start + Duration::from_secs(at));
        assert_eq!(server.requests().len(), requests);
    }
    let zero = builder(&server).negative_ttl(Duration::ZERO).build().unwrap();
    for _ in 0..3 {
        zero.enrich_at(PEER, start);
    }
    assert_eq!(server.requests().len(), 5);
}

/// A failure is remembered for 15 s by default, or as long as the registry asks for, and an absence for the TTL.
#[test]
fn failed_lookup_is_cached_for_15_s_or_retry_after() {
    let failure = |retry_after: Option<&str>| {
        let reply = Reaction::reply(500, r#"{"error":"starting"}"#);
        retry_after.map_or(reply.clone(), |secs| reply.header("Retry-After", secs))
    };
    for (act, secs) in
        [(failure(None), 15), (failure(Some("1")), 15), (failure(Some("40")), 40), (failure(Some("9999")), 300)]
    {
        let server = Server::play([act, Reaction::reply(200, RECORD)]);
        let client = builder(&server).background_threads(0).build().unwrap();
        let start = Instant::now();
        let at = |time| client.lookup_at(PEER, start + time).source;
        let expiry = Duration::from_secs(secs);
        assert_eq!([at(Duration::ZERO), at(expiry - NANO)], [LookupSource::Failed; 2], "{secs}");
        assert_eq!((server.requests().len(), at(expiry)), (1, LookupSource::Fetched), "{secs}");
    }
    let server = Server::play([absent(), Reaction::reply(200, RECORD)]);
    let client = builder(&server).background_threads(0).build().unwrap();
    let start = Instant::now();
    let at = |time| client.lookup_at(PEER, start + time).source;
    assert_eq!(
        [at(Duration::ZERO), at(TTL - NANO), at(TTL)],
        [LookupSource::Absent, LookupSource::Absent, LookupSource::Fetched]
    );
}

/// A record that is still fresh is refreshed ahead, and one past its TTL is served, whatever comes in between.
#[test]
fn only_the_registrys_own_no_drops_a_record() {
    let own = |status, body| (Reaction::reply(status, body), LookupSource::Absent);
    let gateways = |status, body| (Reaction::reply(status, body), LookupSource::Stale);
    for (act, source) in [
        own(403, r#"{"error":"not authorized to discover this workspace"}"#),
        own(404, r#"{"error":"workspace not found"}"#),
        own(410, r#"{"error":"removed","id":"x","hint":"h"}"#),
        own(503, r#"{"error":"workspace not available","status":"removed"}"#),
        gateways(503, r#"{"error":"workspace not available","status":"awaiting_agent"}"#),
        gateways(403, r#"{"message":"Forbidden"}"#),
        gateways(403, "<html>Forbidden</html>"),
        gateways(403, ""),
        gateways(404, r#"{"timestamp":"2026-05-01T00:00:00Z","status":404,"error":"Not Found","path":"/registry/x"}"#),
        gateways(404, r#"{"error":"Not Found","status":404}"#),
        gateways(404, r#"{"error":"Not Found","path":"/registry/x"}"#),
        gateways(404, r#"{"error":"Not Found","timestamp":1}"#),
        gateways(404, r#"{"error":{"code":404,"message":"no such route"}}"#),
        gateways(410, r#"{"error":null}"#),
    ] {
        let shown = format!("{act:?}");
        let server = Server::play([Reaction::reply(200, RECORD), act]);
        let client = builder(&server).background_threads(0).build().unwrap();
        let start = Instant::now();
        client.enrich_at(PEER, start).unwrap();
        assert_eq!(client.lookup_at(PEER, start + TTL).source, source, "{shown}");
        assert_eq!(client.peer_name(PEER).is_some(), source == LookupSource::Stale, "{shown}");
        let kind = client.discover(PEER).unwrap_err().kind();
        assert_eq!(kind == ErrorKind::NotFound, source == LookupSource::Absent, "{shown}");
    }
}

/// An absent peer that is not remembered must not evict another.
#[test]
fn negative_ttl_of_zero_caches_nothing() {
    let server =
        Server::decide(|_, request| if request.path.ends_with(PEER) { Reaction::reply(200, RECORD) } else { absent() });
    let client = builder(&server).negative_ttl(Duration::ZERO).capacity(4).build().unwrap();
    client.enrich(PEER).unwrap();
    for n in 0..6 {
        assert_eq!(client.lookup(format!("{n:08x}-0000-4000-8000-000000000000")).source, LookupSource::Absent);
    }
    assert_eq!((client.lookup(PEER).source, client.stats().entries), (LookupSource::Fresh, 1));
}

#[test]
fn sixteen_threads_that_miss_one_peer_make_one_request() {
    let server = Server::play([Reaction::reply(200, RECORD).after(Duration::from_millis(200))]);
    let client = client(&server);
    let (barrier, answers) = (Barrier::new(16), mpsc::channel());
    thread::scope(|scope| {
        for _ in 0..16 {
            let (client, barrier, send) = (client.clone(), &barrier, answers.0.clone());
            scope.spawn(move || {
                barrier.wait();
                send.send(client.lookup(PEER)).unwrap();
            });
        }
    });
    let answers: Vec<Lookup> = answers.1.try_iter().collect();
    assert_eq!(answers.len(), 16);
    assert!(answers.iter().all(|answer| answer.peer.as_ref().and_then(Peer::name) == Some("ops-agent")));
    assert_eq!(server.requests().len(), 1);
    let Stats { lookups, coalesced, found, .. } = client.stats();
    assert_eq!((lookups, found), (1, 1));
    // A thread that was not scheduled for 200 ms found the record in the cache.
    assert_eq!(coalesced as usize, answers.iter().filter(|answer| !answer.from_cache).count() - 1);
}

#[test]
fn lookups_of_different_peers_run_in_parallel() {
    let slow = "00000000-0000-0000-0000-000000000001";
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |_, request| {
        if request.path.ends_with(slow) {
            reached.send(()).unwrap();
            let _released = gate.lock().unwrap().recv_timeout(Duration::from_secs(20));
        }
        Reaction::reply(200, RECORD)
    });
    let client = builder(&server).lookup_timeout(Duration::from_secs(20)).build().unwrap();
    thread::scope(|scope| {
        let held = scope.spawn(|| client.enrich(slow));
        at_server.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
        release.send(()).unwrap();
        assert!(held.join().unwrap().is_some());
    });
}

#[test]
fn lookup_started_before_forget_or_clear_is_not_cached() {
    for clear in [false, true] {
        let (reached, at_server) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let server = Server::decide(move |n, _| {
            if n == 0 {
                reached.send(()).unwrap();
                gate.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
            }
            Reaction::reply(200, format!(r#"{{"name":"record {n}"}}"#))
        });
        let client = builder(&server).lookup_timeout(Duration::from_secs(20)).build().unwrap();
        thread::scope(|scope| {
            let early = scope.spawn(|| client.enrich(PEER));
            at_server.recv_timeout(Duration::from_secs(20)).unwrap();
            if clear {
                client.clear()
            } else {
                client.forget(PEER)
            }
            // This call starts a new lookup, although the first one is still under way.
            assert_eq!(client.enrich(PEER).unwrap().name(), Some("record 1"));
            release.send(()).unwrap();
            assert_eq!(early.join().unwrap().unwrap().name(), Some("record 0"));
        });
        assert_eq!(client.enrich(PEER).unwrap().name(), Some("record 1"));
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn forgotten_and_cleared_peers_are_looked_up_again() {
    let server = Server::play([Reaction::reply(200, RECORD), absent(), Reaction::reply(200, RECORD)]);
    let client = client(&server);
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    client.forget(PEER);
    assert_eq!(client.lookup(PEER).source, LookupSource::Absent);
    client.clear();
    assert_eq!(client.stats().entries, 0);
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
}

#[test]
fn capacity_is_kept_and_peers_in_use_are_not_evicted() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let client = builder(&server).capacity(8).build().unwrap();
    assert!(client.enrich(PEER).is_some());
    for n in 0..40 {
        assert!(client.enrich(format!("{n:08x}-0000-4000-8000-000000000000")).is_some());
        assert_eq!(client.lookup(PEER).source, LookupSource::Fresh, "after {n} strangers");
    }
    let Stats { entries, evictions, bytes, .. } = client.stats();
    assert_eq!((entries, evictions), (8, 33));
    assert!((8 * RECORD.len()..80 * RECORD.len()).contains(&bytes), "{bytes}");
}

#[test]
fn record_keeps_every_field_as_sent() {
    let record = r#"{"id":"another","name":"søren-日本 🛰","role":null,"status":5,"tier":3,"later":{"a":[1,2.5]}}"#;
    let server = Server::play([Reaction::reply(200, record)]);
    let client = client(&server);
    let peer = client.enrich(PEER).unwrap();
    assert_eq!((peer.id(), peer.name()), (Some("another"), Some("søren-日本 🛰")));
    assert_eq!((peer.role(), peer.status(), peer.url()), (None, None, None));
    assert_eq!(peer.get("status").unwrap(), 5);
    assert_eq!(peer.get("later").unwrap()["a"][1], 2.5);
    assert_eq!(peer.get("zero"), None);
    assert_eq!(peer.peer_id(), Some(PeerId::parse(PEER).unwrap()));
    assert_eq!(
        serde_json::to_value(peer.as_json()).unwrap(),
        serde_json::from_str::<serde_json::Value>(record).unwrap()
    );
    let clone = client.enrich(PEER).unwrap();
    assert!(std::ptr::eq(clone.as_json(), peer.as_json()), "a handle copies no JSON");
}

#[test]
fn clients_have_separate_caches_and_clones_share_one() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let (one, other) = (client(&server), client(&server));
    assert_eq!(one.lookup(PEER).source, LookupSource::Fetched);
    assert_eq!(one.clone().lookup(PEER).source, LookupSource::Fresh);
    assert_eq!(other.lookup(PEER).source, LookupSource::Fetched);
}

#[test]
fn discover_is_not_cached_and_its_errors_name_the_cause() {
    let server = Server::play([
        Reaction::reply(200, RECORD),
        absent(),
        Reaction::reply(503, r#"{"error":"workspace is waking","status":"waking"}"#).header("Retry-After", " 7 "),
        Reaction::reply(403, ""),
        Reaction::reply(200, "[1,2]"),
    ]);
    let client = client(&server);
    assert_eq!(client.discover(PEER).unwrap().name(), Some("ops-agent"));
    let target = format!("GET {}/registry/discover/{PEER}: ", server.url());

    let error = client.discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.status(), error.is_transient()), (ErrorKind::NotFound, Some(404), false));
    assert_eq!(error.to_string(), format!("{target}answered 404 (workspace not found)"));
    assert_eq!(error.body_snippet(), Some(r#"{"error":"workspace not found"}"#));

    let error = client.discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.status(), error.is_transient()), (ErrorKind::Status, Some(503), true));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));

    let error = client.discover(PEER).unwrap_err();
    assert_eq!(error.to_string(), format!("{target}answered 403 without a body; check the origin and the org id"));
    assert_eq!(error.body_snippet(), None);

    let error = client.discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Malformed, Some(200)));
    assert_eq!((error.attempts(), error.delivery(), error.removed()), (0, a2a_blocking::Delivery::NotSent, None));
    assert_eq!(error.to_string(), format!("{target}answered a list, where a JSON object was expected"));

    assert_eq!(client.discover("nope").unwrap_err().kind(), ErrorKind::InvalidPeerId);
    assert_eq!(client.discover_url("nope").unwrap_err().kind(), ErrorKind::InvalidPeerId);
    assert_eq!(client.stats(), Stats::default());
}

#[test]
fn public_types_are_send_and_sync() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Client>();
    crosses::<a2a_blocking::ClientBuilder>();
    crosses::<Peer>();
    crosses::<Lookup>();
    crosses::<Error>();
    let client = Client::builder().workspace_id("w").build().unwrap();
    assert!(std::panic::catch_unwind(|| client.enrich("nobody")).is_ok());
}
