//! [`ClientBuilder`]: sets and builds a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Client, ClientInner};
use crate::config::{AgentTexts, CheckedSettings, HiddenText, NamedText, OriginSetting, UncheckedSettings};
use crate::enrich::Enricher;
use crate::error::Error;
use crate::http::Http;
use crate::platform::Registry;
use crate::token::{TokenSource, TokenStore};
use crate::wire::AgentCard;

/// A builder of a [`Client`].
///
/// It starts with the defaults ([`Client::builder`]) or with the environment ([`from_env`](ClientBuilder::from_env)). A
/// setter takes precedence over the environment. [`build`](ClientBuilder::build) checks the values.
/// [`Client::settings`] returns the result, and [`Settings`](crate::Settings) lists all defaults.
///
/// ```
/// use std::time::Duration;
/// use a2a_blocking::Client;
///
/// let client = Client::builder()
///     .platform_url("https://platform.example/api/")
///     .workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100")
///     .token("…".replace('…', "secret"))
///     .ttl(Duration::from_secs(60))
///     .build()?;
/// assert_eq!(client.settings().negative_ttl, Duration::from_secs(60), "the TTL, unless set");
/// assert!(!format!("{client:?} {:?}", client.settings()).contains("secret"));
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    unchecked: UncheckedSettings,
}

impl ClientBuilder {
    /// Returns a builder with the settings of the environment:
    ///
    /// | variable | setting |
    /// | --- | --- |
    /// | `PLATFORM_URL` | [`platform_url`](ClientBuilder::platform_url) |
    /// | `WORKSPACE_ID` | [`workspace_id`](ClientBuilder::workspace_id) |
    /// | `MOLECULE_ORG_ID` | [`org_id`](ClientBuilder::org_id) |
    /// | `MOLECULE_WORKSPACE_TOKEN` | [`token`](ClientBuilder::token) |
    /// | `MOLECULE_WORKSPACE_TOKEN_FILE` | [`token_file`](ClientBuilder::token_file) |
    /// | `CONFIGS_DIR` | the folder of `.auth_token`, a token file, and of the poller's cursor |
    /// | `MOLECULE_AGENT_NAME`, `MOLECULE_AGENT_DESCRIPTION` | the [card](crate::AgentCard) that a poller registers |
    /// | `MOLECULE_AGENT_SKILLS` | the skills in it: names with commas between |
    ///
    /// The token is the first that there is, in the order of the table. Without `CONFIGS_DIR` its place is taken by
    /// `/configs`, if that exists, as in the platform's containers. Where the folder has no token, the file
    /// `.molecule-workspace/.auth_token` in the user's home is read. The poller's cursor is in the first of these folders,
    /// and never in that of `MOLECULE_WORKSPACE_TOKEN_FILE`, which may be a read-only mount.
    ///
    /// A variable that is blank counts as not set. An error of [`build`](ClientBuilder::build) names the variable that
    /// is wrong, unless a setter replaced it.
    pub fn from_env() -> Self {
        ClientBuilder { unchecked: UncheckedSettings::from_env() }
    }

    /// Checks the settings and builds the client. Its only I/O is to read the token file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with the variable or setter, what is wrong and what to do:
    ///
    /// - There is no workspace id.
    /// - A URL has a part that would send requests elsewhere, or a value is out of its range.
    /// - The token has more than one line of printable ASCII, or is no token: with `Bearer`, in quotes, JSON, a placeholder.
    ///   The token function panicked, or the token file exists but cannot be read.
    pub fn build(self) -> Result<Client, Error> {
        let checked = self.unchecked.check()?;
        let tokens = TokenStore::open(checked.token.clone())?;
        let http = Arc::new(Http::new(&checked, tokens)?);
        let CheckedSettings { settings, agent, .. } = checked;
        let enricher = Enricher::new(Registry::new(http.clone()), &settings);
        Ok(Client {
            inner: Arc::new(ClientInner {
                http,
                enricher,
                settings,
                inbox: Arc::default(),
                own_uploads: Arc::default(),
                agent_card: agent_card(agent),
            }),
        })
    }

    /// Sets the platform's address: `http` or `https`, a host, and optionally a port and a path prefix.
    ///
    /// A user, a query or a fragment is refused. Default: `http://host.docker.internal:8080` inside Docker (where
    /// `/.dockerenv` exists or `DOCKER_VERSION` is set), else `http://localhost:8080`.
    pub fn platform_url(mut self, url: impl Into<String>) -> Self {
        self.unchecked.platform_url = Some(NamedText::new("platform_url", url));
        self
    }

    /// Sets the id of the client's own workspace: 1 to 128 characters of `A-Z a-z 0-9 -`. Required.
    pub fn workspace_id(mut self, id: impl Into<String>) -> Self {
        self.unchecked.workspace_id = Some(NamedText::new("workspace_id", id));
        self
    }

    /// Sets the organisation, which is sent as `X-Molecule-Org-Id`.
    ///
    /// Printable ASCII without spaces, at most 1,024 characters. Default: the header is not sent.
    pub fn org_id(mut self, id: impl Into<String>) -> Self {
        self.unchecked.org_id = Some(NamedText::new("org_id", id));
        self
    }

    /// Sets the `Origin` header, or leaves it out for `None`.
    ///
    /// Default: the platform URL's own origin over https where an [organisation](ClientBuilder::org_id) is set, because the
    /// gateway of a hosted platform may require it; else none. A `Referer` is never sent.
    ///
    /// If one host serves the platform's canvas and its server, an `Origin` equal to that host makes your messages look
    /// like the human's. Call `origin(None)` there if you set an organisation.
    pub fn origin(mut self, origin: Option<&str>) -> Self {
        self.unchecked.origin = match origin {
            Some(origin) => OriginSetting::Given(origin.to_owned()),
            None => OriginSetting::Omitted,
        };
        self
    }

    /// Sets the bearer token. It takes precedence over [`token_file`](ClientBuilder::token_file). A blank one means no
    /// token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.unchecked.token = Some(TokenSource::Value(token.into()));
        self
    }

    /// Sets a function that returns the bearer token, instead of [`token`](ClientBuilder::token).
    ///
    /// [`build`](ClientBuilder::build) calls it, and so does the thread of each call that the platform answers with 401.
    /// It must not block, because no timeout bounds it. It may call the client, but is not called again for a request that
    /// it makes itself. A panic in it is caught.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use a2a_blocking::Client;
    ///
    /// # let mut platform = mockito::Server::new();
    /// # let mut bearer = |token| platform.mock("GET", "/workspaces/my-team").match_header("authorization", token);
    /// # bearer("Bearer first").with_status(401).create();
    /// # bearer("Bearer second").with_body("{}").create();
    /// let token = Arc::new(Mutex::new("first".to_owned()));
    /// let current = token.clone();
    /// let builder = Client::builder().token_fn(move || current.lock().ok().map(|token| token.clone()));
    /// let client = builder.platform_url(platform.url()).workspace_id("my-team").build()?;
    /// // "first" gets a 401: the client calls the function again, and repeats the request.
    /// *token.lock().unwrap() = "second".to_owned();
    /// client.workspace()?;
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    pub fn token_fn(mut self, token: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.unchecked.token = Some(TokenSource::Function(Arc::new(token)));
        self
    }

    /// Sets a file that holds the bearer token on one line, at most 16 KiB.
    ///
    /// [`build`](ClientBuilder::build) reads it, and so does each call that the platform answers with 401, inside its
    /// timeout. The file need not exist. A link is followed. A pipe, a device or a folder is refused. On Unix, a file
    /// that others than its owner can use (a mode above 0600) is logged once as a warning.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.unchecked.token_file = Some(path.into());
        self
    }

    /// Sets an HTTP proxy: `http://[user:password@]host[:port]`, or `https`. User and password are percent-encoded.
    ///
    /// Default: none. The environment's proxy (`HTTPS_PROXY` and others) is never used. The client asks the proxy for a
    /// tunnel with `CONNECT` (RFC 9110, section 9.3.6). Over https the proxy sees only the platform's host; over http it
    /// sees everything, the token included. The certificate of an `https` proxy is checked as the platform's is, with
    /// [`root_certificates`](ClientBuilder::root_certificates) if they are set.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.unchecked.proxy = Some(HiddenText(url.into()));
        self
    }

    /// Sets the certificate authorities that TLS trusts, as PEM text. They replace all others.
    ///
    /// So a platform with a certificate of a private authority is reached, and no server with another one. Default: those
    /// of the build, Mozilla's or the system's; see the crate's features.
    ///
    /// ```
    /// use a2a_blocking::Client;
    ///
    /// let error = Client::builder().workspace_id("w").root_certificates("/etc/ssl/our-ca.pem").build().unwrap_err();
    /// assert!(error.to_string().starts_with("root_certificates: "), "a path is no PEM text: read it first");
    /// ```
    pub fn root_certificates(mut self, pem: impl Into<String>) -> Self {
        self.unchecked.root_certificates = Some(HiddenText(pem.into()));
        self
    }

    /// Sets for how long a record is fresh. Default: 300 s, as in the Python module `a2a_client`.
    ///
    /// Zero is refused: for an answer that is never cached there is [`discover`](crate::Client::discover).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.unchecked.ttl = Some(ttl);
        self
    }

    /// Sets for how long an absent peer is cached. Default: the TTL, as in the Python module `a2a_client`.
    ///
    /// Zero caches neither absent peers nor failed lookups. Each message from such a peer then costs a lookup.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.unchecked.negative_ttl = Some(ttl);
        self
    }

    /// Sets for how long a failed lookup is cached. Default: 15 s. At most [`negative_ttl`](ClientBuilder::negative_ttl):
    /// more is taken for that.
    ///
    /// A `Retry-After` of the registry makes it longer, within the same bound. So a flaky registry costs neither a lookup
    /// for each message nor minutes without a name. [`global`](crate::global) uses the negative TTL, as the Python module
    /// `a2a_client` does. A failure because of a refused token ends when the token is replaced. Zero caches no failure.
    pub fn error_ttl(mut self, ttl: Duration) -> Self {
        self.unchecked.error_ttl = Some(ttl);
        self
    }

    /// Sets the timeout of one lookup, DNS included. More than zero, at most 600 s. Default: 2 s, as in the Python
    /// module `a2a_client`.
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        self.unchecked.lookup_timeout = Some(timeout);
        self
    }

    /// Sets for how long past its TTL a record is served while lookups fail. Default: 3,600 s. Zero serves none.
    ///
    /// A record of a peer that the registry says is absent is dropped at once all the same.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.unchecked.stale_if_error = Some(time);
        self
    }

    /// Sets the largest part of a TTL by which it is shortened: 0 to 0.5. Default: 0.1.
    ///
    /// Processes that start together then do not refresh together. The spread has three effects:
    ///
    /// - Each TTL is shortened by a part that depends only on the peer and the time.
    /// - A peer's first record is refreshed at some moment before the last fifth of its TTL.
    /// - Refreshes that fell due in an outage are made over twice its length, at most four fifths of a TTL. The older
    ///   record is served until then.
    ///
    /// 0 turns all three off, for a test that expects an exact expiry. Records are still refreshed in the last fifth of
    /// their TTL, unless [`background_threads`](ClientBuilder::background_threads) is 0.
    pub fn ttl_spread(mut self, fraction: f64) -> Self {
        self.unchecked.ttl_spread = Some(fraction);
        self
    }

    /// Sets the number of unanswered lookups in a row after which only probes are made. At least 1. Default: 3.
    ///
    /// A lookup is unanswered if it got no HTTP status: the connection was refused or broke, or it timed out. After the
    /// first one, lookups are made one at a time. So the number is also that of lookups that a thread waits for in an
    /// outage.
    pub fn circuit_threshold(mut self, lookups: u32) -> Self {
        self.unchecked.circuit_threshold = Some(lookups);
        self
    }

    /// Sets the time from the last unanswered lookup to the first probe, and the longest time between two probes.
    ///
    /// Each wait is twice the one before, ±25 %. More than zero, and the first not above the second. Default: 1 s and
    /// 30 s: records are fetched again within a second of a short outage, and a long one costs two requests a minute.
    pub fn circuit_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.unchecked.circuit_backoff = Some((first, longest));
        self
    }

    /// Sets the number of threads that refresh records in the background. At most 64. Default: 2, so that one slow
    /// answer does not delay all others.
    ///
    /// The threads start when there is first a record to refresh. With 0, records are not refreshed ahead,
    /// [`enrich_nonblocking`](crate::Client::enrich_nonblocking) only reads the cache, and callers make the probes.
    pub fn background_threads(mut self, threads: usize) -> Self {
        self.unchecked.background_threads = Some(threads);
        self
    }

    /// Sets the number of peers that may wait for a background lookup. At least 1. Default: 1,024, about 40 KiB.
    ///
    /// Further ones are dropped and counted ([`Stats::dropped`](crate::Stats::dropped)).
    pub fn queue(mut self, peers: usize) -> Self {
        self.unchecked.queue = Some(peers);
        self
    }

    /// Sets the number of peers that the cache holds, absent and failed ones included. At least 1. Default: 10,000.
    ///
    /// The records also take at most 64 MiB of memory.
    pub fn capacity(mut self, peers: usize) -> Self {
        self.unchecked.capacity = Some(peers);
        self
    }

    /// Sets the largest request with a message, a notice or a task, in bytes: 4,096 to 16 MiB. Default: 1 MiB.
    ///
    /// A larger one is not sent. It is this client's limit: the platform takes 16 MiB. Not every peer reads as much, and its
    /// inbox gets up to six bytes for each.
    pub fn max_request(mut self, bytes: usize) -> Self {
        self.unchecked.max_request = Some(bytes);
        self
    }

    /// Sets the largest answer to a message, list or record of our own workspace, in bytes: 65,536 to 64 MiB. Default: 10 MB.
    ///
    /// A larger one is an error. It is this client's limit: the platform passes on an agent's answer of up to 64 MiB. Reading
    /// one takes up to eight times its size in memory.
    pub fn max_answer(mut self, bytes: usize) -> Self {
        self.unchecked.max_answer = Some(bytes);
        self
    }
}

/// Returns the card of these texts, or `None` where there is none.
fn agent_card(texts: AgentTexts<String>) -> Option<AgentCard> {
    let AgentTexts { name, description, skills } = texts;
    let mut card = name.map_or_else(AgentCard::default, AgentCard::new);
    if let Some(description) = description {
        card = card.with_description(description);
    }
    let skills = skills.unwrap_or_default();
    let skills = skills.split(',').map(str::trim).filter(|name| !name.is_empty());
    card = skills.fold(card, AgentCard::with_skill);
    (!card.as_json().is_empty()).then_some(card)
}
