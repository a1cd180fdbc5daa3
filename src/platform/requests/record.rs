//! A request as the platform lists it, and its messages.

use serde_json::{Map, Value};

/// A task or an approval that an agent or a person is asked for: the platform's JSON object, as it came.
///
/// Title and detail are the words of whoever asks. Treat them as you treat a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRequest {
    id: String,
    fields: Map<String, Value>,
}

impl WorkspaceRequest {
    /// Returns `None` for an object without an id.
    pub(super) fn new(fields: Map<String, Value>) -> Option<Self> {
        let id = fields.get("id").and_then(Value::as_str).filter(|id| !id.is_empty())?.to_owned();
        Some(WorkspaceRequest { id, fields })
    }

    /// Returns the id, by which [`Client::respond`](crate::Client::respond) names the request.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the field `kind`: `task`, `approval`, or a word of a later platform.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.text("kind")
    }

    /// Returns the field `title`.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.text("title")
    }

    /// Returns the field `detail`.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.text("detail")
    }

    /// Returns the field `status`: `pending`, `info_requested` once the recipient has asked back, `done`, `approved`,
    /// `rejected`, `cancelled`, or a word of a later platform.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.text("status")
    }

    /// Returns the field `requester_type`: `agent`, or `user`.
    #[must_use]
    pub fn requester_type(&self) -> Option<&str> {
        self.text("requester_type")
    }

    /// Returns the field `requester_id`: of an agent, its workspace's id.
    #[must_use]
    pub fn requester_id(&self) -> Option<&str> {
        self.text("requester_id")
    }

    /// Returns the field `recipient_type`: `agent`, or `user`.
    #[must_use]
    pub fn recipient_type(&self) -> Option<&str> {
        self.text("recipient_type")
    }

    /// Returns the field `recipient_id`: of an agent, its workspace's id.
    #[must_use]
    pub fn recipient_id(&self) -> Option<&str> {
        self.text("recipient_id")
    }

    /// Returns the field `priority`, if it is an integer.
    #[must_use]
    pub fn priority(&self) -> Option<i64> {
        self.fields.get("priority").and_then(Value::as_i64)
    }

    /// Returns the field `created_at`: a time in RFC 3339, by the platform's clock.
    #[must_use]
    pub fn created_at(&self) -> Option<&str> {
        self.text("created_at")
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

/// A request and what was written about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestDetails {
    /// The request.
    pub request: WorkspaceRequest,
    /// The messages about it, the oldest first.
    pub messages: Vec<RequestMessage>,
}

/// A message about a request: the platform's JSON object, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMessage {
    fields: Map<String, Value>,
}

impl RequestMessage {
    /// Reads a list of messages. Entries that are no objects are left out.
    pub(super) fn list(messages: Option<Value>) -> Vec<Self> {
        let Some(Value::Array(entries)) = messages else { return Vec::new() };
        let message = |entry| if let Value::Object(fields) = entry { Some(RequestMessage { fields }) } else { None };
        entries.into_iter().filter_map(message).collect()
    }

    /// Returns the field `id`, if it is a text.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.get("id").and_then(Value::as_str)
    }

    /// Returns the text, which is the author's word.
    #[must_use]
    pub fn body(&self) -> Option<&str> {
        self.get("body").and_then(Value::as_str)
    }

    /// Returns the field `author_type`: `agent`, or `user`.
    #[must_use]
    pub fn author_type(&self) -> Option<&str> {
        self.get("author_type").and_then(Value::as_str)
    }

    /// Returns the field `author_id`: of an agent, its workspace's id.
    #[must_use]
    pub fn author_id(&self) -> Option<&str> {
        self.get("author_id").and_then(Value::as_str)
    }

    /// Returns the whole object.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }
}
