//! Fuzz target of the feed: parsing of a page, and reordering.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::reorder_buffer::ReorderBuffer;
use crate::client::Client;
use crate::inbox::kind::{InboxMessageKind, is_ours};
use crate::inbox::message::InboxMessage;
use crate::peer::PeerId;
use crate::test_util::{Choices, halves};
use crate::wire::{ActivityRows, Part, Row, Timestamp, activity, created_at, to_utf8};

/// Parses a page of the feed. Asserts that each entry is a row or counted as malformed, that no row hides another, and
/// that each makes a message.
pub fn activity_rows(data: &[u8]) {
    let (body, rest) = halves(data);
    let parsed = activity(body);
    // Both JSON parsers accept the same texts.
    if let Ok(value) = serde_json::from_slice::<Value>(&to_utf8(body)) {
        assert_eq!(parsed.is_ok(), value.is_array());
        if let Some(entries) = value.as_array() {
            let page = parsed.as_ref().unwrap();
            assert_eq!(page.rows.len() + page.malformed.count, entries.len());
            assert_eq!(page.unreadable.count, 0);
        }
    }
    if let Ok(page) = &parsed {
        check_page(page);
    }
    check_neighbours(body);
    check_reorder_buffer(rest);
}

/// Asserts that each row has a valid id and its time, and that few excerpts of malformed ones are kept.
fn check_page(page: &ActivityRows) {
    for malformed in [&page.malformed, &page.unreadable] {
        assert_eq!(malformed.excerpts.len(), malformed.count.min(10));
        assert!(malformed.excerpts.iter().all(|excerpt| excerpt.chars().count() <= 4_000));
    }
    let client = Client::builder().platform_url("http://p.example").workspace_id("w").build().unwrap();
    for row in &page.rows {
        assert!(!row.id.trim().is_empty() && row.id.len() <= 256);
        match &row.fields["id"] {
            Value::String(id) => assert_eq!(id, &row.id),
            id => assert!(id.as_number().is_some_and(|id| id.to_string() == row.id)),
        }
        assert_eq!(row.at, created_at(&row.fields).and_then(Timestamp::parse));
        check_message(&client, row);
    }
}

/// Makes a message of a row, and asserts that its sender, text and attachments are those of the row.
fn check_message(client: &Client, row: &Row) {
    let message = InboxMessage::new(client, row.clone());
    assert!(message.activity_id() == row.id && *message.row() == row.fields);
    assert!(!message.text().is_empty());
    match (message.kind(), message.peer()) {
        (InboxMessageKind::Peer, Some(_)) | (InboxMessageKind::Call | InboxMessageKind::Broadcast, _) => {}
        (InboxMessageKind::Human | InboxMessageKind::System, None) => {}
        (InboxMessageKind::Upload, None) => assert_eq!(message.method(), "chat_upload_receive"),
        (InboxMessageKind::Delegation, _) => assert_eq!(message.method(), "delegate_result"),
        other => panic!("{other:?}"),
    }
    if let Some(peer) = message.peer() {
        // It is the peer that the row names, and no peer is taken for the human.
        let in_data = row.fields.get("data").and_then(|data| data.get("peer_id"));
        let named = [row.fields.get("source_id"), in_data, row.fields.get("target_id")];
        assert!(named.iter().any(|text| text.and_then(Value::as_str).and_then(PeerId::from_text) == Some(peer)));
        let is_sender = is_ours(&row.fields, &peer.to_string());
        assert!(is_sender || message.kind() == InboxMessageKind::Delegation);
    }
    assert!(message.source().is_none() || message.kind() == InboxMessageKind::System);
    if matches!(message.kind(), InboxMessageKind::Human | InboxMessageKind::Upload) {
        assert!(row.fields.get("source_id").is_none_or(Value::is_null), "the human has no id, not even an empty one");
    }
    let parts = message.parts();
    let words: String =
        parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(*text) } else { None }).collect();
    assert!(words.is_empty() || message.text() == words || message.kind() == InboxMessageKind::Delegation);
    // A message with other parts only says that it has them.
    let has_others = parts.iter().any(|part| !matches!(part, Part::Text(_)));
    let is_silent = words.is_empty() && has_others && !row.fields.contains_key("data");
    assert!(!is_silent || message.text().starts_with('[') || message.kind() == InboxMessageKind::Delegation);
    for attachment in message.attachments() {
        assert!(attachment.uri.as_deref() != Some("") && attachment.name.as_deref() != Some(""));
    }
}

/// Asserts that two rows are found whatever JSON stands between them.
fn check_neighbours(entry: &[u8]) {
    let entry = String::from_utf8_lossy(entry);
    if serde_json::from_str::<&RawValue>(&entry).is_err() {
        return;
    }
    let (first, last) = (json!({ "id": "first" }), json!({ "id": "last", "summary": "s" }));
    let body = format!("[{first},{entry},{last}]");
    let page = activity(body.as_bytes()).unwrap();
    assert_eq!(page.rows.len() + page.malformed.count, 3);
    let (one, other) = (page.rows.first().unwrap(), page.rows.last().unwrap());
    assert_eq!((Value::Object(one.fields.clone()), Value::Object(other.fields.clone())), (first, last));
    check_page(&page);
}

/// Fills a reorder buffer with pages of any size. Asserts that the buffer keeps the oldest rows, without a gap and
/// within its bounds.
fn check_reorder_buffer(data: &[u8]) {
    let (mut choices, mut buffer, mut all, mut bytes) =
        (Choices(data), ReorderBuffer::default(), Vec::new(), Vec::new());
    while !choices.is_empty() {
        let page: Vec<String> = (0..choices.below(4)).map(|n| format!("{}", all.len() + n)).collect();
        let size = choices.below(256) * 256 * 1024;
        all.extend(page.clone());
        bytes.push(size);
        buffer.push_older_page(
            page.iter().map(|id| Row { id: id.clone(), at: None, fields: serde_json::Map::new() }).collect(),
            page.len(),
            size,
        );
    }
    let (rows, has_dropped) = (buffer.rows, buffer.has_dropped);
    let kept: Vec<String> = buffer.into_rows().into_iter().map(|row| row.id).collect();
    assert_eq!(kept.len(), rows);
    assert!(all.iter().rev().take(rows).eq(&kept) && has_dropped == (rows < all.len()));
    assert!(bytes.iter().sum::<usize>() > 32 * 1024 * 1024 || !has_dropped);
}
