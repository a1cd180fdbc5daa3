//! What an enrichment answers.

use crate::cache::Known;
use crate::peer::Peer;
use crate::stats::Answered;
use crate::words::words;

/// An enrichment, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The registry's record, where there is one.
    pub peer: Option<Peer>,
    /// Where the answer came from.
    pub source: Source,
    /// Whether it was remembered: no request was made or waited for.
    pub remembered: bool,
}

/// Where an enrichment came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
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

words!(Source {
    Fresh: "fresh",
    Stale: "stale",
    Fetched: "fetched",
    Absent: "absent",
    Failed: "failed",
    Shed: "shed",
    Invalid: "invalid",
});

/// A lookup that is due.
pub(super) struct Due {
    /// What may stand in for one that fails.
    pub(super) stale: Option<Peer>,
    /// Whether it is for a peer that was not answered, and better made while nobody waits.
    pub(super) retry: bool,
}

impl Lookup {
    /// The answer to a text that is no peer id.
    pub(crate) const INVALID: Lookup = Lookup { peer: None, source: Source::Invalid, remembered: false };

    #[inline]
    pub(super) fn new(peer: Option<Peer>, source: Source, remembered: bool) -> Self {
        Lookup { peer, source, remembered }
    }

    /// What is known, as an answer, where that needs no lookup.
    pub(super) fn remembered(known: Known) -> Result<Self, Due> {
        match known {
            Known::Fresh { record, .. } => Ok(Lookup::new(Some(record), Source::Fresh, true)),
            Known::Stale(record) => Ok(Lookup::new(Some(record), Source::Stale, true)),
            Known::Absent => Ok(Lookup::new(None, Source::Absent, true)),
            Known::Failed => Ok(Lookup::new(None, Source::Failed, true)),
            Known::Due(stale) => Err(Due { stale, retry: false }),
            Known::Retry(stale) => Err(Due { stale, retry: true }),
        }
    }

    /// The record that stands in for what could not be had, if there is one.
    pub(super) fn stand_in(stale: Option<Peer>, otherwise: Source, remembered: bool) -> Self {
        let source = if stale.is_some() { Source::Stale } else { otherwise };
        Lookup { peer: stale, source, remembered }
    }

    /// What it is counted as.
    pub(super) fn answered(&self) -> Answered {
        match self.source {
            Source::Fresh | Source::Fetched => Answered::Fresh,
            Source::Stale => Answered::Stale,
            Source::Absent => Answered::Absent,
            Source::Failed | Source::Shed | Source::Invalid => Answered::Unknown,
        }
    }
}
