#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use serde_json::Map;

use super::sieve::fuzz::Sieve;
use super::*;
use crate::peer::{Negative, get_local_at};
use crate::test_util::Choices;
use crate::util::random::fraction;

const PEERS: usize = 12;
const LETTERS: [&str; 4] = ["abcdefab", "ABCDEFAB", "AbCdEfAb", "aBcDeFaB"];

fn peer(n: usize) -> PeerId {
    PeerId::from_text(&spelt(n, 0)).unwrap()
}

/// A peer's id in one of the ways in which it may be written.
fn spelt(n: usize, raw_key: usize) -> String {
    let bare = format!("{}-0000-4000-8000-00000000000{n:x}", LETTERS[raw_key % 4]);
    match raw_key / 4 {
        1 => format!("\u{1c} {bare}\n"),
        2 => bare.to_uppercase(),
        _ => bare,
    }
}

/// What is known of a peer, in the words of the rules.
#[derive(Debug, Clone)]
struct Model {
    record: Option<u64>,
    refresh_at: CoarseInstant,
    fresh_until: CoarseInstant,
    stale_until: CoarseInstant,
    no: Negative,
    no_until: CoarseInstant,
    /// The outage that its last lookup failed in, without so much as a status.
    outage: Option<u64>,
}

struct World {
    cache: Cache,
    capacity: usize,
    known: HashMap<PeerId, Model>,
    sieve: Sieve,
    evictions: u64,
    outage: u64,
    recovered: (CoarseInstant, Duration),
}

impl World {
    fn new(capacity: usize) -> Self {
        let (cache, sieve) = (Cache::new(capacity), Sieve::default());
        let recovered = (CoarseInstant::START, Duration::ZERO);
        World { cache, capacity, known: HashMap::new(), sieve, evictions: 0, outage: 1, recovered }
    }

    /// What the rules say of a peer now.
    fn expected(&self, peer: PeerId, now: CoarseInstant) -> Said {
        let Some(known) = self.known.get(&peer) else { return Said::Due(None) };
        let ended = known.outage.is_some_and(|outage| outage != self.outage);
        let (at, window) = self.recovered;
        let put_off = (known.refresh_at <= at || ended) && now < at.plus(window.mul_f64(fraction(peer, at, 0)));
        if let Some(record) = known.record.filter(|_| now < known.fresh_until) {
            return Said::Fresh(record, now >= known.refresh_at && !put_off);
        }
        let stale = known.record.filter(|_| now < known.stale_until);
        match (stale, known.no) {
            (Some(record), _) if put_off => Said::Stale(record),
            _ if now >= known.no_until => Said::Due(stale),
            (_, Negative::Failed) if ended => Said::Retry(stale),
            (_, Negative::Absent) => Said::Absent,
            (Some(record), Negative::Failed) => Said::Stale(record),
            (None, Negative::Failed) => Said::Failed,
        }
    }

    /// A call for a peer: what this thread keeps, or the map.
    fn ask(&mut self, text: &str, peer: PeerId, now: CoarseInstant) -> CacheAnswer {
        self.sieve.visit(peer);
        let raw: Option<RawKey> = text.as_bytes().try_into().ok();
        match raw.map(|_| get_local_at(self.cache.answers.id(), text, now)) {
            Some(LocalAnswer::Found(record)) => CacheAnswer::Fresh { record, refresh: false },
            Some(LocalAnswer::Negative(Negative::Absent)) => CacheAnswer::Absent,
            Some(LocalAnswer::Negative(Negative::Failed)) => CacheAnswer::Failed,
            Some(LocalAnswer::Miss(_)) | None => {
                let known = self.cache.get_and_keep(peer, raw.as_ref(), now);
                self.cache.count(Answered::Unknown);
                known
            }
        }
    }

    fn put(&mut self, peer: PeerId, filing: CacheUpdate, file: impl FnOnce(&mut Model)) {
        drop(self.cache.insert(peer, filing));
        if !self.known.contains_key(&peer) {
            while self.known.len() >= self.capacity {
                let victim = self.sieve.evict().unwrap();
                self.known.remove(&victim).expect("known");
                self.evictions += 1;
            }
            self.sieve.push(peer);
        }
        let none = CoarseInstant::START;
        let new = || Model {
            record: None,
            refresh_at: none,
            fresh_until: none,
            stale_until: none,
            no: Negative::Failed,
            no_until: none,
            outage: None,
        };
        file(self.known.entry(peer).or_insert_with(new));
    }

    fn is_as_full_as_it_says(&self) {
        let CacheStats { entries, bytes, evictions } = self.cache.stats();
        assert_eq!((entries, evictions), (self.known.len(), self.evictions));
        let record = |peer: &PeerId| self.cache.record(*peer).map_or(0, |record| record.bytes());
        assert_eq!(bytes, self.known.keys().map(record).sum::<usize>());
    }
}

#[derive(Debug, PartialEq)]
enum Said {
    Fresh(u64, bool),
    Stale(u64),
    Absent,
    Failed,
    Retry(Option<u64>),
    Due(Option<u64>),
}

/// The same of an answer, whose record has to be the peer's.
fn said(known: &CacheAnswer, of: PeerId) -> Said {
    let version = |record: &Peer| {
        assert_eq!(record.peer_id(), Some(of));
        record.get("version").and_then(serde_json::Value::as_u64).unwrap()
    };
    match known {
        CacheAnswer::Fresh { record, refresh } => Said::Fresh(version(record), *refresh),
        CacheAnswer::Stale(record) => Said::Stale(version(record)),
        CacheAnswer::Absent => Said::Absent,
        CacheAnswer::Failed => Said::Failed,
        CacheAnswer::Retry(record) => Said::Retry(record.as_ref().map(version)),
        CacheAnswer::Due(record) => Said::Due(record.as_ref().map(version)),
    }
}

/// Two clients' caches, what a thread keeps of them, and handles that are held: each call is answered by the rules,
/// in whichever way the peer is written, and the SIEVE's victims are those of the plain one.
pub fn cache(data: &[u8]) {
    // On a thread of its own: what the last input left in this one's front is not to matter.
    thread::scope(|scope| scope.spawn(|| play(data)).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn play(data: &[u8]) {
    let mut choices = Choices(data);
    let capacity = choices.below(PEERS) + 1;
    let mut worlds = [World::new(capacity), World::new(3)];
    let (mut now, mut version, mut held) = (CoarseInstant::now(), 0, Vec::new());
    while !choices.is_empty() {
        let (step, n) = (choices.byte(), choices.below(PEERS));
        // The second client is asked now and then.
        let world = &mut worlds[usize::from(step >= 224)];
        let peer = peer(n);
        version += 1;
        match step % 16 {
            0..=5 => {
                let (raw_key, times) = (choices.below(12), choices.below(70));
                let text = spelt(n, raw_key);
                for _ in 0..times {
                    let asked = world.ask(&text, peer, now);
                    assert_eq!(said(&asked, peer), world.expected(peer, now), "{text:?}");
                }
            }
            6 => {
                let known = world.ask(&spelt(n, 0), peer, now);
                let as_said = said(&known, peer);
                assert_eq!(as_said, world.expected(peer, now));
                held.push((known, as_said, peer));
            }
            7 if !held.is_empty() => {
                // Whatever became of the peer, a handle stays what it was.
                let (known, as_said, peer) = held.swap_remove(n % held.len());
                assert_eq!(said(&known, peer), as_said);
            }
            8 | 9 => {
                let [refresh_at, fresh_until, stale_until] = [(); 3].map(|()| now.plus(secs(&mut choices)));
                let fields = Map::from_iter([("version".to_owned(), version.into())]);
                let record = Peer::discovered(peer, fields);
                world.put(peer, CacheUpdate::Found { record, refresh_at, fresh_until, stale_until }, |known| {
                    (known.record, known.refresh_at, known.fresh_until) = (Some(version), refresh_at, fresh_until);
                    (known.stale_until, known.no_until, known.outage) = (stale_until, CoarseInstant::START, None);
                });
            }
            10 => {
                let until = now.plus(secs(&mut choices));
                world.put(peer, CacheUpdate::Absent { until }, |known| {
                    (known.record, known.no, known.no_until, known.outage) = (None, Negative::Absent, until, None);
                });
            }
            11 | 12 => {
                let until = now.plus(secs(&mut choices));
                let outage = (step % 16 == 11).then_some(world.outage);
                assert_eq!(world.outage, world.cache.outage());
                world.put(peer, CacheUpdate::Failed { until, outage }, |known| {
                    (known.no, known.no_until, known.outage) = (Negative::Failed, until, outage);
                    known.refresh_at = known.refresh_at.max(until);
                });
            }
            13 => {
                let there = world.cache.remove(peer).is_some();
                assert_eq!(there, world.known.remove(&peer).is_some());
                world.sieve.remove(peer);
            }
            14 => {
                let window = secs(&mut choices);
                world.cache.end_outage(now, window);
                (world.outage, world.recovered) = (world.outage + 1, (now, window));
            }
            _ => match n {
                0 => {
                    drop(world.cache.clear());
                    (world.known, world.sieve) = (HashMap::new(), Sieve::default());
                }
                _ => now = now.plus(secs(&mut choices)),
            },
        }
        worlds.iter().for_each(World::is_as_full_as_it_says);
    }
    for (known, as_said, peer) in held {
        assert_eq!(said(&known, peer), as_said);
    }
}

fn secs(choices: &mut Choices<'_>) -> Duration {
    Duration::from_secs(choices.below(256) as u64)
}
