//! Text from others, made safe to show.

/// Number of characters of foreign text that an error or a log line shows.
const EXCERPT_CHARS: usize = 200;

/// Returns the first 200 characters of `text`, escaped as by [`escaped`].
pub(crate) fn excerpt(text: &str) -> String {
    escaped(text.chars().take(EXCERPT_CHARS), |_| false)
}

/// Returns the characters with control and bidirectional ones escaped, except those that are `kept`.
///
/// Those characters could move a terminal's cursor or reverse its text: <https://trojansource.codes>. Letters of all
/// scripts, with their marks and joiners, stay as they are.
pub(crate) fn escaped(text: impl Iterator<Item = char>, kept: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    for c in text {
        let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if (c.is_control() || is_bidi) && !kept(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns the text without what Python's `str.strip` trims: Unicode's white space and the four information separators.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_ends_at_a_character_and_escapes_control_characters() {
        assert_eq!(excerpt(&"é".repeat(300)), "é".repeat(200));
        assert_eq!(excerpt("{\"a\":'\\'}"), "{\"a\":'\\'}");
        let scripts = "สวัสดี नमस्ते e\u{301} ❤\u{fe0f} 10\u{a0}% 👩\u{200d}💻";
        assert_eq!(excerpt(scripts), scripts);
        assert_eq!(excerpt("a\u{1b}[2J\r\n\u{202e}b\u{9b}"), "a\\u{1b}[2J\\r\\n\\u{202e}b\\u{9b}");
    }
}
