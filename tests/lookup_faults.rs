//! What a lookup makes of a registry that is broken, and that it keeps its bound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, ErrorKind, Source};
use support::{Act, PEER, RECORD, Server, WORKSPACE, builder, client};

/// The bound is 2 s; the rest is for a machine that is busy with other things.
const LOOSE: Duration = Duration::from_secs(5);
const OTHER: &str = "00000000-0000-4000-8000-00000000000f";
const CAP: usize = 256 * 1024;

fn head(rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}")
}

/// Each fault on a fresh connection: one request, a failed lookup, remembered; and the typed error.
#[test]
fn every_fault_is_one_request_and_a_failed_lookup() {
    let n = RECORD.len();
    let half = &RECORD[..n / 2];
    for (fault, act, kind) in [
        ("close before the answer", Act::Close, ErrorKind::Disconnected),
        ("close inside the status line", Act::raw("HTTP/1.1 20"), ErrorKind::Disconnected),
        ("close inside the headers", Act::raw("HTTP/1.1 200 OK\r\nContent-Le"), ErrorKind::Disconnected),
        ("close after the headers", Act::raw(&head("Content-Length: 5\r\n\r\n")), ErrorKind::Disconnected),
        (
            "close inside the body",
            Act::raw(&head(&format!("Content-Length: {n}\r\n\r\n{half}"))),
            ErrorKind::Disconnected,
        ),
        (
            "close inside a chunk",
            Act::raw(&head("Transfer-Encoding: chunked\r\n\r\nff\r\n{\"a\"")),
            ErrorKind::Disconnected,
        ),
        ("close inside a body without a length", Act::raw(&head(&format!("\r\n{half}"))), ErrorKind::Malformed),
        ("reset before the answer", Act::Reset(Vec::new()), ErrorKind::Disconnected),
        ("a chunk of no size", Act::raw(&head("Transfer-Encoding: chunked\r\n\r\nzz\r\n")), ErrorKind::Protocol),
        ("garbage", Act::raw("\0\u{1}\u{2}garbage\r\n\r\n"), ErrorKind::Protocol),
        ("HTTP/0.9", Act::raw(RECORD), ErrorKind::Protocol),
        ("a list", Act::reply(200, "[{}]"), ErrorKind::Malformed),
        ("null", Act::reply(200, "null"), ErrorKind::Malformed),
        ("HTML", Act::reply(200, "<html>oops</html>"), ErrorKind::Malformed),
        ("nothing", Act::reply(200, ""), ErrorKind::Malformed),
        ("half a record", Act::reply(200, half), ErrorKind::Malformed),
        ("invalid UTF-8", Act::reply(200, b"{\"name\":\"\xff\"}"), ErrorKind::Malformed),
        ("100,000 brackets", Act::reply(200, "[".repeat(100_000)), ErrorKind::Malformed),
        ("an encoding", Act::reply(200, RECORD).header("Content-Encoding", "gzip"), ErrorKind::Malformed),
        ("a record above 256 KiB", Act::reply(200, record_of(CAP + 1)), ErrorKind::TooLarge),
        ("a redirect to itself", Act::reply(302, "").header("Location", "/"), ErrorKind::Status),
    ] {
        let server = Server::play([act.clone()]);
        let enricher = client(&server);
        assert_eq!(enricher.lookup(PEER).source, Source::Failed, "{fault}");
        let again = enricher.lookup(PEER);
        assert_eq!((again.source, again.remembered), (Source::Failed, true), "{fault}");
        assert_eq!(server.requests().len(), 1, "{fault}");

        let server = Server::play([act]);
        let error = client(&server).discover(PEER).unwrap_err();
        assert_eq!(error.kind(), kind, "{fault}: {error:?}");
        assert!(error.to_string().starts_with(&format!("GET {}/registry/discover/{PEER}: ", server.url())), "{error}");
        assert_eq!(server.requests().len(), 1, "{fault}");
    }
}

/// A record of exactly so many bytes.
fn record_of(bytes: usize) -> String {
    let frame = r#"{"name":""}"#;
    frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
}

#[test]
fn a_record_of_exactly_256_kib_is_read() {
    for headers in ["with a length", "chunked"] {
        let record = record_of(CAP);
        let act = match headers {
            "chunked" => {
                Act::raw(&head(&format!("Transfer-Encoding: chunked\r\n\r\n{CAP:x}\r\n{record}\r\n0\r\n\r\n")))
            }
            _ => Act::reply(200, &record),
        };
        let server = Server::play([act]);
        assert_eq!(client(&server).enrich(PEER).unwrap().name().unwrap().len(), CAP - 11, "{headers}");
    }
}

#[test]
fn a_refused_connection_is_a_failed_lookup() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let client = Client::builder().platform_url(url).workspace_id(WORKSPACE).build().unwrap();
    assert_eq!(client.lookup(PEER).source, Source::Failed);
    assert!(client.lookup(PEER).remembered);
    let error = client.discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.is_transient(), error.status()), (ErrorKind::Connect, true, None));
}

/// `.invalid` never resolves; where the resolver does not even answer, the bound still holds.
#[test]
fn a_name_that_does_not_resolve_is_a_failed_lookup_inside_the_bound() {
    let client = Client::builder().platform_url("http://registry.invalid").workspace_id(WORKSPACE).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup(PEER).source, Source::Failed);
    assert!(start.elapsed() < LOOSE, "{:?}", start.elapsed());
    let kind = client.discover(PEER).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Connect | ErrorKind::Timeout), "{kind:?}");
}

#[test]
fn a_registry_that_accepts_and_says_nothing_is_cut_at_2_s() {
    let server = Server::play([Act::Hang]);
    let client = client(&server);
    let start = Instant::now();
    assert_eq!(client.lookup(PEER).source, Source::Failed);
    assert!(start.elapsed() < LOOSE, "{:?}", start.elapsed());
    assert!(client.lookup(PEER).remembered);
    assert_eq!(server.requests().len(), 1);
}

/// No single read of these ever times out.
#[test]
fn a_registry_that_trickles_a_byte_a_second_is_cut_at_2_s() {
    let pause = Duration::from_secs(1);
    let in_head = Act::Trickle { head: b"HTTP/1.1 ".to_vec(), slow: b"200 OK\r\nContent-Length: 2".to_vec(), pause };
    let in_body = Act::Trickle {
        head: head(&format!("Content-Length: {}\r\n\r\n", RECORD.len())).into_bytes(),
        slow: RECORD.as_bytes()[..30].to_vec(),
        pause,
    };
    std::thread::scope(|scope| {
        for (act, status) in [(in_head, None), (in_body, Some(200))] {
            scope.spawn(move || {
                let server = Server::play([act]);
                let client = client(&server);
                let start = Instant::now();
                assert_eq!(client.lookup(PEER).source, Source::Failed);
                assert!(start.elapsed() < LOOSE, "{:?}", start.elapsed());
                // The uncached call has a bound of 10 s of its own.
                let error = client.discover(PEER).unwrap_err();
                assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout, status), "{error:?}");
            });
        }
    });
}

#[test]
fn lookups_share_one_connection() {
    let server = Server::play([Act::reply(200, RECORD), Act::reply(404, r#"{"error":"no"}"#), Act::reply(500, "boom")]);
    let client = client(&server);
    for n in 0..10 {
        client.enrich(format!("{n:08x}-0000-4000-8000-000000000000"));
    }
    assert_eq!((server.requests().len(), server.connections()), (10, 1));
}

/// The race of a pooled connection that the registry closes as we use it.
#[test]
fn a_request_that_a_pooled_connection_lost_is_repeated_once_on_a_fresh_one() {
    for lost in [Act::Close, Act::Reset(Vec::new())] {
        let server = Server::play([Act::reply(200, RECORD), lost, Act::reply(200, RECORD)]);
        let client = client(&server);
        client.enrich(OTHER).unwrap();
        assert_eq!(client.lookup(PEER).source, Source::Fetched);
        let connections: Vec<usize> = server.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 0, 1]);
    }
}

/// Eight at once, each held until all are there.
fn burst(client: &Client, first: usize) {
    thread::scope(|scope| {
        for n in first..first + 8 {
            scope.spawn(move || client.enrich(format!("{n:08x}-0000-4000-8000-000000000000")).unwrap());
        }
    });
}

#[test]
fn a_burst_finds_its_connections_again_and_a_lost_request_costs_one_of_them() {
    let together = Barrier::new(8);
    let server = Server::decide(move |n, _| match n {
        16 => Act::Close,
        17 => Act::reply(200, RECORD),
        _ => {
            together.wait();
            Act::reply(200, RECORD)
        }
    });
    let client = builder(&server).lookup_timeout(Duration::from_secs(20)).build().unwrap();
    burst(&client, 0);
    burst(&client, 8);
    assert_eq!(server.connections(), 8);
    // All eight are idle: the repeat takes none of them, for what closed one may have closed all.
    assert_eq!(client.lookup(PEER).source, Source::Fetched);
    let repeat = server.requests().pop().unwrap().connection;
    assert_eq!((server.requests().len(), repeat), (18, 8));
    burst(&client, 16);
    assert_eq!(server.connections(), 10, "the seven that were left were kept");
}

#[test]
fn a_request_is_repeated_once_only() {
    let server = Server::play([Act::reply(200, RECORD), Act::Close]);
    let client = client(&server);
    client.enrich(OTHER).unwrap();
    assert_eq!(client.lookup(PEER).source, Source::Failed);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_request_that_timed_out_or_had_an_answer_is_not_repeated() {
    let broken = Act::raw(&head("Content-Length: 50\r\n\r\n{"));
    for act in [Act::Hang, broken] {
        let server = Server::play([Act::reply(200, RECORD), act]);
        let client = builder(&server).lookup_timeout(Duration::from_millis(300)).build().unwrap();
        client.enrich(OTHER).unwrap();
        assert_eq!(client.lookup(PEER).source, Source::Failed);
        assert_eq!(server.requests().len(), 2);
    }
}

/// Each step alone would be inside the bound; together they are not, and it is one bound for all.
#[test]
fn the_bound_is_for_all_steps_and_repeats_together() {
    let (bound, step) = (Duration::from_millis(900), Duration::from_millis(600));
    let slow = Act::reply(200, RECORD).after(step);
    // The head after a step, the body after another.
    let server = Server::raw(move |_, mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        support::read_request(&mut reader, 0).unwrap();
        thread::sleep(step);
        stream.write_all(head(&format!("Content-Length: {}\r\n\r\n", RECORD.len())).as_bytes()).unwrap();
        thread::sleep(step);
        let _ = stream.write_all(RECORD.as_bytes());
    });
    assert_eq!(builder(&server).lookup_timeout(bound).build().unwrap().lookup(PEER).source, Source::Failed);

    // A 401 after a step, and the answer to the new token after another.
    let server = Server::play([Act::reply(401, "{}").after(step), slow.clone()]);
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    let token = move || Some(tokens.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string());
    let client = builder(&server).lookup_timeout(bound).token_fn(token).build().unwrap();
    assert_eq!(client.lookup(PEER).source, Source::Failed);
    assert_eq!(server.requests().len(), 2);

    // A pooled connection that is closed after a step, and the answer on a fresh one after another.
    let server = Server::decide(move |n, _| match n {
        0 => Act::reply(200, RECORD),
        1 => {
            thread::sleep(step);
            Act::Close
        }
        _ => slow.clone(),
    });
    let client = builder(&server).lookup_timeout(bound).build().unwrap();
    client.enrich(OTHER).unwrap();
    assert_eq!(client.lookup(PEER).source, Source::Failed);
    assert_eq!(server.requests().len(), 3);
}

/// The leader is held up in a function that the user gave; who shares its lookup is not.
#[test]
fn a_waiter_has_a_deadline_of_its_own() {
    let server = Server::play([Act::reply(401, "{}")]);
    let (asked, is_asked) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let (calls, gate) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(gate));
    let token = move || {
        if calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
            asked.send(()).unwrap();
            let _released = gate.lock().unwrap().recv_timeout(Duration::from_secs(30));
        }
        None
    };
    let client = builder(&server).lookup_timeout(Duration::from_millis(300)).token_fn(token).build().unwrap();
    thread::scope(|scope| {
        let leader = scope.spawn(|| client.lookup(PEER));
        is_asked.recv_timeout(Duration::from_secs(20)).unwrap();
        let start = Instant::now();
        let waiter = client.lookup(PEER);
        assert_eq!((waiter.source, waiter.remembered), (Source::Failed, false));
        assert!(start.elapsed() < LOOSE, "{:?}", start.elapsed());
        release.send(()).unwrap();
        assert_eq!(leader.join().unwrap().source, Source::Failed);
    });
}

/// It is refused when the cap is passed, not when the peer has said all that it has to say.
#[test]
fn an_endless_body_is_refused_at_the_cap() {
    let server = Server::raw(|_, mut stream| {
        let _ = stream.write_all(head("Transfer-Encoding: chunked\r\n\r\n").as_bytes());
        while stream.write_all(b"5\r\n     \r\n").is_ok() {}
    });
    let client = client(&server);
    assert_eq!(client.discover(PEER).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(client.lookup(PEER).source, Source::Failed);
}
