//! Requests after a start and after an outage are spread over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use a2a_blocking::{CircuitState, Client, LookupSource};

use crate::support::{self, Reaction, Server, TIMEOUT, eventually};

const SECOND: Duration = Duration::from_secs(1);
const PEERS: usize = 200;

fn peer(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

/// Starts a registry that answers, or closes each connection without an answer.
fn registry() -> (Server, Arc<AtomicBool>) {
    let dead = Arc::new(AtomicBool::new(false));
    let now = dead.clone();
    let server = Server::decide(move |n, _| match now.load(SeqCst) {
        true => Reaction::Close,
        false => Reaction::reply(200, format!(r#"{{"name":"record {n}"}}"#)),
    });
    (server, dead)
}

/// Returns how many of the peers get their answer from `source` at a time.
fn count(client: &Client, at: Instant, source: LookupSource) -> usize {
    (0..PEERS).filter(|n| client.lookup_at(peer(*n), at).source == source).count()
}

#[test]
fn refreshes_missed_in_an_outage_are_spread_over_a_window() {
    let (server, dead) = registry();
    // Without background threads only the caller's clock counts.
    let client = support::builder(&server).ttl_spread(0.1).background_threads(0).build().unwrap();
    let start = Instant::now();
    assert_eq!(count(&client, start, LookupSource::Fetched), PEERS);
    dead.store(true, SeqCst);
    (0..3).for_each(|n| drop(client.lookup_at(peer(PEERS + n), start + 400 * SECOND)));
    assert_eq!(client.stats().circuit, CircuitState::Open);
    assert_eq!(count(&client, start + 400 * SECOND, LookupSource::Stale), PEERS);

    dead.store(false, SeqCst);
    let back = start + 1_000 * SECOND;
    assert_eq!(client.lookup_at(peer(PEERS + 9), back).source, LookupSource::Fetched);
    // Ten minutes of missed refreshes are spread over the 240 s between two refreshes. Records are returned until their
    // turn.
    let requests = server.requests().len();
    let first = count(&client, back + 24 * SECOND, LookupSource::Fetched);
    assert!((5..50).contains(&first), "{first} of {PEERS} in a tenth of the time");
    assert_eq!(server.requests().len(), requests + first, "no other requests");
    assert_eq!(count(&client, back + 24 * SECOND, LookupSource::Stale), PEERS - first);
    let half = first + count(&client, back + 120 * SECOND, LookupSource::Fetched);
    assert!((70..130).contains(&half), "{half} of {PEERS} in half of it");
    assert_eq!(half + count(&client, back + 241 * SECOND, LookupSource::Fetched), PEERS);
    // A peer without a record is looked up at once.
    assert_eq!(client.lookup_at(peer(PEERS), back + SECOND).source, LookupSource::Fetched);
}

#[test]
fn outage_queue_is_for_peers_without_a_record() {
    let (server, dead) = registry();
    let waits = Duration::from_millis(20);
    let builder = support::builder(&server).circuit_backoff(waits, waits).queue(2).ttl(Duration::from_millis(1));
    let client = builder.build().unwrap();
    assert_eq!((0..9).filter(|n| client.enrich(peer(*n)).is_some()).count(), 9);
    assert!(client.wait_until_idle(TIMEOUT));
    dead.store(true, SeqCst);
    eventually("open", || {
        client.enrich(peer(PEERS));
        client.stats().circuit == CircuitState::Open
    });
    client.forget(peer(PEERS));
    let dropped = client.stats().dropped;
    // Their records are stale, so they are returned and need no place in the queue.
    assert!((0..9).all(|n| client.enrich_nonblocking(peer(n)).is_some()));
    assert_eq!([PEERS + 1, PEERS + 2].map(|n| client.enrich_nonblocking(peer(n))), [None, None]);
    assert_eq!(client.stats().dropped, dropped);
    dead.store(false, SeqCst);
    assert!(client.wait_until_idle(TIMEOUT));
    assert!([PEERS + 1, PEERS + 2].iter().all(|n| client.peer_name(peer(*n)).is_some()));
}

/// First records are refreshed at times that are spread over the time between two refreshes. Later ones are refreshed
/// shortly before they expire.
#[test]
fn only_the_first_record_of_a_peer_is_refreshed_early() {
    let (server, _) = registry();
    let client = support::builder(&server).ttl_spread(0.1).build().unwrap();
    let start = Instant::now();
    let listed = PEERS / 2;
    for n in 0..listed {
        assert_eq!(client.lookup_at(peer(n), start).source, LookupSource::Fetched);
    }
    let refreshed = |at| {
        let before = client.stats().refreshes;
        for n in 0..listed {
            assert_eq!(client.lookup_at(peer(n), at).source, LookupSource::Fresh);
        }
        assert!(client.wait_until_idle(TIMEOUT));
        client.stats().refreshes - before
    };
    let early = refreshed(start + 114 * SECOND);
    assert!((30..70).contains(&early), "{early} of {listed} in half of 228 s");
    let rest = refreshed(start + 241 * SECOND);
    assert_eq!(early + rest, 100, "each is refreshed once");
}
