//! The thread-local tier against the shared cache: whatever happens, it answers what the shared cache would.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Map;

use super::slots::KEEP_ONE_IN;
use super::*;
use crate::cache::{Cache, CacheAnswer, CacheUpdate};
use crate::peer::Peer;

const PEERS: u64 = 6;

fn text(n: u64) -> String {
    format!("{n:08x}-0000-4000-8000-00000000000{:x}", n % 16)
}

fn peer(n: u64) -> PeerId {
    PeerId::parse(&text(n)).unwrap()
}

fn record(n: u64, version: u64) -> Peer {
    Peer::discovered(peer(n), Map::from_iter([("version".to_owned(), version.into())]))
}

fn version(record: &Peer) -> u64 {
    record.get("version").and_then(serde_json::Value::as_u64).unwrap()
}

/// Returns the answer of the thread-local tier, or else of the shared cache by either of its paths.
fn ask(cache: &Cache, n: u64, now: CoarseInstant) -> CacheAnswer {
    let text = text(n);
    match cache.get_local_at(&text, now) {
        LocalAnswer::Found(record) => CacheAnswer::Fresh { record, refresh: false },
        LocalAnswer::Absent => CacheAnswer::Absent,
        LocalAnswer::Failed => CacheAnswer::Failed,
        LocalAnswer::Miss(_) => {
            let name = PeerName::Text(&text);
            if let Some(record) = cache.get_record(peer(n), name, now) {
                return CacheAnswer::Fresh { record, refresh: false };
            }
            let answer = cache.get(peer(n), now);
            cache.count(Answered::Unknown, peer(n), name, now);
            answer
        }
    }
}

/// Every 32nd answer is one that cannot be kept. The next one is kept in its place.
#[test]
fn turn_to_keep_is_not_lost_to_an_answer_that_cannot_be_kept() {
    let cache = Cache::new(10);
    let (now, far) = (CoarseInstant::now(), CoarseInstant::now().plus(Duration::from_secs(60)));
    let update = CacheUpdate::Found { record: record(1, 1), refresh_at: far, fresh_until: far, stale_until: far };
    drop(cache.insert(peer(1), update));
    for _ in 0..2 * KEEP_ONE_IN {
        // Nothing is stored for this peer.
        ask(&cache, 2, now);
        ask(&cache, 1, now);
    }
    assert!(matches!(cache.get_local_at(&text(1), now), LocalAnswer::Found(_)));
}

#[derive(Debug, Clone)]
enum Step {
    /// Asks this many times, so that the thread keeps the answer.
    Ask(u64, usize),
    Hold(u64),
    Drop,
    Found(u64, u64),
    Absent(u64, u64),
    Failed(u64, u64, bool),
    Refused(u64, u64),
    Remove(u64),
    Clear,
    EndOutage(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (n, secs) = (0..PEERS, 0..400_u64);
    prop_oneof![
        8 => (n.clone(), 1..70_usize).prop_map(|(n, times)| Step::Ask(n, times)),
        2 => n.clone().prop_map(Step::Hold),
        1 => Just(Step::Drop),
        4 => (n.clone(), secs.clone()).prop_map(|(n, ttl)| Step::Found(n, ttl)),
        1 => (n.clone(), secs.clone()).prop_map(|(n, ttl)| Step::Absent(n, ttl)),
        2 => (n.clone(), secs.clone(), any::<bool>()).prop_map(|(n, ttl, status)| Step::Failed(n, ttl, status)),
        1 => (n.clone(), secs.clone()).prop_map(|(n, ttl)| Step::Refused(n, ttl)),
        1 => n.prop_map(Step::Remove),
        1 => Just(Step::Clear),
        1 => secs.clone().prop_map(Step::EndOutage),
        2 => (1..120_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is stored, invalidated and held, and whenever: a call is answered as the shared cache alone would.
    #[test]
    fn local_tier_answers_only_what_the_shared_cache_would(steps in prop::collection::vec(step(), 1..80)) {
        let cache = Cache::new(4);
        let (mut now, mut version, mut held) = (CoarseInstant::now(), 0, Vec::new());
        for step in steps {
            let after = |secs| now.plus(Duration::from_secs(secs));
            version += 1;
            match step {
                Step::Ask(n, times) => {
                    for _ in 0..times {
                        // First: a call of the shared cache sets the visited bit, which the tier would otherwise have to.
                        let answer = ask(&cache, n, now);
                        prop_assert_eq!(answer, cache.get(peer(n), now));
                    }
                }
                Step::Hold(n) => held.push(ask(&cache, n, now)),
                Step::Drop => held.clear(),
                Step::Found(n, ttl) => drop(cache.insert(peer(n), CacheUpdate::Found {
                    record: record(n, version),
                    refresh_at: after(ttl * 4 / 5),
                    fresh_until: after(ttl),
                    stale_until: after(ttl * 2),
                })),
                Step::Absent(n, ttl) => drop(cache.insert(peer(n), CacheUpdate::Absent { until: after(ttl), is_removed: false })),
                Step::Failed(n, ttl, status) => {
                    let outage = (!status).then(|| cache.outage());
                    drop(cache.insert(peer(n), CacheUpdate::Failed { until: after(ttl), outage }));
                }
                Step::Refused(n, ttl) => {
                    drop(cache.insert(peer(n), CacheUpdate::Refused { until: after(ttl), token: version }));
                }
                Step::Remove(n) => drop(cache.remove(peer(n))),
                Step::Clear => drop(cache.clear()),
                Step::EndOutage(window) => cache.end_outage(now, Duration::from_secs(window)),
                Step::Wait(secs) => now = after(secs),
            }
        }
    }
}

/// Writers store ever newer records, others remove and clear, and strangers have some evicted. No reader gets a record
/// older than the one that was stored when it began to ask, nor another peer's.
#[test]
fn no_thread_gets_a_value_that_was_invalidated_before_it_asked() {
    let cache = Cache::new(16);
    let published: [AtomicU64; PEERS as usize] = Default::default();
    let ended = AtomicBool::new(false);
    let hits = AtomicU64::new(0);
    let far = CoarseInstant::now().plus(Duration::from_secs(3_600));
    thread::scope(|scope| {
        for writer in 0..2_u64 {
            let (cache, published, ended) = (&cache, &published, &ended);
            scope.spawn(move || {
                for round in 1.. {
                    for n in (0..PEERS).filter(|n| n % 2 == writer) {
                        let found =
                            |record| CacheUpdate::Found { record, refresh_at: far, fresh_until: far, stale_until: far };
                        match round % 7 {
                            0 => drop(cache.remove(peer(n))),
                            1 => (0..20).for_each(|s| drop(cache.insert(peer(100 + s), found(record(100 + s, 0))))),
                            2 if round % 5 == 0 => drop(cache.clear()),
                            _ => {}
                        }
                        drop(cache.insert(peer(n), found(record(n, round))));
                        published[n as usize].store(round, SeqCst);
                    }
                    // Long enough for the readers to keep the records.
                    thread::sleep(Duration::from_micros(300));
                    if ended.load(Relaxed) {
                        return;
                    }
                }
            });
        }
        let readers: Vec<_> = (0..3_u64)
            .map(|reader| {
                let (cache, published, ended, hits) = (&cache, &published, &ended, &hits);
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for turn in reader.. {
                        let n = turn % PEERS;
                        let at_least = published[n as usize].load(SeqCst);
                        if let CacheAnswer::Fresh { record, .. } = ask(cache, n, CoarseInstant::now()) {
                            assert_eq!(record.peer_id(), Some(peer(n)));
                            assert!(version(&record) >= at_least, "{} after {at_least}", version(&record));
                            hits.fetch_add(1, Relaxed);
                            // Some handles are held for a while, and dropped in another order.
                            if turn % 11 == 0 {
                                held.push(record);
                            }
                        }
                        if held.len() > 9 {
                            drop(held.swap_remove((turn % 10) as usize));
                        }
                        if ended.load(Relaxed) {
                            return;
                        }
                    }
                })
            })
            .collect();
        let enough = || hits.load(Relaxed) > 50_000 && published.iter().all(|round| round.load(Relaxed) > 300);
        let start = Instant::now();
        while !enough() && readers.iter().all(|reader| !reader.is_finished()) && start.elapsed().as_secs() < 60 {
            thread::sleep(Duration::from_millis(5));
        }
        ended.store(true, Relaxed);
    });
    assert!(hits.load(Relaxed) > 50_000, "{hits:?}");
}

#[test]
fn peer_that_only_the_local_tier_is_asked_for_is_not_evicted() {
    let cache = Cache::new(100);
    let far = CoarseInstant::now().plus(Duration::from_secs(3_600));
    let found = |n| CacheUpdate::Found { record: record(n, 1), refresh_at: far, fresh_until: far, stale_until: far };
    drop(cache.insert(peer(0), found(0)));
    let (mut local_hits, mut lost) = (0, 0);
    for stranger in 1_000..6_000 {
        drop(cache.insert(peer(stranger), found(stranger)));
        for _ in 0..40 {
            match cache.get_local_at(&text(0), CoarseInstant::now()) {
                LocalAnswer::Found(_) => local_hits += 1,
                _ if matches!(ask(&cache, 0, CoarseInstant::now()), CacheAnswer::Fresh { .. }) => {}
                _ => lost += 1,
            }
        }
    }
    assert_eq!(lost, 0);
    assert!(local_hits > 100_000, "{local_hits}");
    assert_eq!(cache.stats().entries, 100);
}

#[test]
fn client_that_is_gone_leaves_no_records_in_the_threads_that_asked_it() {
    let far = CoarseInstant::now().plus(Duration::from_secs(3_600));
    let (one, other) = (Cache::new(100), Cache::new(100));
    let mut values = Vec::new();
    // Two fit into a thread's slots wherever they hash to.
    for n in 0..2 {
        let record = record(n, 1);
        values.push(CachedValue::record(&record));
        drop(one.insert(peer(n), CacheUpdate::Found { record, refresh_at: far, fresh_until: far, stale_until: far }));
        (0..40).for_each(|_| drop(ask(&one, n, CoarseInstant::now())));
    }
    // The test's value, the cache's and the thread's, the handle that the first two share, and the thread's own.
    assert!(values.iter().all(|value| value.references() == 5));
    drop(one);
    assert!(!matches!(ask(&other, 0, CoarseInstant::now()), CacheAnswer::Fresh { .. }));
    assert!(values.iter().all(|value| value.references() == 2));
}
