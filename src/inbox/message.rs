//! A push: one row of the inbox, as a callback gets it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::envelope::PromptEnvelope;
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::peer::{Peer, PeerId};
use crate::retry::RetryPolicy;
use crate::send::SendOptions;
use crate::util::str_enum::str_enum;
use crate::util::text::strip;
use crate::wire::{self, Attachment, Message, Reply, Row};

/// The time that an answer has in all.
const REPLY_BUDGET: Duration = Duration::from_secs(30);

/// Who it is that a push comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InboxMessageKind {
    /// Another workspace's agent.
    PeerAgent,
    /// The human on the canvas.
    CanvasUser,
    /// The platform, with what came of something that was delegated to another.
    DelegationResult,
    /// Somebody whom the row names in no way that is known: it takes no reply.
    Unknown,
}

// The platform's words, where it has some.
str_enum!(InboxMessageKind {
    PeerAgent: "peer_agent",
    CanvasUser: "canvas_user",
    DelegationResult: "delegation_result",
    Unknown: "unknown",
});

/// A message that arrived in our inbox. It is cheap to clone, and may be handed to another thread.
///
/// All of it but the [`activity_id`](InboxMessage::activity_id) and the [`peer`](InboxMessage::peer) is the sender's word, or the
/// word of what the sender registered: [`notification`](InboxMessage::notification) makes it fit for a prompt.
///
/// ```
/// # use a2a_blocking::{Client, InboxPoller, InboxMessageKind, Verdict};
/// # let dir = std::env::temp_dir().join(format!("a2a-doc-push-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let mut platform = mockito::Server::new();
/// # let inbox = platform.mock("GET", "/workspaces/my-team/activity").match_query(mockito::Matcher::Any);
/// # let row = r#"[{"id": "r-1", "source_id": "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", "priority": 2,
/// #     "peer_name": "ops-agent", "summary": "disk is full"}]"#;
/// # inbox.with_body(row).create();
/// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
/// # let mut poller = InboxPoller::builder(client).cursor_file(dir.join("cursor.json")).build()?;
/// let polled = poller.poll_once(|push| {
///     assert_eq!((push.kind(), push.text(), push.delivery_attempt()), (InboxMessageKind::PeerAgent, "disk is full", 1));
///     let sender = push.sender();
///     assert_eq!(sender.as_ref().and_then(|peer| peer.name()), Some("ops-agent"));
///     assert_eq!(push.row()["priority"], 2, "what has no method is in the row");
///     Verdict::Ack
/// })?;
/// assert_eq!(polled.delivered, 1);
/// # drop(poller);
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone)]
pub struct InboxMessage {
    inner: Arc<Inner>,
    attempt: u32,
}

struct Inner {
    client: Client,
    id: String,
    kind: InboxMessageKind,
    peer: Option<PeerId>,
    text: String,
    attachments: Vec<Attachment>,
    fields: Map<String, Value>,
}

impl InboxMessage {
    pub(super) fn new(client: &Client, row: Row) -> Self {
        let Row { id, fields, .. } = row;
        let (kind, peer) = sender(&fields);
        let body = wire::request_body(&fields);
        let (text, attachments) = (wire::body_text(&fields, &body), wire::attachments(&fields, &body));
        drop(body);
        let inner = Inner { client: client.clone(), id, kind, peer, text, attachments, fields };
        InboxMessage { inner: Arc::new(inner), attempt: 1 }
    }

    pub(super) fn at_attempt(&self, attempt: u32) -> Self {
        InboxMessage { inner: self.inner.clone(), attempt }
    }

    /// The row's id: by it a repeat can be told.
    #[must_use]
    pub fn activity_id(&self) -> &str {
        &self.inner.id
    }

    /// What was said: the text parts of the message, or else what the row says in their place;
    /// `(empty A2A message)` where it says nothing.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// Whom it is from; `None` for the human on the canvas.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.inner.peer
    }

    /// Who it is that it comes from.
    #[must_use]
    pub fn kind(&self) -> InboxMessageKind {
        self.inner.kind
    }

    /// The method that was called, as `message/send`; empty where the row names none.
    #[must_use]
    pub fn method(&self) -> &str {
        wire::text(&self.inner.fields, "method").unwrap_or_default()
    }

    /// When the row was made, as the platform writes it.
    #[must_use]
    pub fn created_at(&self) -> Option<&str> {
        wire::created_at(&self.inner.fields)
    }

    /// The files that came with it.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.inner.attachments
    }

    /// The row as it came. A field that cannot be read, as what nests deeper than 125 levels, holds half a surrogate
    /// pair or would take far more memory than its text, is a string of its JSON text.
    #[must_use]
    pub fn row(&self) -> &Map<String, Value> {
        &self.inner.fields
    }

    /// Which try this is, from 1. Tries before a crash count.
    #[must_use]
    pub fn delivery_attempt(&self) -> u32 {
        self.attempt
    }

    /// Who the sender is, without waiting: what [`Client::enrich_nonblocking`] knows, or else the name and role
    /// that the platform put into the row. `None` for the human, and where neither is known.
    #[must_use]
    pub fn sender(&self) -> Option<Peer> {
        let peer = self.peer()?;
        self.inner.client.enrich_nonblocking(peer).or_else(|| self.carried(peer))
    }

    /// Who the sender is, by [`Client::enrich`]: a lookup of 2 s at the most where nothing is remembered.
    #[must_use]
    pub fn enrich(&self) -> Option<Peer> {
        let peer = self.peer()?;
        self.inner.client.enrich(peer).or_else(|| self.carried(peer))
    }

    fn carried(&self, peer: PeerId) -> Option<Peer> {
        let carried = |name| wire::text(&self.inner.fields, name).map(Value::from);
        let (name, role) = (carried("peer_name"), carried("peer_role"));
        if name.is_none() && role.is_none() {
            return None;
        }
        let named = [("id", Some(peer.to_string().into())), ("name", name), ("role", role)];
        let fields = named.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?)));
        Some(Peer::discovered(peer, fields.collect()))
    }

    /// Answers: a peer by a message of role `agent`, the human by a notice on the canvas. 30 s at the most; it is
    /// tried again only while nothing can have been delivered. `Some` is what the peer said to it; the human
    /// says nothing, `None`.
    ///
    /// A peer's inbox gets the answer as it gets any message: two programs that answer whatever comes answer each
    /// other for ever. Answer what asks for it.
    ///
    /// # Errors
    ///
    /// An empty text, or a push that takes no reply: a delegation's result, or a sender that is not known
    /// ([`ErrorKind::InvalidMessage`]; nothing is sent). Otherwise as [`Client::send_with`] and
    /// [`Client::notify`], with what is known of the delivery. [`Verdict::after`](crate::Verdict::after) makes the
    /// callback's verdict of it.
    pub fn reply(&self, text: impl Into<String>) -> Result<Option<Reply>, Error> {
        let text = text.into();
        let refused = |why: &str| Err(Error::new(ErrorKind::InvalidMessage, format!("reply: {why}")));
        if text.trim().is_empty() {
            return refused("the text is empty");
        }
        match (self.kind(), self.peer()) {
            (InboxMessageKind::PeerAgent, Some(peer)) => {
                let policy = RetryPolicy::new().with_budget(REPLY_BUDGET).only_undelivered();
                let message = Message::from(text).by_agent();
                self.inner.client.send_with(peer, &message, &SendOptions::new().retry(policy)).map(Some)
            }
            (InboxMessageKind::CanvasUser, _) => self.inner.client.notify(&text).map(|()| None),
            (InboxMessageKind::DelegationResult, _) => refused("a delegation's result takes no reply"),
            _ => refused("the row names no sender that a reply could go to; see InboxMessage::row"),
        }
    }

    /// The push as an agent host shows it to its agent, with every field from outside gated.
    #[must_use]
    pub fn envelope(&self) -> PromptEnvelope {
        PromptEnvelope::new(self, self.sender().as_ref())
    }

    pub(super) fn client(&self) -> &Client {
        &self.inner.client
    }
}

fn sender(fields: &Map<String, Value>) -> (InboxMessageKind, Option<PeerId>) {
    let source = wire::source(fields);
    let peer = source.and_then(PeerId::from_text);
    let said = || {
        let data = fields.get("data").and_then(Value::as_object)?;
        wire::text(data, "kind").or_else(|| wire::text(data, "source"))
    };
    let kind = match (source, peer) {
        _ if wire::text(fields, "method") == Some("delegate_result") => InboxMessageKind::DelegationResult,
        (_, Some(_)) => InboxMessageKind::PeerAgent,
        (Some(_), None) => InboxMessageKind::Unknown,
        (None, _) if said().is_none_or(|said| said == "canvas_user") => InboxMessageKind::CanvasUser,
        (None, _) => InboxMessageKind::Unknown,
    };
    (kind, peer)
}

/// Whether a row is our own: a notice to our human, or an echo of what we sent. Its id is read as a peer's is: an echo
/// that passes for another's message is one that we answer ourselves.
pub(super) fn is_own(fields: &Map<String, Value>, workspace_id: &str) -> bool {
    let method = wire::text(fields, "method");
    match wire::source(fields) {
        None => method == Some("notify"),
        Some(source) => strip(source).eq_ignore_ascii_case(workspace_id) && method != Some("delegate_result"),
    }
}

impl fmt::Debug for InboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { id, kind, peer, text, .. } = &*self.inner;
        let mut shown = f.debug_struct("InboxMessage");
        shown.field("activity_id", id).field("kind", kind).field("peer", peer).field("text", text);
        shown.field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    const SELF: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

    fn fields(row: Value) -> Map<String, Value> {
        row.as_object().unwrap().clone()
    }

    #[test]
    fn who_it_is_from_is_told_by_the_source_and_the_method() {
        use InboxMessageKind::{CanvasUser, DelegationResult, PeerAgent, Unknown};
        for (row, kind, has_peer) in [
            (json!({ "source_id": PEER }), PeerAgent, true),
            (json!({ "source_id": PEER.to_uppercase() }), PeerAgent, true),
            (json!({ "data": { "peer_id": PEER } }), PeerAgent, true),
            (json!({ "source_id": null }), CanvasUser, false),
            (json!({ "source_id": " " }), CanvasUser, false),
            (json!({ "data": { "kind": "canvas_user" } }), CanvasUser, false),
            (json!({ "source_id": PEER, "method": "delegate_result" }), DelegationResult, true),
            (json!({ "method": "delegate_result" }), DelegationResult, false),
            (json!({ "source_id": "../../etc" }), Unknown, false),
            (json!({ "data": { "source": "peer_agent" } }), Unknown, false),
            (json!({ "source_id": 7 }), Unknown, false),
            (json!({ "source_id": { "id": PEER } }), Unknown, false),
            (json!({ "source_id": false, "data": { "kind": "canvas_user" } }), Unknown, false),
            (json!({ "data": { "peer_id": [PEER] } }), Unknown, false),
        ] {
            assert_eq!(sender(&fields(row.clone())), (kind, PeerId::from_text(PEER).filter(|_| has_peer)), "{row}");
        }
    }

    #[test]
    fn our_own_rows_are_told_from_others() {
        for (row, own) in [
            (json!({ "method": "notify" }), true),
            (json!({ "method": "notify", "source_id": "" }), true),
            (json!({ "method": "notify", "source_id": PEER }), false),
            (json!({ "method": "notify", "source_id": 7 }), false),
            (json!({ "method": "message/send", "source_id": SELF }), true),
            (json!({ "source_id": SELF.to_uppercase() }), true),
            (json!({ "source_id": format!("\n{SELF}\u{1f}") }), true),
            (json!({ "method": "delegate_result", "source_id": SELF }), false),
            (json!({ "method": "message/send" }), false),
            (json!({}), false),
        ] {
            assert_eq!(is_own(&fields(row.clone()), SELF), own, "{row}");
        }
    }

    /// What the platform put into a row stands in for a lookup, be it the name or the role alone.
    #[test]
    fn a_row_carries_what_it_says_of_its_sender() {
        let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id(SELF).build().unwrap();
        let peer = PeerId::from_text(PEER).unwrap();
        let carried =
            |row| InboxMessage::new(&client, Row { id: "x".to_owned(), at: None, fields: fields(row) }).carried(peer);
        let of = |peer: &Peer| (peer.name().map(str::to_owned), peer.role().map(str::to_owned));
        for (row, name, role) in [
            (json!({ "peer_name": "ops" }), Some("ops"), None),
            (json!({ "peer_role": "sre" }), None, Some("sre")),
            (json!({ "peer_name": "ops", "peer_role": "sre" }), Some("ops"), Some("sre")),
        ] {
            let sender = carried(row).unwrap();
            assert_eq!((of(&sender), sender.id()), ((name.map(str::to_owned), role.map(str::to_owned)), Some(PEER)));
        }
        assert_eq!(carried(json!({ "peer_name": null, "peer_role": 7 })), None);
    }
}
