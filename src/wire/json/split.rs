//! Splits JSON text by its strings and its nesting alone, so that a value that cannot be parsed does not hide those behind it.

use serde_json::Deserializer;

/// Characters between values.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// A place in a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ValuePosition {
    /// Lists and objects that are open.
    depth: usize,
    string: StringState,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum StringState {
    Outside,
    Inside,
    /// After a backslash in a string.
    Escape,
}

impl ValuePosition {
    /// Before the first byte of a value.
    pub(crate) const START: ValuePosition = ValuePosition { depth: 0, string: StringState::Outside };

    /// Returns how many of the bytes belong to the value, and the position after them. `None` where the value ends there.
    pub(crate) fn advance(self, bytes: &[u8]) -> (usize, Option<Self>) {
        let ValuePosition { mut depth, mut string } = self;
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match (string, byte) {
                (StringState::Escape, _) => string = StringState::Inside,
                (StringState::Inside, _) => {
                    // Most of a row is strings.
                    let rest = &bytes[at..];
                    let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
                        return (bytes.len(), Some(ValuePosition { depth, string }));
                    };
                    at += plain;
                    string = if rest[plain] == b'"' { StringState::Outside } else { StringState::Escape };
                }
                (StringState::Outside, b'"') => string = StringState::Inside,
                (StringState::Outside, b'[' | b'{') => depth += 1,
                (StringState::Outside, b']' | b'}') if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        return (at + 1, None);
                    }
                }
                // The end of a number, a word or a string.
                (StringState::Outside, b',' | b']' | b'}') if depth == 0 => return (at, None),
                (StringState::Outside, _) => {}
            }
            at += 1;
        }
        (at, Some(ValuePosition { depth, string }))
    }
}

/// Calls `visit` with the name of each field of an object and the text of its value, until it returns false. The texts need
/// not be JSON: `NaN`, which some programs write, is one.
///
/// Returns true where the text is an object and `visit` accepted every field.
pub(in crate::wire) fn each_field<'a>(text: &'a str, mut visit: impl FnMut(String, &'a str) -> bool) -> bool {
    let Some(mut rest) = text.trim_matches(BLANKS).strip_prefix('{') else { return false };
    if rest.trim_start_matches(BLANKS) == "}" {
        return true;
    }
    while let Some((name, value, after)) = split_field(rest) {
        if !visit(name, value) {
            return false;
        }
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after == "}",
        }
    }
    false
}

/// Splits the next field off. Returns its name, its value's text, and what follows.
fn split_field(text: &str) -> Option<(String, &str, &str)> {
    let mut names = Deserializer::from_str(text).into_iter::<String>();
    let name = names.next()?.ok()?;
    let value = text.get(names.byte_offset()..)?.trim_start_matches(BLANKS).strip_prefix(':')?;
    let value = value.trim_start_matches(BLANKS);
    let (length, position) = ValuePosition::START.advance(value.as_bytes());
    // It ends before or behind an ASCII character.
    let (value, after) = value.split_at_checked(length).filter(|_| position.is_none())?;
    Some((name, value.trim_end_matches(BLANKS), after.trim_start_matches(BLANKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the names and texts of the fields, and whether the object is whole.
    fn fields(text: &str) -> (Vec<(String, &str)>, bool) {
        let mut fields = Vec::new();
        let whole = each_field(text, |name, value| {
            fields.push((name, value));
            true
        });
        (fields, whole)
    }

    #[test]
    fn fields_are_split_whatever_their_values_are() {
        let named = |fields: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        for (text, expected, whole) in [
            ("{}", &[][..], true),
            (" { } ", &[], true),
            (r#"{"a": NaN ,"b":-Infinity}"#, &[("a", "NaN"), ("b", "-Infinity")], true),
            (r#"{"a\u0062":{"x":[",}"]} , "c" : "\"}," }"#, &[("ab", r#"{"x":[",}"]}"#), ("c", r#""\"},""#)], true),
            (r#"{"a":,"b":1}"#, &[("a", ""), ("b", "1")], true),
            (r#"{"a":1,"a":2}"#, &[("a", "1"), ("a", "2")], true),
            // What is not whole, or not split as an object is.
            (r#"{"a":1,"b":2"#, &[("a", "1")], false),
            (r#"{"a":1,"b":[2"#, &[("a", "1")], false),
            (r#"{"a":1,}"#, &[("a", "1")], false),
            (r#"{"a":1}}"#, &[("a", "1")], false),
            (r#"{"a":1]"#, &[("a", "1")], false),
            (r#"{"a":{} x}"#, &[("a", "{}")], false),
            (r#"{"a" 1}"#, &[], false),
            ("{'a':1}", &[], false),
            ("{1:1}", &[], false),
            ("{", &[], false),
            ("", &[], false),
        ] {
            assert_eq!(fields(text), (named(expected), whole), "{text}");
        }
    }
}
