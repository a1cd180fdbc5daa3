//! The crate, the floor, and other caches and maps: each from `&str` to a record that is read.
//!
//! Each has its own records, in the crate's handle ([`Peer`], which is an `Arc`). All read the first byte of the record's
//! id, which is a load from the record's memory. To read a field by its name would cost all of them the same search in a
//! map, and would make slow ones look less slow. All but the naive ports use the same parser, clock, keys and hash.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, Peer};
use foldhash::fast::RandomState;
use once_cell::sync::Lazy;
use parking_lot::RwLock;
use regex::Regex;
use serde_json::Value;

use crate::parse::key;
use crate::registry;
use crate::repetition::{Run, calls};

pub const OURS: &str = "a2a-blocking";
pub const ABSENT: &str = "a2a-blocking, absent";
/// The cache that threads share, without the thread-local tier before it.
pub const SHARED: &str = "a2a-blocking, shared tier";
pub const FLOOR: &str = "floor";
pub const MOKA: &str = "moka";
pub const QUICK_CACHE: &str = "quick_cache";
pub const DASHMAP: &str = "dashmap";
pub const PAPAYA: &str = "papaya";
pub const RWLOCK: &str = "one RwLock map";
pub const NAIVE_ARC: &str = "naive port, Arc";
pub const NAIVE: &str = "naive port, cloned";

const TTL: Duration = Duration::from_secs(86_400);

/// A record and its expiry.
#[derive(Clone)]
struct StoredRecord {
    expires: u64,
    record: Peer,
}

#[inline]
fn now() -> u64 {
    coarsetime::Instant::now_without_cache_update().as_ticks()
}

/// Reads what all candidates read of a record.
#[inline]
fn read(record: &Peer) -> u8 {
    record.peer_id().map_or(0, |id| id.as_bytes()[0])
}

/// Returns new records of all ids, by key.
fn held(ids: &[&str]) -> impl Iterator<Item = (u128, StoredRecord)> {
    let expires = now() + coarsetime::Duration::new(TTL.as_secs(), 0).as_ticks();
    let records = registry::records(ids).into_iter();
    ids.iter()
        .map(|id| key(id).unwrap())
        .zip(records)
        .map(move |(key, record)| (key, StoredRecord { expires, record }))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Returns all candidates, each filled with all ids. This crate is the first.
pub fn rivals(ids: &[&str]) -> Vec<(&'static str, Run)> {
    let (client, _) = registry::filled(ids);
    vec![
        (OURS, ours(client)),
        (FLOOR, floor(ids)),
        (RWLOCK, rwlock(ids)),
        (PAPAYA, papaya(ids)),
        (DASHMAP, dashmap(ids)),
        (QUICK_CACHE, quick_cache(ids)),
        (MOKA, moka(ids)),
        (NAIVE_ARC, naive_arc(ids)),
        (NAIVE, naive(ids)),
    ]
}

pub fn ours(client: Client) -> Run {
    calls(move |id| client.enrich(id).map(|peer| read(&peer)))
}

/// For a client whose registry knows none of the ids.
pub fn ours_absent(client: Client) -> Run {
    calls(move |id| client.enrich(id).is_none())
}

/// The floor, which no cache can beat: the parser, one load from a table, and the clock.
///
/// The table is built for these very ids, and nothing writes to it. It hands out no handle but only reads the record.
pub fn floor(ids: &[&str]) -> Run {
    let slots = (ids.len() * 4).next_power_of_two();
    let shift = 64 - slots.trailing_zeros();
    let place = move |key: u128, factor: u64| (key as u64).wrapping_mul(factor).wrapping_shr(shift) as usize;
    // The factor with the fewest collisions: up to 64 ids have none.
    let entries: Vec<_> = held(ids).collect();
    let collisions = |factor: &u64| {
        let mut taken = vec![false; slots];
        entries.iter().filter(|(key, _)| std::mem::replace(&mut taken[place(*key, *factor)], true)).count()
    };
    let tries = (4_000_000 / ids.len() as u64).min(40_000);
    let factors = (1..=tries).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let factor = factors.min_by_key(collisions).unwrap();

    let mut table: Vec<Option<(u128, StoredRecord)>> = vec![None; slots];
    for (key, held) in entries {
        let mut at = place(key, factor);
        while table[at].is_some() {
            at = (at + 1) & (slots - 1);
        }
        table[at] = Some((key, held));
    }
    calls(move |id| {
        let key = key(id)?;
        let mut at = place(key, factor);
        loop {
            let (other, held) = table[at].as_ref()?;
            if *other == key {
                return (now() < held.expires).then(|| read(&held.record));
            }
            at = (at + 1) & (table.len() - 1);
        }
    })
}

/// Uses its own clock and its own TTL.
pub fn moka(ids: &[&str]) -> Run {
    let builder = moka::sync::Cache::builder().max_capacity(2 * ids.len() as u64).time_to_live(TTL);
    let cache = builder.build_with_hasher(RandomState::default());
    held(ids).for_each(|(key, held)| cache.insert(key, held.record));
    cache.run_pending_tasks();
    calls(move |id| cache.get(&key(id)?).map(|record| read(&record)))
}

pub fn quick_cache(ids: &[&str]) -> Run {
    let (count, weighter) = (2 * ids.len().max(64), quick_cache::UnitWeighter);
    let lifecycle = quick_cache::sync::DefaultLifecycle::default();
    let cache = quick_cache::sync::Cache::<u128, StoredRecord, _, _, _>::with(
        count,
        count as u64,
        weighter,
        RandomState::default(),
        lifecycle,
    );
    held(ids).for_each(|(key, held)| cache.insert(key, held));
    calls(move |id| {
        let held = cache.get(&key(id)?)?;
        (now() < held.expires).then(|| read(&held.record))
    })
}

pub fn dashmap(ids: &[&str]) -> Run {
    let map: dashmap::DashMap<u128, StoredRecord, RandomState> = held(ids).collect();
    calls(move |id| {
        let held = map.get(&key(id)?)?;
        let record = (now() < held.expires).then(|| held.record.clone());
        drop(held);
        record.map(|record| read(&record))
    })
}

pub fn papaya(ids: &[&str]) -> Run {
    let map: papaya::HashMap<u128, StoredRecord, RandomState> = held(ids).collect();
    calls(move |id| {
        let key = key(id)?;
        let pin = map.pin();
        let held = pin.get(&key)?;
        let record = (now() < held.expires).then(|| held.record.clone());
        drop(pin);
        record.map(|record| read(&record))
    })
}

/// One lock around one map, with the same parser, hash and clock.
pub fn rwlock(ids: &[&str]) -> Run {
    let map: RwLock<HashMap<u128, StoredRecord, RandomState>> = RwLock::new(held(ids).collect());
    calls(move |id| {
        let key = key(id)?;
        let map = map.read();
        let held = map.get(&key)?;
        let record = (now() < held.expires).then(|| held.record.clone());
        drop(map);
        record.map(|record| read(&record))
    })
}

/// The algorithm of the Python module `a2a_client`, ported naively. The value is cloned.
pub fn naive(ids: &[&str]) -> Run {
    naive_of(ids, |record| record)
}

/// The same port with a shared value.
pub fn naive_arc(ids: &[&str]) -> Run {
    naive_of(ids, Arc::new)
}

fn naive_of<T>(ids: &[&str], wrap: impl Fn(Value) -> T) -> Run
where
    T: Clone + std::borrow::Borrow<Value> + Send + Sync + 'static,
{
    static UUID: Lazy<Regex> = Lazy::new(|| {
        Regex::new("^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$").unwrap()
    });
    let record = |id: &str| wrap(serde_json::from_str(&registry::record(id)).unwrap());
    let entry = |id: &&str| ((*id).to_owned(), (Instant::now(), Some(record(id))));
    let cache: RwLock<HashMap<String, (Instant, Option<T>)>> = RwLock::new(ids.iter().map(entry).collect());
    calls(move |id| {
        let id = id.trim();
        if !UUID.is_match(id) {
            return None;
        }
        let id = id.to_lowercase();
        let cache = cache.read();
        let (fetched, record) = cache.get(&id)?;
        let record = if fetched.elapsed() < TTL { record.clone()? } else { return None };
        drop(cache);
        Some(record.borrow().is_object())
    })
}
