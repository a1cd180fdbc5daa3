//! What an enrichment answers.

use crate::cache::{Answered, CacheAnswer};
use crate::peer::Peer;
use crate::util::str_enum::str_enum;

/// An enrichment, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The registry's record, where there is one.
    pub peer: Option<Peer>,
    /// Where the answer came from.
    pub source: LookupSource,
    /// Whether it was remembered: no request was made or waited for.
    pub from_cache: bool,
}

/// Where an enrichment came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LookupSource {
    /// A record from the cache, younger than its TTL.
    Fresh,
    /// A record from the cache, older than its TTL, because lookups fail.
    Stale,
    /// A record from the registry, by this call or one that it shared.
    Fetched,
    /// No record: the registry says that it does not know the peer, or not to us.
    Absent,
    /// No record: the lookup brought no usable answer.
    Failed,
    /// No record, and no lookup was made: the registry does not answer, and is given time.
    Shed,
    /// No record: the text is no peer id, and nobody was asked.
    Invalid,
}

str_enum!(LookupSource {
    Fresh: "fresh",
    Stale: "stale",
    Fetched: "fetched",
    Absent: "absent",
    Failed: "failed",
    Shed: "shed",
    Invalid: "invalid",
});

/// A lookup that is due.
pub(super) struct LookupDue {
    /// What may stand in for one that fails.
    pub(super) stale: Option<Peer>,
    /// Whether it is for a peer that was not answered, and better made while nobody waits.
    pub(super) retry: bool,
}

impl Lookup {
    /// The answer to a text that is no peer id.
    pub(crate) const INVALID: Lookup = Lookup { peer: None, source: LookupSource::Invalid, from_cache: false };

    #[inline]
    pub(super) fn new(peer: Option<Peer>, source: LookupSource, from_cache: bool) -> Self {
        Lookup { peer, source, from_cache }
    }

    /// What is known, as an answer, where that needs no lookup.
    pub(super) fn from_answer(known: CacheAnswer) -> Result<Self, LookupDue> {
        match known {
            CacheAnswer::Fresh { record, .. } => Ok(Lookup::new(Some(record), LookupSource::Fresh, true)),
            CacheAnswer::Stale(record) => Ok(Lookup::new(Some(record), LookupSource::Stale, true)),
            CacheAnswer::Absent => Ok(Lookup::new(None, LookupSource::Absent, true)),
            CacheAnswer::Failed => Ok(Lookup::new(None, LookupSource::Failed, true)),
            CacheAnswer::Due(stale) => Err(LookupDue { stale, retry: false }),
            CacheAnswer::Retry(stale) => Err(LookupDue { stale, retry: true }),
        }
    }

    /// The record that stands in for what could not be had, if there is one.
    pub(super) fn stand_in(stale: Option<Peer>, otherwise: LookupSource, from_cache: bool) -> Self {
        let source = if stale.is_some() { LookupSource::Stale } else { otherwise };
        Lookup { peer: stale, source, from_cache }
    }

    /// What it is counted as.
    pub(super) fn answered(&self) -> Answered {
        match self.source {
            LookupSource::Fresh | LookupSource::Fetched => Answered::Fresh,
            LookupSource::Stale => Answered::Stale,
            LookupSource::Absent => Answered::Absent,
            LookupSource::Failed | LookupSource::Shed | LookupSource::Invalid => Answered::Unknown,
        }
    }
}
