//! What goes wrong, and when: the same for the same seed.

use std::time::Duration;

/// What the platform does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers.
    Well,
    /// It answers after 20 to 300 ms, and every tenth time too late.
    Slow,
    /// It reads the request and says nothing.
    Silent,
    /// It resets the connection.
    Reset,
    /// It closes the connection without an answer.
    Closed,
    /// 500, 502 or 503.
    Broken,
    /// 429 with `Retry-After: 1`.
    Busy,
    /// Half of the body.
    Truncated,
    /// Nobody listens.
    Refused,
    /// The rows that were delivered are pruned, each half second, and with them the cursor's (410).
    Pruned,
    /// The token is another, and the file still has the old one (401).
    Locked,
    /// Each of the above that is one request's, at random, every other time.
    Mixed,
}

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Everything,
    Registry,
    Inbox,
}

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
            Fault::Well => "well",
            Fault::Slow => "slow",
            Fault::Silent => "silent",
            Fault::Reset => "resets",
            Fault::Closed => "closes",
            Fault::Broken => "5xx",
            Fault::Busy => "429",
            Fault::Truncated => "cut bodies",
            Fault::Refused => "refused",
            Fault::Pruned => "pruned",
            Fault::Locked => "401",
            Fault::Mixed => "all at once",
        };
        match self.scope {
            Scope::Everything => fault.to_owned(),
            Scope::Registry => format!("{fault}, registry"),
            Scope::Inbox => format!("{fault}, inbox"),
        }
    }

    /// Whether lookups may fail in it.
    pub fn troubles_registry(&self) -> bool {
        self.scope != Scope::Inbox && !matches!(self.fault, Fault::Well | Fault::Pruned)
    }
}

/// All that there is, in the order in which the shortest runs take it.
const ALL: [(Fault, Scope); 16] = [
    (Fault::Silent, Scope::Registry),
    (Fault::Pruned, Scope::Inbox),
    (Fault::Refused, Scope::Everything),
    (Fault::Broken, Scope::Everything),
    (Fault::Mixed, Scope::Everything),
    (Fault::Locked, Scope::Everything),
    (Fault::Busy, Scope::Everything),
    (Fault::Reset, Scope::Everything),
    (Fault::Truncated, Scope::Everything),
    (Fault::Slow, Scope::Everything),
    (Fault::Silent, Scope::Everything),
    (Fault::Closed, Scope::Registry),
    (Fault::Silent, Scope::Inbox),
    (Fault::Reset, Scope::Registry),
    (Fault::Busy, Scope::Registry),
    (Fault::Broken, Scope::Inbox),
];

/// The phases that are not well, in so many seconds. The first and the last part of them is well.
pub fn script(seed: u64, seconds: u64) -> Vec<Phase> {
    let mut dice = Dice::new(seed);
    // In long runs there is time between them in which records have to be fresh again.
    let (first, last, fault, pause) = match seconds {
        0..20 => (1_500, 2_500, 700, 300),
        20..120 => (6_000, 8_000, 1_000, 700),
        _ => (15_000, 20_000, 7_000, 10_000),
    };
    let (mut phases, mut at, mut round) = (Vec::new(), first, Vec::new());
    loop {
        let length = fault * 3 / 4 + dice.roll(fault / 2);
        if at + length + last > seconds * 1_000 {
            return phases;
        }
        if round.is_empty() {
            round = ALL.to_vec();
            round.reverse();
            if seconds >= 120 {
                dice.shuffle(&mut round);
            }
        }
        let (fault, scope) = round.pop().unwrap_or(ALL[0]);
        let (from, to) = (Duration::from_millis(at), Duration::from_millis(at + length));
        phases.push(Phase { fault, scope, from, to });
        at += length + pause * 3 / 4 + dice.roll(pause / 2);
    }
}

/// Numbers that are random enough, and the same each time (SplitMix64).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// Another one, of which the same is true.
    pub fn of(seed: u64, what: u64) -> Self {
        Dice(Dice(seed ^ what.wrapping_mul(0xd134_2543_de82_ef95)).bits())
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.bits() % sides.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for n in (1..all.len()).rev() {
            all.swap(n, self.roll(n as u64 + 1) as usize);
        }
    }
}
