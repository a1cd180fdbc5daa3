//! The SIEVE queue: peers from the newest to the oldest, and the hand that walks from the oldest to the newest.
//!
//! The visited bits are not here but in the entries: the queue asks for them when it evicts.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use crate::peer::PeerId;

/// The index of no node.
const NONE: u32 = u32::MAX;

/// A peer's node in the queue, valid until the peer is removed or evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(u32);

#[derive(Debug, Clone, Copy)]
struct SieveNode {
    peer: PeerId,
    newer: u32,
    older: u32,
}

/// A doubly linked list in a vector. Free nodes are chained by `newer`.
#[derive(Debug)]
pub(super) struct SieveQueue {
    nodes: Vec<SieveNode>,
    free: u32,
    newest: u32,
    oldest: u32,
    hand: u32,
}

impl SieveQueue {
    pub(super) fn new() -> Self {
        SieveQueue { nodes: Vec::new(), free: NONE, newest: NONE, oldest: NONE, hand: NONE }
    }

    /// Adds a peer as the newest. Returns `None` if 2³² - 1 peers are in the queue.
    pub(super) fn push(&mut self, peer: PeerId) -> Option<NodeId> {
        let node = SieveNode { peer, newer: NONE, older: self.newest };
        let index = match self.free {
            NONE => {
                let index = u32::try_from(self.nodes.len()).ok().filter(|index| *index != NONE)?;
                self.nodes.push(node);
                index
            }
            index => {
                self.free = self.nodes[index as usize].newer;
                self.nodes[index as usize] = node;
                index
            }
        };
        match self.newest {
            NONE => self.oldest = index,
            newest => self.nodes[newest as usize].newer = index,
        }
        self.newest = index;
        Some(NodeId(index))
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        let index = node.0;
        let SieveNode { newer, older, .. } = self.nodes[index as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        if self.hand == index {
            self.hand = newer;
        }
        self.nodes[index as usize].newer = self.free;
        self.free = index;
    }

    /// Removes the first peer under the hand that is not retained, and returns it.
    ///
    /// The hand walks from the oldest to the newest, and then starts over. It calls `is_retained` at most twice for each
    /// peer, and returns `None` if all are still retained then.
    pub(super) fn evict(&mut self, mut is_retained: impl FnMut(PeerId) -> bool) -> Option<PeerId> {
        for _ in 0..=2 * self.nodes.len() {
            let index = if self.hand == NONE { self.oldest } else { self.hand };
            if index == NONE {
                return None;
            }
            let SieveNode { peer, newer, .. } = self.nodes[index as usize];
            if !is_retained(peer) {
                self.hand = index;
                self.remove(NodeId(index));
                return Some(peer);
            }
            self.hand = newer;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> PeerId {
        PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap()
    }

    #[test]
    fn hand_skips_visited_peers_once_and_continues_from_where_it_stood() {
        let mut queue = SieveQueue::new();
        for n in 0..4 {
            queue.push(peer(n)).unwrap();
        }
        let mut visited = vec![peer(0), peer(2)];
        let mut evict = |queue: &mut SieveQueue| {
            queue.evict(|peer| visited.iter().position(|v| *v == peer).map(|at| visited.remove(at)).is_some())
        };
        assert_eq!(evict(&mut queue), Some(peer(1)));
        queue.push(peer(4)).unwrap();
        assert_eq!(evict(&mut queue), Some(peer(3)), "the hand had passed 0, and skips 2 now");
        assert_eq!(evict(&mut queue), Some(peer(4)));
        assert_eq!(evict(&mut queue), Some(peer(0)), "the hand starts over, and 0 was not visited since");
        assert_eq!(evict(&mut queue), Some(peer(2)));
        assert_eq!(evict(&mut queue), None);
    }

    #[test]
    fn evict_returns_none_if_all_peers_stay_retained() {
        let mut queue = SieveQueue::new();
        queue.push(peer(1)).unwrap();
        assert_eq!(queue.evict(|_| true), None);
    }

    /// Other threads visit peers that the hand has passed, while it walks.
    #[test]
    fn each_peer_may_be_retained_twice() {
        let mut queue = SieveQueue::new();
        (0..10).for_each(|n| assert!(queue.push(peer(n)).is_some()));
        let mut calls = 0;
        let is_retained = |_| {
            calls += 1;
            calls < 20
        };
        assert_eq!(queue.evict(is_retained), Some(peer(9)));
    }

    #[test]
    fn free_nodes_are_reused() {
        let mut queue = SieveQueue::new();
        let kept = queue.push(peer(0)).unwrap();
        for n in 1..1000 {
            let node = queue.push(peer(n)).unwrap();
            queue.remove(node);
        }
        assert_eq!(queue.nodes.len(), 2);
        queue.remove(kept);
        assert_eq!((queue.newest, queue.oldest), (NONE, NONE));
    }
}
