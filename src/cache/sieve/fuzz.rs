#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use super::{NodeId, SieveQueue};
use crate::peer::PeerId;
use crate::test_util::Choices;

/// SIEVE as its paper has it, on a list that is searched: the oldest first, each with whether it was visited.
#[derive(Debug, Default, Clone)]
pub(in crate::cache) struct Sieve {
    pub(in crate::cache) queue: Vec<(PeerId, bool)>,
    /// The peer that the hand is at; at none it begins at the oldest.
    hand: Option<PeerId>,
}

impl Sieve {
    fn at(&self, peer: PeerId) -> Option<usize> {
        self.queue.iter().position(|(other, _)| *other == peer)
    }

    pub(in crate::cache) fn push(&mut self, peer: PeerId) {
        self.queue.push((peer, false));
    }

    pub(in crate::cache) fn visit(&mut self, peer: PeerId) {
        if let Some(at) = self.at(peer) {
            self.queue[at].1 = true;
        }
    }

    pub(in crate::cache) fn remove(&mut self, peer: PeerId) {
        let Some(at) = self.at(peer) else { return };
        if self.hand == Some(peer) {
            self.hand = self.queue.get(at + 1).map(|(newer, _)| *newer);
        }
        self.queue.remove(at);
    }

    pub(in crate::cache) fn evict(&mut self) -> Option<PeerId> {
        if self.queue.is_empty() {
            return None;
        }
        loop {
            let at = self.hand.and_then(|hand| self.at(hand)).unwrap_or(0);
            let (peer, visited) = self.queue[at];
            if !visited {
                self.hand = Some(peer);
                self.remove(peer);
                return Some(peer);
            }
            self.queue[at].1 = false;
            self.hand = self.queue.get(at + 1).map(|(newer, _)| *newer);
        }
    }
}

/// Peers come, are asked for, leave and are evicted: in the order that the plain SIEVE has them.
pub fn sieve(data: &[u8]) {
    let mut choices = Choices(data);
    let (mut order, mut sieve) = (SieveQueue::new(), Sieve::default());
    let mut places: Vec<(PeerId, NodeId)> = Vec::new();
    let mut number = 0_u32;
    while !choices.is_empty() {
        match choices.below(8) {
            0..=2 => {
                number += 1;
                let peer = PeerId::from_text(&format!("{number:08x}-0000-4000-8000-000000000000")).unwrap();
                places.push((peer, order.push(peer).unwrap()));
                sieve.push(peer);
            }
            3 | 4 if !places.is_empty() => sieve.visit(places[choices.below(places.len().min(256))].0),
            5 if !places.is_empty() => {
                let (peer, place) = places.swap_remove(choices.below(places.len().min(256)));
                order.remove(place);
                sieve.remove(peer);
            }
            _ => {
                let mut visited: Vec<PeerId> =
                    sieve.queue.iter().filter(|(_, visited)| *visited).map(|(peer, _)| *peer).collect();
                let take = |peer| visited.iter().position(|other| *other == peer).map(|at| visited.swap_remove(at));
                let mut take = take;
                let evicted = order.evict(|peer| take(peer).is_some());
                assert_eq!(evicted, sieve.evict());
                places.retain(|(peer, _)| Some(*peer) != evicted);
            }
        }
    }
    // What is left leaves in that order, too.
    for _ in 0..places.len() {
        sieve.queue.iter_mut().for_each(|(_, visited)| *visited = false);
        assert_eq!(order.evict(|_| false), sieve.evict());
    }
    assert_eq!(order.evict(|_| false), None);
}
