//! The true state of the platform, and since when: its peers, its inboxes, and the messages that it accepted.
//!
//! It takes the same memory throughout a run.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::script::Random;

/// Number of workspaces that are polled.
pub const WORKSPACES: usize = 24;
/// Number of workspaces among them that two pollers share.
pub const SHARED: usize = 8;
pub const PEERS: usize = 96;
/// Number of peers that a workspace gets messages from.
pub const SENDERS: usize = 24;
/// Number of changes of one peer that are kept.
const CHANGES: usize = 64;
/// Number of delivered rows that are kept in an inbox.
const ROWS_KEPT: usize = 256;
/// Number of accepted messages that are kept.
const MESSAGES: usize = 4_096;

/// The true state of the platform.
pub struct PlatformState {
    peers: Vec<Mutex<PeerHistory>>,
    inboxes: Vec<Mutex<Inbox>>,
    messages: Mutex<VecDeque<u64>>,
}

/// The versions of a peer. A version's number is in the peer's name.
struct PeerHistory {
    /// Since when each version is true, and whether the peer exists in it.
    versions: VecDeque<(Instant, bool)>,
    /// Number of the first of `versions`.
    first: usize,
}

#[derive(Default)]
struct Inbox {
    /// The rows' times, in microseconds since 1970.
    rows: VecDeque<i64>,
    /// Number of the first of `rows`.
    first: u64,
}

impl PlatformState {
    pub fn new() -> Self {
        let peer = |_| {
            let mut versions = VecDeque::with_capacity(CHANGES + 1);
            versions.push_back((Instant::now(), true));
            Mutex::new(PeerHistory { versions, first: 0 })
        };
        let inbox = |_| Mutex::new(Inbox { rows: VecDeque::with_capacity(8_192), first: 0 });
        PlatformState {
            peers: (0..PEERS).map(peer).collect(),
            inboxes: (0..WORKSPACES).map(inbox).collect(),
            messages: Mutex::new(VecDeque::with_capacity(MESSAGES + 1)),
        }
    }

    /// Renames a peer, removes it or brings it back.
    pub fn change_peer(&self, peer: usize, exists: bool) {
        let mut peer = self.peers[peer].lock();
        peer.versions.push_back((Instant::now(), exists));
        if peer.versions.len() > CHANGES {
            peer.versions.pop_front();
            peer.first += 1;
        }
    }

    pub fn peer_exists(&self, peer: usize) -> bool {
        self.peers[peer].lock().versions.back().is_some_and(|(_, exists)| *exists)
    }

    /// Returns the current version of a peer, or `None` where there is no such peer.
    pub fn version(&self, peer: usize) -> Option<usize> {
        let peer = self.peers[peer].lock();
        let last = peer.first + peer.versions.len() - 1;
        peer.versions.back().filter(|(_, exists)| *exists).map(|_| last)
    }

    /// Returns for how long a version was out of date at `now`. A version that is no longer kept: at least for this long.
    pub fn behind(&self, peer: usize, version: usize, now: Instant) -> Duration {
        let peer = self.peers[peer].lock();
        let next = (version + 1).saturating_sub(peer.first);
        peer.versions.get(next).map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since))
    }

    /// Returns for how long the peer had existed at `now`: zero where it did not.
    pub fn existed_for(&self, peer: usize, now: Instant) -> Duration {
        let peer = self.peers[peer].lock();
        let back = peer.versions.iter().rev().take_while(|(_, exists)| *exists).last();
        back.map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since))
    }

    /// Appends a row to a workspace's inbox.
    pub fn commit_row(&self, workspace: usize) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut inbox = self.inboxes[workspace].lock();
        let at = inbox.rows.back().map_or(0, |last| last + 1).max(now.as_micros() as i64);
        inbox.rows.push_back(at);
    }

    /// Returns the number of rows that were ever committed.
    pub fn committed(&self, workspace: usize) -> u64 {
        let inbox = self.inboxes[workspace].lock();
        inbox.first + inbox.rows.len() as u64
    }

    /// Removes rows before `before`: all of them, or without `all` those beyond [`ROWS_KEPT`].
    pub fn prune(&self, workspace: usize, before: u64, all: bool) {
        let mut inbox = self.inboxes[workspace].lock();
        let kept = if all { 0 } else { ROWS_KEPT as u64 };
        while inbox.first + kept < before && inbox.rows.pop_front().is_some() {
            inbox.first += 1;
        }
    }

    /// Returns the rows after `row` with their times, the oldest first; `None` where `row` was pruned.
    pub fn rows_after(&self, workspace: usize, row: u64, limit: usize) -> Option<Vec<(u64, i64)>> {
        let inbox = self.inboxes[workspace].lock();
        let next = row.checked_sub(inbox.first)? as usize + 1;
        let rows = inbox.rows.iter().enumerate().skip(next).take(limit);
        Some(rows.map(|(n, at)| (inbox.first + n as u64, *at)).collect())
    }

    /// Returns the rows before a time as [`format_time`] writes it, the newest first.
    pub fn latest_rows(&self, workspace: usize, before: Option<&str>, limit: usize) -> Vec<(u64, i64)> {
        let inbox = self.inboxes[workspace].lock();
        let is_before = |at: i64| before.is_none_or(|before| format_time(at).as_str() < before);
        let rows = inbox.rows.iter().enumerate().rev().skip_while(|(_, at)| !is_before(**at)).take(limit);
        rows.map(|(n, at)| (inbox.first + n as u64, *at)).collect()
    }

    /// Records a message that was read whole and not refused.
    pub fn accept_message(&self, message: u64) {
        let mut messages = self.messages.lock();
        messages.push_back(message);
        if messages.len() > MESSAGES {
            messages.pop_front();
        }
    }

    pub fn has_accepted(&self, message: u64) -> bool {
        self.messages.lock().contains(&message)
    }
}

pub fn peer_id(peer: usize) -> String {
    format!("{peer:08x}-0000-4000-8000-{:012x}", peer * 7 + 1)
}

pub fn workspace_id(workspace: usize) -> String {
    format!("{workspace:08x}-1111-4000-8000-00000000abcd")
}

/// Reads the number of a peer or workspace from its id.
pub fn number(id: &str) -> Option<usize> {
    usize::from_str_radix(id.get(..8)?, 16).ok()
}

/// Returns the peer that sent a row. A quarter of a workspace's senders send more than half of its rows.
pub fn sender(seed: u64, workspace: usize, row: u64) -> usize {
    let mut random = Random::stream(seed, (workspace as u64) << 40 | row);
    let senders = if random.one_in(2) { SENDERS / 4 } else { SENDERS };
    (workspace * 4 + random.below(senders as u64) as usize) % PEERS
}

pub fn row_id(workspace: usize, row: u64) -> String {
    format!("{workspace:08x}-2222-4000-8000-{row:012x}")
}

/// Reads the number of a row from its id.
pub fn row_number(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(24..)?, 16).ok()
}

/// Writes microseconds since 1970 as the platform does, without the zone.
pub fn format_time(micros: i64) -> String {
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
