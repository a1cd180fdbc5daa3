//! The registry's record of a peer, and the handles to it.
//!
//! A [`Peer`] is an `Arc` of a [`Handle`], which is around an `Arc` of the [`Record`]. A thread that keeps a record in
//! its cache puts a new handle around it, and clones that one for its callers. So it counts references in
//! memory that no other thread writes to; a counter that threads share costs them more than all the rest of a hit.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::id::PeerId;
use super::memory::map_bytes;
use super::state::{EntryState, Negative};

/// The registry's record of a peer: a handle to one JSON object, stored as the registry sent it.
///
/// Cloning a handle copies no JSON. Five fields have methods, those that every platform sends. All others can be read by
/// [`get`](Peer::get) and [`as_json`](Peer::as_json).
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
/// // Every call that takes a peer takes its record.
/// assert_eq!(client.discover_url(&peer)?, client.discover_url(id)?);
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct Peer(Arc<Handle>);

/// The part of a [`Peer`] whose references are counted.
///
/// With the counters of its `Arc` and the allocator's header it fills 64 bytes, so that the counters of two handles are
/// never in one cache line. `#[repr(align(64))]` would also put the counters and `record` into two lines: 128 bytes a
/// handle in place of 64, and a cache line more for each hit.
struct Handle {
    record: Arc<Record>,
    _padding: [usize; 4],
}

/// The fields are in this order so that all that a hit reads is in one cache line.
#[repr(C)]
struct Record {
    state: EntryState,
    /// Estimate of the memory that the record takes.
    bytes: usize,
    peer_id: Option<PeerId>,
    fields: Map<String, Value>,
    origin: Origin,
}

/// The registry's call that a record came from. Its list of peers has fields that its discover leaves out.
enum Origin {
    Discovered,
    Listed,
    /// Discovered, with the fields of the listed record below it.
    Overlaid(Peer),
}

impl Peer {
    /// Creates a handle to a record that the registry's discover returned for `peer_id`.
    pub(crate) fn discovered(peer_id: PeerId, fields: Map<String, Value>) -> Self {
        Peer::new(Some(peer_id), fields, Origin::Discovered)
    }

    /// Creates a handle to an entry of the registry's list of peers.
    pub(crate) fn listed(peer_id: Option<PeerId>, fields: Map<String, Value>) -> Self {
        Peer::new(peer_id, fields, Origin::Listed)
    }

    fn new(peer_id: Option<PeerId>, fields: Map<String, Value>, origin: Origin) -> Self {
        let below = if let Origin::Overlaid(listed) = &origin { listed.bytes() } else { 0 };
        let bytes = size_of::<Record>() + Peer::HANDLE_BYTES + map_bytes(&fields) + below;
        Peer::around(Arc::new(Record { state: EntryState::new(None), bytes, peer_id, fields, origin }))
    }

    /// Bytes on the heap that each handle takes beside its record: two counters and the handle itself.
    pub(crate) const HANDLE_BYTES: usize = 2 * size_of::<usize>() + size_of::<Handle>();

    /// Creates a handle with a reference count that it shares with its clones only.
    fn around(record: Arc<Record>) -> Self {
        Peer(Arc::new(Handle { record, _padding: [0; 4] }))
    }

    #[inline]
    fn record(&self) -> &Record {
        &self.0.record
    }

    /// Returns this listed record with those fields of `known` that only a discover returned.
    ///
    /// A list that comes later is newer, but removes nothing that the list leaves out.
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

    /// Returns this discovered record over the listed part of `known`, field by field.
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

    /// Returns this record with other `fields` over its own, or `None` if it has them already.
    ///
    /// They count as listed: a discover that comes later is over them, and one without such a field leaves it.
    pub(crate) fn with_fields(&self, fields: &Map<String, Value>) -> Option<Peer> {
        let Record { peer_id, fields: own, origin, .. } = self.record();
        if fields.iter().all(|(name, value)| own.get(name) == Some(value)) {
            return None;
        }
        let over = |own: &Map<String, Value>| own.clone().into_iter().chain(fields.clone()).collect();
        let origin = match origin {
            Origin::Listed => Origin::Listed,
            Origin::Discovered => Origin::Overlaid(Peer::listed(*peer_id, fields.clone())),
            Origin::Overlaid(listed) => Origin::Overlaid(Peer::listed(*peer_id, over(&listed.record().fields))),
        };
        Some(Peer::new(*peer_id, over(own), origin))
    }

    /// Returns the id that the registry was asked for.
    ///
    /// `None` only for an entry of [`Client::peers`](crate::Client::peers) whose `id` is not a peer id.
    #[inline]
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.record().peer_id
    }

    /// Returns the record's `id` as the registry sent it, if it is a string.
    ///
    /// This is what the registry claims. The id that it was asked for is [`peer_id`](Peer::peer_id).
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.text("id")
    }

    /// Returns the record's `name`, if it is a string.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// Returns the record's `role`, if it is a string.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.text("role")
    }

    /// Returns the record's `status`, if it is a string.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.text("status")
    }

    /// Returns the record's `url`, if it is a string.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.text("url")
    }

    /// Returns a field of the record, of any type.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.record().fields.get(field)
    }

    /// Returns the whole record.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.record().fields
    }

    /// Returns about how many bytes of memory the record takes.
    ///
    /// The cache's bound counts these. They are not the length of its text: a list of zeros takes 16 times that.
    pub(crate) fn bytes(&self) -> usize {
        self.record().bytes
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field).and_then(Value::as_str)
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.record().peer_id == other.record().peer_id && self.record().fields == other.record().fields
    }
}

// JSON has no NaN, so its equality is reflexive.
impl Eq for Peer {}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("peer_id", &self.peer_id()).field("record", self.as_json()).finish()
    }
}

/// A value that a cache stores for a peer: a record, or a note that there is none.
///
/// The threads that keep a clone of it share its state.
#[derive(Clone)]
pub(crate) struct CachedValue {
    record: Arc<Record>,
    /// The handle that is cloned for callers. `None` for a note that there is no record.
    handle: Option<Peer>,
}

impl CachedValue {
    /// Creates a note that there is no record.
    pub(crate) fn negative(reason: Negative) -> Self {
        let (state, fields) = (EntryState::new(Some(reason)), Map::new());
        let record = Record { state, bytes: 0, peer_id: None, fields, origin: Origin::Discovered };
        CachedValue { record: Arc::new(record), handle: None }
    }

    /// Creates the value of a record. A record is stored only once: its state is the state of that one entry.
    pub(crate) fn record(peer: &Peer) -> Self {
        CachedValue { record: peer.0.record.clone(), handle: Some(peer.clone()) }
    }

    /// Replaces `old` by this value, with a handle whose reference count no other thread touches.
    ///
    /// Allocates a handle only where no handle of `old` can be reused, because a caller still holds a clone of it.
    pub(crate) fn keep_in(self, old: &mut Option<CachedValue>) {
        let reused = old.take().and_then(|old| old.handle).and_then(|mut handle| {
            Arc::get_mut(&mut handle.0)?.record = self.record.clone();
            Some(handle)
        });
        let handle = self.handle.map(|_| reused.unwrap_or_else(|| Peer::around(self.record.clone())));
        *old = Some(CachedValue { record: self.record, handle });
    }

    /// Returns whether this is the value of `peer`'s record, and not of an equal one.
    pub(crate) fn holds(&self, peer: &Peer) -> bool {
        Arc::ptr_eq(&self.record, &peer.0.record)
    }

    /// Returns a handle to the record, if there is one.
    #[inline]
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.handle.clone()
    }

    #[inline(always)]
    pub(crate) fn state(&self) -> &EntryState {
        &self.record.state
    }

    /// Returns about how many bytes of memory the record takes.
    pub(crate) fn bytes(&self) -> usize {
        self.record.bytes
    }

    /// Returns the number of values and handles that hold the record. Clones of a handle count as one.
    #[cfg(all(test, not(a2a_loom)))]
    pub(crate) fn references(&self) -> usize {
        Arc::strong_count(&self.record)
    }
}
