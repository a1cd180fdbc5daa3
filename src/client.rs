//! [`Client`]: joins the rooms below; holds no logic of its own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{Deadline, Tick};
use crate::config::ClientBuilder;
use crate::enrich::{Enricher, Lookup, Times};
use crate::error::Error;
use crate::http::Http;
use crate::peer::{Peer, PeerRef};
use crate::registry::Registry;
use crate::stats::Stats;
use crate::token::TokenStore;

/// The bound of an uncached lookup, as the original's.
const DISCOVER_BOUND: Duration = Duration::from_secs(10);

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
    platform: String,
    workspace_id: String,
    enricher: Enricher,
}

impl ClientBuilder {
    /// Checks the settings and makes the client. The only I/O is the reading of the token file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with the variable or setter and what is wrong:
    /// no workspace id, a URL that would send requests elsewhere, a value that makes no sense, a token
    /// that cannot stand in a header, a token file that is there but cannot be read.
    pub fn build(self) -> Result<Client, Error> {
        let settings = self.check()?;
        let tokens = TokenStore::open(settings.token)?;
        let platform = settings.platform.to_string();
        let workspace_id = settings.workspace_id.clone();
        let http = Http::new(settings.platform, settings.workspace_id, settings.origin, settings.org_id, tokens);
        let times =
            Times { ttl: settings.ttl, negative_ttl: settings.negative_ttl, lookup_timeout: settings.lookup_timeout };
        let enricher = Enricher::new(Registry::new(Arc::new(http)), settings.capacity, times);
        Ok(Client { inner: Arc::new(Inner { platform, workspace_id, enricher }) })
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
    #[inline]
    pub fn lookup(&self, peer: impl PeerRef) -> Lookup {
        match peer.peer_id() {
            Some(peer) => self.inner.enricher.lookup(peer, Tick::now()),
            None => Lookup::INVALID,
        }
    }

    /// The same as [`enrich`](Client::enrich) at a time of the caller's: what was filed is fresh or not
    /// as of `now`, and what is fetched counts as fetched then. It makes expiry testable without
    /// sleeping. A lookup is bounded by real time all the same.
    pub fn enrich_at(&self, peer: impl PeerRef, now: Instant) -> Option<Peer> {
        self.inner.enricher.lookup(peer.peer_id()?, Tick::at(now)).peer
    }

    /// Asks the registry for a peer's record, past the cache, in 10 s at the most.
    ///
    /// # Errors
    ///
    /// A text that is no peer id ([`InvalidPeerId`](crate::ErrorKind::InvalidPeerId)), the registry's own
    /// no ([`Absent`](crate::ErrorKind::Absent)), any other status, a body that is no JSON object or
    /// above 256 KiB, or a transport that failed.
    pub fn discover(&self, peer: impl PeerRef) -> Result<Peer, Error> {
        self.inner.enricher.registry().discover(peer.try_peer_id()?, Deadline::after(DISCOVER_BOUND))
    }

    /// The URL of a peer's agent card: `{platform}/registry/discover/{id}`. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`InvalidPeerId`](crate::ErrorKind::InvalidPeerId) for a text that is no peer id.
    pub fn agent_card_url(&self, peer: impl PeerRef) -> Result<String, Error> {
        Ok(self.inner.enricher.registry().agent_card_url(peer.try_peer_id()?))
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

    /// What this client has done so far, in numbers.
    pub fn stats(&self) -> Stats {
        self.inner.enricher.stats()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { platform, workspace_id, .. } = &*self.inner;
        f.debug_struct("Client").field("platform", platform).field("workspace_id", workspace_id).finish_non_exhaustive()
    }
}
