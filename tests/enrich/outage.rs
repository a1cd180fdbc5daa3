//! Outages of the registry: stale records, and refreshes ahead of expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use a2a_blocking::{ClientBuilder, Lookup, LookupSource};

use crate::support::{self, PEER, Reaction, Server, TIMEOUT};

pub(crate) const TTL: Duration = Duration::from_secs(300);

pub(crate) const NANO: Duration = Duration::from_nanos(1);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The behaviour of the registry, which a test can change.
#[derive(Clone, Default)]
pub(crate) struct Behaviour(Arc<AtomicUsize>);

pub(crate) const HEALTHY: usize = 0;

/// Closes each connection at once without an answer, so lookups are unanswered.
pub(crate) const DEAD: usize = 1;

/// Answers 500.
pub(crate) const BROKEN: usize = 2;

/// Answers that the peer does not exist.
pub(crate) const DENYING: usize = 3;

impl Behaviour {
    pub(crate) fn set(&self, behaviour: usize) {
        self.0.store(behaviour, SeqCst);
    }
}

/// Starts a registry whose records contain the number of the request.
pub(crate) fn registry() -> (Server, Behaviour) {
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
pub(crate) fn without_threads(server: &Server) -> ClientBuilder {
    support::builder(server).background_threads(0)
}

pub(crate) fn peer(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

pub(crate) fn answer(lookup: &Lookup) -> (LookupSource, bool, bool) {
    (lookup.source, lookup.from_cache, lookup.peer.is_some())
}

#[test]
fn stale_record_is_returned_while_refreshes_fail() {
    for behaviour in [DEAD, BROKEN] {
        let (server, now) = registry();
        let client = without_threads(&server).error_ttl(60 * SECOND).stale_if_error(1_000 * SECOND).build().unwrap();
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
fn failed_refresh_keeps_the_record_and_waits_for_the_error_ttl() {
    let (server, now) = registry();
    let client = support::builder(&server).error_ttl(30 * SECOND).build().unwrap();
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
    assert_eq!(client.stats().refreshes, 2, "repeated after the error TTL");
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
fn stats_fit_in_one_line_of_a_log() {
    let (server, _) = registry();
    let client = without_threads(&server).build().unwrap();
    client.enrich(PEER);
    client.enrich(PEER);
    let line = client.stats().to_string();
    assert!(line.starts_with("answered 2 fresh, 0 stale, 0 absent, 0 unknown; 1 lookups (0 failed,"), "{line}");
    assert!(line.contains("circuit closed, opened 0 times; longest wait ") && !line.contains('\n'), "{line}");
}
