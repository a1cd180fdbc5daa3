//! Texts for a terminal.

use std::time::Duration;

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// A column holds no more characters than this: some take no room.
const CHARS_A_COLUMN: usize = 4;

/// The text with whatever could move the cursor or turn the line round escaped, cut to so many columns.
pub(crate) fn cell(text: &str, columns: Option<usize>) -> String {
    let mut shown = escaped(text, |_| false);
    let Some(columns) = columns else { return shown };
    let most = columns * CHARS_A_COLUMN;
    let bounded = shown.char_indices().nth(most).map(|(end, _)| shown.truncate(end)).is_none();
    if bounded && shown.width() <= columns {
        return shown;
    }
    while !shown.is_empty() && shown.width() >= columns {
        shown.pop();
    }
    shown.extend((columns > 0).then_some('…'));
    shown
}

/// The same, but for the ends of its lines and its tabs, and whole.
pub(crate) fn lines(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// A line of JSON in which nothing can move the cursor either: it means the same with `\u` escapes.
pub(crate) fn json_line(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if moves(c) {
            let mut units = [0; 2];
            line.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            line.push(c);
        }
    }
    line
}

fn escaped(text: &str, kept: impl Fn(char) -> bool) -> String {
    let escape = |c: char| if moves(c) && !kept(c) { c.escape_default().collect() } else { vec![c] };
    text.chars().flat_map(escape).collect()
}

/// Control and bidirectional characters. Letters of all scripts, with their marks and joiners, are none.
fn moves(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A duration as a person says it.
pub(crate) fn spoken(took: Duration) -> String {
    let nanos = took.as_nanos();
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{:.2} s", took.as_secs_f64()),
    }
}

pub(crate) fn millis(took: Duration) -> f64 {
    // To the microsecond: more is noise in a table.
    (took.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        assert_eq!(cell("a\u{1b}[2J\r\n\u{202e}b", Some(80)), "a\\u{1b}[2J\\r\\n\\u{202e}b");
        assert_eq!(cell(&"é".repeat(100), Some(5)), "éééé…");
        assert_eq!(lines("a\u{1b}[2J\n\t\"b\"\r"), "a\\u{1b}[2J\n\t\"b\"\\r");
        let scripts = "สวัสดี नमस्ते e\u{301} ❤\u{fe0f} 10\u{a0}% 👩\u{200d}💻";
        assert_eq!((cell(scripts, Some(80)), lines(scripts)), (scripts.to_owned(), scripts.to_owned()));
        let line = json_line(&serde_json::json!({ "a\u{9b}31m": "\u{7f}\u{202e}é\n" }));
        assert_eq!(line, r#"{"a\u009b31m":"\u007f\u202eé\n"}"#);
        assert_eq!(cell("søren 日本 \"x\"", Some(80)), "søren 日本 \"x\"");
    }

    #[test]
    fn a_cell_is_cut_by_columns_and_not_by_characters() {
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
        // Marks without end on one letter, as a hostile name may have them.
        let marks = format!("a{}", "\u{301}".repeat(100_000));
        assert!(cell(&marks, Some(28)).chars().count() <= 28 * CHARS_A_COLUMN + 1);
        assert_eq!(cell(&marks, None), marks);
    }

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        for (nanos, text) in [(999, "999 ns"), (1_500, "1 µs"), (2_000_000, "2 ms"), (2_004_000_000, "2.00 s")] {
            assert_eq!(spoken(Duration::from_nanos(nanos)), text);
        }
    }
}
