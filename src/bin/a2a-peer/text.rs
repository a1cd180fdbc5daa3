//! Text for people: escaped for a terminal, cut to a width, durations with a unit.

use std::time::Duration;

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// Maximum number of characters for a column of a cell. Combining marks take no column, so that columns alone are no
/// bound.
const CHARS_PER_COLUMN: usize = 4;
/// Maximum width of an excerpt.
const EXCERPT_COLUMNS: usize = 200;

/// Escapes every character that could move the cursor, line feeds included, and cuts the text to `columns`.
///
/// A text that was cut ends with `…`. `None` cuts nothing.
pub(crate) fn cell(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return escape(text.chars(), |_| false) };
    let max_chars = columns * CHARS_PER_COLUMN;
    // One more than fit shows that the text is cut. A name can be megabytes long.
    let mut shown = escape(text.chars().take(max_chars + 1), |_| false);
    let is_short = shown.char_indices().nth(max_chars).map(|(end, _)| shown.truncate(end)).is_none();
    if is_short && shown.width() <= columns {
        return shown;
    }
    while !shown.is_empty() && shown.width() >= columns {
        shown.pop();
    }
    shown.extend((columns > 0).then_some('…'));
    shown
}

/// Returns the start of a text of others on one line, to be named in a note: at most 200 columns, escaped.
pub(crate) fn excerpt(text: &str) -> String {
    // No more is escaped than can be shown.
    let start: String = text.chars().take(EXCERPT_COLUMNS * CHARS_PER_COLUMN + 1).collect();
    cell(&start, Some(EXCERPT_COLUMNS))
}

/// Escapes every character that could move the cursor, except line feeds and tabs.
pub(crate) fn escape_lines(text: &str) -> String {
    escape(text.chars(), |c| matches!(c, '\n' | '\t'))
}

/// Returns a value as one line of JSON, with `\u` escapes for every character that could move the cursor.
pub(crate) fn json_line(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if moves_cursor(c) {
            let mut units = [0; 2];
            line.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            line.push(c);
        }
    }
    line
}

fn escape(text: impl Iterator<Item = char>, is_allowed: impl Fn(char) -> bool) -> String {
    let mut escaped = String::new();
    for c in text {
        if moves_cursor(c) && !is_allowed(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Returns true for control and bidirectional characters. Letters of every script, their marks and joiners are safe.
fn moves_cursor(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Formats a duration with the unit that suits its size.
pub(crate) fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// Returns a duration in milliseconds, rounded to the microsecond, for the field `ms` of the JSON output.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidirectional_characters_are_escaped() {
        assert_eq!(cell("a\u{1b}[2J\r\n\u{202e}b", Some(80)), "a\\u{1b}[2J\\r\\n\\u{202e}b");
        assert_eq!(cell(&"é".repeat(100), Some(5)), "éééé…");
        assert_eq!(escape_lines("a\u{1b}[2J\n\t\"b\"\r"), "a\\u{1b}[2J\n\t\"b\"\\r");
        let scripts = "สวัสดี नमस्ते e\u{301} ❤\u{fe0f} 10\u{a0}% 👩\u{200d}💻";
        assert_eq!((cell(scripts, Some(80)), escape_lines(scripts)), (scripts.to_owned(), scripts.to_owned()));
        let line = json_line(&serde_json::json!({ "a\u{9b}31m": "\u{7f}\u{202e}é\n" }));
        assert_eq!(line, r#"{"a\u009b31m":"\u007f\u202eé\n"}"#);
        assert_eq!(cell("søren 日本 \"x\"", Some(80)), "søren 日本 \"x\"");
    }

    #[test]
    fn cell_is_cut_by_columns_not_characters() {
        for (text, columns, shown) in [
            ("日本日本", 8, "日本日本"),
            ("日本日本", 7, "日本日…"),
            ("日本日本", 6, "日本…"),
            ("日本", 1, "…"),
            ("ab", 0, ""),
            ("e\u{301}e\u{301}", 2, "e\u{301}e\u{301}"),
            ("❤\u{fe0f}❤\u{fe0f}", 4, "❤\u{fe0f}❤\u{fe0f}"),
            ("❤\u{fe0f}❤\u{fe0f}", 3, "❤\u{fe0f}…"),
        ] {
            assert_eq!(cell(text, Some(columns)), shown, "{text} in {columns}");
        }
        // A hostile name can stack any number of marks on one letter.
        let marks = format!("a{}", "\u{301}".repeat(100_000));
        assert!(cell(&marks, Some(28)).chars().count() <= 28 * CHARS_PER_COLUMN + 1);
        assert_eq!(cell(&marks, None), marks);
    }

    #[test]
    fn excerpt_is_one_line_of_bounded_size() {
        assert_eq!(excerpt("a\n\u{1b}b"), "a\\n\\u{1b}b");
        assert_eq!(excerpt(&"é".repeat(200)), "é".repeat(200));
        for long in ["é".repeat(201), "e\u{301}".repeat(1_000), "\u{301}".repeat(100_000)] {
            let shown = excerpt(&long);
            assert!(shown.ends_with('…') && shown.chars().count() <= 801, "{shown}");
        }
    }

    #[test]
    fn duration_has_the_unit_of_its_size() {
        for (nanos, text) in [(999, "999 ns"), (1_500, "1 µs"), (2_000_000, "2 ms"), (2_004_000_000, "2.00 s")] {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
