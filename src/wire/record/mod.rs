//! The registry's records of peers, and the platform's error objects.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fmt;

use serde_json::{Map, Value};

use super::json::{JsonError, MemoryBudget, each_entry, parse_json, to_utf8};
use crate::error::ErrorKind;
use crate::peer::{Peer, PeerId, for_values};

/// Memory for the values of one record, in bytes. A multiple of the record's text comes on top.
pub(crate) const RECORD_MEMORY: usize = for_values(1024 * 1024);
/// Memory for the values of a body that a caller waits for, in bytes. A multiple of the body's text comes on top.
pub(crate) const CALL_MEMORY: usize = for_values(16 * 1024 * 1024);
/// Memory for the values of a list of peers or requests, in bytes. A multiple of the list's text comes on top.
///
/// Enough for some ten thousand peers, each with a card of a few maps.
const LIST_MEMORY: usize = for_values(64 * 1024 * 1024);
/// Longest body that is read as an error of the platform, in bytes: as long as a record may be.
const MAX_ERROR: usize = 256 * 1024;
/// Approximate memory of a peer in a list besides its fields, in bytes.
const PEER_OVERHEAD: usize = 256;

/// Reason for which a body cannot be used.
#[derive(Debug)]
pub(crate) struct BodyError {
    pub(crate) kind: ErrorKind,
    why: String,
}

impl BodyError {
    pub(super) fn malformed(why: impl Into<String>) -> Self {
        BodyError { kind: ErrorKind::Malformed, why: why.into() }
    }

    pub(super) fn too_large(why: impl Into<String>) -> Self {
        BodyError { kind: ErrorKind::TooLarge, why: why.into() }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Reads a body as a JSON object. Its lists and maps may take five times its text, and `memory` bytes.
///
/// # Errors
///
/// Any other body, with the words for what was found.
pub(crate) fn object(body: &[u8], memory: usize) -> Result<Map<String, Value>, BodyError> {
    let found = match parse_json(body, &mut MemoryBudget::new(body.len(), memory)) {
        Ok(Value::Object(fields)) => return Ok(fields),
        Ok(Value::Array(_)) => "a list",
        Ok(Value::Null) => "null",
        Ok(Value::String(_)) => "a text",
        Ok(Value::Bool(_) | Value::Number(_)) => "a bare value",
        Err(why @ JsonError::TooLarge(_)) => {
            return Err(BodyError::too_large(format!("a body that is too large: {why}")));
        }
        Err(_) if body.is_empty() => {
            return Err(BodyError::malformed("an empty body, where a JSON object was expected"));
        }
        Err(JsonError::NotJson(why)) => return Err(BodyError::malformed(format!("a body that is not JSON ({why})"))),
    };
    Err(BodyError::malformed(format!("{found}, where a JSON object was expected")))
}

/// Reads a body as a list of JSON objects, and returns it with the number of its other entries. Lists and maps may take five
/// times the body's text, and 64 MiB.
///
/// # Errors
///
/// Any other body, with the words for what was found.
pub(crate) fn objects(body: &[u8]) -> Result<(Vec<Map<String, Value>>, usize), BodyError> {
    let entries = match parse_json(body, &mut MemoryBudget::new(body.len(), LIST_MEMORY)) {
        Ok(Value::Array(entries)) => entries,
        Ok(_) => return Err(BodyError::malformed("JSON that is no list, where a list was expected")),
        Err(why @ JsonError::TooLarge(_)) => {
            return Err(BodyError::too_large(format!("a list that is too large: {why}")));
        }
        Err(JsonError::NotJson(why)) => return Err(BodyError::malformed(format!("a body that is not JSON ({why})"))),
    };
    let count = entries.len();
    let object = |entry| if let Value::Object(fields) = entry { Some(fields) } else { None };
    let objects: Vec<_> = entries.into_iter().filter_map(object).collect();
    let others = count - objects.len();
    Ok((objects, others))
}

/// A list of peers.
#[derive(Debug, Default)]
pub(crate) struct PeerList {
    pub(crate) peers: Vec<Peer>,
    /// Number of entries that are no JSON object, or that cannot be read.
    pub(crate) skipped: u64,
}

/// Reads a body as a list of peers.
///
/// Each entry is read by itself, so that a peer whose entry cannot be read does not hide the others.
///
/// # Errors
///
/// Any other body, with what it is not and what was found instead, in the words of the Python module `a2a_client`.
pub(crate) fn peer_list(body: &[u8]) -> Result<PeerList, BodyError> {
    let not_json = |why: &dyn fmt::Display| BodyError::malformed(format!("JSON: {why}"));
    let text = to_utf8(body);
    let text = std::str::from_utf8(&text).map_err(|why| not_json(&why))?;
    let mut budget = MemoryBudget::new(text.len(), LIST_MEMORY);
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
        return Err(match parse_json(text.as_bytes(), &mut budget) {
            Ok(other) => BodyError::malformed(format!("a list: {}", python_type(&other))),
            Err(JsonError::TooLarge(_)) => BodyError::malformed("a list"),
            Err(JsonError::NotJson(why)) => not_json(&why),
        });
    }
    let mut list = PeerList::default();
    let add_entry = |text: &str| {
        let mut record_budget = MemoryBudget::new(text.len(), RECORD_MEMORY);
        match parse_json(text.as_bytes(), &mut record_budget) {
            Ok(Value::Object(fields)) => {
                let id = fields.get("id").and_then(Value::as_str).and_then(PeerId::from_text);
                list.peers.push(Peer::listed(id, fields));
                budget.take(record_budget.used() + PEER_OVERHEAD)
            }
            _ => {
                list.skipped += 1;
                true
            }
        }
    };
    match each_entry(text, add_entry) {
        Ok(true) => Ok(list),
        Ok(false) => {
            Err(BodyError::too_large(format!("a list of peers that fits: {}", JsonError::TooLarge(budget.limit()))))
        }
        Err(why) => Err(not_json(&why)),
    }
}

/// Returns the name of the Python type that a value has there.
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

/// Returns the fields of an error's body, or none for a body that is no object, or above 256 KiB.
pub(crate) fn error_fields(body: &[u8]) -> Map<String, Value> {
    // The platform's own are below 1 KiB. A larger one is not worth the time that it takes to read.
    let is_small = body.len() <= MAX_ERROR;
    is_small.then(|| object(body, RECORD_MEMORY).ok()).flatten().unwrap_or_default()
}

/// Returns whether a body is an object with a text in `error`, as the platform's own errors are, and no proxy's page.
pub(crate) fn has_error_text(body: &[u8]) -> bool {
    is_error_text(&error_fields(body))
}

/// Fields that the error of a gateway or of a web framework has beside `error`, and that of the platform has not.
///
/// Spring Boot's has the first three: <https://docs.spring.io/spring-boot/reference/web/servlet.html>, "Error Handling".
/// Fastify's and NestJS's have `statusCode` and `message`; OAuth's, in RFC 6749, section 5.2
/// (<https://www.rfc-editor.org/rfc/rfc6749#section-5.2>), `error_description`.
const GATEWAY_FIELDS: [&str; 6] = ["status", "path", "timestamp", "statusCode", "message", "error_description"];

/// Returns whether a body is the platform's own error: an object with a text in `error`, and no gateway's page.
pub(crate) fn is_platform_error(body: &[u8]) -> bool {
    let fields = error_fields(body);
    is_error_text(&fields) && !GATEWAY_FIELDS.iter().any(|name| fields.contains_key(*name))
}

/// Returns whether a body is the platform's own error about a peer that was removed: its `status` is `removed`.
pub(crate) fn is_removed_peer(body: &[u8]) -> bool {
    let fields = error_fields(body);
    is_error_text(&fields) && fields.get("status").is_some_and(|status| status == "removed")
}

fn is_error_text(fields: &Map<String, Value>) -> bool {
    fields.get("error").and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

/// Returns the field `error` of a body: its text, or its JSON where it is no text.
pub(crate) fn error_text(body: &[u8]) -> Option<String> {
    match error_fields(body).remove("error")? {
        Value::String(words) => Some(words),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_other_than_an_object_is_named() {
        assert_eq!(object(br#"{"name":null,"later":[1]}"#, RECORD_MEMORY).unwrap().len(), 2);
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
            let error = object(body.as_bytes(), RECORD_MEMORY).unwrap_err().to_string();
            assert!(error.contains(found), "{body}: {error}");
        }
    }

    #[test]
    fn list_keeps_its_objects_and_counts_the_other_entries() {
        let (objects, others) = objects(br#"[{"id":"a"},7,null,[{}],{}]"#).unwrap();
        assert_eq!((objects.len(), others), (2, 3));
        for (body, found) in [("{}", "no list"), ("", "not JSON"), ("[{]", "not JSON")] {
            let error = super::objects(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(found), "{body}: {error}");
        }
        let wide = format!(r#"[{{"":[{}]}}]"#, vec!["0"; 4_900_000].join(","));
        assert_eq!(super::objects(wide.as_bytes()).err().map(|error| error.kind), Some(ErrorKind::TooLarge));
    }

    /// As many entries of one line as a list of 10 MB holds.
    #[test]
    fn list_of_20_000_peers_is_read_whole() {
        let card = r#"{"name":"a","version":"1","capabilities":{"streaming":true},"provider":{"organization":"o"},"skills":[{"id":"s","tags":["t"]},{"id":"t","tags":[]}]}"#;
        let entry = format!(
            r#"{{"id":"3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c","name":"agent-1","role":"worker","status":"online","tier":1,"url":"http://agent-1:8000","parent_id":null,"active_tasks":0,"last_seen":"2026-05-01T00:00:00Z","agent_card":{card}}}"#
        );
        let fleet = vec![entry.as_str(); 20_000].join(",");
        assert!(fleet.len() < 10_000_000);
        assert_eq!(peer_list(format!("[{fleet}]").as_bytes()).unwrap().peers.len(), 20_000);
    }

    #[test]
    fn deep_body_does_not_overflow_the_stack() {
        let deep = "[".repeat(100_000);
        assert!(object(deep.as_bytes(), 0).unwrap_err().to_string().contains("not JSON"));
    }

    #[test]
    fn error_text_is_the_platforms_own() {
        assert_eq!(error_text(br#"{"error":"gone"}"#).as_deref(), Some("gone"));
        assert_eq!(error_text(br#"{"error":{"code":1}}"#).as_deref(), Some(r#"{"code":1}"#));
        assert_eq!(error_text(b"[]"), None);
        for none in [r#"{"error":null}"#, r#"{"error":{}}"#, r#"{"error":" "}"#, "<html>", r#"{"message":"x"}"#] {
            assert!(!has_error_text(none.as_bytes()), "{none}");
        }
        let long = |length: usize| format!(r#"{{"error":"{}"}}"#, "x".repeat(length - 12));
        assert!(has_error_text(long(MAX_ERROR).as_bytes()) && !has_error_text(long(MAX_ERROR + 1).as_bytes()));
    }

    #[test]
    fn platforms_own_error_is_a_text_without_what_a_gateway_adds() {
        for (body, is_own) in [
            (r#"{"error":"not authorized to discover this workspace"}"#, true),
            (r#"{"error":"removed","id":"x","removed_at":"2026-05-01T00:00:00Z","hint":"h"}"#, true),
            (r#"{"error":null}"#, false),
            (r#"{"error":" "}"#, false),
            (r#"{"error":{"code":403}}"#, false),
            (r#"{"error":true}"#, false),
            (r#"{"error":"Not Found","status":404}"#, false),
            (r#"{"error":"Not Found","path":"/registry/discover/x"}"#, false),
            (r#"{"error":"Not Found","timestamp":null}"#, false),
            (r#"{"statusCode":404,"error":"Not Found","message":"Cannot GET /x"}"#, false),
            (r#"{"error":"access_denied","error_description":"d"}"#, false),
            (r#"{"message":"no Route matched with those values"}"#, false),
            ("<html>", false),
            ("[]", false),
            ("", false),
        ] {
            assert_eq!(is_platform_error(body.as_bytes()), is_own, "{body}");
        }
        for (body, is_removed) in [
            (r#"{"error":"workspace not available","status":"removed"}"#, true),
            (r#"{"error":"workspace not available","status":"hibernated"}"#, false),
            (r#"{"error":"removed"}"#, false),
            (r#"{"status":"removed"}"#, false),
        ] {
            assert_eq!(is_removed_peer(body.as_bytes()), is_removed, "{body}");
        }
    }
}
