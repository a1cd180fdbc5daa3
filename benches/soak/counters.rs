//! Counts and times of a run. They take the same memory throughout.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use a2a_blocking::{Error, ErrorKind};
use parking_lot::Mutex;

/// Number of violations of each kind that are printed.
const PRINTED: u64 = 5;

/// Something that must not happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Violation {
    /// A row came before its turn: the one before it is lost.
    Order,
    /// A row came again, although its callback had not asked for that.
    Repeat,
    /// On a healthy platform a record was too old, or there was none.
    Stale,
    /// As `Stale`, but this client's lookups had failed shortly before, because the machine was too busy.
    Excused,
    /// A record was too old even for an outage, or older than a `forget`, or the registry's no was too old.
    TooOld,
    /// A send reported the wrong delivery.
    Delivery,
    /// An error has a kind that the platform cannot have caused.
    Kind,
    /// An unexpected line in the log at error level.
    Log,
    Panic,
}

const VIOLATIONS: usize = 9;

#[derive(Default)]
pub struct Counters {
    violations: [AtomicU64; VIOLATIONS],
    /// Number of rows that callbacks acknowledged.
    pub acked: AtomicU64,
    /// Number of calls of a callback that repeated a row.
    pub retried: AtomicU64,
    pub dead_letters: AtomicU64,
    pub clients: AtomicU64,
    /// Number of answers that were checked against the rules for a healthy platform.
    pub healthy_checks: AtomicU64,
    /// Number of lookups without an answer.
    pub unknown: AtomicU64,
    pub sends_failed: AtomicU64,
    /// Largest number of stalls of one thread in one outage.
    pub max_stalls: AtomicUsize,
    /// Time by which records were behind the platform while it was healthy.
    pub behind_healthy: Histogram,
    /// Time by which records were behind the platform at any time.
    pub behind: Histogram,
    pub enrich: Histogram,
    pub nonblocking: Histogram,
    /// Time by which sends, replies and notices exceeded their budget.
    pub overrun: Histogram,
    /// Description of the call with the longest overrun.
    pub longest_overrun: Mutex<String>,
    pub sends: Histogram,
    pub cancels: Histogram,
    pub stops: Histogram,
}

impl Counters {
    /// Counts a violation. Prints the first few of each kind.
    pub fn violation(&self, kind: Violation, describe: impl FnOnce() -> String) {
        if self.violations[kind as usize].fetch_add(1, Relaxed) < PRINTED {
            eprintln!("{kind:?}: {}", describe());
        }
    }

    pub fn count(&self, kind: Violation) -> u64 {
        self.violations[kind as usize].load(Relaxed)
    }

    /// Records by how much a call exceeded its budget, and describes the longest one.
    pub fn record_overrun(&self, overrun: Duration, describe: impl FnOnce() -> String) {
        let is_longest = overrun > self.overrun.longest();
        self.overrun.add(overrun);
        if is_longest {
            *self.longest_overrun.lock() = describe();
        }
    }

    /// Checks the error of a call to the platform: it must have a kind that the platform can cause.
    pub fn check_error(&self, call: &str, error: &Error) {
        use ErrorKind::{
            Agent, Cancelled, Connect, Disconnected, Malformed, NotFound, Platform, Status, Timeout, Unauthorized,
        };
        match error.kind() {
            Connect | Disconnected | Timeout | Unauthorized | Status | Platform | Agent | NotFound | Cancelled
            | Malformed => {}
            _ => self.violation(Violation::Kind, || format!("{call}: {:?}: {error}", error.kind())),
        }
    }
}

/// A histogram of durations, in buckets of about a fifth.
pub struct Histogram {
    buckets: Vec<AtomicU64>,
    longest: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: (0..256).map(|_| AtomicU64::new(0)).collect(), longest: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub fn add(&self, time: Duration) {
        // Four buckets for each power of two, so the smallest time is 4 ns.
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

    /// Returns the upper end of the bucket that holds this quantile.
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
