//! [`Client`]: the calls that a user makes. Enrichment is here; every other subject has a file.

mod builder;
mod delegations;
mod files;
mod messages;
mod registration;
mod requests;
mod workspace;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::config::Settings;
use crate::enrich::{Enricher, Lookup};
use crate::error::{Error, guard, guard_delivery};
use crate::http::Http;
use crate::peer::{Peer, PeerId, PeerRef};
use crate::platform::{Attempt, message_path};
use crate::retry::RetryPolicy;
use crate::send::{SendOptions, send};
use crate::stats::{InboxCounters, Stats};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::recent_texts::RecentTexts;
use crate::wire::AgentCard;
pub use builder::ClientBuilder;
pub use files::PlatformFile;
pub(crate) use registration::{PushAgent, Registrar, check_push_agent, present_card};

/// Maximum of the timeout of [`Client::wait_until_idle`]: a day, which the clock can always add.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// The client of one workspace: it talks to the platform, and caches the peers that it looks up.
///
/// It is cheap to clone; clones share the cache and the connections. Several clients in a process have separate caches,
/// because the registry may show a peer to one workspace and not to another. No call starts an async runtime or panics.
///
/// ```no_run
/// use a2a_blocking::Client;
///
/// let client = Client::from_env()?;
/// # let sender = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// match client.enrich(sender) {
///     Some(peer) => println!("from {}", peer.name().unwrap_or("a peer without a name")),
///     None => println!("from {sender}"),
/// }
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<ClientInner>,
}

struct ClientInner {
    http: Arc<Http>,
    enricher: Enricher,
    settings: Settings,
    inbox: Arc<InboxCounters>,
    /// Addresses of the files that this client uploaded. Their rows in our inbox look like those of the human's files.
    own_uploads: Arc<RecentTexts>,
    /// Card that the environment describes.
    agent_card: Option<AgentCard>,
}

impl ClientInner {
    /// Returns the deadline of a call that its user waits for.
    fn deadline(&self) -> Deadline {
        Deadline::after(self.settings.call_timeout)
    }

    /// Makes a call that creates or changes something, inside `budget`. It is tried again only while nothing of it can have
    /// arrived.
    ///
    /// # Errors
    ///
    /// Those of `call`, and the last attempt's, with the state of the delivery.
    fn post<A: Attempt>(&self, budget: Duration, call: impl FnOnce() -> Result<A, Error>) -> Result<A::Answer, Error> {
        let policy = RetryPolicy::new().with_budget(budget).only_undelivered();
        guard_delivery(|| send(&self.http, &call()?, &SendOptions::new().retry(policy)))
    }
}

// No lock in a client is poisoned, and a panic in a lookup is caught where it leaves nothing half done.
impl UnwindSafe for Client {}
impl RefUnwindSafe for Client {}

impl Client {
    /// Returns a builder with the default settings. It does not read the environment.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Builds a client with the settings of the environment: [`ClientBuilder::from_env`] lists the variables.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`].
    pub fn from_env() -> Result<Self, Error> {
        ClientBuilder::from_env().build()
    }

    /// Returns the settings, with the defaults of those that were not set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Returns the id of the client's own workspace.
    #[must_use]
    pub fn workspace_id(&self) -> &str {
        &self.inner.settings.workspace_id
    }

    /// Returns the platform's address, without a slash at its end.
    #[must_use]
    pub fn platform_url(&self) -> &str {
        &self.inner.settings.platform_url
    }

    /// Returns the registry's record of a peer, from the cache or by one lookup.
    ///
    /// `None` means one of three: the text is no peer id (no request is made); the registry does not know or show the
    /// peer; the lookup brought no usable answer. The second is cached for
    /// [`negative_ttl`](ClientBuilder::negative_ttl), the third for [`error_ttl`](ClientBuilder::error_ttl).
    ///
    /// A cached answer takes nanoseconds. A lookup takes at most [`lookup_timeout`](ClientBuilder::lookup_timeout) (2 s), DNS
    /// included, and threads that miss the same peer share it. A panic during one is a failure (not with `panic = "abort"`).
    #[inline]
    pub fn enrich(&self, peer: impl PeerRef) -> Option<Peer> {
        self.lookup(peer).peer
    }

    /// Like [`enrich`](Client::enrich), and says where the answer came from.
    ///
    /// ```
    /// use a2a_blocking::{Client, LookupSource};
    ///
    /// let client = Client::builder().workspace_id("my-team").build()?;
    /// let lookup = client.lookup("ops-agent");
    /// assert_eq!((lookup.peer, lookup.source.as_str()), (None, "invalid"));
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    #[inline]
    pub fn lookup(&self, peer: impl PeerRef) -> Lookup {
        self.inner.enricher.lookup(&peer)
    }

    /// Returns a fresh or older record from the cache, or `None`. Where a lookup is due, it is made in the background.
    ///
    /// It neither makes nor waits for a request, so it takes microseconds, and nanoseconds for a fresh record. A peer
    /// that is new to the cache is `None` once. The first call with a lookup to make starts the background threads;
    /// [`wait_until_idle`](Client::wait_until_idle) waits for them where that matters, as in a test.
    pub fn enrich_nonblocking(&self, peer: impl PeerRef) -> Option<Peer> {
        self.inner.enricher.lookup_nonblocking(&peer).peer
    }

    /// Returns the last known name of a peer, however old. Makes no request.
    ///
    /// `None` means that no name was seen, that the registry has since said that there is no such peer, or that the
    /// cache evicted it.
    pub fn peer_name(&self, peer: impl PeerRef) -> Option<String> {
        self.inner.enricher.known(peer.peer_id()?)?.name().map(str::to_owned)
    }

    /// Blocks until no background lookup is pending or `timeout` has passed. Returns whether none is pending.
    ///
    /// While the registry does not answer, lookups stay pending until it does. A background thread gets `false` at once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// # let mut platform = mockito::Server::new();
    /// # platform.mock("GET", mockito::Matcher::Any).with_body(r#"{"name": "ops"}"#).create();
    /// # let client = a2a_blocking::Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
    /// assert_eq!(client.enrich_nonblocking(peer), None);
    /// assert!(client.wait_until_idle(Duration::from_secs(10)));
    /// assert!(client.enrich_nonblocking(peer).is_some());
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    #[must_use]
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.inner.enricher.wait_until_idle(timeout.min(MAX_WAIT))
    }

    /// Like [`enrich`](Client::enrich) at a time that the caller gives, so that expiry is tested without sleeping.
    ///
    /// Cached answers are fresh or not as of `now`, and a fetched record counts as fetched then. Turn off what else
    /// moves expiry with [`ttl_spread(0.0)`](ClientBuilder::ttl_spread) and
    /// [`background_threads(0)`](ClientBuilder::background_threads). The lookup's timeout is in real time all the same.
    /// Where the system was suspended, `now` counts from the present.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use a2a_blocking::{Client, LookupSource};
    ///
    /// let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// let mut platform = mockito::Server::new();
    /// let record = platform.mock("GET", format!("/registry/discover/{peer}").as_str()).with_body("{}").create();
    /// let client = Client::builder().platform_url(platform.url()).workspace_id("my-team");
    /// let client = client.ttl_spread(0.0).background_threads(0).build()?;
    ///
    /// let now = Instant::now();
    /// let after = |secs| client.lookup_at(peer, now + Duration::from_secs(secs)).source;
    /// assert_eq!([after(0), after(299), after(301)], [LookupSource::Fetched, LookupSource::Fresh, LookupSource::Fetched]);
    /// record.expect(2).assert();
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    pub fn enrich_at(&self, peer: impl PeerRef, now: Instant) -> Option<Peer> {
        self.lookup_at(peer, now).peer
    }

    /// Like [`enrich_at`](Client::enrich_at), and says where the answer came from.
    pub fn lookup_at(&self, peer: impl PeerRef, now: Instant) -> Lookup {
        self.inner.enricher.lookup_at(peer.name(), CoarseInstant::at(now))
    }

    /// Fetches a peer's record from the registry, in at most 10 s. Does not use the cache.
    ///
    /// # Errors
    ///
    /// A text that is no peer id ([`InvalidPeerId`](crate::ErrorKind::InvalidPeerId)); a peer that the registry does not
    /// know or show ([`NotFound`](crate::ErrorKind::NotFound)); any other status; a body above 256 KiB or not a JSON
    /// object; a failed transport.
    pub fn discover(&self, peer: impl PeerRef) -> Result<Peer, Error> {
        let peer = peer.try_peer_id()?;
        guard(|| self.inner.enricher.registry().discover(peer, self.inner.deadline()))
    }

    /// Lists the peers of the client's own workspace, in at most 10 s, and caches those with a valid id.
    ///
    /// Every field of every entry is kept. An entry that is no object, nests too deep or would take far more memory than
    /// its text is left out and counted in [`Stats::skipped`].
    ///
    /// ```
    /// # use a2a_blocking::{Client, LookupSource};
    /// # let mut platform = mockito::Server::new();
    /// # let list = r#"[{"id": "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", "name": "ops", "status": "online"}]"#;
    /// # platform.mock("GET", "/registry/my-team/peers").with_body(list).create();
    /// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
    /// for peer in client.peers()? {
    ///     println!("{:?} is {:?}", peer.name(), peer.status());
    ///     assert_eq!(client.lookup(&peer).source, LookupSource::Fresh, "it is in the cache now");
    /// }
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A refused token ([`Unauthorized`](crate::ErrorKind::Unauthorized): 401 and 403), a workspace that is not
    /// registered ([`NotFound`](crate::ErrorKind::NotFound): 404) or was removed
    /// ([`Removed`](crate::ErrorKind::Removed): 410, with [`Error::removed`]), any other status, a body that is no JSON
    /// list, one above 10 MB or too large in memory ([`TooLarge`](crate::ErrorKind::TooLarge)), or a failed transport.
    /// The text is the diagnostic of the Python module `a2a_client`, which can be shown to an agent.
    pub fn peers(&self) -> Result<Vec<Peer>, Error> {
        guard(|| self.inner.enricher.peers(CoarseInstant::now(), self.inner.deadline()))
    }

    /// Returns the URL of a peer's record in the registry: `{platform}/registry/discover/{id}`. Makes no request.
    ///
    /// # Errors
    ///
    /// [`InvalidPeerId`](crate::ErrorKind::InvalidPeerId) for a text that is no peer id.
    pub fn discover_url(&self, peer: impl PeerRef) -> Result<String, Error> {
        Ok(self.inner.enricher.registry().discover_url(peer.try_peer_id()?))
    }

    /// Removes a peer from the cache. A lookup in flight does not store its outcome.
    pub fn forget(&self, peer: impl PeerRef) {
        let Some(peer) = peer.peer_id() else { return };
        self.inner.enricher.forget(peer);
    }

    /// Removes all peers from the cache. Lookups in flight do not store their outcomes.
    pub fn clear(&self) {
        self.inner.enricher.clear();
    }

    /// Returns the counters of this client so far, to print or to export ([`Stats::to_prometheus`]).
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { inbox: self.inner.inbox.snapshot(), ..self.inner.enricher.stats() }
    }

    /// Puts fields that the platform just said of a peer over its cached record, if there is one.
    pub(crate) fn overlay(&self, peer: PeerId, fields: &Map<String, Value>) {
        self.inner.enricher.overlay(peer, fields);
    }

    pub(crate) fn own_uploads(&self) -> &Arc<RecentTexts> {
        &self.inner.own_uploads
    }

    pub(crate) fn inbox_counters(&self) -> &Arc<InboxCounters> {
        &self.inner.inbox
    }

    pub(crate) fn http(&self) -> &Arc<Http> {
        &self.inner.http
    }

    /// Returns the URL that messages to a peer are posted to.
    pub(crate) fn message_url(&self, peer: PeerId) -> String {
        format!("{}{}", self.inner.http.platform(), message_path(peer))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { platform_url: url, workspace_id: id, .. } = &self.inner.settings;
        f.debug_struct("Client").field("platform_url", url).field("workspace_id", id).finish_non_exhaustive()
    }
}
