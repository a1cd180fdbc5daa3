use std::time::{Duration, Instant};

use serde_json::Map;

use super::*;

fn peer(n: u64) -> PeerId {
    PeerId::parse(&format!("{:08x}-0000-4000-8000-{:012x}", n >> 32, n & 0xffff_ffff)).unwrap()
}

/// Returns a record that takes a little more than `bytes`.
fn record(peer: PeerId, bytes: usize) -> Peer {
    Peer::discovered(peer, Map::from_iter([("name".to_owned(), "x".repeat(bytes).into())]))
}

/// Returns the update of such a record: fresh until `until`, with no refresh and no stale time.
fn found(peer: PeerId, bytes: usize, until: CoarseInstant) -> CacheUpdate {
    CacheUpdate::Found { record: record(peer, bytes), refresh_at: until, fresh_until: until, stale_until: until }
}

fn absent(until: CoarseInstant) -> CacheUpdate {
    CacheUpdate::Absent { until, is_removed: false }
}

fn failed(until: CoarseInstant) -> CacheUpdate {
    CacheUpdate::Failed { until, outage: None }
}

fn is_fresh(cache: &Cache, peer: PeerId) -> bool {
    matches!(cache.get(peer, CoarseInstant::now()), CacheAnswer::Fresh { .. })
}

fn in_an_hour() -> CoarseInstant {
    CoarseInstant::now().plus(Duration::from_secs(3600))
}

fn assert_stats_are_true(cache: &Cache) {
    let shards = cache.shards.each_ref().map(|shard| {
        let entries = shard.entries.read();
        (entries.len(), entries.values().map(|entry| entry.value.bytes()).sum::<usize>())
    });
    let stats = cache.stats();
    let sum = shards.iter().fold((0, 0), |sum, shard| (sum.0 + shard.0, sum.1 + shard.1));
    assert_eq!((stats.entries, stats.bytes), sum);
}

#[test]
fn revised_record_has_the_age_of_the_one_before() {
    let (cache, start) = (Cache::new(10), Instant::now());
    let now = CoarseInstant::at(start);
    let times = |record| CacheUpdate::Found {
        record,
        refresh_at: now.plus(TTL / 2),
        fresh_until: now.plus(TTL),
        stale_until: now.plus(2 * TTL),
    };
    drop(cache.insert(peer(1), times(record(peer(1), 9))));
    let answers = |cache: &Cache| {
        [Duration::ZERO, TTL / 2, TTL - NANO, TTL, 2 * TTL].map(|age| match cache.get(peer(1), now.plus(age)) {
            CacheAnswer::Fresh { record, refresh } => (record.name().map(str::len), refresh, true),
            CacheAnswer::Due(stale) => (stale.and_then(|record| record.name().map(str::len)), false, false),
            other => panic!("{other:?}"),
        })
    };
    let before = answers(&cache);
    drop(cache.revise(peer(1), |known| known.with_fields(&record(peer(1), 5).as_json().clone())));
    assert_eq!(answers(&cache), before.map(|(name, refresh, is_fresh)| (name.map(|_| 5), refresh, is_fresh)));
    assert_stats_are_true(&cache);
    // Nothing is stored where nothing is known, or where another answer came meanwhile.
    assert!(cache.revise(peer(2), |_| Some(record(peer(2), 5))).is_none());
    drop(cache.revise(peer(1), |known| {
        drop(cache.insert(peer(1), times(record(peer(1), 7))));
        known.with_fields(&record(peer(1), 3).as_json().clone())
    }));
    assert_eq!(cache.record(peer(1)).unwrap().name().unwrap().len(), 7);
    assert_stats_are_true(&cache);
}

#[test]
fn revised_record_is_seen_by_a_thread_that_keeps_the_old_one() {
    let cache = Cache::new(10);
    drop(cache.insert(peer(1), found(peer(1), 9, in_an_hour())));
    let name = "00000000-0000-4000-8000-000000000001";
    while !matches!(cache.get_local(PeerName::Text(name)), LocalAnswer::Found(_)) {
        cache.count(Answered::Fresh, peer(1), PeerName::Text(name), CoarseInstant::now());
    }
    drop(cache.revise(peer(1), |known| known.with_fields(&record(peer(1), 5).as_json().clone())));
    assert!(matches!(cache.get_local(PeerName::Text(name)), LocalAnswer::Miss(_)));
    assert_eq!(cache.record(peer(1)).unwrap().name().unwrap().len(), 5);
}

const NANO: Duration = Duration::from_nanos(1);
const TTL: Duration = Duration::from_secs(300);

#[test]
fn entry_counts_a_nanosecond_before_its_expiry_but_not_at_it() {
    let start = Instant::now();
    let until = CoarseInstant::at(start).plus(TTL);
    let fresh = CacheAnswer::Fresh { record: record(peer(1), 9), refresh: false };
    for (update, answer) in
        [(found(peer(1), 9, until), fresh), (absent(until), CacheAnswer::Absent), (failed(until), CacheAnswer::Failed)]
    {
        let cache = Cache::new(10);
        drop(cache.insert(peer(1), update));
        assert_eq!(cache.get(peer(1), CoarseInstant::at(start + TTL - NANO)), answer);
        assert_eq!(cache.get(peer(1), CoarseInstant::at(start + TTL)), CacheAnswer::Due(None));
    }
}

/// Each of a record's three times, to the nanosecond.
#[test]
fn record_is_refreshed_ahead_then_stale_then_gone() {
    let (cache, start) = (Cache::new(10), Instant::now());
    let at = |secs| start + Duration::from_secs(secs);
    let [refresh_at, fresh_until, stale_until] = [10, 20, 30].map(|secs| CoarseInstant::at(at(secs)));
    drop(
        cache.insert(peer(1), CacheUpdate::Found { record: record(peer(1), 9), refresh_at, fresh_until, stale_until }),
    );
    let get = |when| cache.get(peer(1), CoarseInstant::at(when));
    let fresh = |refresh| CacheAnswer::Fresh { record: record(peer(1), 9), refresh };
    assert_eq!((get(at(10) - NANO), get(at(10))), (fresh(false), fresh(true)));
    assert_eq!((get(at(20) - NANO), get(at(20))), (fresh(true), CacheAnswer::Due(Some(record(peer(1), 9)))));
    assert_eq!(get(at(30) - NANO), CacheAnswer::Due(Some(record(peer(1), 9))));
    assert_eq!(get(at(30)), CacheAnswer::Due(None));
}

#[test]
fn failure_keeps_the_record_and_counts_until_it_expires() {
    let (cache, start) = (Cache::new(10), Instant::now());
    let at = |secs| CoarseInstant::at(start + Duration::from_secs(secs));
    let update =
        CacheUpdate::Found { record: record(peer(1), 9), refresh_at: at(8), fresh_until: at(10), stale_until: at(100) };
    drop(cache.insert(peer(1), update));
    // A failed refresh leaves a fresh record fresh, and is not repeated before the failure expires.
    drop(cache.insert(peer(1), failed(at(50))));
    assert_eq!(cache.get(peer(1), at(9)), CacheAnswer::Fresh { record: record(peer(1), 9), refresh: false });
    for (secs, answer) in [
        (10, CacheAnswer::Stale(record(peer(1), 9))),
        (49, CacheAnswer::Stale(record(peer(1), 9))),
        (50, CacheAnswer::Due(Some(record(peer(1), 9)))),
        (100, CacheAnswer::Due(None)),
    ] {
        assert_eq!(cache.get(peer(1), at(secs)), answer, "at {secs}");
    }
    drop(cache.insert(peer(1), failed(at(200))));
    assert_eq!(cache.get(peer(1), at(99)), CacheAnswer::Stale(record(peer(1), 9)));
    assert_eq!(cache.get(peer(1), at(100)), CacheAnswer::Failed, "past its stale time");
    // The registry's own no removes the record at once.
    assert_eq!(cache.insert(peer(1), absent(at(60))).len(), 1);
    assert_eq!((cache.get(peer(1), at(9)), cache.get(peer(1), at(60))), (CacheAnswer::Absent, CacheAnswer::Due(None)));
    assert_stats_are_true(&cache);
}

#[test]
fn refresh_keeps_the_visited_bit() {
    let cache = Cache::new(4);
    for n in 0..4 {
        drop(cache.insert(peer(n), found(peer(n), 9, in_an_hour())));
    }
    assert!(is_fresh(&cache, peer(0)));
    drop(cache.insert(peer(0), found(peer(0), 10, in_an_hour())));
    drop(cache.insert(peer(9), found(peer(9), 9, in_an_hour())));
    assert!(is_fresh(&cache, peer(0)) && !is_fresh(&cache, peer(1)), "the next peer under the hand is evicted instead");
}

#[test]
fn million_strangers_evict_no_busy_peer_and_exceed_no_capacity() {
    let cache = Cache::new(1000);
    let busy: Vec<PeerId> = (0..100).map(|n| peer(u64::MAX - n)).collect();
    for id in &busy {
        drop(cache.insert(*id, found(*id, 100, in_an_hour())));
    }
    let mut id = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..1_000_000 {
        id = id.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let update = if n % 2 == 0 { found(peer(id), 100, in_an_hour()) } else { absent(in_an_hour()) };
        drop(cache.insert(peer(id), update));
        // Each busy peer is asked for once in 500 strangers.
        if n % 5 == 0 {
            let asked = busy[n / 5 % busy.len()];
            assert!(is_fresh(&cache, asked), "a busy peer was evicted at {n}");
        }
    }
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.evictions), (1000, 1_000_000 + 100 - 1000));
    let capacity: usize = cache.shards.iter().map(|shard| shard.entries.read().capacity()).sum();
    assert!(capacity < 4000, "the maps do not grow");
    assert_stats_are_true(&cache);
}

#[test]
fn bytes_of_all_records_are_bounded() {
    let cache = Cache::new(10_000);
    let each = 256 * 1024;
    for n in 0..1000 {
        drop(cache.insert(peer(n), found(peer(n), each, in_an_hour())));
    }
    let most = 64 << 20;
    assert!((most - 2 * each..=most).contains(&cache.stats().bytes), "{:?}", cache.stats());
    assert_eq!(cache.stats().entries, most / each - 1);
    // An entry that grows evicts others, not itself.
    let last = peer(999);
    drop(cache.insert(last, found(last, 2 * each, in_an_hour())));
    assert!(cache.stats().bytes <= most);
    assert!(is_fresh(&cache, last));
    assert_stats_are_true(&cache);
}

#[test]
fn bound_on_bytes_is_exact_and_a_replaced_record_is_not_counted() {
    let cache = Cache::new(10);
    let frame = record(peer(1), 0).bytes();
    let half = MAX_BYTES / 2 - frame;
    for n in [1, 2, 1, 2] {
        drop(cache.insert(peer(n), found(peer(n), half, in_an_hour())));
    }
    assert_eq!(cache.stats(), CacheStats { entries: 2, bytes: MAX_BYTES, evictions: 0 });
    drop(cache.insert(peer(2), found(peer(2), half + 1, in_an_hour())));
    assert_eq!(cache.stats(), CacheStats { entries: 1, bytes: MAX_BYTES / 2 + 1, evictions: 1 });
    assert_stats_are_true(&cache);
}

#[test]
fn capacity_of_one_holds_the_last_peer() {
    let cache = Cache::new(1);
    for n in 0..10 {
        drop(cache.insert(peer(n), absent(in_an_hour())));
        assert_eq!(cache.get(peer(n), CoarseInstant::now()), CacheAnswer::Absent);
        assert_eq!(cache.stats().entries, 1);
    }
}

#[test]
fn remove_and_clear_leave_nothing_behind() {
    let cache = Cache::new(10);
    for n in 0..20 {
        drop(cache.insert(peer(n), found(peer(n), 7, in_an_hour())));
    }
    assert!(cache.remove(peer(19)).is_some());
    assert!(cache.remove(peer(19)).is_none());
    assert_eq!(cache.stats().bytes, 9 * record(peer(0), 7).bytes());
    drop(cache.clear());
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    for n in 0..20 {
        drop(cache.insert(peer(n), found(peer(n), 7, in_an_hour())));
    }
    assert_eq!(cache.stats().entries, 10);
    assert_stats_are_true(&cache);
}

/// Not at each write: a thread searches all its slots for values that are out of date.
#[test]
fn threads_are_told_to_release_values_once_in_256_invalidations() {
    assert_eq!((1..=600).filter(|n| is_release_due(*n)).collect::<Vec<u64>>(), [256, 512]);
    let cache = Cache::new(10);
    for n in 0..30 {
        drop(cache.insert(peer(n), absent(in_an_hour())));
    }
    assert_eq!(cache.state.read().invalidations, 20, "evicted");
    drop(cache.insert(peer(29), found(peer(29), 9, in_an_hour())));
    drop(cache.remove(peer(28)));
    assert_eq!(cache.state.read().invalidations, 22, "replaced, and removed");
}

/// The bound is on memory, not on text: a zero with its comma is two bytes of text and 32 bytes of memory.
#[test]
fn memory_of_a_record_is_counted_not_its_text() {
    let many = if cfg!(miri) { 1_000 } else { 131_000 };
    let zeros = serde_json::json!({ "a": vec![0; many] });
    let Some(fields) = zeros.as_object().cloned() else { panic!("no object") };
    let bytes = Peer::discovered(peer(1), fields).bytes();
    assert!(bytes > many * 32, "{bytes}");
}
