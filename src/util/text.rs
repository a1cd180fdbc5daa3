//! Text of others, made safe to show: one line, bounded, and without characters that a terminal obeys.
//!
//! A peer's words, a row's id or a certificate's name could forge a line of a log or move a terminal's cursor, and can be
//! megabytes long. So each one is shown as [`Untrusted`]. An [`Error`](crate::Error) and each log line of
//! [`log_safe`](crate::util::log_safe) are shown as [`Untrusted`], too, as a whole.

use std::fmt::{self, Display, Write};

/// Number of characters of a text of others that an error or a log line shows.
pub(crate) const EXCERPT_CHARS: usize = 200;
/// Number of bytes of a text of others that are taken out of a large value, for a text that is not shown yet.
///
/// They hold more than the longest text that an error shows, and the longest token behind it with each character escaped.
pub(crate) const MAX_FOREIGN_BYTES: usize = 128 * 1024;
/// Longest log line or text of an error, in characters before they are escaped.
///
/// The longest text of a peer that an error has, with each character escaped, and the words around it.
const LINE_CHARS: usize = 65_536;

/// Text of others, as an error or a log line shows it.
///
/// Displays the first characters of the value, 200 by default, on one line: control and bidirectional characters are
/// escaped. The rest of the value is not formatted, so that a text of megabytes costs no more than a short one.
pub(crate) struct Untrusted<T> {
    value: T,
    max_chars: usize,
    keeps_lines: bool,
}

impl<T: Display> Untrusted<T> {
    pub(crate) fn new(value: T) -> Self {
        Untrusted { value, max_chars: EXCERPT_CHARS, keeps_lines: false }
    }

    /// Returns a whole line that has texts of others in it, each with its own bound.
    pub(crate) fn line(value: T) -> Self {
        Untrusted { max_chars: LINE_CHARS, ..Untrusted::new(value) }
    }

    /// Sets the number of characters that are shown.
    pub(crate) fn up_to(self, max_chars: usize) -> Self {
        Untrusted { max_chars, ..self }
    }

    /// Keeps line feeds and tabs as they are.
    pub(crate) fn keep_lines(self) -> Self {
        Untrusted { keeps_lines: true, ..self }
    }
}

impl<T: Display> Display for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaper = Escaper { out: f, chars_left: self.max_chars, keeps_lines: self.keeps_lines };
        let written = write!(escaper, "{}", self.value);
        // At the bound the escaper fails, which ends the value's own formatting.
        if escaper.chars_left == 0 { Ok(()) } else { written }
    }
}

/// A writer that escapes what it passes on. Fails at its bound.
struct Escaper<'a, W> {
    out: &'a mut W,
    chars_left: usize,
    keeps_lines: bool,
}

impl<W: Write> Write for Escaper<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Characters that need no escape are passed on together.
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            if self.chars_left == 0 {
                self.out.write_str(&text[plain..at])?;
                return Err(fmt::Error);
            }
            self.chars_left -= 1;
            if is_unsafe(c) && !(self.keeps_lines && matches!(c, '\n' | '\t')) {
                self.out.write_str(&text[plain..at])?;
                write!(self.out, "{}", c.escape_default())?;
                plain = at + c.len_utf8();
            }
        }
        self.out.write_str(&text[plain..])
    }
}

/// Returns the first 200 characters of a text, as [`Untrusted`] shows them.
pub(crate) fn excerpt(text: impl Display) -> String {
    Untrusted::new(text).to_string()
}

/// Returns whether a character is a control or a bidirectional one.
///
/// Those characters could move a terminal's cursor or reverse its text: <https://trojansource.codes>. Letters of all
/// scripts, with their marks and joiners, stay as they are.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Returns the start of a value's text, unescaped: at most `max_bytes` bytes, cut at a character.
///
/// The rest is not formatted. It is for a text that is not shown yet, because the token must be cut out of it first.
pub(crate) fn prefix(value: impl Display, max_bytes: usize) -> String {
    let mut start = Prefix { text: String::new(), max_bytes };
    // Fails at the bound, which ends the value's own formatting.
    let _ = write!(start, "{value}");
    start.text
}

struct Prefix {
    text: String,
    max_bytes: usize,
}

impl Write for Prefix {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.max_bytes - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        self.text.push_str(&text[..floor_char_boundary(text, room)]);
        Err(fmt::Error)
    }
}

/// Returns the largest boundary of a character up to `most`. `str` has this from Rust 1.91 on.
pub(crate) fn floor_char_boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Returns the text without what Python's `str.strip` trims: Unicode's white space and the four information separators.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn excerpt_ends_at_a_character_and_escapes_control_characters() {
        assert_eq!(excerpt("é".repeat(300)), "é".repeat(200));
        assert_eq!(excerpt("{\"a\":'\\'}"), "{\"a\":'\\'}");
        let scripts = "สวัสดี नमस्ते e\u{301} ❤\u{fe0f} 10\u{a0}% 👩\u{200d}💻";
        assert_eq!(excerpt(scripts), scripts);
        assert_eq!(excerpt("a\u{1b}[2J\r\n\u{202e}b\u{9b}"), "a\\u{1b}[2J\\r\\n\\u{202e}b\\u{9b}");
        assert_eq!(excerpt(""), "");
    }

    #[test]
    fn lines_are_kept_on_request_only() {
        let text = "a\n\tb\r\n\u{2028}c";
        assert_eq!(Untrusted::new(text).to_string(), "a\\n\\tb\\r\\n\\u{2028}c");
        assert_eq!(Untrusted::new(text).keep_lines().to_string(), "a\n\tb\\r\n\\u{2028}c");
        assert_eq!(Untrusted::new(text).up_to(3).to_string(), "a\\n\\t");
        assert_eq!(Untrusted::line(Untrusted::new(text)).to_string(), excerpt(text), "escapes are not escaped again");
    }

    /// Counts how often it is asked for another piece.
    struct Endless<'a>(&'a Cell<u32>);

    impl Display for Endless<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                self.0.set(self.0.get() + 1);
                f.write_str("0123456789")?;
            }
        }
    }

    #[test]
    fn formatting_ends_at_the_bound() {
        let pieces = Cell::new(0);
        assert_eq!(excerpt(Endless(&pieces)), "0123456789".repeat(20));
        assert_eq!(pieces.replace(0), 21);
        assert_eq!(prefix(Endless(&pieces), 25), "0123456789012345678901234");
        assert_eq!(
            (pieces.get(), prefix("éé", 3), prefix("éé", 4), prefix("é", 0)),
            (3, "é".into(), "éé".into(), "".into())
        );
    }
}
