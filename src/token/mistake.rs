//! Texts that people put where the token belongs, and that are none: a header, JSON, a file in another encoding.
//!
//! A token that cannot be right is refused when the client is built, instead of a 401 at the first call. Only what no
//! token looks like is refused: platforms use other characters, too, than those of RFC 6750, section 2.1,
//! <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>.

/// A test of a text without white space around it, and what its error says: what is wrong, and what to do.
type Mistake = (fn(&str) -> bool, &'static str);

/// The first one that matches is reported. No text names a part of the token.
const MISTAKES: &[Mistake] = &[
    (|text| text.starts_with('\u{feff}'), "begins with a byte order mark (BOM): save it as plain text without one"),
    (|text| text.contains('\0'), "has a NUL, as a text in UTF-16 does: save it as plain text (ASCII)"),
    (is_web_page, "is a web page: put the token in its place"),
    (is_placeholder, "is a placeholder: put the token in its place"),
    (|text| text.starts_with(['{', '[']), "is JSON: give only the value of the token, without quotes"),
    (|text| text.starts_with("-----BEGIN"), "is PEM, a key or a certificate: give the bearer token"),
    (is_header, "is a whole header: give only what follows `Bearer`"),
    (is_assignment, "is the assignment of a variable: give only its value, without quotes"),
    (|text| text.starts_with(QUOTES) || text.ends_with(QUOTES), "is in quotes: leave them out"),
    (is_wrapped, "is broken into lines: join them (`base64 -w 0` writes one line)"),
    (|text| text.contains(['\n', '\r']), "has more than one line: give one, with the token alone"),
    (begins_with_scheme, "begins with `Bearer`: leave this word out, since it is added when the token is sent"),
    (|text| text.contains([' ', '\t']), "has white space in it: give the token alone"),
    (|text| text.starts_with("http://") || text.starts_with("https://"), "is a URL: give the token alone"),
    (is_nothing, "is a word for nothing, such as `null`: what wrote it had no token"),
    (|text| text.ends_with(r"\n"), r"ends in a backslash and `n`: write it with `printf %s`, or by an editor"),
];

const QUOTES: &[char] =
    &['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{201e}', '\u{ab}', '\u{bb}'];

/// Returns what is wrong with a text that was given as a token, or `None` where it can be one.
///
/// `text` has no white space around it, and is not empty. The result has no part of it.
pub(super) fn mistake(text: &str) -> Option<String> {
    if let Some((_, words)) = MISTAKES.iter().find(|(matches, _)| matches(text)) {
        return Some((*words).to_owned());
    }
    let position = text.chars().position(|c| !c.is_ascii_graphic())?;
    let number = position + 1;
    Some(format!("cannot be sent: its character {number} is not printable ASCII: give one line of printable ASCII"))
}

/// Returns the text after `prefix`, whose letters may have either case.
fn after_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn is_web_page(text: &str) -> bool {
    ["<!doctype", "<html", "<?xml"].iter().any(|start| after_prefix(text, start).is_some())
}

/// A text for a person or a shell to replace: `<token>`, `$TOKEN`, `{{ token }}`, `%TOKEN%`, `your-token`.
fn is_placeholder(text: &str) -> bool {
    let in_percents = text.len() > 2 && text.starts_with('%') && text.ends_with('%');
    let letters: String = text.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
    let words = ["yourtoken", "yourtokenhere"];
    let is_word = words.iter().any(|word| letters.eq_ignore_ascii_case(word));
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || matches!(c, '_' | '0'..='9'));
    let is_variable = text.strip_prefix('$').is_some_and(|name| name.starts_with('{') || is_name(name));
    text.starts_with('<') || text.starts_with("{{") || is_variable || in_percents || is_word
}

fn is_header(text: &str) -> bool {
    after_prefix(text, "authorization").is_some_and(|rest| rest.trim_start().starts_with(':'))
}

/// A line of a shell or of an environment file, with or without `export`. A token may end in `=`, and have none before.
fn is_assignment(text: &str) -> bool {
    if text.contains(['\n', '\r']) {
        return false;
    }
    let exported = after_prefix(text, "export ").or_else(|| after_prefix(text, "set "));
    let Some((name, value)) = exported.unwrap_or(text).split_once('=') else { return false };
    let name = name.trim();
    let is_secret = ["TOKEN", "KEY", "SECRET", "AUTH"].iter().any(|word| name.to_ascii_uppercase().contains(word));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (exported.is_some() || is_secret) && is_name && !value.trim_start_matches('=').is_empty()
}

/// Whole lines of the characters that tokens have: a token that a program broke at some column. Only its end has `=`.
fn is_wrapped(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let mut lines = text.trim_end_matches('=').lines().map(str::trim);
    text.contains(['\n', '\r']) && lines.all(|line| !line.is_empty() && line.chars().all(is_part))
}

/// The word is added when the token is sent. A token may begin with it, as in `bearer-1`.
fn begins_with_scheme(text: &str) -> bool {
    let rest = after_prefix(text, "bearer");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', ':']))
}

/// A word that programs print for a value that is not there, as `jq -r .token` does.
fn is_nothing(text: &str) -> bool {
    ["null", "nil", "none", "undefined"].iter().any(|word| text.eq_ignore_ascii_case(word))
}
