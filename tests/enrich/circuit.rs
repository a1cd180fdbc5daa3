//! The circuit breaker, driven by the caller's clock.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use a2a_blocking::{CircuitState, LookupSource};

use crate::outage::{BROKEN, DEAD, HEALTHY, NANO, SECOND, TTL, answer, peer, registry, without_threads};
use crate::support::{PEER, Reaction, Server, TIMEOUT};

#[test]
fn degraded_circuit_admits_one_lookup_at_a_time() {
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |n, _| {
        if n == 1 {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
        }
        if n < 2 { Reaction::Close } else { Reaction::reply(200, "{}") }
    });
    let client = without_threads(&server).lookup_timeout(TIMEOUT).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup_at(peer(0), start).source, LookupSource::Failed);
    assert_eq!(client.stats().circuit, CircuitState::Degraded);
    thread::scope(|scope| {
        let one = scope.spawn(|| client.lookup_at(peer(1), start));
        at_server.recv_timeout(TIMEOUT).unwrap();
        for n in 1..4 {
            // A lookup of the same peer is refused, too.
            assert_eq!(answer(&client.lookup_at(peer(n), start)), (LookupSource::Shed, true, false));
        }
        release.send(()).unwrap();
        assert_eq!(one.join().unwrap().source, LookupSource::Failed);
    });
    let stats = client.stats();
    assert_eq!((stats.shed, stats.lookups, stats.entries), (3, 2, 2), "nothing was cached of what was shed");
    assert_eq!(client.lookup_at(peer(2), start).source, LookupSource::Fetched);
    assert_eq!(client.stats().circuit, CircuitState::Closed);
}

/// A lookup that started before the outage may take as long as its timeout.
#[test]
fn degraded_circuit_does_not_join_a_lookup_from_before_the_outage() {
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |_, request| {
        if !request.path.ends_with(PEER) {
            return Reaction::Close;
        }
        reached.send(()).unwrap();
        gate.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
        Reaction::reply(200, "{}")
    });
    let client = without_threads(&server).lookup_timeout(TIMEOUT).build().unwrap();
    thread::scope(|scope| {
        let early = scope.spawn(|| client.lookup(PEER));
        at_server.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(client.lookup(peer(1)).source, LookupSource::Failed);
        assert_eq!(answer(&client.lookup(PEER)), (LookupSource::Shed, true, false));
        // It does not occupy the one place of the degraded circuit, either.
        assert_eq!(client.lookup(peer(2)).source, LookupSource::Failed);
        release.send(()).unwrap();
        assert_eq!(early.join().unwrap().source, LookupSource::Fetched);
    });
}

#[test]
fn circuit_opens_after_three_unanswered_lookups() {
    let (server, now) = registry();
    let client = without_threads(&server).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(DEAD);
    let sources: Vec<LookupSource> = (0..2_000).map(|n| client.lookup_at(peer(n), start).source).collect();
    assert!(sources[..3].iter().all(|source| *source == LookupSource::Failed));
    assert!(sources[3..].iter().all(|source| *source == LookupSource::Shed));
    // Cached records are still returned: fresh, and stale past their TTL, without a lookup.
    assert_eq!(client.lookup_at(PEER, start).source, LookupSource::Fresh);
    assert_eq!(answer(&client.lookup_at(PEER, start + TTL - NANO)), (LookupSource::Fresh, true, true));
    let stats = client.stats();
    assert_eq!((stats.circuit, stats.circuit_opened, stats.lookups, stats.shed), (CircuitState::Open, 1, 4, 1_997));
    assert_eq!(stats.failed_broken, 3);
}

#[test]
fn without_background_threads_the_first_miss_after_the_backoff_is_the_probe() {
    let (server, now) = registry();
    let client = without_threads(&server).circuit_backoff(SECOND, 30 * SECOND).build().unwrap();
    now.set(DEAD);
    let start = Instant::now();
    (0..3).for_each(|n| drop(client.lookup_at(peer(n), start)));
    // The waits are 1 and 2 s, each ±25 %.
    assert_eq!(client.lookup_at(peer(4), start + SECOND * 3 / 4 - NANO).source, LookupSource::Shed);
    // The backoff counts from the end of a lookup, which a busy machine may delay.
    let probed = start + SECOND * 3;
    assert_eq!(client.lookup_at(peer(5), probed).source, LookupSource::Failed);
    assert_eq!(client.lookup_at(peer(6), probed + SECOND * 3 / 2 - NANO).source, LookupSource::Shed);
    now.set(BROKEN);
    assert_eq!(client.lookup_at(peer(7), probed + SECOND * 5).source, LookupSource::Failed);
    assert_eq!(client.stats().circuit, CircuitState::Closed, "a status, however bad, is an answer");
    now.set(HEALTHY);
    // Unanswered lookups are retried after the outage. Answered ones keep their result.
    let later = probed + SECOND * 6;
    for (n, source) in
        [(0, LookupSource::Fetched), (2, LookupSource::Fetched), (5, LookupSource::Fetched), (7, LookupSource::Failed)]
    {
        assert_eq!(client.lookup_at(peer(n), later).source, source, "{n}");
    }
    assert_eq!(client.stats().circuit_opened, 1);
}

#[test]
fn http_status_never_opens_the_circuit() {
    let (server, now) = registry();
    let client = without_threads(&server).build().unwrap();
    now.set(BROKEN);
    for n in 0..20 {
        assert_eq!(client.lookup(peer(n)).source, LookupSource::Failed);
    }
    let stats = client.stats();
    assert_eq!((stats.circuit, stats.lookups, stats.failed_status), (CircuitState::Closed, 20, 20));
}

#[test]
fn retry_after_opens_the_circuit_for_that_time() {
    for status in [429, 503] {
        let limited = Reaction::reply(status, r#"{"error":"slow down"}"#).header("Retry-After", "7");
        let server = Server::play([limited, Reaction::reply(200, "{}")]);
        let client = without_threads(&server).build().unwrap();
        let start = Instant::now();
        assert_eq!(client.lookup_at(peer(0), start).source, LookupSource::Failed);
        assert_eq!(client.lookup_at(peer(1), start + 7 * SECOND - NANO).source, LookupSource::Shed);
        let later = start + 9 * SECOND;
        assert_eq!(client.lookup_at(peer(1), later).source, LookupSource::Fetched);
        assert_eq!(client.lookup_at(peer(2), later).source, LookupSource::Fetched);
        assert_eq!(client.lookup_at(peer(0), later).source, LookupSource::Failed, "that was an answer");
        assert_eq!(server.requests().len(), 3);
    }
}
