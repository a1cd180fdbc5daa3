#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use serde_json::{Map, Value};

use super::{RECORD_MEMORY, error_text, is_platform_error, is_removed_peer, object, peer_list};
use crate::peer::{Peer, PeerId};
use crate::test_util::halves;
use crate::wire::to_utf8;

type Fields = Map<String, Value>;

/// Checks how bodies are read as records, and how records of one peer are merged.
///
/// A discovered record overlays a listed one, and a later list adds to both.
pub fn record(data: &[u8]) {
    let (listed, rest) = halves(data);
    let (found, later) = halves(rest);
    let (before, after) = (read_body(listed), read_body(later));
    let Some(found) = read_body(found) else { return };

    let id = PeerId::from_text("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c").unwrap();
    let discovered = Peer::discovered(id, found.clone());
    assert_fields(&discovered, &found);
    assert_fields(
        &Peer::discovered(id, before.clone().unwrap_or_default()).over(&discovered),
        &before.clone().unwrap_or_default(),
    );
    let Some(before) = before else { return };
    let listed = Peer::listed(Some(id), before.clone());
    let known = Peer::discovered(id, found.clone()).over(&listed);
    assert_fields(&known, &overlaid(&found, &before));
    // A second discover replaces the first one. The listed record stays below it.
    let again = Peer::discovered(id, Fields::new()).over(&known);
    assert_fields(&again, &before);
    assert!(known.bytes() >= listed.bytes() && again.bytes() >= listed.bytes());

    let Some(after) = after else { return };
    assert_fields(&Peer::listed(Some(id), after.clone()).beside(&listed), &after);
    let newer = Peer::listed(Some(id), after.clone()).beside(&known);
    // It replaces only the fields that came from the earlier list.
    let kept: Fields = found.clone().into_iter().filter(|(name, _)| !before.contains_key(name)).collect();
    assert_fields(&newer, &overlaid(&after, &kept));
}

fn overlaid(upper: &Fields, lower: &Fields) -> Fields {
    let mut all = lower.clone();
    all.extend(upper.clone());
    all
}

/// Asserts that a record has exactly these fields, and counts at least their memory.
fn assert_fields(peer: &Peer, fields: &Fields) {
    assert_eq!(peer.as_json(), fields);
    let texts = [peer.id(), peer.name(), peer.role(), peer.status(), peer.url()];
    for (name, text) in ["id", "name", "role", "status", "url"].into_iter().zip(texts) {
        assert_eq!(text, fields.get(name).and_then(Value::as_str));
        assert_eq!(peer.get(name), fields.get(name));
    }
    assert!(peer.bytes() >= fields.iter().map(|(name, value)| name.len() + least_memory(value)).sum());
}

/// Returns a lower bound of a value's memory: its text and its pointers, in bytes.
fn least_memory(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + least_memory(item)).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + least_memory(value)).sum(),
        _ => 0,
    }
}

/// Reads a body, and asserts that each reader agrees with `serde_json`.
fn read_body(data: &[u8]) -> Option<Fields> {
    let read: Option<Value> = serde_json::from_slice(&to_utf8(data)).ok();
    let fields = read.as_ref().and_then(Value::as_object);
    match (object(data, RECORD_MEMORY), fields) {
        (Ok(object), fields) => assert_eq!(Some(&object), fields),
        (Err(why), fields) => assert!(fields.is_none() && !why.to_string().is_empty()),
    }
    assert_eq!(error_text(data).is_some(), fields.is_some_and(|fields| fields.contains_key("error")));
    if is_platform_error(data) || is_removed_peer(data) {
        assert!(error_text(data).is_some_and(|text| !text.trim().is_empty()));
    }
    assert!(!(is_platform_error(data) && is_removed_peer(data)));

    match (peer_list(data), read.as_ref().and_then(Value::as_array)) {
        (Ok(list), Some(entries)) => {
            let objects: Vec<&Fields> = entries.iter().filter_map(Value::as_object).collect();
            assert_eq!(list.skipped, (entries.len() - objects.len()) as u64);
            assert_eq!(list.peers.len(), objects.len());
            for (peer, fields) in list.peers.iter().zip(objects) {
                assert_fields(peer, fields);
                assert_eq!(peer.peer_id(), peer.id().and_then(PeerId::from_text));
            }
        }
        // An entry that cannot be read is skipped alone.
        (Ok(list), None) if read.is_none() => assert!(list.skipped > 0),
        (Err(why), None) => {
            let why = why.to_string();
            assert!(why.starts_with("JSON: ") || why.starts_with("a list: "), "{why}");
        }
        (list, _) => panic!("{list:?}"),
    }
    fields.cloned()
}
