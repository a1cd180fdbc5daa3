#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::fs;
use std::time::Duration;

use super::*;
use crate::test_util::{Choices, Scratch, halves};

impl Token {
    pub(crate) fn for_fuzzing(text: &str) -> Self {
        Token(text.into())
    }
}

/// Reads a token file of any bytes.
///
/// A token can be a header's value and is shown nowhere. A usual one is accepted, and what is in quotes or JSON is not. A
/// token is cut out of a text that echoes it, however each character is escaped.
pub fn token(data: &[u8]) {
    let (contents, echo) = halves(data);
    let path = Scratch::with(|dir| dir.join("token"));
    fs::write(&path, contents).unwrap();
    let text = std::str::from_utf8(contents).ok().filter(|text| text.len() as u64 <= MAX_BYTES);
    let trimmed = text.map(str::trim);
    // The characters of RFC 6750, with a digit, which no word for a placeholder or for nothing has.
    let is_usual = |text: &str| {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let (body, has_digit) = (text.trim_end_matches('='), text.contains(|c: char| c.is_ascii_digit()));
        !body.is_empty() && body.chars().all(is_token) && has_digit && !body.starts_with("-----BEGIN")
    };
    let store = match TokenStore::open(TokenSource::Files(vec![path])) {
        Ok(store) => store,
        Err(error) => {
            assert!(!trimmed.is_some_and(is_usual), "{error}");
            let shown = format!("{error} {error:?}");
            // Each line counts, except those that are words of our own error texts.
            let lines = String::from_utf8_lossy(contents).into_owned();
            let mut secrets = lines.lines().map(str::trim).filter(|line| line.len() >= 12 && !line.contains(' '));
            assert!(secrets.all(|secret| !shown.contains(secret) || path_or_words(secret)), "{shown}");
            return;
        }
    };
    let token = store.current();
    assert_eq!(token.as_ref().map(Token::expose), trimmed.filter(|text| !text.is_empty()));
    let Some(token) = token else { return };
    assert!(token.expose().bytes().all(|b| b.is_ascii_graphic()));
    assert!(
        !token.expose().starts_with(['{', '[', '<', '"', '\'', '`'])
            && !token.expose().starts_with("${")
            && !token.expose().ends_with(['"', '\'', '`'])
    );
    let value = http::HeaderValue::from_str(&format!("Bearer {}", token.expose())).unwrap();
    assert_eq!(value.as_bytes()[7..], *token.expose().as_bytes());
    if token.expose().len() >= 12 {
        assert!(!format!("{store:?} {token:?}").contains(token.expose()) || path_or_words(token.expose()));
    }
    assert_eq!(
        store.rotated(Some(&token), Deadline::after(Duration::from_secs(600))),
        None,
        "the token has not changed"
    );

    let echoed = echo_of(token.expose(), echo);
    let cut = token.cut_from(&echoed, echoed.len());
    // The placeholder has brackets: a token with brackets might match a part of it.
    if token.expose().len() >= 8 && !token.expose().contains(['[', ']']) {
        assert!(!plain(&cut).contains(token.expose()) && !cut.contains(token.expose()), "{cut:?} of {echoed:?}");
    }
    assert!(cut.contains("[token]"));
}

/// Returns whether the text is part of the file's path or of the store's `Debug` output.
fn path_or_words(secret: &str) -> bool {
    format!("{:?} {}", TokenSource::Files(vec![Scratch::with(|dir| dir.join("token"))]), env!("CARGO_MANIFEST_DIR"))
        .contains(secret)
        || "TokenStore source current Some(Token(hidden)) RwLock data".contains(secret)
}

/// Returns the token between other bytes, with each character escaped as `choices` says.
fn echo_of(token: &str, choices: &[u8]) -> String {
    let (before, after) = choices.split_at(choices.len() / 2);
    let mut choices = Choices(choices);
    let escaped: String = token
        .chars()
        .map(|c| match choices.below(5) {
            0 => format!("\\u{:04x}", u32::from(c)),
            1 => format!("\\u{:04X}", u32::from(c)),
            2 => format!("%{:02x}", u32::from(c)),
            3 if matches!(c, '"' | '\\' | '/') => format!("\\{c}"),
            _ => c.to_string(),
        })
        .collect();
    format!("{}{escaped}{}", String::from_utf8_lossy(before), String::from_utf8_lossy(after))
}

/// Returns the text with its escapes decoded, as a reader of JSON or of a URL does.
fn plain(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let code = |prefix: &str, digits: usize| {
            let code = rest.strip_prefix(prefix)?.get(..digits)?;
            let code = Some(code).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, &rest[prefix.len() + digits..]))
        };
        let (c, after) = code("\\u", 4).or_else(|| code("%", 2)).unwrap_or((c, &rest[c.len_utf8()..]));
        out.push(c);
        rest = after;
    }
    out
}
