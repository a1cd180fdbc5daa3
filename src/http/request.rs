//! A request to the platform, and the bounds of its exchange.

use std::time::Duration;

use ureq::RequestBuilder;

use super::body::SizeLimit;
use super::response::Response;
use super::upload::RequestBody;
use crate::error::Error;
use crate::token::Token;
use crate::util::clock::Deadline;

/// The media type of server-sent events, <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
const EVENT_STREAM: &str = "text/event-stream";
const ANY_TYPE: &str = "*/*";

/// A request below the platform's address.
///
/// Defaults: the pool's own bound as its deadline, a response of at most `max_answer` bytes, [`Identity::TokenOnly`], and the pool's
/// own limit on silence.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Path and query, below the platform's address.
    pub(super) path: &'a str,
    /// Body of a POST. A request without one is a GET.
    pub(super) body: Option<&'a RequestBody>,
    pub(super) deadline: Option<Deadline>,
    /// Longest body of a response that is read, in bytes. `None` is the setting `max_answer`.
    pub(super) max_response: Option<u64>,
    pub(super) identity: Identity,
    pub(super) silence: Option<Duration>,
    pub(super) heeds_removal: bool,
    pub(super) refuses_token: Option<fn(&[u8]) -> bool>,
    /// Token in place of the client's.
    pub(super) token: Option<&'a Token>,
    /// Media type to ask for, in place of JSON.
    pub(super) accepts: Option<&'static str>,
    /// Longest body that is handed on, where that has to be whole.
    pub(super) whole_body: Option<SizeLimit>,
}

/// Headers that name the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The token, and `X-Workspace-ID`.
    Workspace,
    /// The token alone.
    TokenOnly,
    /// Neither. After a 401 nothing is repeated.
    Anonymous,
}

impl<'a> Request<'a> {
    /// Returns the token that the request carries: its own, or else the client's `current` one. An anonymous one has none.
    pub(super) fn token_or(&self, current: impl FnOnce() -> Option<Token>) -> Option<Token> {
        match self.identity {
            Identity::Anonymous => None,
            Identity::Workspace | Identity::TokenOnly => self.token.cloned().or_else(current),
        }
    }

    /// Returns a GET of `path`.
    pub(crate) fn get(path: &'a str) -> Self {
        Request {
            path,
            body: None,
            deadline: None,
            max_response: None,
            identity: Identity::TokenOnly,
            silence: None,
            heeds_removal: true,
            refuses_token: None,
            token: None,
            accepts: None,
            whole_body: None,
        }
    }

    /// Returns a POST of `body` to `path`.
    pub(crate) fn post(path: &'a str, body: &'a RequestBody) -> Self {
        Request { body: Some(body), ..Request::get(path) }
    }

    /// Sets the time by which the whole response must be there, a repeat of the request included.
    pub(crate) fn deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the longest body of a response that is read, in bytes. A longer one is an error.
    pub(crate) fn max_response(mut self, bytes: u64) -> Self {
        self.max_response = Some(bytes);
        self
    }

    /// Sets the headers that name the caller.
    pub(crate) fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Sets which bodies of a 401 refuse the token. By default every 401 does, even one whose body does not arrive.
    ///
    /// Other requests pass on what somebody behind the platform answers, whose 401 says nothing of our token.
    pub(crate) fn refuses_token(mut self, refuses: fn(&[u8]) -> bool) -> Self {
        self.refuses_token = Some(refuses);
        self
    }

    /// Asks for server-sent events, and reads only the first bytes of a 200. The connection is closed then.
    pub(crate) fn first_event(mut self) -> Self {
        self.accepts = Some(EVENT_STREAM);
        self
    }

    /// Asks for any type of body, and sets the longest body of a 200 that is handed on, in bytes, and the setting that it
    /// comes from. A body that ends with its connection is an error: it may be a part.
    pub(crate) fn whole_body(mut self, max_bytes: u64, setting: &'static str) -> Self {
        self.accepts = Some(ANY_TYPE);
        self.whole_body = Some(SizeLimit { bytes: max_bytes, setting: Some(setting), is_start: false });
        self
    }

    pub(super) fn with_accept<Method>(&self, builder: RequestBuilder<Method>) -> RequestBuilder<Method> {
        match self.accepts {
            Some(media_type) => builder.header("Accept", media_type),
            None => builder,
        }
    }

    /// Sets how long it waits for the next byte of the response.
    pub(crate) fn silence(mut self, time: Duration) -> Self {
        self.silence = Some(time);
        self
    }

    /// Makes the request also where our workspace was removed, and lets a 401 be one.
    ///
    /// For lookups, which are many and are answered after a removal, and for those that say themselves what became of the
    /// workspace.
    pub(crate) fn ignores_removal(mut self) -> Self {
        self.heeds_removal = false;
        self
    }

    pub(super) fn method(&self) -> &'static str {
        if self.body.is_some() { "POST" } else { "GET" }
    }

    /// Returns what is read of the body of a response with this status. `max_answer` is the setting.
    pub(super) fn size_limit(&self, max_answer: usize, status: u16) -> SizeLimit {
        let is_start = status == 200 && self.accepts == Some(EVENT_STREAM);
        match self.max_response {
            Some(bytes) => SizeLimit { bytes, setting: None, is_start },
            None => SizeLimit { bytes: max_answer as u64, setting: Some("max_answer"), is_start },
        }
    }

    /// Returns whether the platform refuses the token.
    pub(super) fn is_refused(&self, outcome: &Result<Response, Error>) -> bool {
        match (outcome, self.refuses_token) {
            (Ok(response), Some(refuses)) => response.status == 401 && refuses(&response.body),
            (Ok(response), None) => response.status == 401,
            // The status counts even where the body did not arrive.
            (Err(error), refuses) => error.status() == Some(401) && refuses.is_none(),
        }
    }

    /// Sends this token in place of the client's. A 401 is about this token: none is read again, and it is no removal.
    pub(crate) fn token(mut self, token: &'a Token) -> Self {
        self.token = Some(token);
        self.heeds_removal = false;
        self
    }
}
