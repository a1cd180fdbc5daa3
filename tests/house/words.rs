//! Text of others: shown in one way only.
//!
//! Each log line and each error passes `util::text::Untrusted` as a whole, so that it is one line. A text of others inside
//! it is an `Untrusted`, too, so that it is short.

use regex::Regex;

use crate::assert_none;
use crate::tree::{Tree, is_test_file};

/// Texts that a log line may have without `Untrusted`, with the reason.
const SAFE: &[(&str, &str)] = &[
    ("error", "an `Error` shows itself as `Untrusted`"),
    ("why", "an error of the operating system"),
    ("attempt", "a number"),
    ("attempts", "a number"),
    ("more", "a number"),
    ("skipped", "a number"),
    ("mode", "a number"),
    ("lasted", "a duration"),
    ("failures", "a number"),
    ("days", "a number"),
    ("seq", "a number"),
    ("secs", "a number"),
    ("at", "a `Timestamp`"),
    ("next", "a `Timestamp`; after an error, fixed words and a duration"),
    ("address", "a socket's address"),
    ("path", "a path of the user's own settings"),
    ("name.display()", "a path of the user's own settings"),
    ("self.path.display()", "a path of the user's own settings"),
    ("platform", "an address of the user's own settings"),
    ("ended", "fixed words, and an address of the user's own settings"),
    ("self.target", "an address of the user's own settings"),
    ("self.request_id", "an id of our own"),
    ("heading", "fixed words"),
    ("count", "fixed words, and a number"),
    ("what", "fixed words"),
    ("subject", "fixed words, or the id of a row in quotes, escaped"),
    ("from", "fixed words"),
    ("kept", "fixed words, and a path of the user's own settings"),
    ("error.delivery()", "fixed words"),
    ("state", "fixed words"),
];

/// Types whose `Display` is no text of others, or shows it as `Untrusted`, with the reason. Formatted somewhere, each of
/// them reaches log lines and errors.
const DISPLAYED: &[(&str, &str)] = &[
    ("Untrusted", "is the way in which text of others is shown"),
    ("Error", "shows itself as `Untrusted`"),
    ("ErrorText", "the parts of an `Error`, which shows them as `Untrusted`"),
    ("ErrorCause", "has its text from an `Untrusted`"),
    ("BodyError", "fixed words, and the place of a fault"),
    ("JsonError", "fixed words, and the place of a fault"),
    ("Boundary", "letters, digits, `-` and `_`"),
    ("PeerId", "hexadecimal digits"),
    ("DeliverySubject", "fixed words, or the id of a row in quotes, escaped"),
    ("Timestamp", "digits"),
    ("Stats", "numbers"),
    ("PlatformUrl", "one of the user's own settings, of checked characters"),
    ("$name", "the fixed words of an enum"),
];

/// Log lines that do not pass `log_safe!`, and texts in log lines that are not bounded.
fn unsafe_log_lines(tree: &Tree, safe: &[(&str, &str)]) -> Vec<String> {
    let direct = Regex::new(r"\blog::(?:error|warn|info|debug|trace|log)!").unwrap();
    let mut faults = Vec::new();
    for (name, code) in tree.code().filter(|(name, _)| !name.ends_with("util/log_safe.rs")) {
        if let Some(found) = direct.find(code) {
            faults.push(format!("{name} logs by {}, not by log_safe!", found.as_str()));
        }
    }
    for (name, text) in tree.texts().filter(|(name, _)| !is_test_file(name) && !name.ends_with("util/log_safe.rs")) {
        for call in calls(text, "log_safe!(") {
            let raw = shown(call).into_iter().filter(|shown| !is_safe(shown, text, safe));
            faults.extend(
                raw.map(|raw| format!("{name} logs {raw:?}: show it as Untrusted, or list it with the reason")),
            );
        }
    }
    faults
}

/// Types with a `Display` that are not listed.
fn unlisted_displays(tree: &Tree, listed: &[(&str, &str)]) -> Vec<String> {
    let implemented = Regex::new(r"\bDisplay\s+for\s+(\$?\w+)").unwrap();
    let found = tree.code().flat_map(|(name, code)| implemented.captures_iter(code).map(move |found| (name, found)));
    let unlisted = found.filter(|(_, found)| !listed.iter().any(|(ty, _)| *ty == &found[1]));
    unlisted.map(|(name, found)| format!("{name}: list the Display of {} with the reason", &found[1])).collect()
}

/// The texts of the calls of a macro: what is between its brackets.
fn calls<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(start) {
        let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at];
        let rest = &text[at + start.len()..];
        if !line.trim_start().starts_with("//") {
            found.push(&rest[..split(rest, ')')[0].len()]);
        }
    }
    found
}

/// Splits a text at a character that is outside of literals and brackets. Ends at a bracket that closes none.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut in_literal, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_literal => escaped = true,
            '"' => in_literal = !in_literal,
            _ if in_literal => {}
            c if c == at && depth == 0 => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => break,
            },
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The texts that a call formats: the names in its literal, each with its format, and its further arguments.
fn shown(call: &str) -> Vec<String> {
    let arguments = split(call, ',').into_iter().map(str::trim).filter(|part| !part.is_empty());
    let arguments: Vec<&str> = arguments.filter(|part| !part.starts_with("target: ")).collect();
    let named = Regex::new(r"\{(\w+)(:[^}]*)?\}").unwrap();
    let literal = arguments.get(1).copied().unwrap_or_default().replace("{{", "").replace("}}", "");
    let named =
        named.captures_iter(&literal).map(|found| found[1].to_owned() + found.get(2).map_or("", |m| m.as_str()));
    let named: Vec<String> = named.collect();
    named.into_iter().chain(arguments.iter().skip(2).map(|argument| (*argument).to_owned())).collect()
}

fn is_safe(shown: &str, file: &str, safe: &[(&str, &str)]) -> bool {
    let (name, format) = shown.split_once(':').filter(|(_, format)| !format.starts_with(':')).unwrap_or((shown, ""));
    // Rust's own `Debug` of a text escapes it.
    let is_debug = format.ends_with('?');
    let is_untrusted = shown.contains("Untrusted::") || shown.contains("excerpt_of(");
    let is_bound = file.contains(&format!("let {name} = Untrusted::"));
    is_debug || is_untrusted || is_bound || safe.iter().any(|(listed, _)| [shown, name].contains(listed))
}

#[test]
fn text_of_others_in_log_lines_is_untrusted() {
    assert_none(&unsafe_log_lines(Tree::library(), SAFE));
}

#[test]
fn types_with_a_display_are_listed() {
    assert_none(&unlisted_displays(Tree::library(), DISPLAYED));
}

/// The two places that all of it passes.
#[test]
fn log_lines_and_errors_pass_untrusted() {
    let source = |file: &str| Tree::library().texts().find(|(name, _)| *name == file).unwrap().1.to_owned();
    assert!(source("src/util/log_safe.rs").contains("Untrusted::line(format_args!($($words)+))"));
    assert!(source("src/error/mod.rs").contains("Untrusted::line(ErrorText(&self.0))"));
}

/// A reason whose text is gone would hide a later fault.
#[test]
fn each_listed_text_and_type_is_there() {
    let tree = Tree::library();
    let all: Vec<String> = tree
        .texts()
        .filter(|(name, _)| !is_test_file(name))
        .flat_map(|(_, text)| calls(text, "log_safe!("))
        .flat_map(shown)
        .collect();
    let is_logged = |name: &str| all.iter().any(|shown| shown == name || shown.starts_with(&format!("{name}:")));
    let gone = SAFE.iter().filter(|(name, _)| !is_logged(name)).map(|(name, _)| format!("nothing logs {name}"));
    let displays: String = tree.code().map(|(_, code)| code).collect();
    let is_displayed = |ty: &str| displays.contains(&format!("Display for {ty}"));
    let types = DISPLAYED.iter().filter(|(ty, _)| !is_displayed(ty)).map(|(ty, _)| format!("{ty} has no Display"));
    assert_none(&gone.chain(types).collect::<Vec<_>>());
}

#[test]
fn self_test_finds_text_of_others() {
    let safe = &[("at", "a time"), ("self.path", "a path")];
    for (line, raw) in [
        (r#"log_safe!(warn, "row {id} at {at}");"#, Some("id")),
        (r#"log_safe!(warn, "{}: row {}", self.path, row.id);"#, Some("row.id")),
        ("log_safe!(\n  warn,\n  \"a (row) \\\"{name:>9}\\\": \\\n   {at}\"\n);", Some("name:>9")),
        (r#"log_safe!(debug, "{}", f(a, ")"));"#, Some(r#"f(a, ")")"#)),
        (r#"log_safe!(warn, "{id:?} at {at:.1?} of {{id}}");"#, None),
        (r#"log_safe!(warn, "{}: {}", self.path, Untrusted::new(&row.id));"#, None),
        (r#"let id = Untrusted::new(&row.id); log_safe!(warn, "row {id}");"#, None),
        (r#"// log_safe!(warn, "row {id}");"#, None),
    ] {
        let found = unsafe_log_lines(&Tree::of(&[("a.rs", line)]), safe);
        assert_eq!(
            (found.len(), raw.is_none_or(|raw| found[0].contains(&format!("{raw:?}")))),
            (usize::from(raw.is_some()), true),
            "{line}: {found:?}"
        );
    }
    let direct = Tree::of(&[("a.rs", r#"fn f() { log::warn!("x"); }"#), ("util/log_safe.rs", "log::$level!(x)")]);
    assert_eq!(unsafe_log_lines(&direct, safe).len(), 1);
    let display = Tree::of(&[
        ("a.rs", "impl fmt::Display for Row {} impl Display for Time {}"),
        ("tests.rs", "impl Display for X {}"),
    ]);
    assert_eq!(unlisted_displays(&display, &[("Time", "digits")]).len(), 1);
}
