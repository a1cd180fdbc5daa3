//! What was seen, counted as it comes. It takes the same memory from its start to its end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use a2a_blocking::{Error, ErrorKind};

use super::station::lock;

/// How many wrongs of each kind are told.
const TOLD: u64 = 5;

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wrong {
    /// A row came before its turn: one before it is lost.
    Order,
    /// A row came again that nobody had asked for again.
    Repeat,
    /// On a calm platform a record was older than it may be, or there was none.
    Stale,
    /// So it was on a calm platform, but this client's lookups had failed: on a machine that is too busy.
    Excused,
    /// A record was older than it may be in an outage, after a `forget`, or the registry's no was.
    Old,
    /// A send's word on its delivery was not true.
    Delivery,
    /// An error of a kind that there is no reason for.
    Kind,
    /// A line of the log at error level that there is no reason for.
    Log,
    Panic,
}

const WRONGS: usize = 9;

#[derive(Default)]
pub struct Tally {
    wrongs: [AtomicU64; WRONGS],
    pub delivered: AtomicU64,
    pub again: AtomicU64,
    pub dead: AtomicU64,
    pub clients: AtomicU64,
    pub calm: AtomicU64,
    pub unknown: AtomicU64,
    pub sends_failed: AtomicU64,
    /// The most stalls that one thread had in one outage.
    pub stalls: AtomicUsize,
    /// How far records were behind the platform on a calm platform, and at all.
    pub behind_calm: Times,
    pub behind: Times,
    pub enrich: Times,
    pub nonblocking: Times,
    /// By how much sends, replies and notices were above their budget, and what the longest of these was.
    pub overrun: Times,
    pub latest: Mutex<String>,
    pub sends: Times,
    pub cancels: Times,
    pub stops: Times,
}

impl Tally {
    pub fn wrong(&self, what: Wrong, words: impl FnOnce() -> String) {
        if self.wrongs[what as usize].fetch_add(1, Relaxed) < TOLD {
            eprintln!("{what:?}: {}", words());
        }
    }

    pub fn count(&self, what: Wrong) -> u64 {
        self.wrongs[what as usize].load(Relaxed)
    }

    /// How far beyond its budget something was that is told by these words.
    pub fn beyond(&self, overrun: Duration, words: impl FnOnce() -> String) {
        let is_longest = overrun > self.overrun.longest();
        self.overrun.add(overrun);
        if is_longest {
            *lock(&self.latest) = words();
        }
    }

    /// An error of a call that talks to the platform: what is the platform's to cause is no wrong.
    pub fn error(&self, call: &str, error: &Error) {
        use ErrorKind::{
            Cancelled, Connect, Disconnected, Malformed, NotFound, Platform, Status, Timeout, Unauthorized,
        };
        match error.kind() {
            Connect | Disconnected | Timeout | Unauthorized | Status | Platform | NotFound | Cancelled | Malformed => {}
            _ => self.wrong(Wrong::Kind, || format!("{call}: {:?}: {error}", error.kind())),
        }
    }
}

/// How long something took, in buckets of about a fifth.
pub struct Times {
    buckets: Vec<AtomicU64>,
    longest: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Times { buckets: (0..256).map(|_| AtomicU64::new(0)).collect(), longest: AtomicU64::new(0) }
    }
}

impl Times {
    pub fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(4);
        let power = nanos.ilog2();
        let bucket = power as usize * 4 + (nanos >> (power - 2)) as usize % 4;
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.longest.fetch_max(nanos, Relaxed);
    }

    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Relaxed))
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// The time that such a part of them is not above, to a fifth.
    pub fn quantile(&self, part: f64) -> Duration {
        let (all, mut seen) = (self.count() as f64, 0);
        for (n, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Relaxed);
            if seen as f64 >= all * part {
                let end = (4 + n as u64 % 4 + 1) << (n / 4).saturating_sub(2);
                return Duration::from_nanos(end).min(self.longest());
            }
        }
        self.longest()
    }
}
