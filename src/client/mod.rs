//! [`Client`]: joins the rooms below; holds no logic of its own.

mod messages;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Checked, ClientBuilder, Settings};
use crate::enrich::{Enricher, Lookup};
use crate::error::{Error, guard};
use crate::http::{Http, Pace};
use crate::peer::{Peer, PeerId, PeerRef};
use crate::platform::Registry;
use crate::platform::message_path;
use crate::platform::{Workspace, workspace};
use crate::stats::Stats;
use crate::token::TokenStore;
use crate::util::clock::{CoarseInstant, Deadline};

/// The longest that [`Client::wait_until_idle`] waits.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// One workspace's way to its platform, with a cache of the peers that it hears of.
///
/// It is cheap to clone, and the clones share the cache and the connections. Several clients may live in
/// one process, each with a cache of its own, because what one workspace may see of a peer another may
/// not. None of its calls starts a runtime, and none of those below panics.
///
/// ```no_run
/// use a2a_blocking::Client;
///
/// let client = Client::from_env()?;
/// # let push = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// match client.enrich(push) {
///     Some(peer) => println!("from {}", peer.name().unwrap_or("a peer without a name")),
///     None => println!("from {push}"),
/// }
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: Arc<Http>,
    enricher: Arc<Enricher>,
    settings: Settings,
}

impl Inner {
    /// The bound of a call that its user waits for.
    fn deadline(&self) -> Deadline {
        Deadline::after(self.settings.call_timeout)
    }
}

// A panic in a lookup is caught below, where it leaves nothing half done: no lock of ours is poisoned.
impl UnwindSafe for Client {}
impl RefUnwindSafe for Client {}

impl ClientBuilder {
    /// Checks the settings and makes the client. The only I/O is the reading of the token file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with the variable or setter and what is wrong:
    /// no workspace id, a URL that would send requests elsewhere, a value that makes no sense, a token
    /// that cannot stand in a header, a token file that is there but cannot be read.
    pub fn build(self) -> Result<Client, Error> {
        let checked = self.check()?;
        let tokens = TokenStore::open(checked.token.clone())?;
        let http = Arc::new(Http::new(&checked, tokens)?);
        let Checked { settings, .. } = checked;
        let enricher = Enricher::new(Registry::new(http.clone()), &settings);
        Ok(Client { inner: Arc::new(Inner { http, enricher, settings }) })
    }
}

impl Client {
    /// A builder with nothing set; the environment is not read. [`ClientBuilder::from_env`] reads it.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client with what the environment says: [`ClientBuilder::from_env`] and [`ClientBuilder::build`].
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`].
    pub fn from_env() -> Result<Self, Error> {
        ClientBuilder::from_env().build()
    }

    /// What this client goes by: what was set, and the defaults of what was not.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The id of our own workspace, as it was set.
    #[must_use]
    pub fn workspace_id(&self) -> &str {
        &self.inner.settings.workspace_id
    }

    /// The platform's address, without a slash at its end.
    #[must_use]
    pub fn platform_url(&self) -> &str {
        &self.inner.settings.platform_url
    }

    /// Who is this? The registry's record of a peer, from the cache or by one lookup.
    ///
    /// `None` is for a text that is no peer id (nobody is asked), a peer that the registry does not know
    /// or does not show to us, and a lookup that brought no usable answer; all but the first are
    /// remembered for the negative TTL. It takes nanoseconds where the answer is remembered, and
    /// [`lookup_timeout`](ClientBuilder::lookup_timeout) (2 s) at the most where it is not, DNS included.
    /// Threads that miss the same peer together share one request. It never fails and never panics: a
    /// panic below it counts as a failed lookup, unless the program was built with `panic = "abort"`.
    #[inline]
    pub fn enrich(&self, peer: impl PeerRef) -> Option<Peer> {
        self.lookup(peer).peer
    }

    /// The same as [`enrich`](Client::enrich), with where the answer came from.
    ///
    /// ```
    /// use a2a_blocking::{Client, LookupSource};
    ///
    /// let client = Client::builder().workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100").build()?;
    /// let lookup = client.lookup("ops-agent");
    /// assert_eq!((lookup.peer, lookup.source), (None, LookupSource::Invalid));
    /// assert_eq!(lookup.source.as_str(), "invalid");
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    #[inline]
    pub fn lookup(&self, peer: impl PeerRef) -> Lookup {
        self.inner.enricher.lookup(&peer)
    }

    /// Who is this, without waiting? A fresh record, or an older one, at once; otherwise `None`, and the
    /// record is fetched in the background, for the next push.
    ///
    /// It makes no request and waits for none, whatever the registry does: microseconds, and nanoseconds
    /// where a fresh record is remembered. The first call that finds something to fetch starts the background
    /// threads. A peer that nobody has asked about yet is `None` once; [`wait_until_idle`](Client::wait_until_idle) waits
    /// for the fetching where that matters, as in a test.
    pub fn enrich_nonblocking(&self, peer: impl PeerRef) -> Option<Peer> {
        self.inner.enricher.lookup_nonblocking(&peer).peer
    }

    /// The last name that was seen of a peer, however old: what to call it where nothing better is known.
    /// Nothing is asked. `None` where no name was seen, the registry has since said that there is no such
    /// peer, or it was pushed out of the cache.
    pub fn peer_name(&self, peer: impl PeerRef) -> Option<String> {
        self.inner.enricher.known(peer.peer_id()?)?.name().map(str::to_owned)
    }

    /// Waits until nothing is to be fetched in the background any more, for so long at the most. Whether it
    /// came to that: while the registry does not answer, what is asked for waits for its return.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// # let mut platform = mockito::Server::new();
    /// # let record = platform.mock("GET", "/registry/discover/3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c");
    /// # record.with_body(r#"{"name": "ops"}"#).create();
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

    /// The same as [`enrich`](Client::enrich) at a time of the caller's: what was filed is fresh or not
    /// as of `now`, and what is fetched counts as fetched then. It makes expiry testable without
    /// sleeping, where nothing is spread ([`ttl_spread`](ClientBuilder::ttl_spread)) or refreshed ahead
    /// ([`background_threads`](ClientBuilder::background_threads)). A lookup is bounded by real time all the same.
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

    /// The same as [`enrich_at`](Client::enrich_at), with where the answer came from.
    pub fn lookup_at(&self, peer: impl PeerRef, now: Instant) -> Lookup {
        self.inner.enricher.lookup_at(peer.name(), CoarseInstant::at(now))
    }

    /// Asks the registry for a peer's record, past the cache, in 10 s at the most.
    ///
    /// # Errors
    ///
    /// A text that is no peer id ([`InvalidPeerId`](crate::ErrorKind::InvalidPeerId)), the registry's own
    /// no ([`Absent`](crate::ErrorKind::NotFound)), any other status, a body that is no JSON object or
    /// above 256 KiB, or a transport that failed.
    pub fn discover(&self, peer: impl PeerRef) -> Result<Peer, Error> {
        let peer = peer.try_peer_id()?;
        guard(|| self.inner.enricher.registry().discover(peer, Pace::Call, self.inner.deadline()))
    }

    /// Our own workspace's peers, as the registry lists them, in 10 s at the most. Every field of every
    /// entry is kept; those with a valid id are also put into the cache. Entries that are no objects, nest too deep
    /// or would take far more memory than their text are left out and counted ([`Stats::skipped`]).
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
    /// The text is the original's diagnostic, made to be shown to an agent. Refused
    /// ([`Unauthorized`](crate::ErrorKind::Unauthorized): 401 and 403), not registered
    /// ([`Absent`](crate::ErrorKind::NotFound): 404), removed ([`Removed`](crate::ErrorKind::Removed): 410, with
    /// [`Error::removed`]), another status, a body that is no JSON list, above
    /// 10 MB or too much in memory ([`TooLarge`](crate::ErrorKind::TooLarge)), or a transport that failed.
    pub fn peers(&self) -> Result<Vec<Peer>, Error> {
        guard(|| self.inner.enricher.peers(CoarseInstant::now(), self.inner.deadline()))
    }

    /// Our own workspace, as the platform has it, in 10 s at the most.
    ///
    /// ```
    /// # let mut platform = mockito::Server::new();
    /// # let gone = platform.mock("GET", "/workspaces/my-team").with_status(410);
    /// # gone.with_body(r#"{"error": "removed", "id": "my-team", "removed_at": "2026-07-01T09:30:00Z"}"#).create();
    /// # let client = a2a_blocking::Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
    /// match client.workspace() {
    ///     Ok(workspace) => println!("we are {}", workspace.name().unwrap_or("?")),
    ///     Err(error) => match error.removed() {
    ///         Some(removed) => println!("removed at {:?}: {}", removed.removed_at, removed.hint),
    ///         None => println!("not now: {error}"),
    ///     },
    /// }
    /// # assert!(client.workspace().unwrap_err().removed().is_some());
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Removed ([`Removed`](crate::ErrorKind::Removed): 410, with [`Error::removed`]), not known
    /// ([`Absent`](crate::ErrorKind::NotFound): 404), refused
    /// ([`Unauthorized`](crate::ErrorKind::Unauthorized): 401 and 403), another status, a body that is no
    /// JSON object, or a transport that failed.
    pub fn workspace(&self) -> Result<Workspace, Error> {
        guard(|| workspace(&self.inner.http, self.inner.deadline()))
    }

    /// The URL of a peer's agent card: `{platform}/registry/discover/{id}`. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`InvalidPeerId`](crate::ErrorKind::InvalidPeerId) for a text that is no peer id.
    pub fn discover_url(&self, peer: impl PeerRef) -> Result<String, Error> {
        Ok(self.inner.enricher.registry().discover_url(peer.try_peer_id()?))
    }

    pub(crate) fn http(&self) -> &Arc<Http> {
        &self.inner.http
    }

    /// Where messages to a peer go.
    pub(crate) fn message_url(&self, peer: PeerId) -> String {
        format!("{}{}", self.inner.http.platform(), message_path(peer))
    }

    /// Drops what is remembered of a peer, found, absent or failed. A lookup under way files nothing. A
    /// text that is no peer id has nothing to forget.
    pub fn forget(&self, peer: impl PeerRef) {
        if let Some(peer) = peer.peer_id() {
            self.inner.enricher.forget(peer);
        }
    }

    /// Drops what is remembered of all peers. Lookups under way file nothing.
    pub fn clear(&self) {
        self.inner.enricher.clear();
    }

    /// What this client has done so far, in numbers: to print, or for a scraper ([`Stats::to_prometheus`]).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.enricher.stats()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { platform_url, workspace_id, .. } = &self.inner.settings;
        let mut shown = f.debug_struct("Client");
        shown.field("platform_url", platform_url).field("workspace_id", workspace_id).finish_non_exhaustive()
    }
}
