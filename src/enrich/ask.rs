//! A call: what this thread keeps, what the cache has, and only then a lookup.

use super::Enricher;
use super::lookup::{Lookup, LookupDue, LookupSource};
use crate::cache::{CacheAnswer, LocalAnswer};
use crate::peer::{PeerId, PeerName, PeerRef};
use crate::util::clock::{CoarseInstant, Deadline};

impl Enricher {
    /// What is known of the peer, or what one lookup brings.
    #[inline]
    pub(crate) fn lookup(&self, peer: &impl PeerRef) -> Lookup {
        let name = peer.name();
        match self.get_local(name) {
            Ok(lookup) => lookup,
            Err(now) => self.lookup_at(name, now),
        }
    }

    /// What is known of the peer, and no waiting: a lookup that is due is made in the background.
    #[inline]
    pub(crate) fn lookup_nonblocking(&self, peer: &impl PeerRef) -> Lookup {
        let name = peer.name();
        match self.get_local(name) {
            Ok(lookup) => lookup,
            Err(now) => self.lookup_nonblocking_at(name, now),
        }
    }

    /// What nearly every call comes to; otherwise, the time that it is.
    #[inline]
    fn get_local(&self, name: PeerName<'_>) -> Result<Lookup, CoarseInstant> {
        match self.cache.get_local(name) {
            LocalAnswer::Found(record) => Ok(Lookup::new(Some(record), LookupSource::Fresh, true)),
            LocalAnswer::Absent => Ok(Lookup::new(None, LookupSource::Absent, true)),
            LocalAnswer::Failed => Ok(Lookup::new(None, LookupSource::Failed, true)),
            LocalAnswer::Miss(now) => Err(now),
        }
    }

    /// The same as [`lookup`](Enricher::lookup) at a time of the caller's, whatever this thread keeps.
    #[inline(never)]
    pub(crate) fn lookup_at(&self, name: PeerName<'_>, now: CoarseInstant) -> Lookup {
        let Some(id) = name.id() else { return Lookup::INVALID };
        if let Some(record) = self.cache.get_record(id, name, now) {
            return Lookup::new(Some(record), LookupSource::Fresh, true);
        }
        self.lookup_slowly(id, name, now)
    }

    #[inline(never)]
    fn lookup_slowly(&self, id: PeerId, name: PeerName<'_>, now: CoarseInstant) -> Lookup {
        let lookup = self.settle(id, now, self.cache.get(id, now));
        self.cache.count(lookup.answered(), id, name, now);
        lookup
    }

    #[inline(never)]
    fn lookup_nonblocking_at(&self, name: PeerName<'_>, now: CoarseInstant) -> Lookup {
        let Some(id) = name.id() else { return Lookup::INVALID };
        let lookup = match self.cache.get(id, now) {
            CacheAnswer::Due(stale) | CacheAnswer::Retry(stale) => {
                self.queue_up(id, now);
                Lookup::stand_in(stale, LookupSource::Failed, true)
            }
            known => self.settle(id, now, known),
        };
        self.cache.count(lookup.answered(), id, name, now);
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
