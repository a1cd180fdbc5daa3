//! One request and its response: headers, timeouts, and the repetition of a GET that a kept connection lost.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ureq::{Body, RequestBuilder, SendBody};

use super::body::{BodyFailure, SharedSink, pass_on_body, read_body};
use super::errors::{failure, timed_out};
use super::pool::{FRESH_BUFFER, Pool, is_within_idle_age};
use super::rate_limit::RateLimit;
use super::request::{Identity, Request};
use super::response::{Response, retry_after};
use super::transport::exchange::{self, ExchangeGuard};
use crate::error::{Error, ErrorKind};
use crate::token::Token;
use crate::util::clock::{CoarseInstant, Deadline, millis_up};
use crate::util::log_safe::log_safe;

/// The part of an HTTP client that its exchanges use.
pub(super) struct HttpState {
    pub(super) workspace_id: String,
    /// Headers of every request, except the token.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Largest answer that is read, in bytes, where a request says nothing else.
    pub(super) max_answer: usize,
    pub(super) rate_limit: Arc<RateLimit>,
    /// Process that opened the kept connections.
    process: u32,
    /// When the last GET left its connection in order, by `millis_up`. Zero for never.
    last_exchange: AtomicU64,
}

impl HttpState {
    pub(super) fn new(workspace_id: String, headers: Vec<(&'static str, String)>, max_answer: usize) -> Self {
        HttpState {
            workspace_id,
            headers,
            max_answer,
            rate_limit: Arc::default(),
            process: process::id(),
            last_exchange: AtomicU64::new(0),
        }
    }
}

/// A request with one token, over one pool.
pub(super) struct Exchange<'a, 's> {
    pub(super) state: &'a HttpState,
    pub(super) request: &'a Request<'a>,
    pub(super) pool: &'a Pool,
    pub(super) deadline: Deadline,
    pub(super) url: String,
    pub(super) token: Option<Token>,
    /// Takes the body of a 200. `None` where the response has it.
    pub(super) sink: Option<&'a SharedSink<'s>>,
}

/// Connections that a request may use.
#[derive(Clone, Copy, PartialEq)]
enum Connection {
    /// A kept one, or a new one.
    Any,
    /// A new one only.
    Fresh,
}

impl Exchange<'_, '_> {
    /// Makes the request. A GET that a kept connection may have lost is repeated once on a fresh one.
    ///
    /// It may be lost where the connection was kept and broke before the response's head was whole, or where the response
    /// is a 408. A POST never uses a kept connection.
    pub(super) fn run(&self) -> Result<Response, Error> {
        let last_exchange = &self.state.last_exchange;
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
        self.state.rate_limit.observe(response.status().as_u16(), response.headers(), began);
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
        let is_forked = process::id() != self.state.process;
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
        for (name, value) in &self.state.headers {
            request = request.header(*name, value.as_str());
        }
        if identity == Identity::Workspace {
            request = request.header("X-Workspace-ID", self.state.workspace_id.as_str());
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
        let body = match self.read_or_pass_on(&target, status, &mut response) {
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

    /// Reads the body, or hands that of a 200 to the sink, if there is one.
    fn read_or_pass_on(
        &self,
        target: &str,
        status: u16,
        response: &mut ureq::http::Response<Body>,
    ) -> Result<Vec<u8>, BodyFailure> {
        match self.sink.filter(|_| status == 200) {
            Some(sink) => {
                let whole = self.request.whole_body;
                let passed_on = sink.with(|sink| pass_on_body(target, response, self.deadline, sink, whole));
                passed_on.map(|()| Vec::new())
            }
            None => {
                let limit = self.request.size_limit(self.state.max_answer, status);
                read_body(target, response.body_mut(), self.deadline, limit)
            }
        }
    }

    /// Returns the method and URL, for errors.
    fn target(&self) -> String {
        format!("{} {}", self.request.method(), self.url)
    }
}
