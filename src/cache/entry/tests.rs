use serde_json::Map;

use super::*;
use crate::cache::Cache;

fn peer(n: u64) -> PeerId {
    PeerId::parse(&format!("{:08x}-0000-4000-8000-{:012x}", n >> 32, n & 0xffff_ffff)).unwrap()
}

/// Returns a record that takes a little more than `bytes`.
fn record(peer: PeerId, bytes: usize) -> Peer {
    Peer::discovered(peer, Map::from_iter([("name".to_owned(), "x".repeat(bytes).into())]))
}

fn in_an_hour() -> CoarseInstant {
    CoarseInstant::now().plus(Duration::from_secs(3600))
}

#[test]
fn end_of_an_outage_expires_its_failures_and_no_others() {
    let cache = Cache::new(10);
    let outage = cache.outage();
    drop(cache.insert(peer(1), CacheUpdate::Failed { until: in_an_hour(), outage: Some(outage) }));
    drop(cache.insert(peer(2), CacheUpdate::Failed { until: in_an_hour(), outage: None }));
    drop(cache.insert(peer(3), CacheUpdate::Absent { until: in_an_hour(), is_removed: false }));
    let answer = |n| cache.get(peer(n), CoarseInstant::now());
    assert_eq!([answer(1), answer(2), answer(3)], [CacheAnswer::Failed, CacheAnswer::Failed, CacheAnswer::Absent]);
    cache.end_outage(CoarseInstant::now(), Duration::ZERO);
    assert_eq!([answer(1), answer(2), answer(3)], [CacheAnswer::Retry(None), CacheAnswer::Failed, CacheAnswer::Absent]);
    // A failure of the outage that has ended, stored late, does not count either.
    drop(cache.insert(peer(4), CacheUpdate::Failed { until: in_an_hour(), outage: Some(outage) }));
    assert_eq!(answer(4), CacheAnswer::Retry(None));
    // The next outages do the same.
    for n in 5..8 {
        drop(cache.insert(peer(n), CacheUpdate::Failed { until: in_an_hour(), outage: Some(cache.outage()) }));
        assert_eq!(answer(n), CacheAnswer::Failed);
        cache.end_outage(CoarseInstant::now(), Duration::ZERO);
        assert_eq!([answer(4), answer(n)], [CacheAnswer::Retry(None), CacheAnswer::Retry(None)]);
    }
}

/// The peer itself may be the cause: a caller that waits for its lookup might wait for nothing, however long ago it was.
#[test]
fn lookup_that_got_no_answer_is_left_to_the_background_after_its_ttl_too() {
    let (cache, start) = (Cache::new(10), CoarseInstant::now());
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let found =
        CacheUpdate::Found { record: record(peer(1), 9), refresh_at: at(5), fresh_until: at(9), stale_until: at(900) };
    drop(cache.insert(peer(1), found));
    for n in [1, 2] {
        drop(cache.insert(peer(n), CacheUpdate::Failed { until: at(15), outage: Some(cache.outage()) }));
    }
    let answer = |n, secs| cache.get(peer(n), at(secs));
    let stale = Some(record(peer(1), 9));
    assert_eq!(
        [answer(1, 15), answer(2, 15)],
        [CacheAnswer::Due(stale.clone()), CacheAnswer::Due(None)],
        "in the outage"
    );
    cache.end_outage(at(10), Duration::ZERO);
    for secs in [14, 15, 899] {
        assert_eq!([answer(1, secs), answer(2, secs)], [CacheAnswer::Retry(stale.clone()), CacheAnswer::Retry(None)]);
    }
    assert_eq!(answer(1, 900), CacheAnswer::Retry(None));
}

/// Refreshes of 2,000 records fell due in an outage, and of one after it. Each waits for its own time in the window, and
/// these times are spread over it.
#[test]
fn refreshes_after_an_outage_are_spread_over_the_window() {
    // Miri is ten thousand times slower: as few as still show the shares.
    let (each, close) = if cfg!(miri) { (60, 20) } else { (1_000, 60) };
    let cache = Cache::new(2 * each as usize);
    let start = CoarseInstant::now();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let update = |n, refresh: u64| CacheUpdate::Found {
        record: record(peer(n), 9),
        refresh_at: at(refresh),
        fresh_until: at(refresh + 60),
        stale_until: at(9_000),
    };
    // The second half is not even stale yet, and one refresh falls due after the outage.
    (0..each).for_each(|n| drop(cache.insert(peer(n), update(n, 100))));
    (each..2 * each).for_each(|n| drop(cache.insert(peer(n), update(n, 650))));
    drop(cache.insert(peer(1), update(1, 701)));
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
    assert!((0..2 * each).all(|n| due(n, 940)), "all are due at the end of the window");
    assert!(!due(1, 700) && due(1, 701), "its refresh fell due after the outage");
}

/// Returns a cache with a record that is stale after 10 s and whose refresh failed in an outage, and the start.
fn cache_with_failed_refresh() -> (Cache, CoarseInstant) {
    let (cache, start) = (Cache::new(10), CoarseInstant::now());
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let update =
        CacheUpdate::Found { record: record(peer(1), 9), refresh_at: at(5), fresh_until: at(10), stale_until: at(900) };
    drop(cache.insert(peer(1), update));
    drop(cache.insert(peer(1), CacheUpdate::Failed { until: at(400), outage: Some(cache.outage()) }));
    (cache, start)
}

#[test]
fn refresh_that_failed_in_the_outage_is_spread_too() {
    let (cache, start) = cache_with_failed_refresh();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    cache.end_outage(at(100), Duration::from_secs(100));
    let stale = CacheAnswer::Stale(record(peer(1), 9));
    assert_eq!(cache.get(peer(1), at(100)), stale);
    assert_eq!(cache.get(peer(1), at(200)), CacheAnswer::Retry(Some(record(peer(1), 9))));
    // In the next outage a failure counts as before.
    drop(cache.insert(peer(1), CacheUpdate::Failed { until: at(400), outage: Some(cache.outage()) }));
    assert_eq!(cache.get(peer(1), at(250)), stale);
}

/// The window is zero where all records expire after exactly their TTL.
#[test]
fn refreshes_are_due_at_once_without_a_window() {
    let (cache, start) = cache_with_failed_refresh();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    cache.end_outage(at(100), Duration::ZERO);
    assert_eq!(cache.get(peer(1), at(100)), CacheAnswer::Retry(Some(record(peer(1), 9))));
}

#[test]
fn refresh_of_a_record_that_came_after_the_outage_is_not_deferred() {
    let cache = Cache::new(100);
    let start = CoarseInstant::now();
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let outage = Some(cache.outage());
    (0..50).for_each(|n| drop(cache.insert(peer(n), CacheUpdate::Failed { until: at(400), outage })));
    cache.end_outage(at(100), Duration::from_secs(200));
    for n in 0..50 {
        let record = record(peer(n), 9);
        let update = CacheUpdate::Found {
            record: record.clone(),
            refresh_at: at(150),
            fresh_until: at(160),
            stale_until: at(900),
        };
        drop(cache.insert(peer(n), update));
        assert_eq!(cache.get(peer(n), at(150)), CacheAnswer::Fresh { record: record.clone(), refresh: true });
        assert_eq!(cache.get(peer(n), at(160)), CacheAnswer::Due(Some(record)), "it is not deferred");
    }
}

/// Any other answer of the registry takes the refusal back, and a record that is fresh is served whatever the token.
#[test]
fn refusal_counts_for_its_token_only() {
    let (cache, start) = (Cache::new(10), CoarseInstant::now());
    let at = |secs: u64| start.plus(Duration::from_secs(secs));
    let refused = |token| CacheUpdate::Refused { until: at(15), token };
    let answer = |n, secs, token| cache.get(peer(n), at(secs)).with_token(token);
    drop(cache.insert(peer(1), refused(7)));
    for secs in [0, 14] {
        assert_eq!(answer(1, secs, 7), CacheAnswer::Refused { token: 7, stale: None });
        assert_eq!(answer(1, secs, 8), CacheAnswer::Due(None));
    }
    assert_eq!(answer(1, 15, 7), CacheAnswer::Due(None));

    let found =
        CacheUpdate::Found { record: record(peer(2), 9), refresh_at: at(5), fresh_until: at(9), stale_until: at(14) };
    drop(cache.insert(peer(2), found));
    drop(cache.insert(peer(2), refused(7)));
    let stale = Some(record(peer(2), 9));
    for token in [7, 8] {
        assert_eq!(answer(2, 8, token), CacheAnswer::Fresh { record: record(peer(2), 9), refresh: false });
    }
    assert_eq!(answer(2, 9, 7), CacheAnswer::Refused { token: 7, stale: stale.clone() });
    assert_eq!(answer(2, 9, 8), CacheAnswer::Due(stale));
    assert_eq!(answer(2, 14, 7), CacheAnswer::Refused { token: 7, stale: None });

    let until = at(30);
    for update in [CacheUpdate::Failed { until, outage: None }, CacheUpdate::Absent { until, is_removed: false }] {
        drop(cache.insert(peer(1), refused(7)));
        drop(cache.insert(peer(1), update));
        assert!(matches!(answer(1, 1, 8), CacheAnswer::Failed | CacheAnswer::Absent));
    }
}
