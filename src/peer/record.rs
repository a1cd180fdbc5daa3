//! The registry's record of a peer, and handles to it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::PeerId;
use super::front::{Home, give_back};
use super::state::{EntryState, Negative};

/// What the registry says of a peer: a handle to one JSON object, kept as it came.
///
/// Cloning it copies no JSON. The five fields that every platform knows have methods; the rest, and
/// whatever a platform adds later, is there by [`get`](Peer::get) and [`as_json`](Peer::as_json).
///
/// ```
/// # use a2a_blocking::Client;
/// # let id = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// # let mut platform = mockito::Server::new();
/// # let json = r#"{"name": "ops-agent", "role": "sre", "skills": ["disks", "dns"]}"#;
/// # platform.mock("GET", format!("/registry/discover/{id}").as_str()).with_body(json).create();
/// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
/// let peer = client.discover(id)?;
/// assert_eq!((peer.name(), peer.role(), peer.url()), (Some("ops-agent"), Some("sre"), None));
/// assert_eq!(peer.get("skills").and_then(|skills| skills[0].as_str()), Some("disks"));
/// // Where a call takes a peer, it takes this.
/// assert_eq!(client.discover_url(&peer)?, client.discover_url(id)?);
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
pub struct Peer {
    /// There until it is dropped.
    record: Option<Arc<Record>>,
    home: Home,
}

/// In this order, so that what a hit reads is on the line of the counter that a handle counts on.
#[repr(C)]
pub(super) struct Record {
    pub(super) state: EntryState,
    /// About how much memory it takes.
    bytes: usize,
    peer_id: Option<PeerId>,
    fields: Map<String, Value>,
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
        Peer {
            record: Some(Arc::new(Record { state: EntryState::new(None), bytes, peer_id, fields, origin })),
            home: Home::NONE,
        }
    }

    /// A handle that is to come back to where it is lent.
    #[inline(always)]
    pub(super) fn lent(record: Arc<Record>, home: Home) -> Self {
        Peer { record: Some(record), home }
    }

    #[inline]
    fn record(&self) -> &Record {
        match &self.record {
            Some(record) => record,
            // Only `drop` takes it.
            None => unreachable!("a handle without a record"),
        }
    }

    /// This listed record, with what else was discovered of the `known` one: a list that comes later is the
    /// newer word, but takes nothing away that only the discover tells.
    pub(crate) fn beside(self, known: &Peer) -> Self {
        let listed = match &known.record().origin {
            Origin::Listed => return self,
            Origin::Discovered => None,
            Origin::Overlaid(listed) => Some(listed),
        };
        let was_listed = |name: &str| listed.is_some_and(|listed| listed.get(name).is_some());
        let discovered = known.record().fields.iter().filter(|(name, _)| !was_listed(name));
        let mut fields: Map<String, Value> = discovered.map(|(name, value)| (name.clone(), value.clone())).collect();
        fields.extend(self.record().fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        Peer::new(self.record().peer_id, fields, Origin::Overlaid(self))
    }

    /// This discovered record, laid field by field over what was `known` of the peer from a list.
    pub(crate) fn over(self, known: &Peer) -> Self {
        let listed = match &known.record().origin {
            Origin::Discovered => return self,
            Origin::Listed => known,
            Origin::Overlaid(listed) => listed,
        };
        let mut fields = listed.record().fields.clone();
        fields.extend(self.record().fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        Peer::new(self.record().peer_id, fields, Origin::Overlaid(listed.clone()))
    }

    /// The id under which the registry was asked for this record. `None` only where a record came
    /// unasked for and without a valid id of its own.
    #[inline]
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.record().peer_id
    }

    /// The record's `id` as it came, where it is a text: what the registry claims. What it was asked
    /// for is [`peer_id`](Peer::peer_id).
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.text("id")
    }

    /// The record's `name`, where it is a text.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// The record's `role`, where it is a text.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.text("role")
    }

    /// The record's `status`, where it is a text.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.text("status")
    }

    /// The record's `url`, where it is a text.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.text("url")
    }

    /// A field of the record, of whatever type; `None` where there is none of that name.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.record().fields.get(field)
    }

    /// The whole record.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.record().fields
    }

    /// About how many bytes of memory the record takes, which the cache's bound counts. Not the length of
    /// its text: a list of zeros takes sixteen times that.
    pub(crate) fn bytes(&self) -> usize {
        self.record().bytes
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field).and_then(Value::as_str)
    }
}

/// What a cache has filed of a peer, a record or a note that there is none, as the threads that keep it see it.
#[derive(Clone)]
pub(crate) struct CachedValue(pub(super) Arc<Record>);

impl CachedValue {
    /// A note that there is no record.
    pub(crate) fn nothing(no: Negative) -> Self {
        let (state, fields) = (EntryState::new(Some(no)), Map::new());
        CachedValue(Arc::new(Record { state, bytes: 0, peer_id: None, fields, origin: Origin::Discovered }))
    }

    /// A record that is filed, which happens to each but once.
    pub(crate) fn record(peer: &Peer) -> Option<Self> {
        peer.record.clone().map(CachedValue)
    }

    /// A handle to the record, if there is one.
    pub(crate) fn peer(&self) -> Option<Peer> {
        match self.state().negative() {
            None => Some(Peer { record: Some(self.0.clone()), home: Home::NONE }),
            Some(_) => None,
        }
    }

    #[inline(always)]
    pub(crate) fn state(&self) -> &EntryState {
        &self.0.state
    }

    /// About how many bytes of memory the record takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }

    #[cfg(test)]
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// What a map takes for its first 11 fields, which is a node of a B-tree; for the next, which splits it in two and puts
/// one with 12 children above them; and for each further one: nodes are split in halves.
pub(crate) const MAP_NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 16;
const MAP_SPLIT: usize = 2 * MAP_NODE + 12 * size_of::<usize>();
pub(crate) const MAP_FIELD: usize = MAP_NODE / 5 + 8;

/// What one more field takes in a map that has so many.
pub(crate) fn map_growth(fields: usize) -> usize {
    match fields {
        0 => MAP_NODE,
        1..11 => 0,
        11 => MAP_SPLIT,
        _ => MAP_FIELD,
    }
}

/// About how much a map takes.
fn map_bytes(fields: &Map<String, Value>) -> usize {
    let nodes = match fields.len() {
        0 => 0,
        1..12 => MAP_NODE,
        more => MAP_NODE + MAP_SPLIT + (more - 12) * MAP_FIELD,
    };
    nodes + fields.iter().map(|(name, value)| name.len() + heap_bytes(value)).sum::<usize>()
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

impl Clone for Peer {
    fn clone(&self) -> Self {
        Peer { record: self.record.clone(), home: Home::NONE }
    }
}

impl Drop for Peer {
    #[inline]
    fn drop(&mut self) {
        if self.home.is_some() {
            if let Some(record) = self.record.take() {
                give_back(self.home, record);
            }
        }
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.record().peer_id == other.record().peer_id && self.record().fields == other.record().fields
    }
}

// JSON's equality is one: it has no NaN.
impl Eq for Peer {}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("peer_id", &self.peer_id()).field("record", self.as_json()).finish()
    }
}
