//! The registry's record of a peer, and the platform's errors.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fmt;

use serde_json::{Map, Value};

use super::json::{MemoryBudget, Unread, each_entry, value};
use crate::error::ErrorKind;
use crate::peer::{Peer, PeerId};

/// What the values of a record may take beside a multiple of its text.
pub(crate) const RECORD_ROOM: usize = 1024 * 1024;
/// The same of what a caller asked for and waits for.
pub(crate) const CALL_ROOM: usize = 16 * 1024 * 1024;
/// The same of a list of peers: some ten thousand, each with a card of a few maps, a line long.
const LISTING_ROOM: usize = 64 * 1024 * 1024;
/// About what an entry takes beside its fields.
const ENTRY: usize = 256;

/// Why a body cannot be used.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub(crate) kind: ErrorKind,
    why: String,
}

impl Unfit {
    pub(super) fn malformed(why: impl Into<String>) -> Self {
        Unfit { kind: ErrorKind::Malformed, why: why.into() }
    }

    pub(super) fn too_large(why: impl Into<String>) -> Self {
        Unfit { kind: ErrorKind::TooLarge, why: why.into() }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The JSON object that a body is, or what it is instead. Its lists and maps may take five times its text, and `room`
/// besides.
pub(crate) fn object(body: &[u8], room: usize) -> Result<Map<String, Value>, Unfit> {
    let found = match value(body, &mut MemoryBudget::new(body.len(), room)) {
        Ok(Value::Object(fields)) => return Ok(fields),
        Ok(Value::Array(_)) => "a list",
        Ok(Value::Null) => "null",
        Ok(Value::String(_)) => "a text",
        Ok(Value::Bool(_) | Value::Number(_)) => "a bare value",
        Err(why @ Unread::TooLarge(_)) => return Err(Unfit::too_large(format!("a body that is too large: {why}"))),
        Err(_) if body.is_empty() => return Err(Unfit::malformed("an empty body, where a JSON object was expected")),
        Err(Unread::NotJson(why)) => return Err(Unfit::malformed(format!("a body that is not JSON ({why})"))),
    };
    Err(Unfit::malformed(format!("{found}, where a JSON object was expected")))
}

/// The peers of a list, and how many of its entries were no objects, or none that can be read.
#[derive(Debug, Default)]
pub(crate) struct PeerList {
    pub(crate) peers: Vec<Peer>,
    pub(crate) skipped: u64,
}

/// The peers of a list, or what the body is instead, in the words of the original's Python.
///
/// One at a time: what a peer makes of its own entry must not hide the others.
pub(crate) fn listing(body: &[u8]) -> Result<PeerList, Unfit> {
    let not_json = |why: &dyn fmt::Display| Unfit::malformed(format!("JSON: {why}"));
    let text = std::str::from_utf8(body).map_err(|why| not_json(&why))?;
    let mut budget = MemoryBudget::new(text.len(), LISTING_ROOM);
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
        return Err(match value(body, &mut budget) {
            Ok(other) => Unfit::malformed(format!("a list: {}", python_type(&other))),
            Err(Unread::TooLarge(_)) => Unfit::malformed("a list"),
            Err(Unread::NotJson(why)) => not_json(&why),
        });
    }
    let mut listing = PeerList::default();
    let entry = |text: &str| {
        let mut own = MemoryBudget::new(text.len(), RECORD_ROOM);
        match value(text.as_bytes(), &mut own) {
            Ok(Value::Object(fields)) => {
                let id = fields.get("id").and_then(Value::as_str).and_then(PeerId::from_text);
                listing.peers.push(Peer::listed(id, fields));
                budget.take(own.used() + ENTRY)
            }
            _ => {
                listing.skipped += 1;
                true
            }
        }
    };
    match each_entry(text, entry) {
        Ok(true) => Ok(listing),
        Ok(false) => Err(Unfit::too_large(format!("a list of peers that fits: {}", Unread::TooLarge(budget.most())))),
        Err(why) => Err(not_json(&why)),
    }
}

fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// Whether a body of a 403, 404 or 410 is the registry's own no, rather than some proxy's page.
pub(crate) fn is_no(body: &[u8]) -> bool {
    object(body, RECORD_ROOM).is_ok_and(|fields| fields.contains_key("error"))
}

/// What the platform says of an error: its `error` as text, or as the JSON that it is.
pub(crate) fn error_words(body: &[u8]) -> Option<String> {
    match object(body, RECORD_ROOM).ok()?.remove("error")? {
        Value::String(words) => Some(words),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_a_record() {
        assert_eq!(object(br#"{"name":null,"later":[1]}"#, RECORD_ROOM).unwrap().len(), 2);
        for (body, found) in [
            ("[]", "a list"),
            ("null", "null"),
            ("\"x\"", "a text"),
            ("true", "a bare value"),
            ("", "an empty body"),
            ("<html>", "not JSON"),
            ("{\"a\":1} {", "not JSON"),
            ("{\"a\":1e999999}", "not JSON"),
        ] {
            let error = object(body.as_bytes(), RECORD_ROOM).unwrap_err().to_string();
            assert!(error.contains(found), "{body}: {error}");
        }
    }

    /// As many as the list's 10 MB hold of entries of a line each.
    #[test]
    fn a_large_fleet_is_listed_whole() {
        let card = r#"{"name":"a","version":"1","capabilities":{"streaming":true},"provider":{"organization":"o"},"skills":[{"id":"s","tags":["t"]},{"id":"t","tags":[]}]}"#;
        let entry = format!(
            r#"{{"id":"3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c","name":"agent-1","role":"worker","status":"online","tier":1,"url":"http://agent-1:8000","parent_id":null,"active_tasks":0,"last_seen":"2026-05-01T00:00:00Z","agent_card":{card}}}"#
        );
        let fleet = vec![entry.as_str(); 20_000].join(",");
        assert!(fleet.len() < 10_000_000);
        assert_eq!(listing(format!("[{fleet}]").as_bytes()).unwrap().peers.len(), 20_000);
    }

    #[test]
    fn a_deep_body_is_no_stack_overflow() {
        let deep = "[".repeat(100_000);
        assert!(object(deep.as_bytes(), 0).unwrap_err().to_string().contains("not JSON"));
    }

    #[test]
    fn the_words_of_an_error_are_those_of_the_platform() {
        assert_eq!(error_words(br#"{"error":"gone"}"#).as_deref(), Some("gone"));
        assert_eq!(error_words(br#"{"error":{"code":1}}"#).as_deref(), Some(r#"{"code":1}"#));
        assert_eq!(error_words(b"[]"), None);
        assert!(is_no(br#"{"error":null}"#) && !is_no(b"<html>") && !is_no(br#"{"message":"x"}"#));
    }
}
