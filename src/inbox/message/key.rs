//! The key of a message: the same for all rows that the platform made of it.
//!
//! A message to a push agent without a URL is two rows, and one more for each time that it is tried again. What makes them
//! one message is their sender, the id that the sender gave, and the same parameters. The key is a hash of these under a
//! secret, so that no sender can make two messages that pass for one.

use std::hash::Hasher;

use serde_json::Value;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::InboxMessage;
use crate::inbox::feed::cursor::saved::MessageKey;
use crate::inbox::kind::InboxMessageKind;

/// Longest id of a message that is relied on, in bytes. The platform stores none that is much longer.
const MAX_ID: usize = 255;

impl InboxMessage {
    /// Returns the key of the message under this secret.
    ///
    /// Returns `None` for a message that cannot be told from others: without an id of 1 to 255 bytes, or from neither a peer
    /// nor a human.
    pub(in crate::inbox) fn key(&self, secret: u128) -> Option<MessageKey> {
        let id = self.message_id().filter(|id| id.len() <= MAX_ID)?;
        let mut hash = KeyHash(SipHasher24::new_with_key(&secret.to_le_bytes()));
        match (self.kind(), self.peer()) {
            (InboxMessageKind::Peer | InboxMessageKind::Call, Some(peer)) => {
                hash.field(b'p', peer.to_string().as_bytes());
            }
            (InboxMessageKind::Human, None) => hash.field(b'h', b""),
            _ => return None,
        }
        hash.field(b'i', id.as_bytes());
        hash.value(&self.request()["params"]);
        Some(MessageKey(hash.0.finish128().as_u128()))
    }
}

/// Returns the key of a row that no other row repeats, as a broadcast.
pub(in crate::inbox) fn key_of_row(id: &str, secret: u128) -> MessageKey {
    let mut hash = KeyHash(SipHasher24::new_with_key(&secret.to_le_bytes()));
    hash.field(b'r', id.as_bytes());
    MessageKey(hash.0.finish128().as_u128())
}

/// SipHash-2-4 with 128 bits: <https://github.com/veorq/SipHash>. It is kept in a file, so nothing may change it.
struct KeyHash(SipHasher24);

impl KeyHash {
    /// Writes a text with its kind and length, so that no two lists of texts are written alike.
    fn field(&mut self, kind: u8, text: &[u8]) {
        self.length(kind, text.len());
        self.0.write(text);
    }

    fn length(&mut self, kind: u8, length: usize) {
        self.0.write(&[kind]);
        self.0.write(&(length as u64).to_le_bytes());
    }

    /// Writes a JSON value. The order of an object's fields does not count. The value nests as deep as the parser allows.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.write(b"n"),
            Value::Bool(value) => self.0.write(if *value { b"t" } else { b"f" }),
            Value::Number(number) => self.field(b'#', number.to_string().as_bytes()),
            Value::String(text) => self.field(b's', text.as_bytes()),
            Value::Array(entries) => {
                self.length(b'[', entries.len());
                entries.iter().for_each(|entry| self.value(entry));
            }
            Value::Object(fields) => {
                self.length(b'{', fields.len());
                let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
                fields.sort_unstable_by_key(|(name, _)| *name);
                for (name, value) in fields {
                    self.field(b's', name.as_bytes());
                    self.value(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;
    use crate::client::Client;
    use crate::wire::Row;

    const DUPLICATES: &str = include_str!("../../../tests/platform/recorded/duplicates.jsonl");
    const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    const OTHER: &str = "4f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    const SELF: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

    fn message(fields: &Value) -> InboxMessage {
        let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id(SELF).build().unwrap();
        let fields = fields.as_object().unwrap().clone();
        InboxMessage::new(&client, Row { id: "x".to_owned(), at: None, bytes: 0, fields })
    }

    fn key_of(fields: &Value) -> Option<MessageKey> {
        message(fields).key(7)
    }

    fn row(source: &Value, id: &Value, params: &Value) -> Value {
        let mut params = params.clone();
        params["message"]["messageId"] = id.clone();
        json!({ "seq": 1, "source_id": source, "method": "message/send", "request_body": { "id": source, "params": params } })
    }

    /// The numbers are in the cursor files of earlier releases.
    #[test]
    fn key_is_the_same_in_all_releases() {
        let params =
            json!({ "message": { "parts": [{ "text": "x" }, { "data": { "b": [1, 2.5, true], "a": null } }] } });
        let message = message(&row(&json!(PEER), &json!("m"), &params));
        assert_eq!(message.key(7), Some(MessageKey(0x71a9_60b6_06ed_b5c6_4e54_3550_5b97_e47b)));
        assert_eq!(message.key(u128::MAX), Some(MessageKey(0x6f70_d331_1842_7533_7943_7657_0b38_34a4)));
    }

    #[test]
    fn key_needs_an_id_and_a_source_or_a_human() {
        let params = json!({ "message": { "parts": [{ "text": "x" }] } });
        let human = json!({ "message": { "parts": [{ "text": "x" }] }, "metadata": { "source": "canvas_user" } });
        for (row, has_key) in [
            (row(&json!(PEER), &json!("m"), &params), true),
            (row(&json!(PEER), &json!("m".repeat(255)), &params), true),
            (row(&json!(PEER), &json!("m".repeat(256)), &params), false),
            (row(&json!(PEER), &json!(""), &params), false),
            (row(&json!(PEER), &json!(7), &params), false),
            (row(&json!(PEER), &json!(null), &params), false),
            (row(&json!(null), &json!("m"), &human), true),
            (row(&json!(null), &json!("m"), &params), false),
            (row(&json!("nobody"), &json!("m"), &params), false),
            (row(&json!(""), &json!("m"), &human), false),
        ] {
            assert_eq!(key_of(&row).is_some(), has_key, "{row:.120}");
        }
    }

    #[test]
    fn key_differs_where_sender_id_or_params_do() {
        let params = |text: &str| json!({ "message": { "role": "user", "parts": [{ "kind": "text", "text": text }] } });
        let of = |source: &str, id: &str, text: &str| key_of(&row(&json!(source), &json!(id), &params(text)));
        let all = [of(PEER, "m", "a"), of(OTHER, "m", "a"), of(PEER, "n", "a"), of(PEER, "m", "b")];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!(of(PEER, "m", "a"), of(&PEER.to_uppercase(), "m", "a"));
        // A row as text has the same, and the order of fields and what is beside the parameters do not count.
        let mut as_text = row(&json!(PEER), &json!("m"), &params("a"));
        as_text["request_body"] = r#"{"id":"another","params":{"message":{"parts":[{"text":"a","kind":"text"}],
            "messageId":"m","role":"user"}}}"#
            .into();
        assert_eq!(key_of(&as_text), all[0]);
        let pairs = |value: Value| key_of(&row(&json!(PEER), &json!("m"), &json!({ "message": {}, "x": value })));
        let alike = [
            json!([]),
            json!({}),
            json!(null),
            json!(""),
            json!(["", ""]),
            json!([["", ""]]),
            json!({ "": "" }),
            json!(["1"]),
            json!([1]),
        ];
        assert_eq!(alike.map(pairs).iter().collect::<HashSet<_>>().len(), 9);
    }

    /// Each of the three messages to a target that was busy has two rows or more.
    #[test]
    fn recorded_duplicates_have_one_key_a_message() {
        let mut lines = DUPLICATES.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut rows =
            |what: &str| lines.find(|line| line["what"] == what).unwrap()["rows"].as_array().unwrap().clone();
        let key = |recorded: &Value| {
            let texts = recorded["text"].as_array().unwrap();
            let parts: Vec<Value> = texts.iter().map(|text| json!({ "kind": "text", "text": text })).collect();
            let params = json!({ "message": { "role": "user", "parts": parts } });
            key_of(&row(&json!(PEER), &recorded["messageId"], &params))
        };
        let drained = rows("d: rows after the queue has drained");
        let keys: Vec<MessageKey> = drained.iter().filter_map(key).collect();
        assert_eq!((keys.len(), keys.iter().collect::<HashSet<_>>().len()), (7, 3));
        // Four of six have no id that tells anything: none, two empty ones, a number.
        let poller = rows("d: rows of the poller");
        assert_eq!((poller.len(), poller.iter().filter_map(key).count()), (6, 2));
    }
}
