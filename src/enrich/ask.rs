//! A call: what this thread keeps, what the cache has, and only then a lookup.

use super::Enricher;
use super::lookup::{Lookup, LookupDue, LookupSource};
use crate::cache::CacheAnswer;
use crate::peer::{LocalAnswer, Negative, PeerId, PeerRef};
use crate::util::clock::{CoarseInstant, Deadline};

impl Enricher {
    /// What is known of the peer, or what one lookup brings.
    #[inline]
    pub(crate) fn lookup(&self, peer: &impl PeerRef) -> Lookup {
        match self.get_local(peer) {
            Ok(lookup) => lookup,
            Err(now) => self.lookup_at(peer, now),
        }
    }

    /// What is known of the peer, and no waiting: a lookup that is due is made in the background.
    #[inline]
    pub(crate) fn lookup_nonblocking(&self, peer: &impl PeerRef) -> Lookup {
        match self.get_local(peer) {
            Ok(lookup) => lookup,
            Err(now) => self.lookup_nonblocking_at(peer, now),
        }
    }

    /// What nearly every call comes to; otherwise, the time that it is.
    #[inline]
    fn get_local(&self, peer: &impl PeerRef) -> Result<Lookup, CoarseInstant> {
        match self.cache.get_local(peer) {
            LocalAnswer::Found(record) => Ok(Lookup::new(Some(record), LookupSource::Fresh, true)),
            LocalAnswer::Negative(Negative::Absent) => Ok(Lookup::new(None, LookupSource::Absent, true)),
            LocalAnswer::Negative(Negative::Failed) => Ok(Lookup::new(None, LookupSource::Failed, true)),
            LocalAnswer::Miss(now) => Err(now),
        }
    }

    /// The same as [`lookup`](Enricher::lookup) at a time of the caller's, whatever this thread keeps.
    #[inline(never)]
    pub(crate) fn lookup_at(&self, peer: &impl PeerRef, now: CoarseInstant) -> Lookup {
        let Some((id, spelling)) = peer.read() else { return Lookup::INVALID };
        let lookup = match self.cache.get_and_keep(id, spelling.as_ref(), now) {
            CacheAnswer::Fresh { record, refresh: false } => Lookup::new(Some(record), LookupSource::Fresh, true),
            known => self.settle(id, now, known),
        };
        self.cache.count(lookup.answered());
        lookup
    }

    #[inline(never)]
    fn lookup_nonblocking_at(&self, peer: &impl PeerRef, now: CoarseInstant) -> Lookup {
        let Some((id, spelling)) = peer.read() else { return Lookup::INVALID };
        let lookup = match self.cache.get_and_keep(id, spelling.as_ref(), now) {
            CacheAnswer::Due(stale) | CacheAnswer::Retry(stale) => {
                self.queue_up(id, now);
                Lookup::stand_in(stale, LookupSource::Failed, true)
            }
            known => self.settle(id, now, known),
        };
        self.cache.count(lookup.answered());
        lookup
    }

    fn settle(&self, peer: PeerId, now: CoarseInstant, known: CacheAnswer) -> Lookup {
        if let CacheAnswer::Fresh { refresh: true, .. } = known {
            self.queue_up(peer, now);
        }
        let LookupDue { stale, retry } = match Lookup::from_answer(known) {
            Ok(lookup) => return lookup,
            Err(due) => due,
        };
        // Who is alone in not being answered must not cost each push from it a wait.
        if retry && self.background.is_there(&self.own) {
            self.queue_up(peer, now);
            return Lookup::stand_in(stale, LookupSource::Failed, true);
        }
        let deadline = Deadline::after(self.policy.lookup_timeout);
        let lookup = self.miss(peer, now, stale, deadline);
        self.counters.waited(self.policy.lookup_timeout.saturating_sub(deadline.left()));
        lookup
    }
}
