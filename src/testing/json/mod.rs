//! JSON as the server keeps it: objects in the order of Postgres, numbers as `f64`, any depth up to Go's.
//!
//! `serde_json` stops at a depth of 128, and the server at 10,000. Nothing here recurses.

mod parse;

use std::mem;

pub(super) use parse::parse_json;

/// The longest text that Postgres takes as `jsonb`, in bytes.
const LONGEST: usize = 256 << 20;

/// A JSON value. The fields of an object are in the order of `jsonb`: by length, then by their bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Order of an object's fields in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldOrder {
    /// By length, then by their bytes.
    Postgres,
    /// By their bytes.
    Go,
}

impl Json {
    /// Returns an object of these fields.
    pub(super) fn object(fields: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
        let mut fields: Vec<(String, Json)> = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        fields.sort_by(|a, b| order_of_jsonb(&a.0, &b.0));
        Json::Object(fields)
    }

    pub(super) fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// Returns a field of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(fields) = self else { return None };
        let at = fields.binary_search_by(|(other, _)| order_of_jsonb(other, key)).ok()?;
        fields.get(at).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        let Json::Object(fields) = self else { return None };
        let at = fields.binary_search_by(|(other, _)| order_of_jsonb(other, key)).ok()?;
        fields.get_mut(at).map(|(_, value)| value)
    }

    /// Sets a field of an object. Changes no other value.
    pub(super) fn set(&mut self, key: &str, value: Json) {
        let Json::Object(fields) = self else { return };
        match fields.binary_search_by(|(other, _)| order_of_jsonb(other, key)) {
            Ok(at) => {
                if let Some(field) = fields.get_mut(at) {
                    field.1 = value;
                }
            }
            Err(at) => fields.insert(at, (key.to_owned(), value)),
        }
    }

    /// Takes a field out of an object.
    pub(super) fn take(&mut self, key: &str) -> Option<Json> {
        let Json::Object(fields) = self else { return None };
        let at = fields.binary_search_by(|(other, _)| order_of_jsonb(other, key)).ok()?;
        Some(fields.remove(at).1)
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    /// Returns the elements of a list, or none.
    pub(super) fn items(&self) -> &[Json] {
        if let Json::Array(items) = self { items } else { &[] }
    }

    /// Writes the value. `None` where the text has U+0000 or is too long, which Postgres refuses.
    pub(super) fn write(&self, order: FieldOrder) -> Option<String> {
        let mut out = String::new();
        let whole = self.write_into(&mut out, order);
        whole.then_some(out)
    }

    /// Writes the value as Go does, with U+0000 too.
    pub(super) fn write_for_go(&self) -> String {
        let mut out = String::new();
        self.write_into(&mut out, FieldOrder::Go);
        out
    }

    /// Appends the text. Returns false where Postgres would refuse it.
    fn write_into(&self, out: &mut String, order: FieldOrder) -> bool {
        enum Step<'a> {
            Value(&'a Json),
            Key(&'a str),
            Literal(&'static str),
        }
        let (mut steps, mut whole) = (vec![Step::Value(self)], true);
        while let Some(step) = steps.pop() {
            if out.len() > LONGEST {
                return false;
            }
            match step {
                Step::Literal(text) => out.push_str(text),
                Step::Key(key) => {
                    whole &= write_text(out, key);
                    out.push(':');
                }
                Step::Value(Json::Null) => out.push_str("null"),
                Step::Value(Json::Bool(value)) => out.push_str(if *value { "true" } else { "false" }),
                // Without an exponent, as Postgres writes it.
                Step::Value(Json::Number(value)) => out.push_str(&value.to_string()),
                Step::Value(Json::Text(text)) => whole &= write_text(out, text),
                Step::Value(Json::Array(items)) => {
                    out.push('[');
                    steps.push(Step::Literal("]"));
                    for (at, item) in items.iter().enumerate().rev() {
                        steps.push(Step::Value(item));
                        steps.extend((at > 0).then_some(Step::Literal(",")));
                    }
                }
                Step::Value(Json::Object(fields)) => {
                    out.push('{');
                    steps.push(Step::Literal("}"));
                    let mut fields: Vec<&(String, Json)> = fields.iter().collect();
                    if order == FieldOrder::Go {
                        fields.sort_by(|a, b| a.0.cmp(&b.0));
                    }
                    for (at, (key, value)) in fields.into_iter().enumerate().rev() {
                        steps.push(Step::Value(value));
                        steps.push(Step::Key(key));
                        steps.extend((at > 0).then_some(Step::Literal(",")));
                    }
                }
            }
        }
        whole
    }

    fn children(&mut self, into: &mut Vec<Json>) {
        match self {
            Json::Array(items) => into.append(items),
            Json::Object(fields) => into.extend(mem::take(fields).into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
}

/// Drops the value without recursion: one of 10,000 levels would overflow a thread's stack.
impl Drop for Json {
    fn drop(&mut self) {
        let mut left = Vec::new();
        self.children(&mut left);
        while let Some(mut value) = left.pop() {
            value.children(&mut left);
        }
    }
}

fn order_of_jsonb(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Appends a string in quotes. Returns false if it has U+0000.
fn write_text(out: &mut String, text: &str) -> bool {
    out.push('"');
    let (mut rest, mut whole) = (text, true);
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        match after.bytes().next() {
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(b'\n') => out.push_str("\\n"),
            Some(b'\r') => out.push_str("\\r"),
            Some(b'\t') => out.push_str("\\t"),
            Some(byte) => {
                whole &= byte != 0;
                out.push_str(&format!("\\u{byte:04x}"));
            }
            None => {}
        }
        // The byte is ASCII, so what follows begins at a character.
        rest = after.get(1..).unwrap_or("");
    }
    out.push_str(rest);
    out.push('"');
    whole
}

/// Escapes JSON text as Go does for HTML: `<`, `>` and `&` take six bytes each. They stand in strings only.
pub(super) fn escape_html(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2)) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        let (escape, length): (&[u8], usize) = match after {
            [b'<', ..] => (b"\\u003c", 1),
            [b'>', ..] => (b"\\u003e", 1),
            [b'&', ..] => (b"\\u0026", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            _ => (&[0xe2], 1),
        };
        // A run of one byte goes at once: messages of a million `<` are what tests are made of.
        let run = after.iter().position(|byte| *byte != after[0]).unwrap_or(after.len());
        let count = if length == 1 && escape.len() > 1 { run } else { 1 };
        out.extend_from_slice(&escape.repeat(count));
        rest = after.get(length * count..).unwrap_or(&[]);
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        parse_json(text.as_bytes()).and_then(|value| value.write(FieldOrder::Postgres))
    }

    #[test]
    fn objects_are_kept_as_postgres_does() {
        let text = r#"{"params":1,"id":2,"method":[true,null,"aü\n\u0041"],"jsonrpc":{},"id":3}"#;
        let expected = r#"{"id":3,"method":[true,null,"aü\nA"],"params":1,"jsonrpc":{}}"#;
        assert_eq!(written(text).as_deref(), Some(expected));
        assert_eq!(written("12345678901234567890123").as_deref(), Some("12345678901234568000000"));
        assert_eq!(written(r#""a\u0000""#), None);
        assert_eq!(written(r#"["\ud800",1.50]"#).as_deref(), Some("[\"\u{fffd}\",1.5]"));
        let go = parse_json(text.as_bytes()).unwrap().write_for_go();
        assert_eq!(go, r#"{"id":3,"jsonrpc":{},"method":[true,null,"aü\nA"],"params":1}"#);
    }

    #[test]
    fn depth_is_bounded_and_nothing_recurses() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(written(&nested(10_000)), Some(nested(10_000)));
        assert_eq!(written(&nested(10_001)), None);
    }

    #[test]
    fn html_is_escaped() {
        let mut out = Vec::new();
        escape_html("\"<a&b>\u{2028}ü€\"".as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"\\u003ca\\u0026b\\u003e\\u2028ü€\"");
    }
}
