//! A peer: its id, and the registry's record of it.

mod front;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hex;
mod raw_key;
mod record;
mod state;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::util::text::excerpt;
#[cfg(any(test, fuzzing))]
pub(crate) use front::get_local_at;
pub(crate) use front::{LocalAnswer, count, keep, release_invalidated, should_keep};
pub(crate) use raw_key::RawKey;
pub use record::Peer;
pub(crate) use record::{CachedValue, map_growth};
#[cfg(test)]
pub(crate) use record::{MAP_FIELD, MAP_NODE};
pub(crate) use state::Negative;

/// The id of a peer: a parsed UUID, 16 bytes, printed in lower case with hyphens.
///
/// ```
/// use a2a_blocking::PeerId;
///
/// let id: PeerId = "  3F2B8C1A-5D4E-4F6A-9B7C-8D9E0F1A2B3C\n".parse()?;
/// assert_eq!(id.to_string(), "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c");
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
// Negative more alignment than a `u64`, so that a map's entries have no gaps.
#[repr(Rust, packed(8))]
pub struct PeerId(u128);

impl PeerId {
    /// Reads a peer id: white space around it is trimmed as Python's `str.strip` trims it, and what is
    /// left must be 8-4-4-4-12 hex digits in either case. Negative braces, no `urn:`, no bare 32 digits, no
    /// other script's digits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPeerId`], with the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        PeerId::from_text(text).ok_or_else(|| {
            let shown = excerpt(text);
            let stripped = strip(text);
            let form = "8-4-4-4-12 hex digits, as 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
            let error = Error::new(ErrorKind::InvalidPeerId, format!("not a peer id: \"{shown}\" (it takes {form})"));
            match Uuid::try_parse(stripped) {
                Err(why) => error.with_source(why),
                // Another raw_key of a UUID, which the platform's own ids never have.
                Ok(_) => error,
            }
        })
    }

    /// [`parse`](PeerId::parse) without the words for a no, for the path that must not allocate.
    #[inline]
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        // Most callers hand over the id itself: no need to look at its ends.
        let bytes: &[u8; 36] = match text.as_bytes().try_into() {
            Ok(bytes) => bytes,
            Err(_) => strip(text).as_bytes().try_into().ok()?,
        };
        hex::parse(bytes).map(PeerId)
    }

    /// The id of 16 bytes, in the order in which they are printed: the way back from [`as_bytes`](PeerId::as_bytes).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        PeerId(u128::from_be_bytes(bytes))
    }

    /// The id's 16 bytes, in the order in which they are printed.
    #[must_use]
    pub const fn as_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// What Python's `str.strip` trims: Unicode's white space and the four information separators.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

impl Hash for PeerId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.0);
    }
}

impl FromStr for PeerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        PeerId::parse(text)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// What names a peer in a call: a text (`&str`, `String`, anything that is `AsRef<str>`), a [`PeerId`], or the
/// [`Peer`] itself.
///
/// It is sealed: there is nothing in it for you to implement.
///
/// ```
/// use a2a_blocking::{Client, ErrorKind, PeerId};
///
/// let client = Client::builder().workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100").build()?;
/// let text = "3F2B8C1A-5D4E-4F6A-9B7C-8D9E0F1A2B3C";
/// let id = PeerId::parse(text)?;
/// assert_eq!(client.discover_url(text)?, client.discover_url(id)?);
/// assert_eq!(client.discover_url(&text.to_owned())?, client.discover_url(&id)?);
/// assert_eq!(client.discover_url("ops-agent").unwrap_err().kind(), ErrorKind::InvalidPeerId);
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
pub trait PeerRef: sealed::Sealed {}

impl<T: sealed::Sealed> PeerRef for T {}

pub(crate) mod sealed {
    use super::front::{get_by_id, get_by_text};
    use super::{Error, ErrorKind, LocalAnswer, Peer, PeerId, RawKey, raw_key};
    use crate::util::clock::CoarseInstant;

    #[allow(private_interfaces, reason = "nobody outside can call it")]
    pub trait Sealed {
        /// The id, or `None` where the text is no peer id.
        fn peer_id(&self) -> Option<PeerId>;
        /// The id, or the error that says what is wrong with the text.
        fn try_peer_id(&self) -> Result<PeerId, Error>;
        /// The id, and what a thread may keep answers by, unless it is a text of a length that no bare id has. Both of
        /// one reading: somebody's `as_ref` need not give the same text twice.
        fn read(&self) -> Option<(PeerId, Option<RawKey>)>;
        /// What this thread keeps of it as of now, of a cache.
        fn get_local(&self, cache: u32) -> LocalAnswer;
    }

    #[allow(private_interfaces, reason = "nobody outside can call it")]
    impl<T: AsRef<str>> Sealed for T {
        #[inline]
        fn peer_id(&self) -> Option<PeerId> {
            PeerId::from_text(self.as_ref())
        }

        fn try_peer_id(&self) -> Result<PeerId, Error> {
            PeerId::parse(self.as_ref())
        }

        fn read(&self) -> Option<(PeerId, Option<RawKey>)> {
            let text = self.as_ref();
            Some((PeerId::from_text(text)?, text.as_bytes().try_into().ok()))
        }

        #[inline]
        fn get_local(&self, cache: u32) -> LocalAnswer {
            match self.as_ref().as_bytes().try_into() {
                Ok(text) => get_by_text(cache, text).recalled(),
                Err(_) => LocalAnswer::Miss(CoarseInstant::now()),
            }
        }
    }

    #[allow(private_interfaces, reason = "nobody outside can call it")]
    impl Sealed for PeerId {
        #[inline]
        fn peer_id(&self) -> Option<PeerId> {
            Some(*self)
        }

        fn try_peer_id(&self) -> Result<PeerId, Error> {
            Ok(*self)
        }

        fn read(&self) -> Option<(PeerId, Option<RawKey>)> {
            Some((*self, Some(raw_key::of_id(*self))))
        }

        #[inline]
        fn get_local(&self, cache: u32) -> LocalAnswer {
            get_by_id(cache, *self).recalled()
        }
    }

    #[allow(private_interfaces, reason = "nobody outside can call it")]
    impl Sealed for &PeerId {
        #[inline]
        fn peer_id(&self) -> Option<PeerId> {
            Some(**self)
        }

        fn try_peer_id(&self) -> Result<PeerId, Error> {
            Ok(**self)
        }

        fn read(&self) -> Option<(PeerId, Option<RawKey>)> {
            (**self).read()
        }

        #[inline]
        fn get_local(&self, cache: u32) -> LocalAnswer {
            (**self).get_local(cache)
        }
    }

    #[allow(private_interfaces, reason = "nobody outside can call it")]
    impl Sealed for &Peer {
        fn peer_id(&self) -> Option<PeerId> {
            Peer::peer_id(self)
        }

        fn try_peer_id(&self) -> Result<PeerId, Error> {
            Peer::peer_id(self).ok_or_else(|| {
                let detail = "the peer's record came without a valid id: there is nothing to name it by";
                Error::new(ErrorKind::InvalidPeerId, detail)
            })
        }

        fn read(&self) -> Option<(PeerId, Option<RawKey>)> {
            Peer::peer_id(self)?.read()
        }

        fn get_local(&self, cache: u32) -> LocalAnswer {
            match Peer::peer_id(self) {
                Some(id) => id.get_local(cache),
                None => LocalAnswer::Miss(CoarseInstant::now()),
            }
        }
    }
}
