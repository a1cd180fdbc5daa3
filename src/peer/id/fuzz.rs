#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use once_cell::sync::Lazy;
use regex::Regex;

use super::PeerId;
use crate::error::ErrorKind;
use crate::peer::sealed::Sealed;

static FORM: Lazy<Regex> = Lazy::new(|| {
    Regex::new(r"\A[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\z").unwrap()
});

/// Returns what Python 3's `str.isspace` returns.
fn is_python_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{1c}'..=' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Checks that a text is a peer id exactly where a regular expression says so, whatever type it comes as.
pub(crate) fn peer_id(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let bare = text.trim_matches(is_python_space);
    let expected = FORM.is_match(bare).then(|| u128::from_str_radix(&bare.replace('-', ""), 16).unwrap());
    let id = PeerId::from_text(text);
    assert_eq!(id.map(PeerId::as_bytes), expected.map(u128::to_be_bytes));

    let (owned, shared): (String, Box<str>) = (text.into(), text.into());
    assert!(text.peer_id() == id && owned.peer_id() == id && shared.peer_id() == id);
    assert!(text.name().id() == id && owned.name().id() == id && shared.name().id() == id);
    assert!(text.try_peer_id().ok() == id && text.parse::<PeerId>().ok() == id);

    match PeerId::parse(text) {
        Ok(id) => {
            let shown = id.to_string();
            assert!(shown == bare.to_ascii_lowercase() && PeerId::from_text(&shown) == Some(id));
            assert!(id.name().id() == Some(id) && id.try_peer_id().ok() == Some(id));
        }
        Err(error) => {
            let shown = error.to_string();
            assert_eq!(error.kind(), ErrorKind::InvalidPeerId);
            assert!(!shown.contains(char::is_control) && shown.chars().count() < 200 * 10 + 200, "{shown:?}");
        }
    }
}
