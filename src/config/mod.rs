//! Settings: from the environment (the only room that reads it) and by builder, checked in one place.

mod proxy;
mod settings;
mod url;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::token::TokenSource;

pub(crate) use proxy::ProxyUrl;
use proxy::Unshown;
pub(crate) use settings::Checked;
pub use settings::Settings;
use settings::{checked_origin, checked_workspace_id, default_platform, header_value};
pub(crate) use url::PlatformUrl;

/// The bound of a call that its user waits for, as the original's.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a [`Client`](crate::Client).
///
/// It starts from nothing ([`Client::builder`](crate::Client::builder)) or from the environment
/// ([`from_env`](ClientBuilder::from_env)); what is set here comes before the environment. Values are
/// checked by [`build`](ClientBuilder::build). [`Client::settings`](crate::Client::settings) shows what came of it, and has
/// all defaults.
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
    platform_url: Option<Setting>,
    workspace_id: Option<Setting>,
    org_id: Option<Setting>,
    origin: Option<Option<String>>,
    given_token: Option<TokenSource>,
    token_file: Option<PathBuf>,
    proxy: Option<Unshown>,
    root_certificates: Option<Unshown>,
    ttl: Option<Duration>,
    negative_ttl: Option<Duration>,
    stale_if_error: Option<Duration>,
    ttl_spread: Option<f64>,
    lookup_timeout: Option<Duration>,
    capacity: Option<usize>,
    circuit_threshold: Option<u32>,
    circuit_backoff: Option<(Duration, Duration)>,
    background_threads: Option<usize>,
    queue: Option<usize>,
}

/// A value, and what a user would change it by.
#[derive(Debug, Clone)]
struct Setting {
    value: Result<String, &'static str>,
    by: &'static str,
}

impl Setting {
    fn given(by: &'static str, value: impl Into<String>) -> Option<Self> {
        Some(Setting { value: Ok(value.into()), by })
    }

    /// The variable, where it is set and not blank: a blank one is how a compose file leaves it out.
    fn from_env(by: &'static str) -> Option<Self> {
        let value = match env::var_os(by)?.into_string() {
            Ok(text) if text.trim().is_empty() => return None,
            Ok(text) => Ok(text),
            Err(_) => Err("it is not UTF-8"),
        };
        Some(Setting { value, by })
    }

    fn check<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Error> {
        let text = self.value.as_deref().map_err(|why| Error::config(format!("{}: {why}", self.by)))?;
        parse(text.trim()).map_err(|why| Error::config(format!("{}: {why}", self.by)))
    }
}

impl ClientBuilder {
    /// A builder with what the environment says:
    ///
    /// | variable | setting |
    /// | --- | --- |
    /// | `PLATFORM_URL` | [`platform_url`](ClientBuilder::platform_url) |
    /// | `WORKSPACE_ID` | [`workspace_id`](ClientBuilder::workspace_id) |
    /// | `MOLECULE_ORG_ID` | [`org_id`](ClientBuilder::org_id) |
    /// | `CONFIGS_DIR`, default `/configs` | [`token_file`](ClientBuilder::token_file) `.auth_token` in it |
    ///
    /// A variable that is set but blank counts as not set. What is wrong with one is said, with its
    /// name, by [`build`](ClientBuilder::build), unless a setter replaced it.
    pub fn from_env() -> Self {
        let configs = env::var_os("CONFIGS_DIR")
            .filter(|dir| !dir.to_string_lossy().trim().is_empty())
            .unwrap_or_else(|| "/configs".into());
        ClientBuilder {
            platform_url: Setting::from_env("PLATFORM_URL"),
            workspace_id: Setting::from_env("WORKSPACE_ID"),
            org_id: Setting::from_env("MOLECULE_ORG_ID"),
            token_file: Some(Path::new(&configs).join(".auth_token")),
            ..ClientBuilder::default()
        }
    }

    /// The platform's address: `http` or `https`, a host, and where needed a port and a path prefix; no
    /// user, query or fragment. Default: `http://host.docker.internal:8080` inside Docker (`/.dockerenv`
    /// or `DOCKER_VERSION` is there), else `http://localhost:8080`.
    pub fn platform_url(mut self, url: impl Into<String>) -> Self {
        self.platform_url = Setting::given("platform_url", url);
        self
    }

    /// The id of the caller's own workspace, 1 to 128 characters of `A-Z a-z 0-9 -`. Required.
    pub fn workspace_id(mut self, id: impl Into<String>) -> Self {
        self.workspace_id = Setting::given("workspace_id", id);
        self
    }

    /// The organisation, sent as `X-Molecule-Org-Id`: printable ASCII. Default: none is sent.
    pub fn org_id(mut self, id: impl Into<String>) -> Self {
        self.org_id = Setting::given("org_id", id);
        self
    }

    /// The `Origin` to send, or `None` for no such header. Default: over https the platform URL's own
    /// origin, which the hosted edge asks for; over http none.
    pub fn origin(mut self, origin: Option<&str>) -> Self {
        self.origin = Some(origin.map(str::to_owned));
        self
    }

    /// The bearer token. It comes before [`token_file`](ClientBuilder::token_file); blank means none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.given_token = Some(TokenSource::Value(token.into()));
        self
    }

    /// A function that gives the bearer token, in place of [`token`](ClientBuilder::token). It is called
    /// by [`build`](ClientBuilder::build), and again in the calling thread each time that the platform
    /// answers 401; no bound of ours cuts it, so it must not block.
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
    /// // "first" gets a 401: the function is asked again, and then the platform.
    /// *token.lock().unwrap() = "second".to_owned();
    /// client.workspace()?;
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    pub fn token_fn(mut self, token: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.given_token = Some(TokenSource::Function(Arc::new(token)));
        self
    }

    /// A file with the bearer token on one line, at most 16 KiB. It is read by
    /// [`build`](ClientBuilder::build) and again, inside the call's bound, when the platform answers 401; it need
    /// not exist. A link is followed. What is no regular file (a pipe, a device) is refused. Where others than
    /// its owner may use it (on Unix: its mode is not 0600 or less), the log has a warning, once.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// An HTTP proxy to go through, `http://[user:password@]host[:port]` (or `https`), the user and password
    /// percent-encoded. Default: none; the environment's (`HTTPS_PROXY` and so on) is never used. The proxy is asked
    /// by `CONNECT` for a tunnel to the platform: over https it sees the platform's host and nothing more, over http
    /// everything, the token included. An `https` proxy's own certificate is checked as the platform's is, by
    /// [`root_certificates`](ClientBuilder::root_certificates) where these are given.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(Unshown(url.into()));
        self
    }

    /// The certificates, as PEM text, of the authorities by which the platform's may be signed: in place of all
    /// that would be trusted otherwise, so that a private authority's platform is reached and nobody else's.
    /// Default: those of the build (Mozilla's, or the system's; see the crate's features).
    ///
    /// ```
    /// use a2a_blocking::Client;
    ///
    /// let error = Client::builder().workspace_id("w").root_certificates("/etc/ssl/our-ca.pem").build().unwrap_err();
    /// assert!(error.to_string().starts_with("root_certificates: "), "a path is no PEM text: read it first");
    /// ```
    pub fn root_certificates(mut self, pem: impl Into<String>) -> Self {
        self.root_certificates = Some(Unshown(pem.into()));
        self
    }

    /// How long a record is fresh. Default: 300 s, as the original. Not zero: for an answer that is
    /// never cached there is [`discover`](crate::Client::discover).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long an absent peer or a failed lookup is remembered. Default: the TTL, as the original.
    /// Zero remembers neither, so that each push from such a peer costs a lookup.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// The bound of one lookup in all, DNS included. Default: 2 s, as the original; more than zero, at
    /// most 600 s.
    pub fn lookup_timeout(mut self, bound: Duration) -> Self {
        self.lookup_timeout = Some(bound);
        self
    }

    /// How long past its TTL a record still serves while lookups fail: an old name is better than none.
    /// Default: 3,600 s. Zero serves none. The registry's own no drops a record at once all the same.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.stale_if_error = Some(time);
        self
    }

    /// By how much each record's TTL is shortened at the most, as a fraction of it: 0 to 0.5. How much it is
    /// depends on the peer and the time alone. Default: 0.1, so that processes which started together do not
    /// refresh together. With it, a peer's first record is refreshed at some moment before the last fifth of its
    /// TTL, and what fell due in an outage is made up for over twice the outage's length (over four fifths of
    /// a TTL at the most), with the older record served until then. 0, for a test that pins a record's expiry,
    /// turns all three off; that the last fifth of a TTL refreshes ahead is turned off by
    /// [`background_threads(0)`](ClientBuilder::background_threads).
    pub fn ttl_spread(mut self, fraction: f64) -> Self {
        self.ttl_spread = Some(fraction);
        self
    }

    /// How many lookups in a row are not answered (no HTTP status: refused, broken, timed out) before no more
    /// are made but probes. Default: 3; at least 1. It is also how many such lookups one thread waits for in
    /// an outage. From the first one on, lookups are made one at a time.
    pub fn circuit_threshold(mut self, lookups: u32) -> Self {
        self.circuit_threshold = Some(lookups);
        self
    }

    /// How long after the last unanswered lookup a probe is made, and at the most, since each wait is twice
    /// the one before (±25 %). Default: 1 s and 30 s, so that records flow again within a second of a short
    /// outage, and a long one costs two requests a minute. More than zero; the first not above the second.
    pub fn circuit_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.circuit_backoff = Some((first, longest));
        self
    }

    /// How many threads refresh in the background; they start when there is something to refresh. Default: 2,
    /// so that one slow answer does not hold up the rest; at most 64. With 0 there is no refreshing ahead,
    /// [`enrich_nonblocking`](crate::Client::enrich_nonblocking) only remembers, and callers make the probes.
    pub fn background_threads(mut self, threads: usize) -> Self {
        self.background_threads = Some(threads);
        self
    }

    /// How many peers may wait to be refreshed in the background; more are dropped and counted. Default:
    /// 1,024, some 40 KiB; at least 1.
    pub fn queue(mut self, peers: usize) -> Self {
        self.queue = Some(peers);
        self
    }

    /// How many peers the cache holds, absent and failed ones included. Default: 10,000, at least 1.
    /// It also holds at most 64 MiB of JSON.
    pub fn capacity(mut self, peers: usize) -> Self {
        self.capacity = Some(peers);
        self
    }

    pub(crate) fn check(self) -> Result<Checked, Error> {
        let platform =
            self.platform_url.unwrap_or_else(default_platform).check(|text| PlatformUrl::parse(text)?.reachable())?;
        let Some(workspace_id) = self.workspace_id else {
            return Err(Error::config(
                "WORKSPACE_ID: not set; set it in the environment or by ClientBuilder::workspace_id",
            ));
        };
        let origin = match self.origin {
            Some(given) => {
                given.map(|value| Setting { value: Ok(value), by: "origin" }.check(checked_origin)).transpose()?
            }
            None => platform.origin(),
        };
        let proxy = |Unshown(url): Unshown| Setting { value: Ok(url), by: "proxy" }.check(ProxyUrl::parse);
        let ttl = self.ttl.unwrap_or(Duration::from_secs(300));
        let settings = Settings {
            platform_url: platform.to_string(),
            workspace_id: workspace_id.check(checked_workspace_id)?,
            org_id: self.org_id.map(|id| id.check(header_value)).transpose()?,
            origin,
            token_file: self.token_file.clone(),
            ttl,
            negative_ttl: self.negative_ttl.unwrap_or(ttl),
            stale_if_error: self.stale_if_error.unwrap_or(Duration::from_secs(3_600)),
            ttl_spread: self.ttl_spread.unwrap_or(0.1),
            lookup_timeout: self.lookup_timeout.unwrap_or(Duration::from_secs(2)),
            call_timeout: CALL_TIMEOUT,
            circuit_threshold: self.circuit_threshold.unwrap_or(3),
            circuit_backoff: self.circuit_backoff.unwrap_or((Duration::from_secs(1), Duration::from_secs(30))),
            background_threads: self.background_threads.unwrap_or(2),
            queue: self.queue.unwrap_or(1_024),
            capacity: self.capacity.unwrap_or(10_000),
        };
        Ok(Checked {
            settings: settings.check()?,
            token: self.given_token.or(self.token_file.map(TokenSource::File)).unwrap_or(TokenSource::Nowhere),
            proxy: self.proxy.map(proxy).transpose()?,
            root_certificates: self.root_certificates.map(|Unshown(pem)| pem),
            platform,
        })
    }
}

#[cfg(test)]
mod tests;
