//! The background threads: probes, fetches after an outage, and their queue.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use a2a_blocking::{CircuitState, Client, LookupSource};

use crate::outage::{DEAD, DENYING, HEALTHY, SECOND, peer, registry, without_threads};
use crate::support::{self, PEER, RECORD, Reaction, Server, TIMEOUT, eventually};

#[test]
fn background_threads_detect_recovery_and_fetch_the_missed_peers() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits * 4).build().unwrap();
    now.set(DEAD);
    for n in 0..50 {
        assert_eq!(client.enrich(peer(n)), None);
    }
    assert_ne!(client.stats().circuit, CircuitState::Closed);
    assert!(!client.wait_until_idle(Duration::from_millis(1)), "lookups wait for the registry to recover");
    now.set(HEALTHY);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
    assert!(client.wait_until_idle(TIMEOUT));
    // No call asks again or waits. This covers lookups that failed and those that were shed.
    for n in 0..50 {
        assert_eq!(client.lookup(peer(n)).source, LookupSource::Fresh, "{n}");
    }
    let stats = client.stats();
    assert!(stats.refreshes >= 50 && stats.circuit_opened == 1, "{stats}");
}

/// A function of the user's that a background lookup calls would wait for itself.
#[test]
fn background_thread_does_not_wait_until_it_is_idle() {
    let server = Server::play([Reaction::reply(401, "{}")]);
    let (own, (report, reports)) = (Arc::<OnceLock<Client>>::default(), mpsc::channel());
    let inside = own.clone();
    let client = support::builder(&server).token_fn(move || {
        if let Some(client) = inside.get() {
            let _ = report.send(client.wait_until_idle(TIMEOUT * 100));
        }
        Some("token".to_owned())
    });
    let client = own.get_or_init(|| client.build().unwrap());
    assert_eq!(client.enrich_nonblocking(PEER), None);
    assert_eq!(reports.recv_timeout(TIMEOUT), Ok(false));
    assert!(client.wait_until_idle(TIMEOUT));
}

/// No further call is needed: the callers' failed lookups wake the background threads.
#[test]
fn outage_that_only_callers_met_is_probed() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits * 4).build().unwrap();
    client.enrich_nonblocking(PEER);
    assert!(client.wait_until_idle(TIMEOUT), "the threads are idle by now");
    now.set(DEAD);
    (0..3).for_each(|n| drop(client.enrich(peer(n))));
    assert_eq!(client.stats().circuit_opened, 1);
    now.set(HEALTHY);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
}

/// The one lookup of a degraded circuit may be a background lookup.
#[test]
fn background_lookup_can_close_a_degraded_circuit() {
    let (server, now) = registry();
    let client = support::builder(&server).build().unwrap();
    now.set(DEAD);
    client.enrich(peer(0));
    assert_eq!(client.stats().circuit, CircuitState::Degraded);
    now.set(HEALTHY);
    assert_eq!(client.enrich_nonblocking(PEER), None);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
    eventually("its record", || client.enrich_nonblocking(PEER).is_some());
}

/// Both threads look up at a time. A probe counts as under way like any other lookup.
#[test]
fn slow_background_lookup_blocks_no_other_and_keeps_the_client_busy() {
    for probe in [false, true] {
        let (reached, at_server) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let slow = if probe { 3 } else { 0 };
        let server = Server::decide(move |n, _| {
            if n < slow {
                return Reaction::Close;
            }
            if n == slow {
                reached.send(()).unwrap();
                gate.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
            }
            Reaction::reply(200, "{}")
        });
        let waits = Duration::from_millis(20);
        let client = support::builder(&server).circuit_backoff(waits, waits).lookup_timeout(TIMEOUT).build().unwrap();
        (0..slow).for_each(|n| drop(client.enrich(peer(n))));
        if !probe {
            client.enrich_nonblocking(peer(0));
        }
        at_server.recv_timeout(TIMEOUT).unwrap();
        if !probe {
            client.enrich_nonblocking(peer(1));
            eventually("the second record", || client.enrich_nonblocking(peer(1)).is_some());
        }
        assert!(!client.wait_until_idle(Duration::from_millis(20)), "one is under way");
        release.send(()).unwrap();
        assert!(client.wait_until_idle(TIMEOUT));
    }
}

/// The caller's clock may differ. The background threads use the machine's.
#[test]
fn callers_clock_does_not_delay_the_probe() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits).build().unwrap();
    now.set(DEAD);
    let ahead = Instant::now() + 3_600 * SECOND;
    (0..3).for_each(|n| drop(client.lookup_at(peer(n), ahead)));
    now.set(HEALTHY);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
}

/// The last lookups of an outage may still be under way when another one ends it.
#[test]
fn lookup_that_fails_after_the_end_of_its_outage_is_made_again() {
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |n, request| {
        if n == 0 {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
            return Reaction::Close;
        }
        if request.path.ends_with(&peer(1)) { Reaction::Close } else { Reaction::reply(200, RECORD) }
    });
    let client = support::builder(&server).lookup_timeout(TIMEOUT).build().unwrap();
    std::thread::scope(|scope| {
        let early = scope.spawn(|| client.lookup(PEER));
        at_server.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(client.lookup(peer(1)).source, LookupSource::Failed);
        assert_eq!(client.lookup(peer(2)).source, LookupSource::Fetched);
        assert_eq!(client.stats().circuit, CircuitState::Closed, "the outage is over");
        release.send(()).unwrap();
        assert_eq!(early.join().unwrap().source, LookupSource::Failed);
    });
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!(client.lookup(PEER).source, LookupSource::Fresh);
}

#[test]
fn forgotten_peer_is_not_fetched_after_the_outage() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits).build().unwrap();
    now.set(DEAD);
    (0..3).for_each(|n| drop(client.enrich(peer(n))));
    // The probes look up the first one.
    client.forget(peer(1));
    let lookups_of = |n| server.requests().iter().filter(|request| request.path.ends_with(&peer(n))).count();
    let before = lookups_of(1);
    now.set(HEALTHY);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
    eventually("the other peer's record", || client.peer_name(peer(2)).is_some());
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!((lookups_of(1), client.peer_name(peer(1))), (before, None));
}

/// A registry that sends `Retry-After: 0` must not get a request at once.
#[test]
fn retry_after_zero_is_not_retried_in_a_loop() {
    let server = Server::play([Reaction::reply(503, "{}").header("Retry-After", "0")]);
    let client = support::builder(&server).circuit_backoff(SECOND * 5, SECOND * 9).build().unwrap();
    client.enrich(peer(0));
    client.enrich(peer(1));
    assert!(!client.wait_until_idle(Duration::from_millis(300)));
    assert_eq!(server.requests().len(), 1);
    // `clear` empties the queue and wakes those who wait for it.
    client.clear();
    assert!(client.wait_until_idle(TIMEOUT));
}

/// The client made no background lookup before, so it has no thread yet.
#[test]
fn refused_peer_is_fetched_once_retry_after_has_passed() {
    let refusal = Reaction::reply(503, r#"{"error":"starting"}"#).header("Retry-After", "0");
    let server = Server::play([refusal, Reaction::reply(200, RECORD)]);
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
    assert_eq!((client.lookup(PEER).source, server.requests().len()), (LookupSource::Fresh, 2));
}

/// One peer's lookups hang while those of all others are answered.
#[test]
fn one_hanging_peer_costs_callers_one_wait() {
    let server = Server::decide(|_, request| match request.path.ends_with(PEER) {
        true => Reaction::Hang,
        false => Reaction::reply(200, "{}"),
    });
    let client = support::builder(&server).lookup_timeout(Duration::from_millis(150)).build().unwrap();
    let mut waits = 0;
    for n in 0..30 {
        waits += usize::from(!client.lookup(PEER).from_cache);
        client.enrich(peer(n));
    }
    assert_eq!(waits, 1);
}

#[test]
fn enrich_nonblocking_makes_no_request_and_returns_the_record_next_time() {
    let (server, now) = registry();
    let client = support::builder(&server).build().unwrap();
    assert_eq!(client.enrich_nonblocking("nobody"), None);
    assert_eq!(client.enrich_nonblocking(PEER), None);
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!(client.enrich_nonblocking(PEER).unwrap().name(), Some("record 0"));
    now.set(DENYING);
    for _ in 0..3 {
        assert_eq!(client.enrich_nonblocking(peer(1)), None);
        assert!(client.wait_until_idle(TIMEOUT));
    }
    let stats = client.stats();
    assert_eq!((stats.lookups, stats.refreshes, stats.longest_wait), (2, 2, Duration::ZERO));
    assert_eq!((stats.fresh, stats.absent, stats.unknown), (1, 2, 2));
}

#[test]
fn peer_is_queued_once_and_a_full_queue_drops_and_counts() {
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |n, _| {
        if n == 0 {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
        }
        Reaction::reply(200, "{}")
    });
    let client = support::builder(&server).background_threads(1).queue(3).lookup_timeout(TIMEOUT).build().unwrap();
    client.enrich_nonblocking(peer(0));
    at_server.recv_timeout(TIMEOUT).unwrap();
    for _ in 0..5 {
        (1..=4).for_each(|n| drop(client.enrich_nonblocking(peer(n))));
    }
    assert_eq!(client.stats().dropped, 5, "the fourth, each time");
    client.forget(peer(2));
    client.enrich_nonblocking(peer(4));
    release.send(()).unwrap();
    assert!(client.wait_until_idle(TIMEOUT));
    let requested: BTreeSet<String> = server.requests().into_iter().map(|request| request.path).collect();
    let expected = [0, 1, 3, 4].map(|n| format!("/registry/discover/{}", peer(n)));
    assert_eq!((requested, server.requests().len()), (BTreeSet::from(expected), 4));
}

#[test]
fn without_background_threads_enrich_nonblocking_reads_the_cache_only() {
    let (server, _) = registry();
    let client: Client = without_threads(&server).build().unwrap();
    assert_eq!(client.enrich_nonblocking(PEER), None);
    assert!(client.wait_until_idle(Duration::ZERO) && server.connections() == 0);
    client.enrich(PEER).unwrap();
    assert!(client.enrich_nonblocking(PEER).is_some());
}
