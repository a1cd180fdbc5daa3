//! HTTP: the agent, its timeouts and caps, and what each of its failures means. The only room that
//! names `ureq`.

use std::io::{ErrorKind as IoKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ureq::{Agent, Body};

use crate::clock::{Deadline, millis_up};
use crate::config::PlatformUrl;
use crate::error::{Error, ErrorKind, excerpt};
use crate::token::{Token, TokenStore};

/// How long an idle connection is kept: shorter than the 5 s and more after which servers commonly close
/// theirs, so that few requests meet a connection that is just being closed.
const MAX_IDLE_AGE: Duration = Duration::from_secs(5);
/// Idle connections kept: with `ureq`'s own 3, eight threads opened five new ones a burst (0.04 with 64).
const MAX_IDLE: usize = 64;

/// A platform, as one workspace talks to it.
pub(crate) struct Http {
    agent: Agent,
    platform: PlatformUrl,
    /// What every request carries, the token apart.
    headers: Vec<(&'static str, String)>,
    tokens: TokenStore,
    /// When an exchange last ended with its connection in good order, by `millis_up`; zero for never.
    last_exchange: AtomicU64,
}

/// An answer, whatever its status.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) encoding: Option<String>,
    pub(crate) body: Vec<u8>,
    token: Option<Token>,
}

impl Reply {
    /// The start of the body for an error, without the token where the platform echoes it.
    pub(crate) fn excerpt(&self) -> String {
        excerpt(&self.redact(&String::from_utf8_lossy(&self.body)))
    }

    /// The `text` from the body without the token.
    pub(crate) fn redact(&self, text: &str) -> String {
        match &self.token {
            Some(token) => text.replace(token.expose(), "[token]"),
            None => text.to_owned(),
        }
    }

    pub(crate) fn sent_a_token(&self) -> bool {
        self.token.is_some()
    }
}

impl Http {
    pub(crate) fn new(
        platform: PlatformUrl,
        workspace_id: String,
        origin: Option<String>,
        org_id: Option<String>,
        tokens: TokenStore,
    ) -> Self {
        let mut headers = vec![("X-Workspace-ID", workspace_id)];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        headers.extend(org_id.map(|org| ("X-Molecule-Org-Id", org)));
        Http { agent: agent(), platform, headers, tokens, last_exchange: AtomicU64::new(0) }
    }

    pub(crate) fn platform(&self) -> &PlatformUrl {
        &self.platform
    }

    /// One GET of a `path` under the platform's address. A 401 has the token read again, and the request
    /// made once more if it changed.
    ///
    /// # Errors
    ///
    /// No whole answer by the deadline, or a body above `cap` bytes. A status is no error.
    pub(crate) fn get(&self, path: &str, deadline: Deadline, cap: u64) -> Result<Reply, Error> {
        let url = format!("{}{path}", self.platform);
        let token = self.tokens.current();
        let reply = self.exchange(&url, token.as_ref(), deadline, cap)?;
        if reply.status != 401 {
            return Ok(reply);
        }
        match self.tokens.rotated(token.as_ref()) {
            Some(token) => self.exchange(&url, Some(&token), deadline, cap),
            None => Ok(reply),
        }
    }

    /// One GET, and a second on a fresh connection where the first may have met a pooled one in the
    /// moment of its being closed: it broke before the head of an answer was whole.
    fn exchange(&self, url: &str, token: Option<&Token>, deadline: Deadline, cap: u64) -> Result<Reply, Error> {
        let last = self.last_exchange.load(Ordering::Relaxed);
        let may_be_pooled = last != 0 && Duration::from_millis(millis_up().saturating_sub(last)) <= MAX_IDLE_AGE;
        match self.once(url, token, deadline, cap, MAX_IDLE_AGE) {
            Err(error) if may_be_pooled && error.kind() == ErrorKind::Disconnected && error.status().is_none() => {
                log::debug!("{error}; once more on a fresh connection");
                self.once(url, token, deadline, cap, Duration::ZERO)
            }
            outcome => outcome,
        }
    }

    /// One GET on a connection that has been idle for less than `max_idle`.
    fn once(
        &self,
        url: &str,
        token: Option<&Token>,
        deadline: Deadline,
        cap: u64,
        max_idle: Duration,
    ) -> Result<Reply, Error> {
        // ureq panics where the system refuses it the thread that resolves a name.
        catch_unwind(AssertUnwindSafe(|| self.request(url, token, deadline, cap, max_idle)))
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, format!("GET {url}: the HTTP client panicked"))))
    }

    fn request(
        &self,
        url: &str,
        token: Option<&Token>,
        deadline: Deadline,
        cap: u64,
        max_idle: Duration,
    ) -> Result<Reply, Error> {
        let left = deadline.left();
        if left.is_zero() {
            return Err(timed_out(url));
        }
        let mut request = self.agent.get(url).config().timeout_global(Some(left)).max_idle_age(max_idle).build();
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let mut response = request.call().map_err(|why| failure(url, why, deadline))?;

        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header("Retry-After").and_then(|wait| wait.trim().parse().ok()).map(Duration::from_secs);
        let encoding = header("Content-Encoding").map(str::to_owned);
        let body = read_body(url, response.body_mut(), deadline, cap).map_err(|error| error.with_status(status))?;
        self.last_exchange.store(millis_up(), Ordering::Relaxed);
        Ok(Reply { status, retry_after, encoding, body, token: token.cloned() })
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .user_agent(concat!("a2a-blocking/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .accept_encoding("identity")
        // An error status has a body that says why, and a `Retry-After`.
        .http_status_as_error(false)
        // The token goes to the platform and nowhere that it points to.
        .max_redirects(0)
        // By default even loopback goes through the proxy that the environment names.
        .proxy(None)
        .max_idle_age(MAX_IDLE_AGE)
        .max_idle_connections(MAX_IDLE)
        .max_idle_connections_per_host(MAX_IDLE);
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    let config = config.tls_config(tls());
    config.build().into()
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn tls() -> ureq::tls::TlsConfig {
    use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

    let rustls = cfg!(feature = "rustls");
    let system_roots = !rustls || cfg!(feature = "platform-verifier");
    TlsConfig::builder()
        .provider(if rustls { TlsProvider::Rustls } else { TlsProvider::NativeTls })
        .root_certs(if system_roots { RootCerts::PlatformVerifier } else { RootCerts::WebPki })
        .build()
}

fn read_body(url: &str, body: &mut Body, deadline: Deadline, cap: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    // Not `limit`, which refuses a body of exactly its length and counts compressed bytes.
    body.as_reader().take(cap + 1).read_to_end(&mut bytes).map_err(|why| failure(url, why.into(), deadline))?;
    if bytes.len() as u64 > cap {
        return Err(Error::new(ErrorKind::TooLarge, format!("GET {url}: the body is above {cap} bytes")));
    }
    Ok(bytes)
}

fn timed_out(url: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("GET {url}: no answer in time"))
}

fn failure(url: &str, why: ureq::Error, deadline: Deadline) -> Error {
    // Which of its timeouts ureq names varies, and a cut read can look like a broken connection.
    if deadline.left().is_zero() {
        return timed_out(url).with_source(why);
    }
    let (kind, words) = classify(&why);
    Error::new(kind, format!("GET {url}: {words}")).with_source(why)
}

fn classify(why: &ureq::Error) -> (ErrorKind, String) {
    use ureq::Error as U;
    let kind = match why {
        U::Timeout(_) => ErrorKind::Timeout,
        U::HostNotFound | U::ConnectionFailed => ErrorKind::Connect,
        U::BodyStalled => ErrorKind::Disconnected,
        U::Tls(_) | U::TlsRequired => ErrorKind::Tls,
        #[cfg(feature = "rustls")]
        U::Rustls(_) => ErrorKind::Tls,
        #[cfg(feature = "native-tls")]
        U::NativeTls(_) => ErrorKind::Tls,
        U::Io(io) => match io.kind() {
            IoKind::TimedOut | IoKind::WouldBlock => ErrorKind::Timeout,
            IoKind::ConnectionRefused
            | IoKind::HostUnreachable
            | IoKind::NetworkUnreachable
            | IoKind::NetworkDown
            | IoKind::AddrNotAvailable => ErrorKind::Connect,
            IoKind::ConnectionReset
            | IoKind::ConnectionAborted
            | IoKind::BrokenPipe
            | IoKind::UnexpectedEof
            | IoKind::NotConnected
            | IoKind::Interrupted => ErrorKind::Disconnected,
            IoKind::InvalidData => ErrorKind::Tls,
            // A name that does not resolve has no kind of its own.
            _ if io.to_string().contains("failed to lookup address") => ErrorKind::Connect,
            _ => ErrorKind::Internal,
        },
        _ => ErrorKind::Protocol,
    };
    (kind, why.to_string())
}
