//! A peer: its id, and the registry's record of it.

mod hex;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, excerpt};

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
pub struct PeerId(u128);

impl PeerId {
    /// Reads a peer id: white space around it is trimmed as Python's `str.strip` trims it, and what is
    /// left must be 8-4-4-4-12 hex digits in either case. No braces, no `urn:`, no bare 32 digits, no
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
                // Another spelling of a UUID, which the platform's own ids never have.
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

    /// The id's 16 bytes, in the order in which they are printed.
    pub const fn as_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// What Python's `str.strip` trims: Unicode's white space and the four information separators.
fn strip(text: &str) -> &str {
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

/// What names a peer in a call: a text (`&str`, `String`, anything that is `AsRef<str>`) or a [`PeerId`].
///
/// It is sealed: there is nothing in it for you to implement.
pub trait PeerRef: sealed::Sealed {}

impl<T: sealed::Sealed> PeerRef for T {}

pub(crate) mod sealed {
    use super::{Error, PeerId};

    pub trait Sealed {
        /// The id, or `None` where the text is no peer id.
        fn peer_id(&self) -> Option<PeerId>;
        /// The id, or the error that says what is wrong with the text.
        fn try_peer_id(&self) -> Result<PeerId, Error>;
    }

    impl<T: AsRef<str>> Sealed for T {
        #[inline]
        fn peer_id(&self) -> Option<PeerId> {
            PeerId::from_text(self.as_ref())
        }

        fn try_peer_id(&self) -> Result<PeerId, Error> {
            PeerId::parse(self.as_ref())
        }
    }

    impl Sealed for PeerId {
        #[inline]
        fn peer_id(&self) -> Option<PeerId> {
            Some(*self)
        }

        fn try_peer_id(&self) -> Result<PeerId, Error> {
            Ok(*self)
        }
    }
}

/// What the registry says of a peer: a handle to one JSON object, kept as it came.
///
/// Cloning it copies no JSON. The five fields that every platform knows have methods; the rest, and
/// whatever a platform adds later, is there by [`get`](Peer::get) and [`as_json`](Peer::as_json).
#[derive(Clone)]
pub struct Peer(Arc<Record>);

struct Record {
    peer_id: Option<PeerId>,
    fields: Map<String, Value>,
    /// About how much memory it takes.
    bytes: usize,
    origin: Origin,
}

/// Which call of the registry a record came by. Its list of peers says more than its discover does.
enum Origin {
    Discovered,
    Listed,
    /// Discovered, and laid over the record that was listed.
    Overlaid(Peer),
}

impl Peer {
    /// A record that was asked for.
    pub(crate) fn discovered(peer_id: PeerId, fields: Map<String, Value>) -> Self {
        Peer::new(Some(peer_id), fields, Origin::Discovered)
    }

    /// An entry of the registry's list of peers.
    pub(crate) fn listed(peer_id: Option<PeerId>, fields: Map<String, Value>) -> Self {
        Peer::new(peer_id, fields, Origin::Listed)
    }

    fn new(peer_id: Option<PeerId>, fields: Map<String, Value>, origin: Origin) -> Self {
        let below = if let Origin::Overlaid(listed) = &origin { listed.bytes() } else { 0 };
        let bytes = size_of::<Record>() + map_bytes(&fields) + below;
        Peer(Arc::new(Record { peer_id, fields, bytes, origin }))
    }

    /// This listed record, with what else was discovered of the `known` one: a list that comes later is the
    /// newer word, but takes nothing away that only the discover tells.
    pub(crate) fn beside(self, known: &Peer) -> Self {
        let listed = match &known.0.origin {
            Origin::Listed => return self,
            Origin::Discovered => None,
            Origin::Overlaid(listed) => Some(listed),
        };
        let was_listed = |name: &str| listed.is_some_and(|listed| listed.get(name).is_some());
        let discovered = known.0.fields.iter().filter(|(name, _)| !was_listed(name));
        let mut fields: Map<String, Value> = discovered.map(|(name, value)| (name.clone(), value.clone())).collect();
        fields.extend(self.0.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        Peer::new(self.0.peer_id, fields, Origin::Overlaid(self))
    }

    /// This discovered record, laid field by field over what was `known` of the peer from a list.
    pub(crate) fn over(self, known: &Peer) -> Self {
        let listed = match &known.0.origin {
            Origin::Discovered => return self,
            Origin::Listed => known,
            Origin::Overlaid(listed) => listed,
        };
        let mut fields = listed.0.fields.clone();
        fields.extend(self.0.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        Peer::new(self.0.peer_id, fields, Origin::Overlaid(listed.clone()))
    }

    /// The id under which the registry was asked for this record. `None` only where a record came
    /// unasked for and without a valid id of its own.
    pub fn peer_id(&self) -> Option<PeerId> {
        self.0.peer_id
    }

    /// The record's `id` as it came, where it is a text: what the registry claims. What it was asked
    /// for is [`peer_id`](Peer::peer_id).
    pub fn id(&self) -> Option<&str> {
        self.text("id")
    }

    /// The record's `name`, where it is a text.
    pub fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// The record's `role`, where it is a text.
    pub fn role(&self) -> Option<&str> {
        self.text("role")
    }

    /// The record's `status`, where it is a text.
    pub fn status(&self) -> Option<&str> {
        self.text("status")
    }

    /// The record's `url`, where it is a text.
    pub fn url(&self) -> Option<&str> {
        self.text("url")
    }

    /// A field of the record, of whatever type; `None` where there is none of that name.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.fields.get(field)
    }

    /// The whole record.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0.fields
    }

    /// About how many bytes of memory the record takes, which the cache's bound counts. Not the length of
    /// its text: a list of zeros takes sixteen times that.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field).and_then(Value::as_str)
    }
}

/// About how much a map takes: its nodes are two thirds full on average.
fn map_bytes(fields: &Map<String, Value>) -> usize {
    let slot = (size_of::<String>() + size_of::<Value>()) * 3 / 2;
    fields.iter().map(|(name, value)| slot + name.len() + heap_bytes(value)).sum()
}

/// What a value holds beside itself. As deep as the parser let it be: 128 levels.
fn heap_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(items) => items.capacity() * size_of::<Value>() + items.iter().map(heap_bytes).sum::<usize>(),
        Value::Object(fields) => map_bytes(fields),
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.0.peer_id == other.0.peer_id && self.0.fields == other.0.fields
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("peer_id", &self.peer_id()).field("record", self.as_json()).finish()
    }
}
