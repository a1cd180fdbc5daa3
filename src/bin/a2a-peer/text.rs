//! Texts for a terminal.

use std::time::Duration;

/// The text with whatever could move the cursor or turn the line round escaped, cut to `width` characters.
pub(crate) fn printable(text: &str, width: usize) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if shown.chars().count() > width {
        shown = shown.chars().take(width.saturating_sub(1)).chain(['…']).collect();
    }
    shown
}

/// The text with whatever could move the cursor escaped, but for the ends of its lines and its tabs.
pub(crate) fn lines(text: &str) -> String {
    let plain = |c: char| matches!(c, '\n' | '\t' | '"' | '\'' | '\\');
    text.chars().flat_map(|c| if plain(c) { vec![c] } else { c.escape_debug().collect() }).collect()
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
        assert_eq!(printable("a\u{1b}[2J\r\n\u{202e}b", 80), "a\\u{1b}[2J\\r\\n\\u{202e}b");
        assert_eq!(printable(&"é".repeat(100), 5), "éééé…");
        assert_eq!(lines("a\u{1b}[2J\n\t\"b\"\r"), "a\\u{1b}[2J\n\t\"b\"\\r");
        assert_eq!(printable("søren 日本 \"x\"", 80), "søren 日本 \"x\"");
    }

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        for (nanos, text) in [(999, "999 ns"), (1_500, "1 µs"), (2_000_000, "2 ms"), (2_004_000_000, "2.00 s")] {
            assert_eq!(spoken(Duration::from_nanos(nanos)), text);
        }
    }
}
