#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use super::{NodeId, SieveQueue};
use crate::peer::PeerId;
use crate::test_util::Choices;

/// SIEVE as its paper describes it, on a list that is searched: the oldest first, each with its visited bit.
#[derive(Debug, Default, Clone)]
pub(in crate::cache) struct SieveModel {
    pub(in crate::cache) queue: Vec<(PeerId, bool)>,
    /// The peer under the hand. `None`: it starts at the oldest.
    hand: Option<PeerId>,
}

impl SieveModel {
    fn position(&self, peer: PeerId) -> Option<usize> {
        self.queue.iter().position(|(other, _)| *other == peer)
    }

    pub(in crate::cache) fn push(&mut self, peer: PeerId) {
        self.queue.push((peer, false));
    }

    pub(in crate::cache) fn visit(&mut self, peer: PeerId) {
        if let Some(at) = self.position(peer) {
            self.queue[at].1 = true;
        }
    }

    pub(in crate::cache) fn remove(&mut self, peer: PeerId) {
        let Some(at) = self.position(peer) else { return };
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
            let at = self.hand.and_then(|hand| self.position(hand)).unwrap_or(0);
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

/// Pushes, visits, removes and evicts peers, against a model: they are evicted in the same order.
pub fn sieve(data: &[u8]) {
    let mut choices = Choices(data);
    let (mut queue, mut model) = (SieveQueue::new(), SieveModel::default());
    let mut nodes: Vec<(PeerId, NodeId)> = Vec::new();
    let mut number = 0_u32;
    while !choices.is_empty() {
        match choices.below(8) {
            0..=2 => {
                number += 1;
                let peer = PeerId::from_text(&format!("{number:08x}-0000-4000-8000-000000000000")).unwrap();
                nodes.push((peer, queue.push(peer).unwrap()));
                model.push(peer);
            }
            3 | 4 if !nodes.is_empty() => model.visit(nodes[choices.below(nodes.len().min(256))].0),
            5 if !nodes.is_empty() => {
                let (peer, node) = nodes.swap_remove(choices.below(nodes.len().min(256)));
                queue.remove(node);
                model.remove(peer);
            }
            _ => {
                let mut visited: Vec<PeerId> =
                    model.queue.iter().filter(|(_, visited)| *visited).map(|(peer, _)| *peer).collect();
                let mut take = |peer| visited.iter().position(|other| *other == peer).map(|at| visited.swap_remove(at));
                let evicted = queue.evict(|peer| take(peer).is_some());
                assert_eq!(evicted, model.evict());
                nodes.retain(|(peer, _)| Some(*peer) != evicted);
            }
        }
    }
    // The remaining peers are evicted in that order, too.
    for _ in 0..nodes.len() {
        model.queue.iter_mut().for_each(|(_, visited)| *visited = false);
        assert_eq!(queue.evict(|_| false), model.evict());
    }
    assert_eq!(queue.evict(|_| false), None);
}
