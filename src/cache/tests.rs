use std::time::{Duration, Instant};

use serde_json::Map;

use super::*;

fn peer(n: u64) -> PeerId {
    PeerId::parse(&format!("{:08x}-0000-4000-8000-{:012x}", n >> 32, n & 0xffff_ffff)).unwrap()
}

/// A record that takes a little more than so many bytes.
fn record(peer: PeerId, bytes: usize) -> Peer {
    Peer::discovered(peer, Map::from_iter([("name".to_owned(), "x".repeat(bytes).into())]))
}

/// Such a record, fresh until then and never refreshed or served for longer.
fn found(peer: PeerId, bytes: usize, until: CoarseInstant) -> CacheUpdate {
    CacheUpdate::Found { record: record(peer, bytes), refresh_at: until, fresh_until: until, stale_until: until }
}

fn absent(until: CoarseInstant) -> CacheUpdate {
    CacheUpdate::Absent { until }
}

fn failed(until: CoarseInstant) -> CacheUpdate {
    CacheUpdate::Failed { until, outage: None }
}

fn fresh(cache: &Cache, peer: PeerId) -> bool {
    matches!(cache.get(peer, CoarseInstant::now()), CacheAnswer::Fresh { .. })
}

fn never() -> CoarseInstant {
    CoarseInstant::now().plus(Duration::from_secs(3600))
}

fn consistent(cache: &Cache) {
    let shards = cache.shards.each_ref().map(|shard| {
        let entries = shard.entries.read();
        (entries.len(), entries.values().map(|entry| entry.value.bytes()).sum::<usize>())
    });
    let fill = cache.stats();
    let held = shards.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    assert_eq!((fill.entries, fill.bytes), held);
}

const NANO: Duration = Duration::from_nanos(1);
const TTL: Duration = Duration::from_secs(300);

#[test]
fn an_entry_counts_a_nanosecond_before_its_expiry_and_not_at_it() {
    let start = Instant::now();
    let until = CoarseInstant::at(start).plus(TTL);
    let fresh = CacheAnswer::Fresh { record: record(peer(1), 9), refresh: false };
    for (filing, known) in
        [(found(peer(1), 9, until), fresh), (absent(until), CacheAnswer::Absent), (failed(until), CacheAnswer::Failed)]
    {
        let cache = Cache::new(10);
        drop(cache.insert(peer(1), filing));
        assert_eq!(cache.get(peer(1), CoarseInstant::at(start + TTL - NANO)), known);
        assert_eq!(cache.get(peer(1), CoarseInstant::at(start + TTL)), CacheAnswer::Due(None));
    }
}

/// Each of a record's three moments, at its edges.
#[test]
fn a_record_is_refreshed_ahead_then_stale_then_gone() {
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
fn a_failure_keeps_the_record_and_counts_for_its_time() {
    let (cache, start) = (Cache::new(10), Instant::now());
    let at = |secs| CoarseInstant::at(start + Duration::from_secs(secs));
    let filing =
        CacheUpdate::Found { record: record(peer(1), 9), refresh_at: at(8), fresh_until: at(10), stale_until: at(100) };
    drop(cache.insert(peer(1), filing));
    // A refresh ahead that failed takes nothing of the freshness, and is not tried again meanwhile.
    drop(cache.insert(peer(1), failed(at(50))));
    assert_eq!(cache.get(peer(1), at(9)), CacheAnswer::Fresh { record: record(peer(1), 9), refresh: false });
    for (secs, known) in [
        (10, CacheAnswer::Stale(record(peer(1), 9))),
        (49, CacheAnswer::Stale(record(peer(1), 9))),
        (50, CacheAnswer::Due(Some(record(peer(1), 9)))),
        (100, CacheAnswer::Due(None)),
    ] {
        assert_eq!(cache.get(peer(1), at(secs)), known, "at {secs}");
    }
    drop(cache.insert(peer(1), failed(at(200))));
    assert_eq!(cache.get(peer(1), at(99)), CacheAnswer::Stale(record(peer(1), 9)));
    assert_eq!(cache.get(peer(1), at(100)), CacheAnswer::Failed, "too old by now");
    // The registry's own no drops it at once.
    assert_eq!(cache.insert(peer(1), absent(at(60))).len(), 1);
    assert_eq!((cache.get(peer(1), at(9)), cache.get(peer(1), at(60))), (CacheAnswer::Absent, CacheAnswer::Due(None)));
    consistent(&cache);
}

#[test]
fn the_end_of_an_outage_forgets_its_failures_and_no_others() {
    let cache = Cache::new(10);
    let outage = cache.outage();
    drop(cache.insert(peer(1), CacheUpdate::Failed { until: never(), outage: Some(outage) }));
    drop(cache.insert(peer(2), failed(never())));
    drop(cache.insert(peer(3), absent(never())));
    let known = |n| cache.get(peer(n), CoarseInstant::now());
    assert_eq!([known(1), known(2), known(3)], [CacheAnswer::Failed, CacheAnswer::Failed, CacheAnswer::Absent]);
    cache.end_outage(CoarseInstant::now(), Duration::ZERO);
    assert_eq!([known(1), known(2), known(3)], [CacheAnswer::Retry(None), CacheAnswer::Failed, CacheAnswer::Absent]);
    // One of the outage that is over, filed late, does not count either.
    drop(cache.insert(peer(4), CacheUpdate::Failed { until: never(), outage: Some(outage) }));
    assert_eq!(known(4), CacheAnswer::Retry(None));
    // And so it goes with the next ones.
    for n in 5..8 {
        drop(cache.insert(peer(n), CacheUpdate::Failed { until: never(), outage: Some(cache.outage()) }));
        assert_eq!(known(n), CacheAnswer::Failed);
        cache.end_outage(CoarseInstant::now(), Duration::ZERO);
        assert_eq!([known(4), known(n)], [CacheAnswer::Retry(None), CacheAnswer::Retry(None)]);
    }
}

/// A thousand records that fell due in an outage, and two that did not: each serves until its own moment of
/// the window, and those moments are spread over it.
#[test]
fn after_an_outage_records_wait_for_their_turn() {
    // Under Miri, which is ten thousand times slower, as few as still show the share.
    let (each, close) = if cfg!(miri) { (60, 20) } else { (1_000, 60) };
    let cache = Cache::new(2 * each as usize);
    let start = CoarseInstant::now();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let filing = |n, refresh: u64| CacheUpdate::Found {
        record: record(peer(n), 9),
        refresh_at: at(refresh),
        fresh_until: at(refresh + 60),
        stale_until: at(9_000),
    };
    // Of two that fell due, one is not even stale yet; and one falls due after the outage.
    (0..each).for_each(|n| drop(cache.insert(peer(n), filing(n, 100))));
    (each..2 * each).for_each(|n| drop(cache.insert(peer(n), filing(n, 650))));
    drop(cache.insert(peer(1), filing(1, 701)));
    cache.end_outage(at(700), Duration::from_secs(240));

    let due = |n, secs| match cache.get(peer(n), at(secs)) {
        CacheAnswer::Fresh { refresh, .. } => refresh,
        CacheAnswer::Due(Some(_)) => true,
        CacheAnswer::Stale(_) => false,
        other => panic!("{n}: {other:?}"),
    };
    for (secs, share) in [(700, 0.0), (760, 0.25), (820, 0.5), (880, 0.75), (939, 0.996)] {
        let expected = (each as f64 * share) as usize;
        for half in [0..each, each..2 * each] {
            let count = half.filter(|n| *n != 1 && due(*n, secs)).count();
            assert!(count.abs_diff(expected) < close, "{count} are due at {secs}, not {expected}");
        }
    }
    assert!((0..2 * each).all(|n| due(n, 940)), "at the end of the window all are");
    assert!(!due(1, 700) && due(1, 701), "it has nothing to do with the outage");
}

/// A record that became stale after 10 s, and whose refresh then failed in an outage; and when that was begun.
fn with_a_failed_refresh() -> (Cache, CoarseInstant) {
    let (cache, start) = (Cache::new(10), CoarseInstant::now());
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let filing =
        CacheUpdate::Found { record: record(peer(1), 9), refresh_at: at(5), fresh_until: at(10), stale_until: at(900) };
    drop(cache.insert(peer(1), filing));
    drop(cache.insert(peer(1), CacheUpdate::Failed { until: at(400), outage: Some(cache.outage()) }));
    (cache, start)
}

#[test]
fn a_failed_refresh_of_an_outage_that_is_over_waits_for_its_turn_too() {
    let (cache, start) = with_a_failed_refresh();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    cache.end_outage(at(100), Duration::from_secs(100));
    let stale = CacheAnswer::Stale(record(peer(1), 9));
    assert_eq!(cache.get(peer(1), at(100)), stale);
    assert_eq!(cache.get(peer(1), at(200)), CacheAnswer::Retry(Some(record(peer(1), 9))));
    // Another outage, and its failure is remembered as before.
    drop(cache.insert(peer(1), CacheUpdate::Failed { until: at(400), outage: Some(cache.outage()) }));
    assert_eq!(cache.get(peer(1), at(250)), stale);
}

/// So it is where all records expire after exactly their TTL.
#[test]
fn without_a_window_everybodys_turn_is_at_once() {
    let (cache, start) = with_a_failed_refresh();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    cache.end_outage(at(100), Duration::ZERO);
    assert_eq!(cache.get(peer(1), at(100)), CacheAnswer::Retry(Some(record(peer(1), 9))));
}

#[test]
fn a_record_that_came_after_an_outage_has_nothing_to_do_with_it() {
    let cache = Cache::new(100);
    let start = CoarseInstant::now();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let outage = Some(cache.outage());
    (0..50).for_each(|n| drop(cache.insert(peer(n), CacheUpdate::Failed { until: at(400), outage })));
    cache.end_outage(at(100), Duration::from_secs(200));
    for n in 0..50 {
        let record = record(peer(n), 9);
        let filing = CacheUpdate::Found {
            record: record.clone(),
            refresh_at: at(150),
            fresh_until: at(160),
            stale_until: at(900),
        };
        drop(cache.insert(peer(n), filing));
        assert_eq!(cache.get(peer(n), at(150)), CacheAnswer::Fresh { record: record.clone(), refresh: true });
        assert_eq!(cache.get(peer(n), at(160)), CacheAnswer::Due(Some(record)), "it is not put off");
    }
}

#[test]
fn a_refresh_does_not_make_a_busy_peer_a_stranger() {
    let cache = Cache::new(4);
    for n in 0..4 {
        drop(cache.insert(peer(n), found(peer(n), 9, never())));
    }
    assert!(fresh(&cache, peer(0)));
    drop(cache.insert(peer(0), found(peer(0), 10, never())));
    drop(cache.insert(peer(9), found(peer(9), 9, never())));
    assert!(fresh(&cache, peer(0)) && !fresh(&cache, peer(1)), "the next in turn goes in its place");
}

#[test]
fn a_million_strangers_leave_the_cache_at_its_capacity_and_the_busy_ones_in_it() {
    let cache = Cache::new(1000);
    let busy: Vec<PeerId> = (0..100).map(|n| peer(u64::MAX - n)).collect();
    for id in &busy {
        drop(cache.insert(*id, found(*id, 100, never())));
    }
    let mut id = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..1_000_000 {
        id = id.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let filing = if n % 2 == 0 { found(peer(id), 100, never()) } else { absent(never()) };
        drop(cache.insert(peer(id), filing));
        // Each of the busy ones asks once while 500 strangers come.
        if n % 5 == 0 {
            let asked = busy[n / 5 % busy.len()];
            assert!(fresh(&cache, asked), "a busy peer was evicted at {n}");
        }
    }
    let fill = cache.stats();
    assert_eq!((fill.entries, fill.evictions), (1000, 1_000_000 + 100 - 1000));
    let capacity: usize = cache.shards.iter().map(|shard| shard.entries.read().capacity()).sum();
    assert!(capacity < 4000, "the maps themselves stay small");
    consistent(&cache);
}

#[test]
fn the_bytes_of_json_are_bounded_too() {
    let cache = Cache::new(10_000);
    let each = 256 * 1024;
    for n in 0..1000 {
        drop(cache.insert(peer(n), found(peer(n), each, never())));
    }
    let most = 64 << 20;
    assert!((most - 2 * each..=most).contains(&cache.stats().bytes), "{:?}", cache.stats());
    assert_eq!(cache.stats().entries, most / each - 1);
    // An entry that grows makes the others go, not itself.
    let last = peer(999);
    drop(cache.insert(last, found(last, 2 * each, never())));
    assert!(cache.stats().bytes <= most);
    assert!(fresh(&cache, last));
    consistent(&cache);
}

#[test]
fn the_bound_on_bytes_is_kept_to_the_byte_and_a_record_is_counted_once() {
    let cache = Cache::new(10);
    let frame = record(peer(1), 0).bytes();
    let half = MAX_BYTES / 2 - frame;
    for n in [1, 2, 1, 2] {
        drop(cache.insert(peer(n), found(peer(n), half, never())));
    }
    assert_eq!(cache.stats(), CacheStats { entries: 2, bytes: MAX_BYTES, evictions: 0 });
    drop(cache.insert(peer(2), found(peer(2), half + 1, never())));
    assert_eq!(cache.stats(), CacheStats { entries: 1, bytes: MAX_BYTES / 2 + 1, evictions: 1 });
    consistent(&cache);
}

#[test]
fn a_capacity_of_one_holds_the_last() {
    let cache = Cache::new(1);
    for n in 0..10 {
        drop(cache.insert(peer(n), absent(never())));
        assert_eq!(cache.get(peer(n), CoarseInstant::now()), CacheAnswer::Absent);
        assert_eq!(cache.stats().entries, 1);
    }
}

#[test]
fn forgetting_and_clearing_leave_nothing_behind() {
    let cache = Cache::new(10);
    for n in 0..20 {
        drop(cache.insert(peer(n), found(peer(n), 7, never())));
    }
    assert!(cache.remove(peer(19)).is_some());
    assert!(cache.remove(peer(19)).is_none());
    assert_eq!(cache.stats().bytes, 9 * record(peer(0), 7).bytes());
    drop(cache.clear());
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    for n in 0..20 {
        drop(cache.insert(peer(n), found(peer(n), 7, never())));
    }
    assert_eq!(cache.stats().entries, 10);
    consistent(&cache);
}

/// What threads keep of records that are nobody's any more goes now and then, and not at each write: they look around
/// for it in all that they keep.
#[test]
fn threads_are_told_to_let_go_once_in_256_answers_that_were_called_back() {
    assert_eq!((1..=600).filter(|n| is_release_due(*n)).collect::<Vec<u64>>(), [256, 512]);
    let cache = Cache::new(10);
    for n in 0..30 {
        drop(cache.insert(peer(n), absent(never())));
    }
    assert_eq!(cache.state.read().invalidations, 20, "the evicted");
    drop(cache.insert(peer(29), found(peer(29), 9, never())));
    drop(cache.remove(peer(28)));
    assert_eq!(cache.state.read().invalidations, 22, "the replaced, and the forgotten");
}

/// The bound is on memory, not on text: zeros are one byte each with their comma two, and 32 in memory.
#[test]
fn what_takes_more_memory_than_text_is_counted_as_such() {
    let many = if cfg!(miri) { 1_000 } else { 131_000 };
    let zeros = serde_json::json!({ "a": vec![0; many] });
    let Some(fields) = zeros.as_object().cloned() else { panic!("no object") };
    let bytes = Peer::discovered(peer(1), fields).bytes();
    assert!(bytes > many * 32, "{bytes}");
}
