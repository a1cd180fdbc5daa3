//! The order of the SIEVE: peers from the newest to the oldest, and the hand that walks them.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use crate::peer::PeerId;

/// Negative node.
const NONE: u32 = u32::MAX;

/// A place in the order, valid until it is removed or evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(u32);

#[derive(Debug, Clone, Copy)]
struct Node {
    peer: PeerId,
    newer: u32,
    older: u32,
}

/// A doubly linked list in a vector, with free nodes chained by `newer`.
#[derive(Debug)]
pub(super) struct SieveQueue {
    nodes: Vec<Node>,
    free: u32,
    newest: u32,
    oldest: u32,
    hand: u32,
}

impl SieveQueue {
    pub(super) fn new() -> Self {
        SieveQueue { nodes: Vec::new(), free: NONE, newest: NONE, oldest: NONE, hand: NONE }
    }

    /// Puts a peer in front of the newest. `None` where 2³² - 1 peers are in the order.
    pub(super) fn push(&mut self, peer: PeerId) -> Option<NodeId> {
        let node = Node { peer, newer: NONE, older: self.newest };
        let at = match self.free {
            NONE => {
                let at = u32::try_from(self.nodes.len()).ok().filter(|at| *at != NONE)?;
                self.nodes.push(node);
                at
            }
            at => {
                self.free = self.nodes[at as usize].newer;
                self.nodes[at as usize] = node;
                at
            }
        };
        match self.newest {
            NONE => self.oldest = at,
            newest => self.nodes[newest as usize].newer = at,
        }
        self.newest = at;
        Some(NodeId(at))
    }

    pub(super) fn remove(&mut self, place: NodeId) {
        let at = place.0;
        let Node { newer, older, .. } = self.nodes[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        if self.hand == at {
            self.hand = newer;
        }
        self.nodes[at as usize].newer = self.free;
        self.free = at;
    }

    /// Removes the first peer under the hand that is not `spared`, and tells which. The hand walks from
    /// the oldest to the newest and round again; `spared` is asked at most twice for each peer.
    pub(super) fn evict(&mut self, mut spared: impl FnMut(PeerId) -> bool) -> Option<PeerId> {
        for _ in 0..=2 * self.nodes.len() {
            let at = if self.hand == NONE { self.oldest } else { self.hand };
            if at == NONE {
                return None;
            }
            let Node { peer, newer, .. } = self.nodes[at as usize];
            if !spared(peer) {
                self.hand = at;
                self.remove(NodeId(at));
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

    /// The order that a peer leaves in is SIEVE's: the visited one is passed over once.
    #[test]
    fn the_hand_spares_the_visited_and_goes_on_from_where_it_stood() {
        let mut order = SieveQueue::new();
        for n in 0..4 {
            order.push(peer(n)).unwrap();
        }
        let mut visited = vec![peer(0), peer(2)];
        let mut evict = |order: &mut SieveQueue| {
            order.evict(|peer| visited.iter().position(|v| *v == peer).map(|at| visited.remove(at)).is_some())
        };
        assert_eq!(evict(&mut order), Some(peer(1)));
        order.push(peer(4)).unwrap();
        assert_eq!(evict(&mut order), Some(peer(3)), "the hand had passed 0, and spares 2 now");
        assert_eq!(evict(&mut order), Some(peer(4)));
        assert_eq!(evict(&mut order), Some(peer(0)), "round again, and nobody has asked for 0 since");
        assert_eq!(evict(&mut order), Some(peer(2)));
        assert_eq!(evict(&mut order), None);
    }

    #[test]
    fn all_spared_for_ever_evicts_nobody_and_ends() {
        let mut order = SieveQueue::new();
        order.push(peer(1)).unwrap();
        assert_eq!(order.evict(|_| true), None);
    }

    /// While the hand walks, other threads ask for those that it has passed.
    #[test]
    fn each_may_be_spared_twice() {
        let mut order = SieveQueue::new();
        (0..10).for_each(|n| assert!(order.push(peer(n)).is_some()));
        let mut asked = 0;
        let spared = |_| {
            asked += 1;
            asked < 20
        };
        assert_eq!(order.evict(spared), Some(peer(9)));
    }

    #[test]
    fn places_are_used_again() {
        let mut order = SieveQueue::new();
        let kept = order.push(peer(0)).unwrap();
        for n in 1..1000 {
            let place = order.push(peer(n)).unwrap();
            order.remove(place);
        }
        assert_eq!(order.nodes.len(), 2);
        order.remove(kept);
        assert_eq!((order.newest, order.oldest), (NONE, NONE));
    }
}
