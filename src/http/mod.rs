//! HTTP: the agents, their timeouts and caps, and who we say that we are. The only room that names
//! `ureq`.

mod errors;
mod pool;
pub(crate) mod response;
pub(crate) mod route;
mod transport;
mod upload;

use std::io::Read;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ureq::{Body, SendBody};

use crate::config::{CheckedSettings, PlatformUrl};
use crate::error::{Error, ErrorKind};
use crate::retry::RetryPolicy;
use crate::token::{Token, TokenStore};
use crate::util::clock::{Deadline, millis_up};
use errors::{failure, timed_out};
use pool::{Bounded, MAX_IDLE_AGE};
pub(crate) use pool::{SEND_SILENCE, Wire};
pub(crate) use response::Response;
use response::retry_after;
use route::Route;
use transport::exchange::{self, ExchangeGuard};
pub(crate) use upload::RequestBody;

/// What the buffers of a request hold that is to have a fresh connection: another size than the agent's
/// keeps it away from the pool, and the pool as it is.
const FRESH_BUFFER: usize = 128 * 1024 + 1;
/// A platform, as one workspace talks to it.
pub(crate) struct Http {
    lookups: Bounded,
    calls: Bounded,
    sends: Wire,
    /// What wires of others' own are made by.
    route: Route,
    platform: PlatformUrl,
    workspace_id: String,
    /// What every request carries, the token apart.
    headers: Vec<(&'static str, String)>,
    tokens: TokenStore,
    /// The process that the pooled connections belong to.
    process: u32,
    /// When an exchange last ended with its connection in good order, by `millis_up`; zero for never.
    last_exchange: AtomicU64,
}

/// Which of its headers a call names the caller by, beside the token.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Identity {
    Workspace,
    TokenOnly,
}

/// Which agent, and so which usual bound, a GET goes by.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// A lookup in a callback.
    Lookup,
    /// A call that its user waits for.
    Call,
}

/// What is asked of the platform.
pub(crate) struct Ask<'a> {
    /// Below the platform's address.
    pub(crate) path: &'a str,
    pub(crate) identity: Identity,
    pub(crate) deadline: Deadline,
    /// The most bytes of a body that are read.
    pub(crate) cap: u64,
    /// How long a POST goes on without a byte from the peer.
    pub(crate) silence: Duration,
}

/// One exchange of an [`Ask`].
struct Exchange<'a> {
    ask: &'a Ask<'a>,
    by: &'a Bounded,
    url: String,
    /// A POST's body; without one it is a GET.
    upload: Option<&'a RequestBody>,
    token: Option<Token>,
}

impl Http {
    /// # Errors
    ///
    /// Root certificates that are none.
    pub(crate) fn new(checked: &CheckedSettings, tokens: TokenStore) -> Result<Self, Error> {
        let route = Route::new(checked)?;
        let settings = &checked.settings;
        let mut headers = Vec::new();
        headers.extend(settings.origin.clone().map(|origin| ("Origin", origin)));
        headers.extend(settings.org_id.clone().map(|org| ("X-Molecule-Org-Id", org)));
        Ok(Http {
            lookups: Bounded::pooled(&route, settings.lookup_timeout),
            calls: Bounded::pooled(&route, settings.call_timeout),
            // The usual budget: a send of another has settings of its own.
            sends: Wire::new(&route, RetryPolicy::new().budget()),
            route,
            platform: checked.platform.clone(),
            workspace_id: settings.workspace_id.clone(),
            headers,
            tokens,
            process: process::id(),
            last_exchange: AtomicU64::new(0),
        })
    }

    /// A wire that can be shut down without harm to others, for sends of so much time at the most.
    pub(crate) fn wire(&self, bound: Duration) -> Wire {
        Wire::new(&self.route, bound)
    }

    /// One that keeps its connections for the next request, for GETs of so much time at the most.
    pub(crate) fn pooled_wire(&self, bound: Duration) -> Wire {
        Wire::pooled(&self.route, bound)
    }

    pub(crate) fn platform(&self) -> &PlatformUrl {
        &self.platform
    }

    pub(crate) fn workspace_id(&self) -> &str {
        &self.workspace_id
    }

    /// One GET. A 401 has the token read again, and the request made once more if it changed. Where it
    /// may have met a pooled connection in the moment of its being closed, it is repeated once on a fresh
    /// one: it broke before the head of an answer was whole, or the answer is a 408.
    ///
    /// # Errors
    ///
    /// No whole answer by the deadline, or a body above the cap. A status is no error.
    pub(crate) fn get(&self, ask: &Ask<'_>, pace: Pace) -> Result<Response, Error> {
        self.get_by(ask, if pace == Pace::Lookup { &self.lookups } else { &self.calls })
    }

    /// One GET as by [`get`](Http::get), over a wire that can be shut down without harm to others.
    ///
    /// # Errors
    ///
    /// As [`get`](Http::get).
    pub(crate) fn get_over(&self, ask: &Ask<'_>, wire: &Wire) -> Result<Response, Error> {
        self.get_by(ask, &wire.0)
    }

    fn get_by(&self, ask: &Ask<'_>, by: &Bounded) -> Result<Response, Error> {
        self.with_rotation(ask, by, None, |exchange| {
            let may_be_pooled = may_be_pooled(self.last_exchange.load(Ordering::Relaxed), millis_up());
            let outcome = match self.run(exchange, false) {
                Err(error) if may_be_pooled && error.kind() == ErrorKind::Disconnected && error.status().is_none() => {
                    log::debug!("{error}; once more on a fresh connection");
                    self.run(exchange, true)
                }
                // What a front end says of a connection that was idle for too long can cross a request on it.
                Ok(reply) if may_be_pooled && reply.status == 408 => self.run(exchange, true),
                outcome => outcome,
            };
            if outcome.is_ok() {
                self.last_exchange.store(millis_up(), Ordering::Relaxed);
            }
            outcome
        })
    }

    /// One POST of JSON on a fresh connection of the `wire`, by default of one that all messages share.
    /// A 401 has the token read again, and the request made once more if it changed.
    ///
    /// # Errors
    ///
    /// As [`get`](Http::get).
    pub(crate) fn post(&self, ask: &Ask<'_>, upload: &RequestBody, wire: Option<&Wire>) -> Result<Response, Error> {
        let Wire(by) = wire.unwrap_or(&self.sends);
        self.with_rotation(ask, by, Some(upload), |exchange| self.run(exchange, false))
    }

    fn with_rotation<'a>(
        &self,
        ask: &'a Ask<'a>,
        by: &'a Bounded,
        upload: Option<&'a RequestBody>,
        run: impl Fn(&Exchange<'a>) -> Result<Response, Error>,
    ) -> Result<Response, Error> {
        let url = format!("{}{}", self.platform, ask.path);
        let mut exchange = Exchange { ask, by, url, upload, token: self.tokens.current() };
        let outcome = run(&exchange);
        // The status counts, though its body be broken.
        let status = outcome.as_ref().map_or_else(Error::status, |reply| Some(reply.status));
        if status != Some(401) {
            return outcome;
        }
        match self.tokens.rotated(exchange.token.as_ref(), ask.deadline) {
            Some(token) => {
                exchange.token = Some(token);
                run(&exchange)
            }
            None => outcome,
        }
    }

    /// One exchange, if need be on a connection that cannot be a pooled one.
    fn run(&self, exchange: &Exchange<'_>, fresh: bool) -> Result<Response, Error> {
        // ureq panics where the system refuses it the thread that resolves a name.
        exchange::run(|| self.exchange(exchange, fresh)).map_err(|error| match error.kind() {
            ErrorKind::Internal => error.with_target(exchange.target()),
            _ => error,
        })
    }

    fn exchange(&self, exchange: &Exchange<'_>, fresh: bool) -> Result<Response, Error> {
        let Exchange { ask, by, url, upload, token } = exchange;
        let Ask { identity, deadline, cap, .. } = ask;
        let target = exchange.target();
        if let Some(upload) = upload {
            upload.restart();
        }
        let left = deadline.left();
        if left.is_zero() {
            return Err(timed_out(&target));
        }
        let workspace = (*identity == Identity::Workspace).then_some(("X-Workspace-ID", &self.workspace_id));
        // The transport puts the token where this stands for it.
        let exchanging = ExchangeGuard::begin(token.as_ref(), *upload, *deadline);
        let headers = self.headers.iter().map(|(name, value)| (*name, value)).chain(workspace);
        let headers = headers.map(|(name, value)| (name, value.as_str()));
        let headers = headers.chain(exchanging.authorization().map(|value| ("Authorization", value)));

        let result = match upload {
            None => {
                let mut request = by.agent.get(url);
                // After a fork the other process has the same sockets, and would read our answers.
                if fresh || process::id() != self.process {
                    request = request.config().timeout_global(Some(left)).output_buffer_size(FRESH_BUFFER).build();
                } else if let Some(left) = by.shorter(left) {
                    request = request.config().timeout_global(Some(left)).build();
                }
                headers.fold(request, |request, (name, value)| request.header(name, value)).call()
            }
            Some(upload) => {
                let mut request = by.agent.post(url);
                if by.shorter(left).is_some() || ask.silence != SEND_SILENCE {
                    let config = request.config().timeout_global(Some(left));
                    request = config.timeout_per_read(Some(ask.silence)).build();
                }
                let request = headers.fold(request, |request, (name, value)| request.header(name, value));
                let request = request.header("Content-Type", "application/json").header("Content-Length", upload.len());
                request.send(SendBody::from_reader(&mut upload.reader()))
            }
        };
        if exchanging.lost_the_token() {
            let detail = "the token could not be put into the request: the HTTP client does not write it as it used to";
            return Err(Error::new(ErrorKind::Internal, detail).with_target(target));
        }
        let mut response = result.map_err(|why| failure(&target, why, *deadline))?;

        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header("Retry-After").and_then(retry_after);
        let encoding = header("Content-Encoding").map(str::to_owned);
        let body =
            read_body(&target, response.body_mut(), *deadline, *cap).map_err(|error| error.with_status(status))?;
        Ok(Response { status, retry_after, encoding, body, target, token: token.clone() })
    }
}

/// Whether a connection can have been reused at `now`, by when an exchange `last` left one behind.
fn may_be_pooled(last: u64, now: u64) -> bool {
    last != 0 && Duration::from_millis(now.saturating_sub(last)) <= MAX_IDLE_AGE
}

impl Exchange<'_> {
    fn target(&self) -> String {
        format!("{} {}", if self.upload.is_some() { "POST" } else { "GET" }, self.url)
    }
}

fn read_body(target: &str, body: &mut Body, deadline: Deadline, cap: u64) -> Result<Vec<u8>, Error> {
    let too_large = || Error::new(ErrorKind::TooLarge, format!("the body is above {cap} bytes")).with_target(target);
    // By what its head says none of it needs to come.
    if body.content_length().is_some_and(|length| length > cap) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // Not `limit`, which refuses a body of exactly its length and counts compressed bytes.
    body.as_reader().take(cap + 1).read_to_end(&mut bytes).map_err(|why| failure(target, why.into(), deadline))?;
    if bytes.len() as u64 > cap { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_can_be_pooled_for_as_long_as_the_pool_keeps_it() {
        assert!(!may_be_pooled(0, 1), "nothing was exchanged yet");
        assert!(may_be_pooled(1, 1) && may_be_pooled(1, 5_001));
        assert!(!may_be_pooled(1, 5_002));
    }
}
