//! The registry's record of a peer, and the platform's errors.

use serde_json::{Map, Value};

use crate::peer::{Peer, PeerId};

/// The JSON object that a record is, or what the body is instead.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    let found = match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => return Ok(fields),
        Ok(Value::Array(_)) => "a list",
        Ok(Value::Null) => "null",
        Ok(Value::String(_)) => "a text",
        Ok(Value::Bool(_) | Value::Number(_)) => "a bare value",
        Err(_) if body.is_empty() => return Err("an empty body, where a JSON object was expected".to_owned()),
        Err(why) => return Err(format!("a body that is not JSON ({why})")),
    };
    Err(format!("{found}, where a JSON object was expected"))
}

/// The peers of a list, and how many of its entries were no objects.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) peers: Vec<Peer>,
    pub(crate) skipped: u64,
}

/// The peers of a list, or what the body is instead, in the words of the original's Python.
pub(crate) fn listing(body: &[u8]) -> Result<Listing, String> {
    let entries = match serde_json::from_slice(body) {
        Ok(Value::Array(entries)) => entries,
        Ok(other) => return Err(format!("a list: {}", python_type(&other))),
        Err(why) => return Err(format!("JSON: {why}")),
    };
    let mut listing = Listing::default();
    for entry in entries {
        let Value::Object(fields) = entry else {
            listing.skipped += 1;
            continue;
        };
        let id = fields.get("id").and_then(Value::as_str).and_then(PeerId::from_text);
        listing.peers.push(Peer::listed(id, fields));
    }
    Ok(listing)
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
    object(body).is_ok_and(|fields| fields.contains_key("error"))
}

/// What the platform says of an error: its `error` as text, or as the JSON that it is.
pub(crate) fn error_words(body: &[u8]) -> Option<String> {
    match object(body).ok()?.remove("error")? {
        Value::String(words) => Some(words),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_a_record() {
        assert_eq!(object(br#"{"name":null,"later":[1]}"#).unwrap().len(), 2);
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
            let error = object(body.as_bytes()).unwrap_err();
            assert!(error.contains(found), "{body}: {error}");
        }
    }

    #[test]
    fn a_deep_body_is_no_stack_overflow() {
        let deep = "[".repeat(100_000);
        assert!(object(deep.as_bytes()).unwrap_err().contains("not JSON"));
    }

    #[test]
    fn the_words_of_an_error_are_those_of_the_platform() {
        assert_eq!(error_words(br#"{"error":"gone"}"#).as_deref(), Some("gone"));
        assert_eq!(error_words(br#"{"error":{"code":1}}"#).as_deref(), Some(r#"{"code":1}"#));
        assert_eq!(error_words(b"[]"), None);
        assert!(is_no(br#"{"error":null}"#) && !is_no(b"<html>") && !is_no(br#"{"message":"x"}"#));
    }
}
