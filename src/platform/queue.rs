//! A message that the platform queued: what became of it.

use serde_json::{Map, Value};

use super::response::{Call, read_object, refusal};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Identity, Request};
use crate::peer::PeerId;
use crate::util::clock::{Deadline, wall_nanos};
use crate::util::str_enum::str_enum;
use crate::wire::{CALL_MEMORY, MessageAnswer, Queued, Reply, Timestamp, read_answer};

/// The state of a message that the platform queued: its JSON object, as it came.
///
/// Times are texts such as `2026-11-29 15:07:15.61628+00`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedState {
    fields: Map<String, Value>,
    outcome: QueuedOutcome,
    reply: Option<Reply>,
}

/// The fate of a message that the platform queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueuedOutcome {
    /// It waits for its agent, or is on its way to it.
    Pending,
    /// It was not delivered in its time, and is not delivered any more. The platform goes on to call it `queued`.
    Expired,
    /// The agent answered: [`QueuedState::reply`].
    Answered,
    /// The peer polls: the message is in its inbox. There is no answer.
    InInbox,
    /// The platform has handed it over, and has no answer. What became of it is not known.
    Lost,
    /// The agent answered with an error, or the platform gave up: [`QueuedState::as_json`] has the words.
    Failed,
}

str_enum!(QueuedOutcome {
    Pending: "pending",
    Expired: "expired",
    Answered: "answered",
    InInbox: "in_inbox",
    Lost: "lost",
    Failed: "failed",
});

impl QueuedState {
    fn new(fields: Map<String, Value>, now: Option<Timestamp>) -> Self {
        let (mut outcome, mut reply) = (QueuedOutcome::Pending, None);
        match fields.get("status").and_then(Value::as_str) {
            Some("completed") => (outcome, reply) = read_response(fields.get("response_body")),
            Some("failed" | "dropped" | "canceled" | "cancelled") => outcome = QueuedOutcome::Failed,
            Some("expired") => outcome = QueuedOutcome::Expired,
            Some("queued") if has_passed(fields.get("expires_at"), now) => outcome = QueuedOutcome::Expired,
            _ => {}
        }
        QueuedState { fields, outcome, reply }
    }

    /// Returns what became of the message.
    #[must_use]
    pub fn outcome(&self) -> QueuedOutcome {
        self.outcome
    }

    /// Returns whether nothing more happens to the message: its outcome is not [`Pending`](QueuedOutcome::Pending).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.outcome != QueuedOutcome::Pending
    }

    /// Returns whether the message was not delivered in its time, by this machine's clock when the state was asked for.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.outcome == QueuedOutcome::Expired
    }

    /// Returns the agent's answer, for [`QueuedOutcome::Answered`].
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// Returns the platform's word for the state: `queued`, `dispatched`, `completed` or another.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.text("status")
    }

    /// Returns how often the platform has tried to deliver the message.
    #[must_use]
    pub fn attempts(&self) -> Option<u64> {
        self.fields.get("attempts").and_then(Value::as_u64)
    }

    /// Returns the platform's reason why the last attempt failed.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.text("last_error")
    }

    /// Returns the time at which the platform queued the message.
    #[must_use]
    pub fn enqueued_at(&self) -> Option<&str> {
        self.text("enqueued_at")
    }

    /// Returns the time of the last attempt.
    #[must_use]
    pub fn dispatched_at(&self) -> Option<&str> {
        self.text("dispatched_at")
    }

    /// Returns the time at which the platform was done with the message.
    #[must_use]
    pub fn completed_at(&self) -> Option<&str> {
        self.text("completed_at")
    }

    /// Returns the time after which the platform no longer delivers the message. Most have none.
    #[must_use]
    pub fn expires_at(&self) -> Option<&str> {
        self.text("expires_at")
    }

    /// Returns the whole object.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }
}

/// Reads the body with which the agent, or the platform for a peer that polls, answered.
fn read_response(body: Option<&Value>) -> (QueuedOutcome, Option<Reply>) {
    let Some(body) = body.filter(|body| !body.is_null()) else { return (QueuedOutcome::Lost, None) };
    match read_answer(200, body.to_string().as_bytes()) {
        MessageAnswer::Reply(Reply::Queued(_)) => (QueuedOutcome::InInbox, None),
        MessageAnswer::Reply(reply) => (QueuedOutcome::Answered, Some(reply)),
        _ => (QueuedOutcome::Failed, None),
    }
}

/// Returns whether a time is over. One that is no time is not.
fn has_passed(time: Option<&Value>, now: Option<Timestamp>) -> bool {
    let time = time.and_then(Value::as_str).and_then(Timestamp::parse);
    time.zip(now).is_some_and(|(time, now)| time <= now)
}

/// Asks for the state of a message that the platform queued.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] where the platform gave no id for it, or does not know or show it; [`ErrorKind::Malformed`] for an
/// id that is no UUID. Any other status, a body that is no JSON object, and a failure of the transport are errors, too.
pub(crate) fn queued_state(http: &Http, queued: &Queued, deadline: Deadline) -> Result<QueuedState, Error> {
    let path = queue_path(http, queued)?;
    let request = Request::get(&path).identity(Identity::Workspace).deadline(deadline);
    let response = http.execute(&request, http.calls())?;
    match response.status {
        200 => {
            let now = wall_nanos().map(Timestamp::from_nanos);
            Ok(QueuedState::new(read_object(&response, CALL_MEMORY)?, now))
        }
        _ => Err(refusal(&response, Call::Queue, http.workspace_id())),
    }
}

/// Returns the path of a queued message. The id is the platform's, and must not name another path.
fn queue_path(http: &Http, queued: &Queued) -> Result<String, Error> {
    let Some(id) = queued.queue_id() else {
        let detail = "the platform gave no queue id: a peer that polls has the message in its inbox";
        return Err(Error::new(ErrorKind::NotFound, detail));
    };
    let Some(id) = PeerId::from_text(id) else {
        return Err(Error::new(ErrorKind::Malformed, "the platform's queue id is no UUID"));
    };
    let peer = queued.peer().map_or_else(|| http.workspace_id().to_owned(), |peer| peer.to_string());
    Ok(format!("/workspaces/{peer}/a2a/queue/{id}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(body: Value) -> QueuedState {
        let Value::Object(fields) = body else { panic!("{body}") };
        QueuedState::new(fields, Timestamp::parse("2026-11-29T15:07:17Z"))
    }

    #[test]
    fn outcome_is_read_from_status_expiry_and_response() {
        use QueuedOutcome::{Answered, Expired, Failed, InInbox, Lost, Pending};
        let completed = |body: Value| json!({ "status": "completed", "response_body": body });
        for (body, outcome) in [
            (json!({ "status": "queued" }), Pending),
            (json!({ "status": "dispatched" }), Pending),
            (json!({ "status": "later" }), Pending),
            (json!({}), Pending),
            (json!({ "status": "queued", "expires_at": "2026-11-29 15:07:17.000001+00" }), Pending),
            (json!({ "status": "queued", "expires_at": "2026-11-29 15:07:16.672645+00" }), Expired),
            (json!({ "status": "queued", "expires_at": "soon" }), Pending),
            (json!({ "status": "dispatched", "expires_at": "2026-11-29 15:07:16+00" }), Pending),
            (json!({ "status": "dropped" }), Failed),
            (json!({ "status": "completed" }), Lost),
            (completed(json!(null)), Lost),
            (completed(json!({ "status": "queued", "delivery_mode": "poll" })), InInbox),
            (completed(json!({ "result": { "parts": [{ "text": "pong" }] } })), Answered),
            (completed(json!({ "error": { "code": -1, "message": "no" } })), Failed),
            (completed(json!({ "error": "the agent says no" })), Failed),
            (completed(json!({ "result": { "parts": [{ "text": "Agent error: x" }] } })), Failed),
            (completed(json!("x")), Failed),
        ] {
            let state = state(body.clone());
            assert_eq!((state.outcome(), state.is_finished()), (outcome, outcome != Pending), "{body}");
            assert_eq!((state.is_expired(), state.reply().is_some()), (outcome == Expired, outcome == Answered));
        }
        // A clock that is not known says nothing.
        let Value::Object(fields) = json!({ "status": "queued", "expires_at": "2020-01-01 00:00:00+00" }) else {
            panic!()
        };
        assert_eq!(QueuedState::new(fields, None).outcome(), Pending);
    }
}
