//! A message to a peer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::attempt::{Attempt, FailedAttempt, check_request_size, delivery_of};
use super::response::author::refuses_token;
use super::response::message::{message_answer, message_lost};
use crate::error::{Delivery, Error, ErrorKind};
use crate::http::{Http, Identity, Pool, Request, RequestBody, Response};
use crate::peer::PeerId;
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;
use crate::util::random::fresh_id;
use crate::wire::{self, Message, Reply};

/// Longest id of a message, in bytes. The platform stores none with an id above some 2,700 bytes, and answers 200.
const MAX_ID: usize = 255;

/// A message that is ready to be sent.
#[derive(Clone)]
pub(crate) struct OutgoingMessage {
    http: Arc<Http>,
    peer: PeerId,
    path: String,
    target: String,
    request_id: String,
    body: RequestBody,
    /// Longest wait of an attempt for the next byte of the answer.
    silence: Duration,
}

impl OutgoingMessage {
    /// # Errors
    ///
    /// A message without parts, without words, or nested too deep, one with U+0000 or a long id, or a request above the
    /// setting `max_request`.
    pub(crate) fn new(http: &Arc<Http>, peer: PeerId, message: &Message, silence: Duration) -> Result<Self, Error> {
        let path = message_path(peer);
        let target = format!("POST {}{path}", http.platform());
        let refused = |why: &str| Err(Error::new(ErrorKind::InvalidMessage, why));
        if message.part_count() == 0 {
            return refused("the message has no parts; give it a text");
        }
        if message.is_too_deep() {
            return refused(
                "the message nests its data too deep: with the request around it, above the 128 levels that JSON parsers read",
            );
        }
        if message.own_id().is_some_and(|id| id.len() > MAX_ID) {
            return refused(
                "the message id is above 255 bytes, and the platform stores no message with a long one: shorten it",
            );
        }
        let request_id = fresh_id().ok_or_else(Error::no_random_numbers)?.to_string();
        let bytes = wire::envelope(message, &request_id, &fresh_id().ok_or_else(Error::no_random_numbers)?.to_string());
        if wire::has_nul(&bytes) {
            return refused(
                "the message contains U+0000, and the platform would answer `queued` and store nothing: remove it",
            );
        }
        check_request_size(bytes.len(), http, &target)?;
        if message.is_blank() {
            return Err(Error::blank_text());
        }
        Ok(OutgoingMessage {
            http: http.clone(),
            peer,
            path,
            target,
            request_id,
            body: RequestBody::new(bytes),
            silence,
        })
    }

    /// Logs an answer to another request's id. It is used all the same, since agents answer with any id.
    fn log_foreign_id(&self, id: &Value, response: &Response) {
        // Nothing is done to the id, which may be megabytes long, unless it is logged.
        log_safe!(
            debug,
            "{}: the answer's id is {}, the request's {}",
            self.target,
            response.excerpt_of(id),
            self.request_id
        );
    }
}

impl Attempt for OutgoingMessage {
    type Answer = Reply;

    fn target(&self) -> &str {
        &self.target
    }

    fn run(&self, pool: &Pool, deadline: Deadline) -> Result<Reply, FailedAttempt> {
        let request = Request::post(&self.path, &self.body)
            .identity(Identity::Workspace)
            .deadline(deadline)
            .silence(self.silence)
            .refuses_token(refuses_token);
        let response = self.http.execute(&request, pool).map_err(|error| message_lost(error, &self.body))?;
        let reply = message_answer(&response)?;
        let id = &reply.as_json()["id"];
        if *id != self.request_id.as_str() {
            self.log_foreign_id(id, &response);
        }
        Ok(reply.sent_to(self.peer))
    }

    fn delivery(&self) -> Delivery {
        delivery_of(&self.body)
    }
}

/// Returns the path to which messages for a peer are posted.
pub(crate) fn message_path(peer: PeerId) -> String {
    format!("/workspaces/{peer}/a2a")
}
