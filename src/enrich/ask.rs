//! A call: what this thread keeps, what the cache has, and only then a lookup.

use super::Enricher;
use super::lookup::{Due, Lookup, Source};
use crate::cache::Known;
use crate::clock::{Deadline, Tick};
use crate::peer::{No, PeerId, PeerRef, Recalled};

impl Enricher {
    /// What is known of the peer, or what one lookup brings.
    #[inline]
    pub(crate) fn lookup(&self, peer: &impl PeerRef) -> Lookup {
        match self.recall(peer) {
            Ok(lookup) => lookup,
            Err(now) => self.look_up(peer, now),
        }
    }

    /// What is known of the peer, and no waiting: a lookup that is due is made in the background.
    #[inline]
    pub(crate) fn lookup_nonblocking(&self, peer: &impl PeerRef) -> Lookup {
        match self.recall(peer) {
            Ok(lookup) => lookup,
            Err(now) => self.look_up_nonblocking(peer, now),
        }
    }

    /// What nearly every call comes to; otherwise, the time that it is.
    #[inline]
    fn recall(&self, peer: &impl PeerRef) -> Result<Lookup, Tick> {
        match self.cache.recall(peer) {
            Recalled::Found(record) => Ok(Lookup::new(Some(record), Source::Fresh, true)),
            Recalled::No(No::Absent) => Ok(Lookup::new(None, Source::Absent, true)),
            Recalled::No(No::Failed) => Ok(Lookup::new(None, Source::Failed, true)),
            Recalled::Nothing(now) => Err(now),
        }
    }

    /// The same as [`lookup`](Enricher::lookup) at a time of the caller's, whatever this thread keeps.
    #[inline(never)]
    pub(crate) fn look_up(&self, peer: &impl PeerRef, now: Tick) -> Lookup {
        let Some((id, spelling)) = peer.read() else { return Lookup::INVALID };
        let lookup = match self.cache.get_spelled(id, spelling.as_ref(), now) {
            Known::Fresh { record, refresh: false } => Lookup::new(Some(record), Source::Fresh, true),
            known => self.settle(id, now, known),
        };
        self.cache.count(lookup.answered());
        lookup
    }

    #[inline(never)]
    fn look_up_nonblocking(&self, peer: &impl PeerRef, now: Tick) -> Lookup {
        let Some((id, spelling)) = peer.read() else { return Lookup::INVALID };
        let lookup = match self.cache.get_spelled(id, spelling.as_ref(), now) {
            Known::Due(stale) | Known::Retry(stale) => {
                self.queue_up(id, now);
                Lookup::stand_in(stale, Source::Failed, true)
            }
            known => self.settle(id, now, known),
        };
        self.cache.count(lookup.answered());
        lookup
    }

    fn settle(&self, peer: PeerId, now: Tick, known: Known) -> Lookup {
        if let Known::Fresh { refresh: true, .. } = known {
            self.queue_up(peer, now);
        }
        let Due { stale, retry } = match Lookup::remembered(known) {
            Ok(lookup) => return lookup,
            Err(due) => due,
        };
        // Who is alone in not being answered must not cost each push from it a wait.
        if retry && self.background.is_there(&self.own) {
            self.queue_up(peer, now);
            return Lookup::stand_in(stale, Source::Failed, true);
        }
        let deadline = Deadline::after(self.rules.lookup_timeout);
        let lookup = self.miss(peer, now, stale, deadline);
        self.counters.waited(self.rules.lookup_timeout.saturating_sub(deadline.left()));
        lookup
    }
}
