//! HTTP: requests to one platform, with their timeouts, size limits and headers. The only room that names `ureq`.

mod errors;
mod pool;
mod rate_limit;
mod removal;
mod request;
pub(crate) mod response;
pub(crate) mod route;
mod transport;
mod upload;

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ureq::{Body, RequestBuilder, SendBody};

use crate::config::{CheckedSettings, PlatformUrl};
use crate::error::{Error, ErrorKind};
use crate::retry::RetryPolicy;
use crate::token::{Token, TokenStore};
use crate::util::clock::{CoarseInstant, Deadline, millis_up};
use crate::util::log_safe::log_safe;
use errors::failure;
pub(crate) use errors::timed_out;
pub(crate) use pool::Pool;
use pool::{FRESH_BUFFER, is_within_idle_age};
pub(crate) use rate_limit::RateLimit;
use removal::{Finding, RemovalMonitor};
pub(crate) use removal::{purge_details, removal_details, removal_text};
pub(crate) use request::{Identity, Request};
pub(crate) use response::Response;
use response::{BodyFailure, read_body, retry_after};
use route::Route;
use transport::exchange::{self, ExchangeGuard};
pub(crate) use upload::RequestBody;

/// The HTTP client of one workspace for its platform.
pub(crate) struct Http {
    lookups: Pool,
    calls: Pool,
    messages: Pool,
    /// Proxy and root certificates of pools that callers ask for.
    route: Route,
    platform: PlatformUrl,
    workspace_id: String,
    /// Headers of every request, except the token.
    headers: Vec<(&'static str, String)>,
    /// Largest request with a message, in bytes.
    pub(crate) max_request: usize,
    max_answer: usize,
    tokens: TokenStore,
    removal: RemovalMonitor,
    rate_limit: Arc<RateLimit>,
    /// Process that opened the kept connections.
    process: u32,
    /// When the last GET left its connection in order, by `millis_up`. Zero for never.
    last_exchange: AtomicU64,
}

impl Http {
    /// # Errors
    ///
    /// Root certificates that cannot be read.
    pub(crate) fn new(checked: &CheckedSettings, tokens: TokenStore) -> Result<Self, Error> {
        let route = Route::new(checked)?;
        let settings = &checked.settings;
        let mut headers = Vec::new();
        headers.extend(settings.origin.clone().map(|origin| ("Origin", origin)));
        headers.extend(settings.org_id.clone().map(|org| ("X-Molecule-Org-Id", org)));
        Ok(Http {
            lookups: Pool::kept_alive(&route, settings.lookup_timeout),
            calls: Pool::kept_alive(&route, settings.call_timeout),
            // The default budget. A send with another budget sets its timeouts for each request.
            messages: Pool::one_shot(&route, RetryPolicy::new().budget()),
            route,
            platform: checked.platform.clone(),
            workspace_id: settings.workspace_id.clone(),
            headers,
            max_request: settings.max_request,
            max_answer: settings.max_answer,
            tokens,
            removal: RemovalMonitor::default(),
            rate_limit: Arc::default(),
            process: process::id(),
            last_exchange: AtomicU64::new(0),
        })
    }

    /// Returns the connections for lookups inside a callback, with the bound `lookup_timeout`.
    pub(crate) fn lookups(&self) -> &Pool {
        &self.lookups
    }

    /// Returns the connections for calls that a user waits for, with the bound `call_timeout`.
    pub(crate) fn calls(&self) -> &Pool {
        &self.calls
    }

    /// Returns the connections for messages, with the default budget of a send as their bound.
    pub(crate) fn messages(&self) -> &Pool {
        &self.messages
    }

    /// Returns a new pool for GETs. Shutting it down affects no request over another pool.
    pub(crate) fn kept_alive_pool(&self, bound: Duration) -> Pool {
        Pool::kept_alive(&self.route, bound)
    }

    /// Returns a new pool for POSTs. Shutting it down affects no request over another pool.
    pub(crate) fn one_shot_pool(&self, bound: Duration) -> Pool {
        Pool::one_shot(&self.route, bound)
    }

    /// Returns the account of the platform's rate limit, to which every answer counts.
    pub(crate) fn rate_limit(&self) -> &Arc<RateLimit> {
        &self.rate_limit
    }

    pub(crate) fn platform(&self) -> &PlatformUrl {
        &self.platform
    }

    pub(crate) fn workspace_id(&self) -> &str {
        &self.workspace_id
    }

    /// Makes a request and reads its whole response.
    ///
    /// After a 401 that [refuses the token](Request::refuses_token) it is read again, and if it changed the request is made
    /// once more. After another one the platform is asked whether it removed our workspace. Where it did, later requests are
    /// not made: see [`removal`].
    ///
    /// # Errors
    ///
    /// No whole response by the deadline, a body above the request's limit, or [`ErrorKind::Removed`]. A status is no error.
    pub(crate) fn execute(&self, request: &Request<'_>, pool: &Pool) -> Result<Response, Error> {
        let deadline = request.deadline.unwrap_or_else(|| Deadline::after(pool.bound));
        if !request.heeds_removal {
            return self.execute_with_token(request, pool, deadline);
        }
        if self.removal.is_known() {
            self.check_not_removed(request, pool, deadline)?;
        }
        let outcome = self.execute_with_token(request, pool, deadline);
        if request.is_refused(&outcome) {
            self.check_not_removed(request, pool, deadline)?;
        }
        outcome
    }

    fn execute_with_token(&self, request: &Request<'_>, pool: &Pool, deadline: Deadline) -> Result<Response, Error> {
        let token = request.token_or(|| self.tokens.current());
        let mut exchange = Exchange { http: self, request, pool, deadline, url: self.url(request), token };
        let outcome = exchange.run();
        if request.token.is_some() || !request.is_refused(&outcome) {
            return outcome;
        }
        match self.tokens.rotated(exchange.token.as_ref(), deadline) {
            Some(token) => {
                exchange.token = Some(token);
                exchange.run()
            }
            None => outcome,
        }
    }

    /// Asks the platform, if that is due, whether our workspace was removed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Removed`] for `request`.
    fn check_not_removed(&self, request: &Request<'_>, pool: &Pool, deadline: Deadline) -> Result<(), Error> {
        let id = &self.workspace_id;
        let path = format!("/workspaces/{id}");
        let deadline = deadline.at_most(self.calls.bound);
        let question = Request::get(&path).ignores_removal().max_response(removal::MAX_RESPONSE);
        let ask = || self.execute_with_token(&question, pool, deadline);
        match self.removal.find(CoarseInstant::now(), self.tokens.number(), id, ask) {
            Finding::Removed(removal) => {
                return Err(removal.into_error(format!("{} {}", request.method(), self.url(request))));
            }
            Finding::TokenRefused { is_new: true } => {
                let (platform, path) = (&self.platform, self.tokens.source());
                log_safe!(error, "{platform} refuses our token, and has our workspace: give a new token ({path})");
            }
            Finding::TokenRefused { .. } | Finding::Undecided => {}
        }
        Ok(())
    }

    /// Returns the time until it can be confirmed that our workspace was purged. `None` where nothing says so.
    pub(crate) fn until_purge_is_confirmed(&self) -> Option<Duration> {
        self.removal.until_confirmation(CoarseInstant::now())
    }

    pub(crate) fn tokens(&self) -> &TokenStore {
        &self.tokens
    }

    fn url(&self, request: &Request<'_>) -> String {
        format!("{}{}", self.platform, request.path)
    }
}

/// A request with one token, over one pool.
struct Exchange<'a> {
    http: &'a Http,
    request: &'a Request<'a>,
    pool: &'a Pool,
    deadline: Deadline,
    url: String,
    token: Option<Token>,
}

/// Connections that a request may use.
#[derive(Clone, Copy, PartialEq)]
enum Connection {
    /// A kept one, or a new one.
    Any,
    /// A new one only.
    Fresh,
}

impl Exchange<'_> {
    /// Makes the request. A GET that a kept connection may have lost is repeated once on a fresh one.
    ///
    /// It may be lost where the connection was kept and broke before the response's head was whole, or where the response
    /// is a 408. A POST never uses a kept connection.
    fn run(&self) -> Result<Response, Error> {
        let last_exchange = &self.http.last_exchange;
        let may_be_kept =
            self.request.body.is_none() && is_within_idle_age(last_exchange.load(Ordering::Relaxed), millis_up());
        let outcome = match self.run_guarded(Connection::Any) {
            Err(error) if may_be_kept && error.kind() == ErrorKind::Disconnected && error.status().is_none() => {
                log_safe!(debug, "{error}; repeated on a fresh connection");
                self.run_guarded(Connection::Fresh)
            }
            // A front end sends it on a connection that was idle for too long, and it can cross a request.
            Ok(response) if may_be_kept && response.status == 408 => self.run_guarded(Connection::Fresh),
            outcome => outcome,
        };
        if self.request.body.is_none() && outcome.is_ok() {
            last_exchange.store(millis_up(), Ordering::Relaxed);
        }
        outcome
    }

    /// Makes the request once, and turns a panic into an error.
    ///
    /// A logger is the user's code, and may panic.
    fn run_guarded(&self, connection: Connection) -> Result<Response, Error> {
        exchange::run(|| self.run_once(connection)).map_err(|error| match error.kind() {
            ErrorKind::Internal => error.with_target(self.target()),
            _ => error,
        })
    }

    fn run_once(&self, connection: Connection) -> Result<Response, Error> {
        let target = self.target();
        let body = self.request.body;
        if let Some(body) = body {
            body.restart();
        }
        let left = self.deadline.left();
        if left.is_zero() {
            return Err(timed_out(&target));
        }
        let began = CoarseInstant::now();
        let guard = ExchangeGuard::begin(self.token.as_ref(), body, self.deadline, &self.pool.shutdown);
        let agent = &self.pool.agent;
        let result = match body {
            None => self.prepare(agent.get(&self.url), &guard, left, connection).call(),
            Some(body) => {
                let request = self.prepare(agent.post(&self.url), &guard, left, connection);
                let request = request.header("Content-Type", body.content_type()).header("Content-Length", body.len());
                request.send(SendBody::from_reader(&mut body.reader()))
            }
        };
        if guard.sent_without_token() {
            let detail = "the token could not be put into the request: the HTTP client does not write it as it used to";
            return Err(Error::new(ErrorKind::Internal, detail).with_target(target));
        }
        let response = result.map_err(|why| failure(&target, why, self.deadline))?;
        self.http.rate_limit.observe(response.status().as_u16(), response.headers(), began);
        self.read(target, response)
    }

    /// Adds the headers, and the timeouts where the pool's own do not fit.
    fn prepare<Method>(
        &self,
        mut request: RequestBuilder<Method>,
        guard: &ExchangeGuard,
        left: Duration,
        connection: Connection,
    ) -> RequestBuilder<Method> {
        let Request { identity, silence, .. } = *self.request;
        // After a fork the parent has the same sockets, and would read our responses.
        let is_forked = process::id() != self.http.process;
        let is_fresh = connection == Connection::Fresh || is_forked;
        if is_fresh || !self.pool.fits(left, silence) {
            let mut config = request.config().timeout_global(Some(left));
            if silence.is_some() {
                config = config.timeout_per_read(silence);
            }
            if is_fresh {
                config = config.output_buffer_size(FRESH_BUFFER);
            }
            request = config.build();
        }
        for (name, value) in &self.http.headers {
            request = request.header(*name, value.as_str());
        }
        if identity == Identity::Workspace {
            request = request.header("X-Workspace-ID", self.http.workspace_id.as_str());
        }
        // A stand-in: the transport replaces it by the token.
        self.request.with_accept(match guard.authorization_placeholder() {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        })
    }

    fn read(&self, target: String, mut response: ureq::http::Response<Body>) -> Result<Response, Error> {
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header("Retry-After").and_then(retry_after);
        // Also one that is no text, so that it does not pass for none.
        let encoding = response.headers().get("Content-Encoding");
        let mut encoding = encoding.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let limit = self.request.size_limit(self.http.max_answer, status);
        let body = match read_body(&target, response.body_mut(), self.deadline, limit) {
            Ok(body) => body,
            // The status is an answer all the same. Who needs the body refuses the encoding.
            Err(BodyFailure::Undecodable(name)) => {
                encoding = Some(name);
                Vec::new()
            }
            Err(BodyFailure::Other(error)) => return Err(error.with_status(status)),
        };
        Ok(Response { status, retry_after, encoding, body, target, token: self.token.clone() })
    }

    /// Returns the method and URL, for errors.
    fn target(&self) -> String {
        format!("{} {}", self.request.method(), self.url)
    }
}
