#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use serde_json::{Map, Value};

use super::{RECORD_ROOM, error_words, is_no, listing, object};
use crate::peer::{Peer, PeerId};
use crate::test_util::halves;

type Fields = Map<String, Value>;

/// What bodies are read as, and what records say that are laid over each other: a discovered one over a listed one,
/// and a list that comes later beside that.
pub fn record(data: &[u8]) {
    let (listed, rest) = halves(data);
    let (found, later) = halves(rest);
    let (before, after) = (body(listed), body(later));
    let Some(found) = body(found) else { return };

    let id = PeerId::from_text("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c").unwrap();
    let discovered = Peer::discovered(id, found.clone());
    says(&discovered, &found);
    says(
        &Peer::discovered(id, before.clone().unwrap_or_default()).over(&discovered),
        &before.clone().unwrap_or_default(),
    );
    let Some(before) = before else { return };
    let listed = Peer::listed(Some(id), before.clone());
    let known = Peer::discovered(id, found.clone()).over(&listed);
    says(&known, &laid_over(&found, &before));
    // Once more, and it is that of the list again that lies below.
    let again = Peer::discovered(id, Fields::new()).over(&known);
    says(&again, &before);
    assert!(known.bytes() >= listed.bytes() && again.bytes() >= listed.bytes());

    let Some(after) = after else { return };
    says(&Peer::listed(Some(id), after.clone()).beside(&listed), &after);
    let newer = Peer::listed(Some(id), after.clone()).beside(&known);
    // It takes nothing away but what was known from the list.
    let kept: Fields = found.clone().into_iter().filter(|(name, _)| !before.contains_key(name)).collect();
    says(&newer, &laid_over(&after, &kept));
}

fn laid_over(upper: &Fields, lower: &Fields) -> Fields {
    let mut all = lower.clone();
    all.extend(upper.clone());
    all
}

/// A record has these fields, and counts for what it holds at the least.
fn says(peer: &Peer, fields: &Fields) {
    assert_eq!(peer.as_json(), fields);
    let texts = [peer.id(), peer.name(), peer.role(), peer.status(), peer.url()];
    for (name, text) in ["id", "name", "role", "status", "url"].into_iter().zip(texts) {
        assert_eq!(text, fields.get(name).and_then(Value::as_str));
        assert_eq!(peer.get(name), fields.get(name));
    }
    assert!(peer.bytes() >= fields.iter().map(|(name, value)| name.len() + held(value)).sum());
}

/// How many bytes of text a value holds, and of pointers.
fn held(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + held(item)).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + held(value)).sum(),
        _ => 0,
    }
}

/// Each reader of a body says of it what `serde_json` does.
fn body(data: &[u8]) -> Option<Fields> {
    let read: Option<Value> = serde_json::from_slice(data).ok();
    let fields = read.as_ref().and_then(Value::as_object);
    match (object(data, RECORD_ROOM), fields) {
        (Ok(object), fields) => assert_eq!(Some(&object), fields),
        (Err(why), fields) => assert!(fields.is_none() && !why.to_string().is_empty()),
    }
    assert_eq!(is_no(data), fields.is_some_and(|fields| fields.contains_key("error")));
    assert_eq!(error_words(data).is_some(), is_no(data));

    match (listing(data), read.as_ref().and_then(Value::as_array)) {
        (Ok(listing), Some(entries)) => {
            let objects: Vec<&Fields> = entries.iter().filter_map(Value::as_object).collect();
            assert_eq!(listing.skipped, (entries.len() - objects.len()) as u64);
            assert_eq!(listing.peers.len(), objects.len());
            for (peer, fields) in listing.peers.iter().zip(objects) {
                says(peer, fields);
                assert_eq!(peer.peer_id(), peer.id().and_then(PeerId::from_text));
            }
        }
        // An entry that no JSON reader takes hides only itself.
        (Ok(listing), None) if read.is_none() => assert!(listing.skipped > 0),
        (Err(why), None) => {
            let why = why.to_string();
            assert!(why.starts_with("JSON: ") || why.starts_with("a list: "), "{why}");
        }
        (listing, _) => panic!("{listing:?}"),
    }
    fields.cloned()
}
