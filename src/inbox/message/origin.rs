//! Origin of a message: the record of the peer, a human whom the platform knows, a channel, a delegation.

use serde_json::Value;

use super::InboxMessage;
use crate::inbox::kind::names::names_in_row;
use crate::inbox::kind::{InboxMessageKind, is_ours};
use crate::peer::{Peer, PeerId};
use crate::util::text::strip;
use crate::wire;

/// The human who wrote a message, as the platform authenticated them: [`InboxMessage::user`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AuthenticatedUser<'a> {
    /// Id of the user.
    pub id: Option<&'a str>,
    /// Email address.
    pub email: Option<&'a str>,
    /// User name.
    pub username: Option<&'a str>,
}

impl InboxMessage {
    /// Returns the sender's record without waiting for the network.
    ///
    /// It is the record from [`Client::enrich_nonblocking`](crate::Client::enrich_nonblocking), or else one of the name and
    /// role that the platform put into the row. So a peer's first message needs no lookup for its name. The name and role of
    /// a row are newer than a cached record: when the row is listed, they replace those of the record. It is `None` for the
    /// human, and if neither source has anything.
    #[must_use]
    pub fn sender(&self) -> Option<Peer> {
        let peer = self.peer()?;
        self.content.client.enrich_nonblocking(peer).or_else(|| self.sender_in_row(peer))
    }

    /// Returns the sender's record, and looks it up where it is not cached.
    ///
    /// It blocks like [`Client::enrich`](crate::Client::enrich), by default for at most 2 s. Where the lookup brings nothing,
    /// the record has the name and role that the platform put into the row. It is `None` for the human, and if neither
    /// source has anything.
    #[must_use]
    pub fn enrich(&self) -> Option<Peer> {
        let peer = self.peer()?;
        self.content.client.enrich(peer).or_else(|| self.sender_in_row(peer))
    }

    /// Returns the human who wrote the message, if the platform authenticated them.
    ///
    /// It is `None` for every other kind than [`Human`](InboxMessageKind::Human), and for a human whom the platform does not
    /// know, such as one with an admin's or an organisation's token. An upload names nobody.
    #[must_use]
    pub fn user(&self) -> Option<AuthenticatedUser<'_>> {
        let metadata = wire::request_metadata(self.request());
        let is_known = self.kind() == InboxMessageKind::Human && metadata["user_identity_status"] == "AUTHENTICATED";
        let field = |name: &str| metadata[name].as_str().filter(|text| !strip(text).is_empty());
        is_known.then(|| AuthenticatedUser { id: field("user_id"), email: field("email"), username: field("username") })
    }

    /// Returns the origin of a message of kind [`System`](InboxMessageKind::System), in the platform's word.
    ///
    /// It is the channel, such as `telegram`, or a word that begins with `self-` for a turn that the platform starts. It is
    /// `None` for every other kind, and where the row names an invalid sender.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        let is_of_platform =
            self.kind() == InboxMessageKind::System && wire::sender(self.row()) == wire::RowSender::Absent;
        wire::request_origin(self.request()).filter(|_| is_of_platform)
    }

    /// Returns the id of the delegation whose result this is. It is `None` for every other kind than
    /// [`Delegation`](InboxMessageKind::Delegation).
    #[must_use]
    pub fn delegation_id(&self) -> Option<&str> {
        wire::delegation_id(self.row()).filter(|_| self.kind() == InboxMessageKind::Delegation)
    }

    /// Returns why a delegation failed, in the platform's or the other workspace's words.
    ///
    /// It is `None` for a delegation that did not fail, and for every other kind. Without any words it is an empty text.
    #[must_use]
    pub fn error_detail(&self) -> Option<&str> {
        let has_failed = self.kind() == InboxMessageKind::Delegation
            && self.row().get("status").and_then(Value::as_str) == Some("error");
        has_failed.then(|| wire::text_field(self.row(), "error_detail").unwrap_or_default())
    }

    /// Makes a record of the `peer_name` and `peer_role` in the row. Returns `None` if the row has neither.
    ///
    /// They are those of the row's source. In a delegation's row that is our own workspace, and not the callee.
    pub(super) fn sender_in_row(&self, peer: PeerId) -> Option<Peer> {
        let mut fields = names_in_row(&self.content.fields);
        let workspace_id = self.content.client.http().workspace_id();
        let are_ours = self.kind() == InboxMessageKind::Delegation && is_ours(&self.content.fields, workspace_id);
        if fields.is_empty() || are_ours {
            return None;
        }
        fields.insert("id".to_owned(), peer.to_string().into());
        Some(Peer::discovered(peer, fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::Client;
    use crate::wire::Row;

    const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    const SELF: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

    fn message(fields: Value) -> InboxMessage {
        let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id(SELF).build().unwrap();
        InboxMessage::new(
            &client,
            Row { id: "x".to_owned(), at: None, bytes: 0, fields: fields.as_object().unwrap().clone() },
        )
    }

    fn sent(source: Value, metadata: Value) -> InboxMessage {
        let request = json!({ "params": { "metadata": metadata, "message": { "parts": [{ "text": "x" }] } } });
        message(json!({ "seq": 7, "source_id": source, "method": "message/send", "request_body": request }))
    }

    #[test]
    fn human_has_an_identity_only_if_the_platform_authenticated_it() {
        let identity = |source: &str, status: &str| {
            json!({ "source": source, "user_identity_status": status, "user_id": "u-1", "email": "boss@corp.test",
                "username": " " })
        };
        let user = AuthenticatedUser { id: Some("u-1"), email: Some("boss@corp.test"), username: None };
        assert_eq!(sent(json!(null), identity("canvas_user", "AUTHENTICATED")).user(), Some(user));
        for message in [
            sent(json!(null), identity("canvas_user", "UNAUTHENTICATED")),
            sent(json!(null), identity("telegram", "AUTHENTICATED")),
            sent(json!(PEER), identity("canvas_user", "AUTHENTICATED")),
            sent(json!(" "), identity("canvas_user", "AUTHENTICATED")),
        ] {
            assert_eq!(message.user(), None, "{message:?}");
        }
    }

    #[test]
    fn source_is_the_platforms_word_alone() {
        let telegram = json!({ "source": "telegram" });
        assert_eq!(sent(json!(null), telegram.clone()).source(), Some("telegram"));
        for message in [
            sent(json!(PEER), telegram.clone()),
            sent(json!(""), telegram.clone()),
            sent(json!("nobody"), telegram),
            sent(json!(null), json!({ "source": "canvas_user" })),
            sent(json!(null), json!({ "source": 7 })),
        ] {
            assert_eq!(message.source(), None, "{message:?}");
        }
        let turn = json!({ "params": { "message": { "metadata": { "source_type": "self-nudge" }, "parts": [] } } });
        let turn = message(json!({ "seq": 7, "source_id": null, "method": "message/send", "request_body": turn }));
        assert_eq!((turn.kind(), turn.source()), (InboxMessageKind::System, Some("self-nudge")));
    }

    #[test]
    fn delegation_has_its_words_or_why_it_failed() {
        let result = |status: &str, text: &str, error: Value| {
            message(
                json!({ "seq": 7, "method": "delegate_result", "source_id": SELF, "target_id": PEER, "status": status,
                "error_detail": error, "request_body": { "delegation_id": "d" },
                "response_body": { "text": text, "delegation_id": "d" }, "summary": "Delegation failed" }),
            )
        };
        for (message, text, error) in [
            (result("ok", "done", json!(null)), "done", None),
            (result("ok", "", json!(null)), "(empty A2A message)", None),
            (result("error", "", json!("access denied")), "access denied", Some("access denied")),
            (result("error", "half", json!("x")), "half", Some("x")),
            (result("error", "", json!(null)), "(empty A2A message)", Some("")),
        ] {
            assert_eq!((message.text(), message.error_detail(), message.delegation_id()), (text, error, Some("d")));
            assert_eq!(message.peer().unwrap().to_string(), PEER);
        }
        let other = sent(json!(PEER), json!({}));
        assert_eq!((other.error_detail(), other.delegation_id()), (None, None));
    }
}
