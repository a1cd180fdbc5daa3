//! One POST of a message: a request in, a typed outcome out. No retry.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Delivery, Error, ErrorKind, guard};
use crate::http::{Ask, Http, Identity, RequestBody, Wire};
use crate::peer::PeerId;
use crate::util::clock::Deadline;
use crate::util::random::fresh_id;
use crate::wire::{self, Message, Reply};

/// The largest request, in bytes: there the platform cuts it.
const MAX_REQUEST: usize = 1024 * 1024;
/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 10_000_000;

/// A message that is ready to go: the same bytes, so the same ids, at each attempt.
#[derive(Clone)]
pub(crate) struct Outgoing {
    path: String,
    /// The method and URL that it goes to.
    pub(crate) target: String,
    request_id: String,
    upload: RequestBody,
    /// How long an attempt goes on without a byte from the peer.
    silence: Duration,
}

/// An attempt that brought no reply.
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) again: RetryHint,
}

/// Whether another attempt may do better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RetryHint {
    No,
    /// The transport failed.
    Transport,
    /// The platform asks us to come again, and perhaps says when.
    Asked(Option<Duration>),
}

impl Outgoing {
    /// # Errors
    ///
    /// A message without parts, or a request that the platform would cut.
    pub(crate) fn new(http: &Http, peer: PeerId, message: &Message, silence: Duration) -> Result<Self, Error> {
        let path = message_path(peer);
        let target = format!("POST {}{path}", http.platform());
        if message.part_count() == 0 {
            return Err(
                Error::new(ErrorKind::InvalidMessage, "the message has no parts; give it a text").with_target(target)
            );
        }
        if message.is_too_deep() {
            let detail = "the message nests its data more than 128 levels deep, which no peer can read";
            return Err(Error::new(ErrorKind::InvalidMessage, detail).with_target(target));
        }
        let request_id = fresh_id().ok_or_else(Error::no_random_numbers)?.to_string();
        let bytes = wire::envelope(message, &request_id, &fresh_id().ok_or_else(Error::no_random_numbers)?.to_string());
        if bytes.len() > MAX_REQUEST {
            let detail = format!("the request has {} bytes; the platform takes {MAX_REQUEST}", bytes.len());
            return Err(Error::new(ErrorKind::TooLarge, detail).with_target(target));
        }
        Ok(Outgoing { path, target, request_id, upload: RequestBody::new(bytes), silence })
    }

    /// What is known of its delivery by how much of it was handed over in the last attempt.
    pub(crate) fn delivery(&self) -> Delivery {
        if self.upload.may_be_sent() { Delivery::Unknown } else { Delivery::NotSent }
    }

    /// One attempt, on a fresh connection.
    ///
    /// # Errors
    ///
    /// With whether another attempt may do better.
    pub(crate) fn post(&self, http: &Arc<Http>, deadline: Deadline, wire: Option<&Wire>) -> Result<Reply, Failed> {
        let ask =
            Ask { path: &self.path, identity: Identity::Workspace, deadline, cap: MAX_ANSWER, silence: self.silence };
        let answer = http.post(&ask, &self.upload, wire).map_err(|error| self.broken(error))?;
        if answer.status < 300 {
            let unread = |error: Error| Failed { error: error.with_delivery(Delivery::Unknown), again: RetryHint::No };
            answer.check_encoding().map_err(unread)?;
        }
        match wire::read(answer.status, &answer.body, || answer.excerpt(), |words| answer.words(words)) {
            Ok(reply) => {
                let id = &reply.as_json()["id"];
                if *id != self.request_id.as_str() {
                    // Agents answer with anything.
                    let id = answer.shown(&id.to_string());
                    log::debug!("{}: the answer's id is {id}, the request's {}", self.target, self.request_id);
                }
                Ok(reply)
            }
            Err(refusal) => {
                let wait = answer.retry_after.or(refusal.retry_after);
                let error = answer.error(refusal.kind, refusal.detail).with_delivery(refusal.delivery);
                let again = if refusal.asks_again { RetryHint::Asked(wait) } else { RetryHint::No };
                Err(Failed { error: error.with_retry_after(wait).with_rpc_code(refusal.rpc_code), again })
            }
        }
    }

    /// The same on a thread of its own, which nobody would hear of again if it panicked.
    ///
    /// # Errors
    ///
    /// As [`post`](Outgoing::post).
    pub(crate) fn post_guarded(&self, http: &Arc<Http>, deadline: Deadline, wire: &Wire) -> Result<Reply, Failed> {
        match guard(|| Ok(self.post(http, deadline, Some(wire)))) {
            Ok(outcome) => outcome,
            Err(error) => Err(self.broken(error.with_target(self.target.as_str()))),
        }
    }

    /// An attempt that brought no whole answer.
    fn broken(&self, error: Error) -> Failed {
        let transport = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout);
        // A status is an answer, though its body be broken; but for a 200, whose body is what it is about.
        let transport = transport && error.status().is_none_or(|status| status == 200);
        let again = if transport { RetryHint::Transport } else { RetryHint::No };
        Failed { error: error.with_delivery(self.delivery()), again }
    }
}

/// Where messages to a peer go, below the platform's address.
pub(crate) fn message_path(peer: PeerId) -> String {
    format!("/workspaces/{peer}/a2a")
}
