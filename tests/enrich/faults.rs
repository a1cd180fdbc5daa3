//! Lookups against a broken registry: exact limits, the default timeout, pooled connections, repeats, waiters.
//!
//! `tests/faults` covers the faults that concern every call.

use std::io::{BufReader, Write};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, ErrorKind, LookupSource};

use crate::support::{self, PEER, RECORD, Reaction, Server, WORKSPACE, builder, client};

/// The timeout is 2 s. The rest is for a machine that is busy with other things.
const LOOSE: Duration = Duration::from_secs(5);
const OTHER: &str = "00000000-0000-4000-8000-00000000000f";
const CAP: usize = 256 * 1024;

fn head(rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}")
}

/// Returns a record of exactly this many bytes.
fn record_of(bytes: usize) -> String {
    let frame = r#"{"name":""}"#;
    frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
}

#[test]
fn record_of_256_kib_is_read_and_a_larger_one_refused() {
    for headers in ["with a length", "chunked"] {
        let record = record_of(CAP);
        let act = match headers {
            "chunked" => {
                Reaction::raw(&head(&format!("Transfer-Encoding: chunked\r\n\r\n{CAP:x}\r\n{record}\r\n0\r\n\r\n")))
            }
            _ => Reaction::reply(200, &record),
        };
        let server = Server::play([act]);
        assert_eq!(client(&server).enrich(PEER).unwrap().name().unwrap().len(), CAP - 11, "{headers}");
    }
    let server = Server::play([Reaction::reply(200, record_of(CAP + 1))]);
    assert_eq!(client(&server).discover(PEER).unwrap_err().kind(), ErrorKind::TooLarge);
}

/// `.invalid` never resolves (RFC 6761). The timeout holds where the resolver does not answer.
#[test]
fn unresolvable_name_is_a_failed_lookup_within_the_timeout() {
    let client = Client::builder().platform_url("http://registry.invalid").workspace_id(WORKSPACE).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert!(start.elapsed() < LOOSE, "{:?}", start.elapsed());
    let kind = client.discover(PEER).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Connect | ErrorKind::Timeout), "{kind:?}");
}

#[test]
fn silent_registry_times_out_after_2_s() {
    let server = Server::play([Reaction::Hang]);
    let client = client(&server);
    let start = Instant::now();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert!(start.elapsed() < LOOSE, "{:?}", start.elapsed());
    assert!(client.lookup(PEER).from_cache);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn sequential_lookups_share_one_connection() {
    let server = Server::play([
        Reaction::reply(200, RECORD),
        Reaction::reply(404, r#"{"error":"no"}"#),
        Reaction::reply(500, "boom"),
    ]);
    let client = client(&server);
    for n in 0..10 {
        client.enrich(format!("{n:08x}-0000-4000-8000-000000000000"));
    }
    assert_eq!((server.requests().len(), server.connections()), (10, 1));
}

/// A registry may close a pooled connection just as the client uses it.
#[test]
fn request_lost_on_a_pooled_connection_is_repeated_on_a_new_one() {
    for lost in [Reaction::Close, Reaction::Reset(Vec::new()), Reaction::reply(408, "")] {
        let server = Server::play([Reaction::reply(200, RECORD), lost, Reaction::reply(200, RECORD)]);
        let client = client(&server);
        client.enrich(OTHER).unwrap();
        assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
        let connections: Vec<usize> = server.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 0, 1]);
    }
}

/// Makes eight lookups at once. The server answers once all have arrived.
fn burst(client: &Client, first: usize) {
    thread::scope(|scope| {
        for n in first..first + 8 {
            scope.spawn(move || client.enrich(format!("{n:08x}-0000-4000-8000-000000000000")).unwrap());
        }
    });
}

#[test]
fn burst_reuses_its_connections_and_a_lost_request_costs_one() {
    let together = Barrier::new(8);
    let server = Server::decide(move |n, _| match n {
        16 => Reaction::Close,
        17 => Reaction::reply(200, RECORD),
        _ => {
            together.wait();
            Reaction::reply(200, RECORD)
        }
    });
    let client = builder(&server).lookup_timeout(Duration::from_secs(20)).build().unwrap();
    burst(&client, 0);
    burst(&client, 8);
    assert_eq!(server.connections(), 8);
    // All eight are idle. The repeat uses none of them, because the event that closed one may have closed all.
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    let repeat = server.requests().pop().unwrap().connection;
    assert_eq!((server.requests().len(), repeat), (18, 8));
    burst(&client, 16);
    assert_eq!(server.connections(), 10, "the seven that were left were kept");
}

#[test]
fn request_is_repeated_only_once() {
    let server = Server::play([Reaction::reply(200, RECORD), Reaction::Close]);
    let client = client(&server);
    client.enrich(OTHER).unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn request_that_timed_out_or_was_answered_is_not_repeated() {
    let broken = Reaction::raw(&head("Content-Length: 50\r\n\r\n{"));
    for act in [Reaction::Hang, broken] {
        let server = Server::play([Reaction::reply(200, RECORD), act]);
        let client = builder(&server).lookup_timeout(Duration::from_millis(1_500)).build().unwrap();
        client.enrich(OTHER).unwrap();
        assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn truncated_answer_keeps_its_status() {
    let server = Server::play([Reaction::raw(&head("Content-Length: 50\r\n\r\n{"))]);
    let error = client(&server).discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Disconnected, Some(200)), "{error}");
}

/// Each step takes less than the timeout, and all together take more.
#[test]
fn timeout_covers_all_steps_and_repeats_together() {
    let (bound, step) = (Duration::from_millis(2_400), Duration::from_millis(1_600));
    let slow = Reaction::reply(200, RECORD).after(step);
    // The head comes after a step, the body after another.
    let server = Server::raw(move |_, mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        support::read_request(&mut reader, 0).unwrap();
        thread::sleep(step);
        stream.write_all(head(&format!("Content-Length: {}\r\n\r\n", RECORD.len())).as_bytes()).unwrap();
        thread::sleep(step);
        let _ = stream.write_all(RECORD.as_bytes());
    });
    assert_eq!(builder(&server).lookup_timeout(bound).build().unwrap().lookup(PEER).source, LookupSource::Failed);

    // The 401 comes after a step, the answer to the new token after another.
    let server = Server::play([Reaction::reply(401, "{}").after(step), slow.clone()]);
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    let token = move || Some(tokens.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string());
    let client = builder(&server).lookup_timeout(bound).token_fn(token).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert_eq!(server.requests().len(), 2);

    // The pooled connection is closed after a step, the answer on a new one comes after another.
    let server = Server::decide(move |n, _| match n {
        0 => Reaction::reply(200, RECORD),
        1 => {
            thread::sleep(step);
            Reaction::Close
        }
        _ => slow.clone(),
    });
    let client = builder(&server).lookup_timeout(bound).build().unwrap();
    client.enrich(OTHER).unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert_eq!(server.requests().len(), 3);
}

/// The leader is blocked in the user's token function. A thread that shares its lookup is not.
#[test]
fn waiter_has_its_own_deadline() {
    let server = Server::play([Reaction::reply(401, "{}")]);
    let (report_request, token_requests) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let (calls, gate) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(gate));
    let token = move || {
        if calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
            report_request.send(()).unwrap();
            let _released = gate.lock().unwrap().recv_timeout(Duration::from_secs(30));
        }
        None
    };
    let client = builder(&server).lookup_timeout(Duration::from_millis(1_500)).token_fn(token).build().unwrap();
    thread::scope(|scope| {
        let leader = scope.spawn(|| client.lookup(PEER));
        token_requests.recv_timeout(Duration::from_secs(20)).unwrap();
        let start = Instant::now();
        let waiter = client.lookup(PEER);
        assert_eq!((waiter.source, waiter.from_cache), (LookupSource::Failed, false));
        assert!(start.elapsed() < LOOSE, "{:?}", start.elapsed());
        release.send(()).unwrap();
        assert_eq!(leader.join().unwrap().source, LookupSource::Failed);
    });
}
