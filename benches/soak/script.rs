//! The script of faults: which fault hits which endpoints, and when. The same for the same seed.

use std::time::Duration;

/// The platform's behaviour towards a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers.
    Healthy,
    /// It answers after 20 to 300 ms, and every tenth time after 700 ms, which is too late.
    Slow,
    /// It reads the request and never answers.
    Silent,
    /// It resets the connection.
    Reset,
    /// It closes the connection without an answer.
    Closed,
    /// It answers 500, 502 or 503.
    ServerError,
    /// It answers 429 with `Retry-After: 1`.
    RateLimited,
    /// It sends half of the body.
    Truncated,
    /// It does not listen.
    Refused,
    /// It prunes the delivered rows twice a second, and the cursor's row with them (410).
    Pruned,
    /// It takes another token than the one in the file (401).
    TokenChanged,
    /// It chooses among the faults of a single request at random, and is healthy in almost half of the cases.
    Mixed,
}

/// The endpoints that a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    Registry,
    Inbox,
}

/// A time span in which one fault hits some endpoints.
#[derive(Debug, Clone)]
pub struct Phase {
    pub fault: Fault,
    pub scope: Scope,
    pub from: Duration,
    pub to: Duration,
}

impl Phase {
    pub fn name(&self) -> String {
        let fault = match self.fault {
            Fault::Healthy => "healthy",
            Fault::Slow => "slow",
            Fault::Silent => "silent",
            Fault::Reset => "resets",
            Fault::Closed => "closes",
            Fault::ServerError => "5xx",
            Fault::RateLimited => "429",
            Fault::Truncated => "cut bodies",
            Fault::Refused => "refused",
            Fault::Pruned => "pruned",
            Fault::TokenChanged => "401",
            Fault::Mixed => "mixed",
        };
        match self.scope {
            Scope::All => fault.to_owned(),
            Scope::Registry => format!("{fault}, registry"),
            Scope::Inbox => format!("{fault}, inbox"),
        }
    }

    /// Returns whether lookups may fail in this phase.
    pub fn affects_registry(&self) -> bool {
        self.scope != Scope::Inbox && !matches!(self.fault, Fault::Healthy | Fault::Pruned)
    }
}

/// All combinations, in the order in which a short run takes them.
const ALL: [(Fault, Scope); 16] = [
    (Fault::Silent, Scope::Registry),
    (Fault::Pruned, Scope::Inbox),
    (Fault::Refused, Scope::All),
    (Fault::ServerError, Scope::All),
    (Fault::Mixed, Scope::All),
    (Fault::TokenChanged, Scope::All),
    (Fault::RateLimited, Scope::All),
    (Fault::Reset, Scope::All),
    (Fault::Truncated, Scope::All),
    (Fault::Slow, Scope::All),
    (Fault::Silent, Scope::All),
    (Fault::Closed, Scope::Registry),
    (Fault::Silent, Scope::Inbox),
    (Fault::Reset, Scope::Registry),
    (Fault::RateLimited, Scope::Registry),
    (Fault::ServerError, Scope::Inbox),
];

/// Returns the phases of a run of `seconds`, in order. The platform is healthy before, between and after them.
pub fn script(seed: u64, seconds: u64) -> Vec<Phase> {
    let mut random = Random::new(seed);
    // Milliseconds. In long runs the pauses are long enough for records to become fresh again.
    let (before, after, fault_length, pause) = match seconds {
        0..20 => (1_500, 2_500, 700, 300),
        20..120 => (6_000, 8_000, 1_000, 700),
        _ => (15_000, 20_000, 7_000, 10_000),
    };
    let (mut phases, mut start, mut round) = (Vec::new(), before, Vec::new());
    loop {
        let length = fault_length * 3 / 4 + random.below(fault_length / 2);
        if start + length + after > seconds * 1_000 {
            return phases;
        }
        if round.is_empty() {
            round = ALL.to_vec();
            round.reverse();
            if seconds >= 120 {
                random.shuffle(&mut round);
            }
        }
        let (fault, scope) = round.pop().unwrap_or(ALL[0]);
        let (from, to) = (Duration::from_millis(start), Duration::from_millis(start + length));
        phases.push(Phase { fault, scope, from, to });
        start += length + pause * 3 / 4 + random.below(pause / 2);
    }
}

/// A seeded random number generator: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Returns the generator of one of a seed's independent streams.
    pub fn stream(seed: u64, stream: u64) -> Self {
        Random(Random(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95)).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, or 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Returns `true` in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for n in (1..all.len()).rev() {
            all.swap(n, self.below(n as u64 + 1) as usize);
        }
    }
}
