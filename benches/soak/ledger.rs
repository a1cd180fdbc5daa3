//! What is true on the platform, and since when: its peers, its inboxes, and the messages that it took. All of it
//! takes the same memory from its start to its end.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Workspaces that are polled, and those among them that two pollers share.
pub const WORKSPACES: usize = 24;
pub const SHARED: usize = 8;
pub const PEERS: usize = 96;
/// Of how many peers a workspace hears.
pub const HEARD: usize = 24;
/// How many changes of one peer are known.
const CHANGES: usize = 64;
/// How many rows are kept that were delivered, and how many messages are known.
const ROWS_KEPT: usize = 256;
const MESSAGES: usize = 4_096;

pub struct Ledger {
    peers: Vec<Mutex<Peer>>,
    inboxes: Vec<Mutex<Inbox>>,
    messages: Mutex<VecDeque<u64>>,
}

/// A peer's versions: since when each is true, and whether it is there in it.
struct Peer {
    versions: VecDeque<(Instant, bool)>,
    /// The number of the first of them.
    first: usize,
}

#[derive(Default)]
struct Inbox {
    /// The rows' times in microseconds since 1970.
    rows: VecDeque<i64>,
    /// The number of the first of them.
    first: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    pub fn new() -> Self {
        let peer = |_| {
            let mut versions = VecDeque::with_capacity(CHANGES + 1);
            versions.push_back((Instant::now(), true));
            Mutex::new(Peer { versions, first: 0 })
        };
        let inbox = |_| Mutex::new(Inbox { rows: VecDeque::with_capacity(8_192), first: 0 });
        Ledger {
            peers: (0..PEERS).map(peer).collect(),
            inboxes: (0..WORKSPACES).map(inbox).collect(),
            messages: Mutex::new(VecDeque::with_capacity(MESSAGES + 1)),
        }
    }

    /// A peer is renamed, removed or comes back.
    pub fn change(&self, peer: usize, is_there: bool) {
        let mut peer = lock(&self.peers[peer]);
        peer.versions.push_back((Instant::now(), is_there));
        if peer.versions.len() > CHANGES {
            peer.versions.pop_front();
            peer.first += 1;
        }
    }

    pub fn is_there(&self, peer: usize) -> bool {
        lock(&self.peers[peer]).versions.back().is_some_and(|(_, is_there)| *is_there)
    }

    /// The present version of a peer that is there.
    pub fn version(&self, peer: usize) -> Option<usize> {
        let peer = lock(&self.peers[peer]);
        let last = peer.first + peer.versions.len() - 1;
        peer.versions.back().filter(|(_, is_there)| *is_there).map(|_| last)
    }

    /// How long a version was no longer true at that moment. Of one that is too old to be known: at least so long.
    pub fn behind(&self, peer: usize, version: usize, at: Instant) -> Duration {
        let peer = lock(&self.peers[peer]);
        let next = (version + 1).saturating_sub(peer.first);
        peer.versions.get(next).map_or(Duration::ZERO, |(since, _)| at.saturating_duration_since(*since))
    }

    /// How long it was no longer true that there is no such peer.
    pub fn absence_behind(&self, peer: usize, at: Instant) -> Duration {
        let peer = lock(&self.peers[peer]);
        let back = peer.versions.iter().rev().take_while(|(_, is_there)| *is_there).last();
        back.map_or(Duration::ZERO, |(since, _)| at.saturating_duration_since(*since))
    }

    /// A row comes up in a workspace's inbox.
    pub fn commit(&self, workspace: usize) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut inbox = lock(&self.inboxes[workspace]);
        let at = inbox.rows.back().map_or(0, |last| last + 1).max(now.as_micros() as i64);
        inbox.rows.push_back(at);
    }

    /// How many rows there were in all.
    pub fn committed(&self, workspace: usize) -> u64 {
        let inbox = lock(&self.inboxes[workspace]);
        inbox.first + inbox.rows.len() as u64
    }

    /// Prunes rows before this one: all of them, or only those that are too many.
    pub fn prune(&self, workspace: usize, before: u64, all: bool) {
        let mut inbox = lock(&self.inboxes[workspace]);
        let kept = if all { 0 } else { ROWS_KEPT as u64 };
        while inbox.first + kept < before && inbox.rows.pop_front().is_some() {
            inbox.first += 1;
        }
    }

    /// The rows after this one, the oldest first, with their times; `None` where it is gone.
    pub fn after(&self, workspace: usize, row: u64, limit: usize) -> Option<Vec<(u64, i64)>> {
        let inbox = lock(&self.inboxes[workspace]);
        let next = row.checked_sub(inbox.first)? as usize + 1;
        let rows = inbox.rows.iter().enumerate().skip(next).take(limit);
        Some(rows.map(|(n, at)| (inbox.first + n as u64, *at)).collect())
    }

    /// The rows before a time as [`time`] writes it, the newest first.
    pub fn latest(&self, workspace: usize, before: Option<&str>, limit: usize) -> Vec<(u64, i64)> {
        let inbox = lock(&self.inboxes[workspace]);
        let is_before = |at: i64| before.is_none_or(|before| time(at).as_str() < before);
        let rows = inbox.rows.iter().enumerate().rev().skip_while(|(_, at)| !is_before(**at)).take(limit);
        rows.map(|(n, at)| (inbox.first + n as u64, *at)).collect()
    }

    /// A message was read whole, and was not refused.
    pub fn take(&self, message: u64) {
        let mut messages = lock(&self.messages);
        messages.push_back(message);
        if messages.len() > MESSAGES {
            messages.pop_front();
        }
    }

    pub fn has_taken(&self, message: u64) -> bool {
        lock(&self.messages).contains(&message)
    }
}

pub fn peer_id(peer: usize) -> String {
    format!("{peer:08x}-0000-4000-8000-{:012x}", peer * 7 + 1)
}

pub fn workspace_id(workspace: usize) -> String {
    format!("{workspace:08x}-1111-4000-8000-00000000abcd")
}

/// The number at the start of an id of ours.
pub fn number(id: &str) -> Option<usize> {
    usize::from_str_radix(id.get(..8)?, 16).ok()
}

/// Whom the row of a workspace is from: half of them from a quarter of those that it hears of.
pub fn sender(seed: u64, workspace: usize, row: u64) -> usize {
    let mut dice = super::script::Dice::of(seed, (workspace as u64) << 40 | row);
    let heard = if dice.one_in(2) { HEARD / 4 } else { HEARD };
    (workspace * 4 + dice.roll(heard as u64) as usize) % PEERS
}

pub fn row_id(workspace: usize, row: u64) -> String {
    format!("{workspace:08x}-2222-4000-8000-{row:012x}")
}

pub fn row_number(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(24..)?, 16).ok()
}

/// Microseconds since 1970 as the platform writes them, without the zone.
pub fn time(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days after 1970: https://howardhinnant.github.io/date_algorithms.html
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}
