//! The id of a peer, and the parser of its text.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hex;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::util::text::{excerpt, strip};

/// The id of a peer: a parsed UUID of 16 bytes, printed in lower case with hyphens.
///
/// ```
/// use a2a_blocking::PeerId;
///
/// let id: PeerId = "  3F2B8C1A-5D4E-4F6A-9B7C-8D9E0F1A2B3C\n".parse()?;
/// assert_eq!(id.to_string(), "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c");
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
// No more alignment than a `u64`, so that a map's entries have no gaps.
#[repr(Rust, packed(8))]
pub struct PeerId(u128);

impl PeerId {
    /// Parses a peer id.
    ///
    /// White space around it is trimmed as Python's `str.strip` trims it. The rest must be 8-4-4-4-12 hexadecimal digits
    /// of ASCII, in either case. Braces, a leading `urn:` and 32 digits without hyphens are refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPeerId`], with the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        PeerId::from_text(text).ok_or_else(|| {
            let shown = excerpt(text);
            let form = "8-4-4-4-12 hex digits, as 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
            let error = Error::new(ErrorKind::InvalidPeerId, format!("not a peer id: \"{shown}\" (it takes {form})"));
            match Uuid::try_parse(strip(text)) {
                Err(source) => error.with_source(source),
                // A UUID in another notation, which the platform never uses.
                Ok(_) => error,
            }
        })
    }

    /// Parses a peer id like [`parse`](PeerId::parse), but builds no error: this path must not allocate.
    // Inlined, or the id is returned through memory: that is a store that the load after it cannot be forwarded from.
    #[inline(always)]
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        // Most texts have the length of an id and need no trimming.
        let bytes: &[u8; 36] = match text.as_bytes().try_into() {
            Ok(bytes) => bytes,
            Err(_) => strip(text).as_bytes().try_into().ok()?,
        };
        hex::parse(bytes).map(PeerId)
    }

    /// Returns the id of 16 bytes, in the order in which they are printed. The inverse of [`as_bytes`](PeerId::as_bytes).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        PeerId(u128::from_be_bytes(bytes))
    }

    /// Returns the id's 16 bytes, in the order in which they are printed.
    #[must_use]
    pub const fn as_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
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
