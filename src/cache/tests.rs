use std::time::{Duration, Instant};

use serde_json::Map;

use super::*;

fn peer(n: u64) -> PeerId {
    PeerId::parse(&format!("{:08x}-0000-4000-8000-{:012x}", n >> 32, n & 0xffff_ffff)).unwrap()
}

/// A record that takes a little more than so many bytes.
fn found(peer: PeerId, bytes: usize) -> Answer {
    let fields = Map::from_iter([("name".to_owned(), "x".repeat(bytes).into())]);
    Answer::Found(Peer::discovered(peer, fields))
}

fn never() -> Tick {
    Tick::now().plus(Duration::from_secs(3600))
}

fn consistent(cache: &Cache) {
    let shelf = cache.shelf.read();
    let bytes: usize = shelf.entries.values().map(|entry| entry.answer.bytes()).sum();
    assert_eq!(shelf.bytes, bytes);
}

#[test]
fn an_entry_is_fresh_a_nanosecond_before_its_expiry_and_not_at_it() {
    let cache = Cache::new(10);
    let start = Instant::now();
    let ttl = Duration::from_secs(300);
    for answer in [found(peer(1), 10), Answer::Absent, Answer::Failed] {
        drop(cache.put(peer(1), answer.clone(), Tick::at(start).plus(ttl)));
        assert_eq!(cache.get(peer(1), Tick::at(start + ttl - Duration::from_nanos(1))), Some(answer));
        assert_eq!(cache.get(peer(1), Tick::at(start + ttl)), None);
    }
}

#[test]
fn a_million_strangers_leave_the_cache_at_its_capacity_and_the_busy_ones_in_it() {
    let cache = Cache::new(1000);
    let busy: Vec<PeerId> = (0..100).map(|n| peer(u64::MAX - n)).collect();
    for id in &busy {
        drop(cache.put(*id, found(*id, 100), never()));
    }
    let mut id = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..1_000_000 {
        id = id.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let answer = if n % 2 == 0 { found(peer(id), 100) } else { Answer::Absent };
        drop(cache.put(peer(id), answer, never()));
        // Each of the busy ones asks once while 500 strangers come.
        if n % 5 == 0 {
            let asked = busy[n / 5 % busy.len()];
            assert!(cache.get(asked, Tick::now()).is_some(), "a busy peer was evicted at {n}");
        }
    }
    let fill = cache.fill();
    assert_eq!((fill.entries, fill.evictions), (1000, 1_000_000 + 100 - 1000));
    assert!(cache.shelf.read().entries.capacity() < 4000, "the map itself stays small");
    consistent(&cache);
}

#[test]
fn the_bytes_of_json_are_bounded_too() {
    let cache = Cache::new(10_000);
    let each = 256 * 1024;
    for n in 0..1000 {
        drop(cache.put(peer(n), found(peer(n), each), never()));
    }
    let most = 64 << 20;
    assert!((most - 2 * each..=most).contains(&cache.fill().bytes), "{:?}", cache.fill());
    assert_eq!(cache.fill().entries, most / each - 1);
    // An entry that grows makes the others go, not itself.
    let last = peer(999);
    drop(cache.put(last, found(last, 2 * each), never()));
    assert!(cache.fill().bytes <= most);
    assert!(cache.get(last, Tick::now()).is_some());
    consistent(&cache);
}

#[test]
fn a_capacity_of_one_holds_the_last() {
    let cache = Cache::new(1);
    for n in 0..10 {
        drop(cache.put(peer(n), Answer::Absent, never()));
        assert_eq!(cache.get(peer(n), Tick::now()), Some(Answer::Absent));
        assert_eq!(cache.fill().entries, 1);
    }
}

#[test]
fn forgetting_and_clearing_leave_nothing_behind() {
    let cache = Cache::new(10);
    for n in 0..20 {
        drop(cache.put(peer(n), found(peer(n), 7), never()));
    }
    assert_eq!(cache.remove(peer(19)).len(), 1);
    assert_eq!(cache.remove(peer(19)).len(), 0);
    assert_eq!(cache.fill().bytes, 9 * found(peer(0), 7).bytes());
    drop(cache.clear());
    assert_eq!((cache.fill().entries, cache.fill().bytes), (0, 0));
    for n in 0..20 {
        drop(cache.put(peer(n), found(peer(n), 7), never()));
    }
    assert_eq!(cache.fill().entries, 10);
    consistent(&cache);
}

/// The bound is on memory, not on text: zeros are one byte each with their comma two, and 32 in memory.
#[test]
fn what_takes_more_memory_than_text_is_counted_as_such() {
    let zeros = serde_json::json!({ "a": vec![0; 131_000] });
    let Some(fields) = zeros.as_object().cloned() else { panic!("no object") };
    let bytes = Peer::discovered(peer(1), fields).bytes();
    assert!(bytes > 131_000 * 32, "{bytes}");
}
