//! HTTP: requests to one platform, with their timeouts, size limits and headers. The only room that names `ureq`.

mod body;
mod errors;
mod exchange;
mod pool;
mod rate_limit;
mod removal;
mod request;
pub(crate) mod response;
pub(crate) mod route;
mod transport;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{CheckedSettings, PlatformUrl};
use crate::error::Error;
use crate::retry::RetryPolicy;
use crate::token::TokenStore;
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::log_safe::log_safe;
pub(crate) use body::BodySink;
use body::SharedSink;
pub(crate) use errors::timed_out;
use exchange::{Exchange, HttpState};
pub(crate) use pool::Pool;
pub(crate) use rate_limit::RateLimit;
use removal::{Finding, RemovalMonitor};
pub(crate) use removal::{purge_details, removal_details, removal_text};
pub(crate) use request::{Identity, Request};
pub(crate) use response::Response;
use route::Route;
pub(crate) use upload::RequestBody;

/// The HTTP client of one workspace for its platform.
pub(crate) struct Http {
    lookups: Pool,
    calls: Pool,
    messages: Pool,
    /// Proxy and root certificates of pools that callers ask for.
    route: Route,
    platform: PlatformUrl,
    state: HttpState,
    /// Largest request with a message, in bytes.
    pub(crate) max_request: usize,
    tokens: TokenStore,
    removal: RemovalMonitor,
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
            state: HttpState::new(settings.workspace_id.clone(), headers, settings.max_answer),
            max_request: settings.max_request,
            tokens,
            removal: RemovalMonitor::default(),
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

    /// Returns a new pool for GETs whose bodies come for at most `bound`. The head of a response is waited for as long as
    /// `head`, and its body may be silent for at most `silence`.
    pub(crate) fn long_pool(&self, bound: Duration, head: Duration, silence: Duration) -> Pool {
        Pool::kept_alive_for_long(&self.route, bound, head, silence)
    }

    /// Returns a new pool for POSTs. Shutting it down affects no request over another pool.
    pub(crate) fn one_shot_pool(&self, bound: Duration) -> Pool {
        Pool::one_shot(&self.route, bound)
    }

    /// Returns the account of the platform's rate limit, to which every answer counts.
    pub(crate) fn rate_limit(&self) -> &Arc<RateLimit> {
        &self.state.rate_limit
    }

    pub(crate) fn platform(&self) -> &PlatformUrl {
        &self.platform
    }

    pub(crate) fn workspace_id(&self) -> &str {
        &self.state.workspace_id
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
        self.execute_into(request, pool, None)
    }

    /// Like [`execute`](Self::execute), but gives the body of a 200 to `sink` as it comes. The response has none then.
    ///
    /// The limit of other bodies does not hold for that one: the sink says when it has enough, and the connection is closed
    /// then. [`Request::whole_body`] sets a limit for it.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute). The sink may have got a part of the body before the error.
    pub(crate) fn open(&self, request: &Request<'_>, pool: &Pool, sink: BodySink<'_>) -> Result<Response, Error> {
        self.execute_into(request, pool, Some(&SharedSink::new(sink)))
    }

    fn execute_into(
        &self,
        request: &Request<'_>,
        pool: &Pool,
        sink: Option<&SharedSink<'_>>,
    ) -> Result<Response, Error> {
        let deadline = request.deadline.unwrap_or_else(|| Deadline::after(pool.bound));
        if !request.heeds_removal {
            return self.execute_with_token(request, pool, deadline, sink);
        }
        if self.removal.is_known() {
            self.check_not_removed(request, pool, deadline)?;
        }
        let outcome = self.execute_with_token(request, pool, deadline, sink);
        if request.is_refused(&outcome) {
            self.check_not_removed(request, pool, deadline)?;
        }
        outcome
    }

    fn execute_with_token(
        &self,
        request: &Request<'_>,
        pool: &Pool,
        deadline: Deadline,
        sink: Option<&SharedSink<'_>>,
    ) -> Result<Response, Error> {
        let token = request.token_or(|| self.tokens.current());
        let mut exchange =
            Exchange { state: &self.state, request, pool, deadline, url: self.url(request), token, sink };
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
        let id = &self.state.workspace_id;
        let path = format!("/workspaces/{id}");
        let deadline = deadline.at_most(self.calls.bound);
        let question = Request::get(&path).ignores_removal().max_response(removal::MAX_RESPONSE);
        let ask = || self.execute_with_token(&question, pool, deadline, None);
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
