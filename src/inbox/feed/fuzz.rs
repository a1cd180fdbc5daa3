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
use crate::wire::{ActivityRows, IncomingEnd, IncomingPage, LargeRows, Part, Row, Timestamp, created_at, to_utf8};

const MAX_ROW: usize = 32 * 1024 * 1024;

/// Reads a page of the feed as it arrives. Asserts that each entry is a row or counted as malformed, that no row hides
/// another, that the pieces do not matter, and that each row makes a message.
pub fn activity_rows(data: &[u8]) {
    let (body, rest) = halves(data);
    let (page, end) = read(body, usize::MAX, MAX_ROW);
    // Both JSON parsers accept the same texts.
    if let Ok(value) = serde_json::from_slice::<Value>(&to_utf8(body)) {
        assert_eq!(matches!(end, IncomingEnd::Complete), value.is_array());
        if let Some(entries) = value.as_array() {
            assert_eq!(page.rows.len() + page.malformed.count, entries.len());
            assert_eq!(page.unreadable.count, 0);
        }
    }
    check_page(&page);
    check_pieces(body, &page, &end, usize::from(rest.first().copied().unwrap_or_default()) + 1);
    check_neighbours(body);
    check_reorder_buffer(rest);
}

/// Reads a page that comes in pieces of `size` bytes.
fn read(body: &[u8], size: usize, max_row: usize) -> (ActivityRows, IncomingEnd) {
    let mut page = IncomingPage::new(max_row, LargeRows::default());
    let _ = body.chunks(size).try_for_each(|piece| page.push(piece));
    page.finish()
}

/// Asserts that a page in pieces is the same page, and that a smaller cap leaves its first rows.
fn check_pieces(body: &[u8], whole: &ActivityRows, end: &IncomingEnd, size: usize) {
    let ids = |page: &ActivityRows| page.rows.iter().map(|row| (row.id.clone(), row.bytes)).collect::<Vec<_>>();
    let (page, its_end) = read(body, size, MAX_ROW);
    assert_eq!((ids(&page), page.malformed.count), (ids(whole), whole.malformed.count));
    assert_eq!(std::mem::discriminant(&its_end), std::mem::discriminant(end));
    let (page, its_end) = read(body, size, 64);
    if let IncomingEnd::Full | IncomingEnd::LargeRow(_) = its_end {
        assert!(ids(whole).starts_with(&ids(&page)));
        assert!(page.rows.iter().all(|row| row.bytes <= 64));
    }
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
    let (page, end) = read(body.as_bytes(), 7, MAX_ROW);
    assert!(matches!(end, IncomingEnd::Complete));
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
        bytes.push(page.len() * size);
        let row = |id: &String| Row { id: id.clone(), at: None, bytes: size, fields: serde_json::Map::new() };
        buffer.push_older_page(page.iter().map(row).collect());
    }
    let has_dropped = buffer.has_dropped;
    let kept: Vec<String> = buffer.take_rows().into_iter().map(|row| row.id).collect();
    assert!(all.iter().rev().take(kept.len()).eq(&kept) && has_dropped == (kept.len() < all.len()));
    assert_eq!(buffer.take_rows().len(), 0);
    assert!(bytes.iter().sum::<usize>() > 32 * 1024 * 1024 || !has_dropped);
}
