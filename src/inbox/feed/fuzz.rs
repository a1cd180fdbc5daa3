#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::reorder_buffer::ReorderBuffer;
use crate::client::Client;
use crate::inbox::message::{InboxMessage, InboxMessageKind, is_own};
use crate::peer::PeerId;
use crate::test_util::{Choices, halves};
use crate::wire::{Listed, Row, Timestamp, activity, created_at};

/// What the platform lists: every entry is a row or odd, no row hides another, and each makes a push.
pub fn activity_rows(data: &[u8]) {
    let (body, rest) = halves(data);
    let read = activity(body);
    // What one JSON reader takes the other does, too.
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        assert_eq!(read.is_ok(), value.is_array());
        if let Some(entries) = value.as_array() {
            let listed = read.as_ref().unwrap();
            assert_eq!(listed.rows.len() + listed.odd.count, entries.len());
            assert_eq!(listed.unread.count, 0);
        }
    }
    if let Ok(listed) = &read {
        is_in_order(listed);
    }
    among_others(body);
    held(rest);
}

fn is_in_order(listed: &Listed) {
    for odd in [&listed.odd, &listed.unread] {
        assert_eq!(odd.shown.len(), odd.count.min(10));
        assert!(odd.shown.iter().all(|shown| shown.chars().count() <= 4_000));
    }
    let client = Client::builder().platform_url("http://p.example").workspace_id("w").build().unwrap();
    for row in &listed.rows {
        assert!(!row.id.trim().is_empty() && row.id.len() <= 256);
        match &row.fields["id"] {
            Value::String(id) => assert_eq!(id, &row.id),
            id => assert!(id.as_number().is_some_and(|id| id.to_string() == row.id)),
        }
        assert_eq!(row.at, created_at(&row.fields).and_then(Timestamp::parse));
        is_a_push(&client, row);
    }
}

fn is_a_push(client: &Client, row: &Row) {
    let push = InboxMessage::new(client, row.clone());
    assert!(push.activity_id() == row.id && *push.row() == row.fields);
    assert!(!push.text().is_empty());
    match (push.kind(), push.peer()) {
        (InboxMessageKind::PeerAgent, Some(_)) | (InboxMessageKind::CanvasUser | InboxMessageKind::Unknown, None) => {}
        (InboxMessageKind::DelegationResult, _) => assert_eq!(push.method(), "delegate_result"),
        odd => panic!("{odd:?}"),
    }
    if let Some(peer) = push.peer() {
        // It is the peer that the row names, and nobody else is taken for the human.
        let named = [&row.fields.get("source_id"), &row.fields.get("data").and_then(|data| data.get("peer_id"))];
        assert!(named.iter().any(|text| text.and_then(Value::as_str).and_then(PeerId::from_text) == Some(peer)));
        assert_eq!(is_own(&row.fields, &peer.to_string()), push.kind() != InboxMessageKind::DelegationResult);
    }
    if push.kind() == InboxMessageKind::CanvasUser {
        let source = row.fields.get("source_id").unwrap_or(&Value::Null);
        assert!(source.is_null() || source.as_str().is_some_and(|text| text.trim().is_empty()));
    }
    for attachment in push.attachments() {
        assert!(attachment.uri.as_deref() != Some("") && attachment.name.as_deref() != Some(""));
    }
}

/// Whatever JSON stands between two rows, they are found.
fn among_others(entry: &[u8]) {
    let entry = String::from_utf8_lossy(entry);
    if serde_json::from_str::<&RawValue>(&entry).is_err() {
        return;
    }
    let (first, last) = (json!({ "id": "first" }), json!({ "id": "last", "summary": "s" }));
    let body = format!("[{first},{entry},{last}]");
    let listed = activity(body.as_bytes()).unwrap();
    assert_eq!(listed.rows.len() + listed.odd.count, 3);
    let (front, back) = (listed.rows.first().unwrap(), listed.rows.last().unwrap());
    assert_eq!((Value::Object(front.fields.clone()), Value::Object(back.fields.clone())), (first, last));
    is_in_order(&listed);
}

/// Of a way back the oldest rows are held, without a gap, and within bounds.
fn held(data: &[u8]) {
    let (mut choices, mut held, mut all, mut bytes) = (Choices(data), ReorderBuffer::default(), Vec::new(), Vec::new());
    while !choices.is_empty() {
        let page: Vec<String> = (0..choices.below(4)).map(|n| format!("{}", all.len() + n)).collect();
        let size = choices.below(256) * 256 * 1024;
        all.extend(page.clone());
        bytes.push(size);
        held.push(
            page.iter().map(|id| Row { id: id.clone(), at: None, fields: serde_json::Map::new() }).collect(),
            page.len(),
            size,
        );
    }
    let (rows, dropped) = (held.rows, held.dropped);
    let kept: Vec<String> = held.into_rows().into_iter().map(|row| row.id).collect();
    assert_eq!(kept.len(), rows);
    assert!(all.iter().rev().take(rows).eq(&kept) && dropped == (rows < all.len()));
    assert!(bytes.iter().sum::<usize>() > 32 * 1024 * 1024 || !dropped);
}
