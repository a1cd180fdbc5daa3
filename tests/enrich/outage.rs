//! A registry that is dead, and comes back: stale records, refreshing ahead, the circuit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CircuitState, Client, ClientBuilder, Lookup, LookupSource};

use crate::support::{self, Act, PEER, SOON, Server, eventually};

const TTL: Duration = Duration::from_secs(300);
const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
/// How a registry behaves, from now on.
#[derive(Clone, Default)]
struct Mood(Arc<AtomicUsize>);

const WELL: usize = 0;
/// It closes each connection without an answer: unanswered, and at once.
const DEAD: usize = 1;
const BROKEN: usize = 2;
const DENYING: usize = 3;

impl Mood {
    fn set(&self, mood: usize) {
        self.0.store(mood, SeqCst);
    }
}

/// A registry whose records say which request they answer, and its mood.
fn registry() -> (Server, Mood) {
    let mood = Mood::default();
    let now = mood.clone();
    let server = Server::decide(move |n, _| match now.0.load(SeqCst) {
        WELL => Act::reply(200, format!(r#"{{"name":"take {n}"}}"#)),
        DEAD => Act::Close,
        BROKEN => Act::reply(500, "boom"),
        _ => Act::reply(404, r#"{"error":"no such workspace"}"#),
    });
    (server, mood)
}

/// Without background threads, so that time is the caller's alone.
fn alone(server: &Server) -> ClientBuilder {
    support::builder(server).background_threads(0)
}

fn other(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

fn seen(lookup: &Lookup) -> (LookupSource, bool, bool) {
    (lookup.source, lookup.from_cache, lookup.peer.is_some())
}

#[test]
fn an_old_record_serves_while_refreshes_fail_and_the_failure_is_remembered() {
    for mood in [DEAD, BROKEN] {
        let (server, now) = registry();
        let client = alone(&server).negative_ttl(60 * SECOND).stale_if_error(1_000 * SECOND).build().unwrap();
        let start = Instant::now();
        let at = |time: Duration| client.lookup_at(PEER, start + time);
        at(Duration::ZERO);
        now.set(mood);
        assert_eq!(seen(&at(TTL - NANO)), (LookupSource::Fresh, true, true));
        assert_eq!(client.stats().lookups, 1);
        assert_eq!(seen(&at(TTL)), (LookupSource::Stale, false, true), "it waited for the lookup that failed");
        for time in [TTL + NANO, TTL + 60 * SECOND - NANO] {
            assert_eq!(seen(&at(time)), (LookupSource::Stale, true, true), "and then no more");
        }
        assert_eq!((client.stats().lookups, client.stats().stale), (2, 3));
        assert_eq!(seen(&at(TTL + 60 * SECOND)), (LookupSource::Stale, false, true));
        assert_eq!(client.stats().lookups, 3);
        // An hour, or what was set, past its TTL it is no longer good enough.
        assert_eq!(seen(&at(TTL + 119 * SECOND)).0, LookupSource::Stale);
        let end = TTL + 1_000 * SECOND;
        assert_eq!(seen(&at(end - NANO)), (LookupSource::Stale, false, true));
        assert_eq!(seen(&at(end)), (LookupSource::Failed, true, false));
        now.set(WELL);
        let back = at(end + 60 * SECOND);
        assert_eq!(seen(&back), (LookupSource::Fetched, false, true));
    }
}

#[test]
fn a_name_is_remembered_for_as_long_as_the_registry_does_not_take_it_back() {
    let (server, now) = registry();
    let client = alone(&server).stale_if_error(Duration::ZERO).build().unwrap();
    let start = Instant::now();
    assert_eq!((client.peer_name(PEER), client.peer_name("nobody")), (None, None));
    client.lookup_at(PEER, start);
    now.set(BROKEN);
    assert_eq!(client.lookup_at(PEER, start + TTL * 9).peer, None, "too old for a record");
    assert_eq!(client.peer_name(PEER).as_deref(), Some("take 0"));
    now.set(DENYING);
    client.lookup_at(PEER, start + TTL * 99);
    assert_eq!((client.peer_name(PEER), server.requests().len()), (None, 3));
}

#[test]
fn no_stale_records_where_none_are_wanted() {
    let (server, now) = registry();
    let client = alone(&server).stale_if_error(Duration::ZERO).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(BROKEN);
    assert_eq!(seen(&client.lookup_at(PEER, start + TTL)), (LookupSource::Failed, false, false));
}

#[test]
fn the_registrys_own_no_is_obeyed_at_once() {
    let (server, now) = registry();
    let client = alone(&server).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(DENYING);
    assert_eq!(seen(&client.lookup_at(PEER, start + TTL)), (LookupSource::Absent, false, false));
    now.set(BROKEN);
    assert_eq!(
        seen(&client.lookup_at(PEER, start + TTL * 2)),
        (LookupSource::Failed, false, false),
        "it is gone for good"
    );
}

/// The last fifth of a TTL, to the nanosecond.
#[test]
fn a_hit_in_the_last_fifth_is_refreshed_in_the_background() {
    let (server, _) = registry();
    let client = support::builder(&server).build().unwrap();
    let start = Instant::now();
    let name = |time| client.lookup_at(PEER, start + time).peer.unwrap().name().unwrap().to_owned();
    assert_eq!(name(Duration::ZERO), "take 0");
    assert_eq!(name(TTL * 4 / 5 - NANO), "take 0");
    assert!(client.wait_until_idle(SOON));
    assert_eq!(client.stats().refreshes, 0);
    assert_eq!(name(TTL * 4 / 5), "take 0", "the hit itself does not wait");
    assert!(client.wait_until_idle(SOON));
    assert_eq!((client.stats().refreshes, name(TTL * 4 / 5).as_str()), (1, "take 1"));
    // So a busy peer never waits: it is fresh past its first TTL.
    assert_eq!(client.lookup_at(PEER, start + TTL).source, LookupSource::Fresh);
    let stats = client.stats();
    assert_eq!((stats.lookups, stats.fresh, stats.dropped), (2, 5, 0));
}

#[test]
fn a_refresh_ahead_that_fails_takes_nothing_away_and_is_not_repeated_meanwhile() {
    let (server, now) = registry();
    let client = support::builder(&server).negative_ttl(30 * SECOND).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(BROKEN);
    for _ in 0..3 {
        assert_eq!(client.lookup_at(PEER, start + TTL * 4 / 5).source, LookupSource::Fresh);
        assert!(client.wait_until_idle(SOON));
    }
    assert_eq!(client.stats().refreshes, 1);
    assert_eq!(client.lookup_at(PEER, start + TTL - NANO).source, LookupSource::Fresh);
    assert!(client.wait_until_idle(SOON));
    assert_eq!(client.stats().refreshes, 2, "after the negative TTL it is");
}

#[test]
fn records_that_came_together_do_not_expire_together() {
    let (server, now) = registry();
    let client = alone(&server).ttl_spread(0.1).build().unwrap();
    let start = Instant::now();
    (0..200).for_each(|n| drop(client.lookup_at(other(n), start)));
    now.set(BROKEN);
    let fresh = |time: Duration| {
        (0..200).filter(|n| client.lookup_at(other(*n), start + time).source == LookupSource::Fresh).count()
    };
    assert_eq!(fresh(TTL * 9 / 10), 200);
    let half = fresh(TTL * 19 / 20);
    assert!((60..140).contains(&half), "{half} of 200 are fresh in the middle of the spread");
    assert_eq!(fresh(TTL), 0);
}

#[test]
fn after_one_unanswered_lookup_nobody_waits_beside_the_one_that_finds_out() {
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |n, _| {
        if n == 1 {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(SOON).unwrap();
        }
        if n < 2 { Act::Close } else { Act::reply(200, "{}") }
    });
    let client = alone(&server).lookup_timeout(SOON).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup_at(other(0), start).source, LookupSource::Failed);
    assert_eq!(client.stats().circuit, CircuitState::Degraded);
    thread::scope(|scope| {
        let one = scope.spawn(|| client.lookup_at(other(1), start));
        at_server.recv_timeout(SOON).unwrap();
        for n in 1..4 {
            // Not even whoever asks for the same peer.
            assert_eq!(seen(&client.lookup_at(other(n), start)), (LookupSource::Shed, true, false));
        }
        release.send(()).unwrap();
        assert_eq!(one.join().unwrap().source, LookupSource::Failed);
    });
    let stats = client.stats();
    assert_eq!((stats.shed, stats.lookups, stats.entries), (3, 2, 2), "nothing was cached of what was shed");
    assert_eq!(client.lookup_at(other(2), start).source, LookupSource::Fetched);
    assert_eq!(client.stats().circuit, CircuitState::Closed);
}

/// One from before the outage may be under way for as long as its bound.
#[test]
fn nobody_waits_for_a_lookup_from_before_the_outage() {
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |_, request| {
        if !request.path.ends_with(PEER) {
            return Act::Close;
        }
        reached.send(()).unwrap();
        gate.lock().unwrap().recv_timeout(SOON).unwrap();
        Act::reply(200, "{}")
    });
    let client = alone(&server).lookup_timeout(SOON).build().unwrap();
    thread::scope(|scope| {
        let early = scope.spawn(|| client.lookup(PEER));
        at_server.recv_timeout(SOON).unwrap();
        assert_eq!(client.lookup(other(1)).source, LookupSource::Failed);
        assert_eq!(seen(&client.lookup(PEER)), (LookupSource::Shed, true, false));
        // It has not taken the place of the one that finds out, either.
        assert_eq!(client.lookup(other(2)).source, LookupSource::Failed);
        release.send(()).unwrap();
        assert_eq!(early.join().unwrap().source, LookupSource::Fetched);
    });
}

#[test]
fn after_three_it_is_open_and_a_stall_costs_a_thread_no_more_than_that() {
    let (server, now) = registry();
    let client = alone(&server).build().unwrap();
    let start = Instant::now();
    client.lookup_at(PEER, start);
    now.set(DEAD);
    let sources: Vec<LookupSource> = (0..2_000).map(|n| client.lookup_at(other(n), start).source).collect();
    assert!(sources[..3].iter().all(|source| *source == LookupSource::Failed));
    assert!(sources[3..].iter().all(|source| *source == LookupSource::Shed));
    // Who is known is served meanwhile: fresh, and past its TTL stale, without a lookup.
    assert_eq!(client.lookup_at(PEER, start).source, LookupSource::Fresh);
    assert_eq!(seen(&client.lookup_at(PEER, start + TTL - NANO)), (LookupSource::Fresh, true, true));
    let stats = client.stats();
    assert_eq!((stats.circuit, stats.circuit_opened, stats.lookups, stats.shed), (CircuitState::Open, 1, 4, 1_997));
    assert_eq!(stats.failed_broken, 3);
}

#[test]
fn without_background_threads_the_first_miss_past_the_wait_is_the_probe() {
    let (server, now) = registry();
    let client = alone(&server).circuit_backoff(SECOND, 30 * SECOND).build().unwrap();
    now.set(DEAD);
    let start = Instant::now();
    (0..3).for_each(|n| drop(client.lookup_at(other(n), start)));
    // The waits are 1 and 2 s, each ±25 %.
    assert_eq!(client.lookup_at(other(4), start + SECOND * 3 / 4 - NANO).source, LookupSource::Shed);
    // They count from the end of a lookup, which a busy machine may draw out.
    let probed = start + SECOND * 3;
    assert_eq!(client.lookup_at(other(5), probed).source, LookupSource::Failed);
    assert_eq!(client.lookup_at(other(6), probed + SECOND * 3 / 2 - NANO).source, LookupSource::Shed);
    now.set(BROKEN);
    assert_eq!(client.lookup_at(other(7), probed + SECOND * 5).source, LookupSource::Failed);
    assert_eq!(client.stats().circuit, CircuitState::Closed, "a status, however bad, is an answer");
    now.set(WELL);
    // What was remembered of unanswered lookups is forgotten; of the answered one it is not.
    let later = probed + SECOND * 6;
    for (n, source) in
        [(0, LookupSource::Fetched), (2, LookupSource::Fetched), (5, LookupSource::Fetched), (7, LookupSource::Failed)]
    {
        assert_eq!(client.lookup_at(other(n), later).source, source, "{n}");
    }
    assert_eq!(client.stats().circuit_opened, 1);
}

#[test]
fn a_status_however_bad_never_opens_it() {
    let (server, now) = registry();
    let client = alone(&server).build().unwrap();
    now.set(BROKEN);
    for n in 0..20 {
        assert_eq!(client.lookup(other(n)).source, LookupSource::Failed);
    }
    let stats = client.stats();
    assert_eq!((stats.circuit, stats.lookups, stats.failed_status), (CircuitState::Closed, 20, 20));
}

#[test]
fn a_registry_that_asks_for_patience_is_left_alone_for_as_long() {
    for status in [429, 503] {
        let limited = Act::reply(status, r#"{"error":"slow down"}"#).header("Retry-After", "7");
        let server = Server::play([limited, Act::reply(200, "{}")]);
        let client = alone(&server).build().unwrap();
        let start = Instant::now();
        assert_eq!(client.lookup_at(other(0), start).source, LookupSource::Failed);
        assert_eq!(client.lookup_at(other(1), start + 7 * SECOND - NANO).source, LookupSource::Shed);
        let later = start + 9 * SECOND;
        assert_eq!(client.lookup_at(other(1), later).source, LookupSource::Fetched);
        assert_eq!(client.lookup_at(other(2), later).source, LookupSource::Fetched);
        assert_eq!(client.lookup_at(other(0), later).source, LookupSource::Failed, "that was an answer");
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn the_background_finds_the_registrys_return_and_brings_what_was_asked_for() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits * 4).build().unwrap();
    now.set(DEAD);
    for n in 0..50 {
        assert_eq!(client.enrich(other(n)), None);
    }
    assert_ne!(client.stats().circuit, CircuitState::Closed);
    assert!(!client.wait_until_idle(Duration::from_millis(1)), "they wait for the registry's return");
    now.set(WELL);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
    assert!(client.wait_until_idle(SOON));
    // Nobody asks again, and nobody waits: those that failed, and those that were shed.
    for n in 0..50 {
        assert_eq!(client.lookup(other(n)).source, LookupSource::Fresh, "{n}");
    }
    let stats = client.stats();
    assert!(stats.refreshes >= 50 && stats.circuit_opened == 1, "{stats}");
}

/// Nobody has to ask once more: the threads hear of the outage from those whose lookups told of it.
#[test]
fn an_outage_that_only_callers_have_met_is_probed_for() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits * 4).build().unwrap();
    client.enrich_nonblocking(PEER);
    assert!(client.wait_until_idle(SOON), "by now they have nothing to do");
    now.set(DEAD);
    (0..3).for_each(|n| drop(client.enrich(other(n))));
    assert_eq!(client.stats().circuit_opened, 1);
    now.set(WELL);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
}

/// Before the circuit opens one lookup finds out, and it may be one that nobody waits for.
#[test]
fn a_lookup_in_the_background_may_be_the_one_that_finds_out() {
    let (server, now) = registry();
    let client = support::builder(&server).build().unwrap();
    now.set(DEAD);
    client.enrich(other(0));
    assert_eq!(client.stats().circuit, CircuitState::Degraded);
    now.set(WELL);
    assert_eq!(client.enrich_nonblocking(PEER), None);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
    eventually("its record", || client.enrich_nonblocking(PEER).is_some());
}

/// A registry that is well is asked by both threads at a time, and a probe is under way like any other lookup.
#[test]
fn a_slow_lookup_in_the_background_holds_up_no_other_and_is_waited_for() {
    for probe in [false, true] {
        let (reached, at_server) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let held = if probe { 3 } else { 0 };
        let server = Server::decide(move |n, _| {
            if n < held {
                return Act::Close;
            }
            if n == held {
                reached.send(()).unwrap();
                gate.lock().unwrap().recv_timeout(SOON).unwrap();
            }
            Act::reply(200, "{}")
        });
        let waits = Duration::from_millis(20);
        let client = support::builder(&server).circuit_backoff(waits, waits).lookup_timeout(SOON).build().unwrap();
        (0..held).for_each(|n| drop(client.enrich(other(n))));
        if !probe {
            client.enrich_nonblocking(other(0));
        }
        at_server.recv_timeout(SOON).unwrap();
        if !probe {
            client.enrich_nonblocking(other(1));
            eventually("the other", || client.enrich_nonblocking(other(1)).is_some());
        }
        assert!(!client.wait_until_idle(Duration::from_millis(20)), "one is under way");
        release.send(()).unwrap();
        assert!(client.wait_until_idle(SOON));
    }
}

/// A caller's clock may be another: what the threads wait for is by ours.
#[test]
fn a_clock_of_the_callers_does_not_hold_up_the_probe() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits).build().unwrap();
    now.set(DEAD);
    let ahead = Instant::now() + 3_600 * SECOND;
    (0..3).for_each(|n| drop(client.lookup_at(other(n), ahead)));
    now.set(WELL);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
}

#[test]
fn who_was_forgotten_in_an_outage_is_not_asked_for_when_it_is_over() {
    let (server, now) = registry();
    let waits = Duration::from_millis(20);
    let client = support::builder(&server).circuit_backoff(waits, waits).build().unwrap();
    now.set(DEAD);
    (0..3).for_each(|n| drop(client.enrich(other(n))));
    // The probes ask for the first.
    client.forget(other(1));
    let asked = |n| server.requests().iter().filter(|request| request.path.ends_with(&other(n))).count();
    let before = asked(1);
    now.set(WELL);
    eventually("closed", || client.stats().circuit == CircuitState::Closed);
    eventually("the other", || client.peer_name(other(2)).is_some());
    assert!(client.wait_until_idle(SOON));
    assert_eq!((asked(1), client.peer_name(other(1))), (before, None));
}

/// Who asks for no time at all is not asked again and again at once.
#[test]
fn a_registry_that_asks_for_no_patience_is_not_asked_in_a_loop() {
    let server = Server::play([Act::reply(503, "{}").header("Retry-After", "0")]);
    let client = support::builder(&server).circuit_backoff(SECOND * 5, SECOND * 9).build().unwrap();
    client.enrich(other(0));
    client.enrich(other(1));
    assert!(!client.wait_until_idle(Duration::from_millis(300)));
    assert_eq!(server.requests().len(), 1);
    // Whoever waits for the queue hears that it was emptied.
    client.clear();
    assert!(client.wait_until_idle(SOON));
}

/// One peer whose lookups alone are not answered, among others that are well: it costs one wait.
#[test]
fn who_alone_is_not_answered_costs_callers_one_wait() {
    let server = Server::decide(|_, request| match request.path.ends_with(PEER) {
        true => Act::Hang,
        false => Act::reply(200, "{}"),
    });
    let client = support::builder(&server).lookup_timeout(Duration::from_millis(150)).build().unwrap();
    let mut waits = 0;
    for n in 0..30 {
        waits += usize::from(!client.lookup(PEER).from_cache);
        client.enrich(other(n));
    }
    assert_eq!(waits, 1);
}

#[test]
fn nonblocking_makes_no_request_and_has_the_record_next_time() {
    let (server, now) = registry();
    let client = support::builder(&server).build().unwrap();
    assert_eq!(client.enrich_nonblocking("nobody"), None);
    assert_eq!(client.enrich_nonblocking(PEER), None);
    assert!(client.wait_until_idle(SOON));
    assert_eq!(client.enrich_nonblocking(PEER).unwrap().name(), Some("take 0"));
    now.set(DENYING);
    for _ in 0..3 {
        assert_eq!(client.enrich_nonblocking(other(1)), None);
        assert!(client.wait_until_idle(SOON));
    }
    let stats = client.stats();
    assert_eq!((stats.lookups, stats.refreshes, stats.longest_wait), (2, 2, Duration::ZERO));
    assert_eq!((stats.fresh, stats.absent, stats.unknown), (1, 2, 2));
}

#[test]
fn each_peer_is_queued_once_and_a_full_queue_drops_and_counts() {
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::decide(move |n, _| {
        if n == 0 {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(SOON).unwrap();
        }
        Act::reply(200, "{}")
    });
    let client = support::builder(&server).background_threads(1).queue(3).lookup_timeout(SOON).build().unwrap();
    client.enrich_nonblocking(other(0));
    at_server.recv_timeout(SOON).unwrap();
    for _ in 0..5 {
        (1..=4).for_each(|n| drop(client.enrich_nonblocking(other(n))));
    }
    assert_eq!(client.stats().dropped, 5, "the fourth, each time");
    client.forget(other(2));
    client.enrich_nonblocking(other(4));
    release.send(()).unwrap();
    assert!(client.wait_until_idle(SOON));
    let asked: BTreeSet<String> = server.requests().into_iter().map(|request| request.path).collect();
    let expected = [0, 1, 3, 4].map(|n| format!("/registry/discover/{}", other(n)));
    assert_eq!((asked, server.requests().len()), (BTreeSet::from(expected), 4));
}

#[test]
fn without_background_threads_nonblocking_only_remembers() {
    let (server, _) = registry();
    let client: Client = alone(&server).build().unwrap();
    assert_eq!(client.enrich_nonblocking(PEER), None);
    assert!(client.wait_until_idle(Duration::ZERO) && server.connections() == 0);
    client.enrich(PEER).unwrap();
    assert!(client.enrich_nonblocking(PEER).is_some());
}

#[test]
fn the_stats_fit_in_a_line_of_a_log() {
    let (server, _) = registry();
    let client = alone(&server).build().unwrap();
    client.enrich(PEER);
    client.enrich(PEER);
    let line = client.stats().to_string();
    assert!(line.starts_with("answered 2 fresh, 0 stale, 0 absent, 0 unknown; 1 lookups (0 failed,"), "{line}");
    assert!(line.contains("circuit closed, opened 0 times; longest wait ") && !line.contains('\n'), "{line}");
}
