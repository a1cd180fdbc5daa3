//! The loop brake: two agents that answer everything answer each other for ever, and this ends it.
//!
//! It counts replies to a peer that answer what the peer wrote after our last reply. In a loop each one does. In a burst
//! that was written before we answered none does, however long it is.
//!
//! A row's time is by the platform's clock, and our reply's by ours. A row was made before it was listed, so the newest row
//! of a listing bounds how far the clocks are apart. The best bound of the last minute is used. It errs to one side only: a
//! row may seem later than it is, by as much as the newest row of that minute waited for its listing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::peer::PeerId;
use crate::util::clock::CoarseInstant;
use crate::util::sync::Mutex;
use crate::wire::{Row, Timestamp};

/// Time in which replies are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Number of peers that are remembered. The one that was answered longest ago makes room.
const MAX_PEERS: usize = 1_024;

/// The brake of one poller. Its messages share it.
pub(super) struct LoopBrake {
    /// Number of counted replies to one peer in a minute.
    limit: u32,
    state: Mutex<BrakeState>,
}

#[derive(Default)]
struct BrakeState {
    clocks: ClockDistance,
    peers: HashMap<PeerId, PeerReplies>,
}

/// Our replies to one peer.
struct PeerReplies {
    /// When the last one that was not refused was begun. What it causes comes later, maybe before its answer is here.
    last: CoarseInstant,
    /// When those that count were begun.
    counted: VecDeque<CoarseInstant>,
}

/// A message, as far as the brake has to know it. Clones share the brake.
#[derive(Clone)]
pub(super) struct BrakeTicket {
    brake: Arc<LoopBrake>,
    /// When the row was made, by our clock, or a little later.
    created: CoarseInstant,
}

impl LoopBrake {
    /// Makes a brake that lets `limit` counted replies to one peer through in a minute.
    pub(super) fn new(limit: u32) -> Arc<Self> {
        Arc::new(LoopBrake { limit, state: Mutex::default() })
    }

    /// Records that these rows were listed by `now`.
    pub(super) fn note_listing<'a>(&self, rows: impl Iterator<Item = &'a Row>, now: CoarseInstant) {
        if let Some(newest) = rows.filter_map(|row| row.at).max() {
            self.state.lock().clocks.note(newest, now);
        }
    }

    /// Returns the ticket of a message whose row has the time `at` and was listed by `now`.
    pub(super) fn ticket(self: &Arc<Self>, at: Option<Timestamp>, now: CoarseInstant) -> BrakeTicket {
        let created = at.and_then(|at| self.state.lock().clocks.by_ours(at)).unwrap_or(now);
        BrakeTicket { brake: self.clone(), created }
    }
}

impl BrakeTicket {
    /// Returns whether a reply to `peer` that begins at `now` may be sent.
    pub(super) fn admits(&self, peer: PeerId, now: CoarseInstant) -> bool {
        let mut state = self.brake.state.lock();
        let Some(replies) = state.peers.get_mut(&peer).filter(|replies| self.created > replies.last) else {
            return true;
        };
        replies.counted.retain(|at| now.since(*at) < WINDOW);
        u32::try_from(replies.counted.len()).is_ok_and(|counted| counted < self.brake.limit)
    }

    /// Records a reply to `peer` that began at `started` and may have arrived.
    pub(super) fn note_reply(&self, peer: PeerId, started: CoarseInstant) {
        let peers = &mut self.brake.state.lock().peers;
        match peers.get_mut(&peer) {
            Some(replies) => {
                if self.created > replies.last {
                    replies.counted.push_back(started);
                }
                replies.last = replies.last.max(started);
            }
            None => {
                if peers.len() >= MAX_PEERS {
                    let oldest = peers.iter().min_by_key(|(_, replies)| replies.last).map(|(peer, _)| *peer);
                    oldest.map(|oldest| peers.remove(&oldest));
                }
                peers.insert(peer, PeerReplies { last: started, counted: VecDeque::new() });
            }
        }
    }

    /// Returns the number of counted replies above which the brake refuses.
    pub(super) fn limit(&self) -> u32 {
        self.brake.limit
    }
}

/// The least by which the platform's clock is ahead of ours, in nanoseconds.
#[derive(Default)]
struct ClockDistance {
    /// The largest distance of this half a minute and of the one before, so that a clock that was set back is believed.
    largest: [Option<i64>; 2],
    /// When this half a minute began.
    since: Option<CoarseInstant>,
}

impl ClockDistance {
    fn note(&mut self, newest: Timestamp, now: CoarseInstant) {
        let ahead = newest.nanos().saturating_sub(nanos_of(now));
        let age = self.since.map(|since| now.since(since));
        if age.is_none_or(|age| age >= WINDOW / 2) {
            let before = self.largest[0].filter(|_| age.is_some_and(|age| age < WINDOW));
            self.largest = [None, before];
            self.since = Some(now);
        }
        self.largest[0] = self.largest[0].max(Some(ahead));
    }

    /// Converts a row's time to one of our clock: that, or one a little later.
    fn by_ours(&self, at: Timestamp) -> Option<CoarseInstant> {
        let ahead = self.largest.iter().flatten().max()?;
        let nanos = u64::try_from(at.nanos().saturating_sub(*ahead)).unwrap_or(0);
        Some(CoarseInstant::START.plus(Duration::from_nanos(nanos)))
    }
}

fn nanos_of(now: CoarseInstant) -> i64 {
    i64::try_from(now.since(CoarseInstant::START).as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By how many nanoseconds the platform's clock is ahead of ours.
    const AHEAD: i64 = 1_234_567_891_234_567_890;

    fn peer(n: usize) -> PeerId {
        PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap()
    }

    fn at(millis: u64) -> CoarseInstant {
        CoarseInstant::START.plus(Duration::from_millis(millis))
    }

    /// Lists rows that were made at these times, by our clock.
    fn list(brake: &Arc<LoopBrake>, made: &[u64], listed: u64) -> Vec<BrakeTicket> {
        let time = |made: &u64| Timestamp::from_nanos(AHEAD).plus(Duration::from_millis(*made));
        let row = |made| Row { id: String::new(), at: Some(time(made)), bytes: 0, fields: serde_json::Map::new() };
        brake.note_listing(made.iter().map(row).collect::<Vec<_>>().iter(), at(listed));
        made.iter().map(|made| brake.ticket(Some(time(made)), at(listed))).collect()
    }

    /// Replies where the brake admits it. Returns whether it did.
    fn reply(ticket: &BrakeTicket, n: usize, millis: u64) -> bool {
        let admits = ticket.admits(peer(n), at(millis));
        if admits {
            ticket.note_reply(peer(n), at(millis));
        }
        admits
    }

    #[test]
    fn loop_is_braked_after_the_limit_and_let_go_on_after_a_minute() {
        let brake = LoopBrake::new(30);
        let turn = |n: u64| reply(&list(&brake, &[n * 100], n * 100 + 5)[0], 1, n * 100 + 6);
        // The first one answers nothing that came after a reply.
        assert_eq!((1..=100).filter(|n| turn(*n)).count(), 31);
        assert!((101..=601).all(|n| !turn(n)), "until the first ones are a minute old");
        assert!(turn(603) && reply(&list(&brake, &[700], 60_400)[0], 2, 60_401), "another peer is another loop");
    }

    #[test]
    fn burst_is_answered_whatever_its_length_and_pages() {
        for page in [1, 7, 500] {
            let brake = LoopBrake::new(30);
            // The poller is up to date before the burst.
            reply(&list(&brake, &[900], 900)[0], 1, 901);
            let burst: Vec<u64> = (0..500).map(|n| 1_000 + n).collect();
            let mut now = 2_000;
            for rows in burst.chunks(page) {
                now += 10;
                for ticket in list(&brake, rows, now) {
                    now += 10;
                    assert!(reply(&ticket, 1, now), "page of {page}");
                }
            }
        }
    }

    #[test]
    fn clock_that_was_set_back_is_believed_within_a_minute() {
        let brake = LoopBrake::new(30);
        list(&brake, &[3_600_000], 1);
        let turn = |n: u64| reply(&list(&brake, &[n * 100], n * 100 + 5)[0], 1, n * 100 + 6);
        let answered = (1..=2_000).filter(|n| turn(*n)).count();
        assert!((600..=800).contains(&answered), "{answered} in 200 s");
    }

    #[test]
    fn row_without_a_time_counts_from_its_listing() {
        let brake = LoopBrake::new(1);
        let turn = |n: u64| reply(&brake.ticket(None, at(n * 100)), 1, n * 100 + 1);
        assert_eq!([1, 2, 3, 4].map(turn), [true, true, false, false]);
    }

    #[test]
    fn peers_beyond_the_bound_are_forgotten_the_oldest_first() {
        let brake = LoopBrake::new(1);
        for n in 0..=MAX_PEERS {
            assert!(reply(&brake.ticket(None, at(n as u64)), n, n as u64));
        }
        let peers = &brake.state.lock().peers;
        assert!(peers.len() == MAX_PEERS && !peers.contains_key(&peer(0)) && peers.contains_key(&peer(1)));
    }
}
