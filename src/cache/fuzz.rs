#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use serde_json::Map;

use super::sieve::fuzz::SieveModel;
use super::*;
use crate::peer::Negative;
use crate::test_util::Choices;

const PEERS: usize = 12;
const LETTERS: [&str; 4] = ["abcdefab", "ABCDEFAB", "AbCdEfAb", "aBcDeFaB"];

fn peer(n: usize) -> PeerId {
    PeerId::from_text(&text(n, 0)).unwrap()
}

/// Returns a peer's id in one of the forms in which it may be written.
fn text(n: usize, form: usize) -> String {
    let bare = format!("{}-0000-4000-8000-00000000000{n:x}", LETTERS[form % 4]);
    match form / 4 {
        1 => format!("\u{1c} {bare}\n"),
        2 => bare.to_uppercase(),
        _ => bare,
    }
}

/// An entry by the rules of enrichment.
#[derive(Debug, Clone)]
struct EntryModel {
    record: Option<u64>,
    refresh_at: CoarseInstant,
    fresh_until: CoarseInstant,
    stale_until: CoarseInstant,
    negative: Negative,
    negative_until: CoarseInstant,
    /// The outage in which its last lookup got no answer.
    outage: Option<u64>,
    /// The token that was refused at its last lookup.
    refused: Option<u64>,
}

/// A cache, and a model of it that follows the rules in the plainest way.
struct ModelledCache {
    cache: Cache,
    capacity: usize,
    entries: HashMap<PeerId, EntryModel>,
    sieve: SieveModel,
    evictions: u64,
    outage: u64,
    recovered: (CoarseInstant, Duration),
}

impl ModelledCache {
    fn new(capacity: usize) -> Self {
        let (cache, sieve) = (Cache::new(capacity), SieveModel::default());
        let recovered = (CoarseInstant::START, Duration::ZERO);
        ModelledCache { cache, capacity, entries: HashMap::new(), sieve, evictions: 0, outage: 1, recovered }
    }

    /// Returns the answer by the rules.
    fn expected(&self, peer: PeerId, now: CoarseInstant) -> ModelAnswer {
        let Some(entry) = self.entries.get(&peer) else { return ModelAnswer::Due(None) };
        let ended = entry.outage.is_some_and(|outage| outage != self.outage);
        let (at, window) = self.recovered;
        let deferred = (entry.refresh_at <= at || ended) && now < at.plus(window.mul_f64(fraction(peer, at, 0)));
        if let Some(record) = entry.record.filter(|_| now < entry.fresh_until) {
            return ModelAnswer::Fresh(record, now >= entry.refresh_at && !deferred);
        }
        let stale = entry.record.filter(|_| now < entry.stale_until);
        match (stale, entry.negative) {
            (Some(record), _) if deferred => ModelAnswer::Stale(record),
            (_, Negative::Failed) if ended => ModelAnswer::Retry(stale),
            _ if now >= entry.negative_until => ModelAnswer::Due(stale),
            (_, Negative::Absent) => ModelAnswer::Absent,
            (_, Negative::Failed) => match (entry.refused, stale) {
                (Some(token), _) => ModelAnswer::Refused(token, stale),
                (None, Some(record)) => ModelAnswer::Stale(record),
                (None, None) => ModelAnswer::Failed,
            },
        }
    }

    /// Returns the answer of the thread-local tier, or else of the shared cache by either of its paths.
    fn ask(&mut self, text: &str, peer: PeerId, now: CoarseInstant) -> CacheAnswer {
        self.sieve.visit(peer);
        let name = PeerName::Text(text);
        match self.cache.get_local_at(text, now) {
            LocalAnswer::Found(record) => CacheAnswer::Fresh { record, refresh: false },
            LocalAnswer::Absent => CacheAnswer::Absent,
            LocalAnswer::Failed => CacheAnswer::Failed,
            LocalAnswer::Miss(_) => {
                if let Some(record) = self.cache.get_record(peer, name, now) {
                    return CacheAnswer::Fresh { record, refresh: false };
                }
                let answer = self.cache.get(peer, now);
                self.cache.count(Answered::Unknown, peer, name, now);
                answer
            }
        }
    }

    /// Stores an update in the cache, and applies it to the model.
    fn insert(&mut self, peer: PeerId, update: CacheUpdate, apply: impl FnOnce(&mut EntryModel)) {
        drop(self.cache.insert(peer, update));
        if !self.entries.contains_key(&peer) {
            while self.entries.len() >= self.capacity {
                let victim = self.sieve.evict().unwrap();
                self.entries.remove(&victim).expect("an entry of the model");
                self.evictions += 1;
            }
            self.sieve.push(peer);
        }
        let none = CoarseInstant::START;
        let new = || EntryModel {
            record: None,
            refresh_at: none,
            fresh_until: none,
            stale_until: none,
            negative: Negative::Failed,
            negative_until: none,
            outage: None,
            refused: None,
        };
        apply(self.entries.entry(peer).or_insert_with(new));
    }

    fn assert_stats_are_true(&self) {
        let CacheStats { entries, bytes, evictions } = self.cache.stats();
        assert_eq!((entries, evictions), (self.entries.len(), self.evictions));
        let record = |peer: &PeerId| self.cache.record(*peer).map_or(0, |record| record.bytes());
        assert_eq!(bytes, self.entries.keys().map(record).sum::<usize>());
    }
}

/// A [`CacheAnswer`] with the version of the record in place of the record.
#[derive(Debug, PartialEq)]
enum ModelAnswer {
    Fresh(u64, bool),
    Stale(u64),
    Absent,
    Failed,
    Refused(u64, Option<u64>),
    Retry(Option<u64>),
    Due(Option<u64>),
}

/// Converts an answer, whose record must be that of `peer`.
fn model_answer(answer: &CacheAnswer, peer: PeerId) -> ModelAnswer {
    let version = |record: &Peer| {
        assert_eq!(record.peer_id(), Some(peer));
        record.get("version").and_then(serde_json::Value::as_u64).unwrap()
    };
    match answer {
        CacheAnswer::Fresh { record, refresh } => ModelAnswer::Fresh(version(record), *refresh),
        CacheAnswer::Stale(record) => ModelAnswer::Stale(version(record)),
        CacheAnswer::Absent => ModelAnswer::Absent,
        CacheAnswer::Failed => ModelAnswer::Failed,
        CacheAnswer::Refused { token, stale } => ModelAnswer::Refused(*token, stale.as_ref().map(version)),
        CacheAnswer::Retry(record) => ModelAnswer::Retry(record.as_ref().map(version)),
        CacheAnswer::Due(record) => ModelAnswer::Due(record.as_ref().map(version)),
    }
}

/// Plays writes, reads and the passing of time on two clients' caches, against a model.
///
/// Each call is answered by the rules, in whichever form the peer is written, and the evicted peers are those of a plain
/// SIEVE.
pub fn cache(data: &[u8]) {
    // On a new thread, so that this one's cache has nothing of the input before.
    thread::scope(|scope| scope.spawn(|| play(data)).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn play(data: &[u8]) {
    let mut choices = Choices(data);
    let capacity = choices.below(PEERS) + 1;
    let mut caches = [ModelledCache::new(capacity), ModelledCache::new(3)];
    let (mut now, mut version, mut held) = (CoarseInstant::now(), 0, Vec::new());
    while !choices.is_empty() {
        let (step, n) = (choices.byte(), choices.below(PEERS));
        // One step in eight is of the second client.
        let cache = &mut caches[usize::from(step >= 224)];
        let peer = peer(n);
        version += 1;
        match step % 16 {
            0..=5 => {
                let (form, times) = (choices.below(12), choices.below(70));
                let text = text(n, form);
                for _ in 0..times {
                    let answer = cache.ask(&text, peer, now);
                    assert_eq!(model_answer(&answer, peer), cache.expected(peer, now), "{text:?}");
                }
            }
            6 => {
                let answer = cache.ask(&text(n, 0), peer, now);
                let expected = model_answer(&answer, peer);
                assert_eq!(expected, cache.expected(peer, now));
                held.push((answer, expected, peer));
            }
            7 if !held.is_empty() => {
                // Whatever became of the peer, a handle stays what it was.
                let (answer, expected, peer) = held.swap_remove(n % held.len());
                assert_eq!(model_answer(&answer, peer), expected);
            }
            8 | 9 => {
                let [refresh_at, fresh_until, stale_until] = [(); 3].map(|()| now.plus(secs(&mut choices)));
                let fields = Map::from_iter([("version".to_owned(), version.into())]);
                let record = Peer::discovered(peer, fields);
                cache.insert(peer, CacheUpdate::Found { record, refresh_at, fresh_until, stale_until }, |entry| {
                    entry.record = Some(version);
                    entry.refresh_at = refresh_at;
                    entry.fresh_until = fresh_until;
                    entry.stale_until = stale_until;
                    entry.negative_until = CoarseInstant::START;
                    entry.outage = None;
                    entry.refused = None;
                });
            }
            10 => {
                let until = now.plus(secs(&mut choices));
                cache.insert(peer, CacheUpdate::Absent { until, is_removed: false }, |entry| {
                    entry.record = None;
                    entry.negative = Negative::Absent;
                    entry.negative_until = until;
                    entry.outage = None;
                    entry.refused = None;
                });
            }
            11 | 12 => {
                let until = now.plus(secs(&mut choices));
                let outage = (step % 16 == 11).then_some(cache.outage);
                // A third of the failures that were answered refuse a token.
                let refused = (outage.is_none() && n % 3 == 0).then_some(version);
                assert_eq!(cache.outage, cache.cache.outage());
                let update = match refused {
                    Some(token) => CacheUpdate::Refused { until, token },
                    None => CacheUpdate::Failed { until, outage },
                };
                cache.insert(peer, update, |entry| {
                    entry.negative = Negative::Failed;
                    entry.negative_until = until;
                    entry.outage = outage;
                    entry.refused = refused;
                    entry.refresh_at = entry.refresh_at.max(until);
                });
            }
            13 => {
                let is_removed = cache.cache.remove(peer).is_some();
                assert_eq!(is_removed, cache.entries.remove(&peer).is_some());
                cache.sieve.remove(peer);
            }
            14 => {
                let window = secs(&mut choices);
                cache.cache.end_outage(now, window);
                cache.outage += 1;
                cache.recovered = (now, window);
            }
            _ if n == 0 => {
                drop(cache.cache.clear());
                cache.entries.clear();
                cache.sieve = SieveModel::default();
            }
            _ => now = now.plus(secs(&mut choices)),
        }
        caches.iter().for_each(ModelledCache::assert_stats_are_true);
    }
    for (answer, expected, peer) in held {
        assert_eq!(model_answer(&answer, peer), expected);
    }
}

fn secs(choices: &mut Choices<'_>) -> Duration {
    Duration::from_secs(choices.below(256) as u64)
}
