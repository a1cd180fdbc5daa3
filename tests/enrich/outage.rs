//! Outages of the registry: stale records, refreshes ahead of expiry, and the circuit breaker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CircuitState, Client, ClientBuilder, Lookup, LookupSource};

use crate::support::{self, PEER, Reaction, Server, TIMEOUT, eventually};

const TTL: Duration = Duration::from_secs(300);
const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
/// The behaviour of the registry, which a test can change.
#[derive(Clone, Default)]
struct Behaviour(Arc<AtomicUsize>);

const HEALTHY: usize = 0;
/// Closes each connection at once without an answer, so lookups are unanswered.
const DEAD: usize = 1;
/// Answers 500.
const BROKEN: usize = 2;
/// Answers that the peer does not exist.
const DENYING: usize = 3;

impl Behaviour {
    fn set(&self, behaviour: usize) {
        self.0.store(behaviour, SeqCst);
    }
}

/// Starts a registry whose records contain the number of the request.
fn registry() -> (Server, Behaviour) {
    let behaviour = Behaviour::default();
    let now = behaviour.clone();
    let server = Server::decide(move |n, _| match now.0.load(SeqCst) {
        HEALTHY => Reaction::reply(200, format!(r#"{{"name":"record {n}"}}"#)),
        DEAD => Reaction::Close,
        BROKEN => Reaction::reply(500, "boom"),
        _ => Reaction::reply(404, r#"{"error":"no such workspace"}"#),
    });
    (server, behaviour)
}

/// Returns a builder without background threads, so that only the caller's clock counts.
fn without_threads(server: &Server) -> ClientBuilder {
    support::builder(server).background_threads(0)
}

fn peer(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

fn answer(lookup: &Lookup) -> (LookupSource, bool, bool) {
    (lookup.source, lookup.from_cache, lookup.peer.is_some())
}

#[test]
fn stale_record_is_returned_while_refreshes_fail() {
    for behaviour in [DEAD, BROKEN] {
        let (server, now) = registry();
        let client = without_threads(&server).negative_ttl(60 * SECOND).stale_if_error(1_000 * SECOND).build().unwrap();
        let start = Instant::now();
        let at = |time: Duration| client.lookup_at(PEER, start + time);
        at(Duration::ZERO);
        now.set(behaviour);
        assert_eq!(answer(&at(TTL - NANO)), (LookupSource::Fresh, true, true));
        assert_eq!(client.stats().lookups, 1);
        assert_eq!(answer(&at(TTL)), (LookupSource::Stale, false, true), "this call waited for the failed lookup");
        for time in [TTL + NANO, TTL + 60 * SECOND - NANO] {
            assert_eq!(answer(&at(time)), (LookupSource::Stale, true, true), "later calls do not wait");
        }
        assert_eq!((client.stats().lookups, client.stats().stale), (2, 3));
        assert_eq!(answer(&at(TTL + 60 * SECOND)), (LookupSource::Stale, false, true));
        assert_eq!(client.stats().lookups, 3);
        // A record is no longer returned once `stale_if_error` after its TTL has passed.
        assert_eq!(answer(&at(TTL + 119 * SECOND)).0, LookupSource::Stale);
        let end = TTL + 1_000 * SECOND;
        assert_eq!(answer(&at(end - NANO)), (LookupSource::Stale, false, true));
        assert_eq!(answer(&at(end)), (LookupSource::Failed, true, false));
        now.set(HEALTHY);
        let back = at(end + 60 * SECOND);
        assert_eq!(answer(&back), (LookupSource::Fetched, false, true));
    }
}

#[test]
fn peer_name_is_kept_until_the_registry_reports_the_peer_absent() {
    let (server, now) = registry();
    let client = without_threads(&server).stale_if_error(Duration::ZERO).build().unwrap();
    let start = Instant::now();
    assert_eq!((client.peer_name(PEER), client.peer_name("nobody")), (None, None));
    client.lookup_at(PEER, start);
    now.set(BROKEN);
    assert_eq!(client.lookup_at(PEER, start + TTL * 9).peer, None, "too old for a record");
    assert_eq!(client.peer_name(PEER).as_deref(), Some("record 0"));
    now.set(DENYING);
    client.lookup_at(PEER, start + TTL * 99);
    assert_eq!((client.peer_name(PEER), server.requests().len()), (None, 3));
}

#[test]
fn stale_if_error_of_zero_returns_no_stale_record() {
    let (server, now) = registry();
    let client = without_threads(&server).stale_if_error(Duration::ZERO).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(BROKEN);
    assert_eq!(answer(&client.lookup_at(PEER, start + TTL)), (LookupSource::Failed, false, false));
}

#[test]
fn absent_answer_drops_the_record_at_once() {
    let (server, now) = registry();
    let client = without_threads(&server).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(DENYING);
    assert_eq!(answer(&client.lookup_at(PEER, start + TTL)), (LookupSource::Absent, false, false));
    now.set(BROKEN);
    assert_eq!(
        answer(&client.lookup_at(PEER, start + TTL * 2)),
        (LookupSource::Failed, false, false),
        "the record is gone"
    );
}

/// The last fifth of a TTL begins at exactly four fifths.
#[test]
fn hit_in_the_last_fifth_of_the_ttl_starts_a_background_refresh() {
    let (server, _) = registry();
    let client = support::builder(&server).build().unwrap();
    let start = Instant::now();
    let name = |time| client.lookup_at(PEER, start + time).peer.unwrap().name().unwrap().to_owned();
    assert_eq!(name(Duration::ZERO), "record 0");
    assert_eq!(name(TTL * 4 / 5 - NANO), "record 0");
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!(client.stats().refreshes, 0);
    assert_eq!(name(TTL * 4 / 5), "record 0", "the hit itself does not wait");
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!((client.stats().refreshes, name(TTL * 4 / 5).as_str()), (1, "record 1"));
    // A peer in regular use stays fresh past its first TTL.
    assert_eq!(client.lookup_at(PEER, start + TTL).source, LookupSource::Fresh);
    let stats = client.stats();
    assert_eq!((stats.lookups, stats.fresh, stats.dropped), (2, 5, 0));
}

#[test]
fn failed_refresh_keeps_the_record_and_waits_for_the_negative_ttl() {
    let (server, now) = registry();
    let client = support::builder(&server).negative_ttl(30 * SECOND).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(BROKEN);
    for _ in 0..3 {
        assert_eq!(client.lookup_at(PEER, start + TTL * 4 / 5).source, LookupSource::Fresh);
        assert!(client.wait_until_idle(TIMEOUT));
    }
    assert_eq!(client.stats().refreshes, 1);
    assert_eq!(client.lookup_at(PEER, start + TTL - NANO).source, LookupSource::Fresh);
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!(client.stats().refreshes, 2, "repeated after the negative TTL");
}

#[test]
fn expiries_are_spread_by_ttl_spread() {
    let (server, now) = registry();
    let client = without_threads(&server).ttl_spread(0.1).build().unwrap();
    let start = Instant::now();
    (0..200).for_each(|n| drop(client.lookup_at(peer(n), start)));
    now.set(BROKEN);
    let fresh = |time: Duration| {
        (0..200).filter(|n| client.lookup_at(peer(*n), start + time).source == LookupSource::Fresh).count()
    };
    assert_eq!(fresh(TTL * 9 / 10), 200);
    let half = fresh(TTL * 19 / 20);
    assert!((60..140).contains(&half), "{half} of 200 are fresh in the middle of the spread");
    assert_eq!(fresh(TTL), 0);
}

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

#[test]
fn stats_fit_in_one_line_of_a_log() {
    let (server, _) = registry();
    let client = without_threads(&server).build().unwrap();
    client.enrich(PEER);
    client.enrich(PEER);
    let line = client.stats().to_string();
    assert!(line.starts_with("answered 2 fresh, 0 stale, 0 absent, 0 unknown; 1 lookups (0 failed,"), "{line}");
    assert!(line.contains("circuit closed, opened 0 times; longest wait ") && !line.contains('\n'), "{line}");
}
