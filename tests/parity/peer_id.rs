//! The rule of a peer id, compared with the regular expression of the Python module.

use a2a_blocking::{ErrorKind, PeerId, global};
use once_cell::sync::Lazy;
use proptest::prelude::*;
use regex::Regex;

/// The expression of the Python module. `regex` without its Unicode tables matches ASCII digits only.
static ORACLE: Lazy<Regex> =
    Lazy::new(|| Regex::new("^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$").unwrap());

/// Characters that `str.strip` of CPython 3.11 trims, as `[c for c in map(chr, range(0x110000)) if c.isspace()]` lists
/// them.
const PYTHON_SPACES: &str = "\u{9}\u{a}\u{b}\u{c}\u{d}\u{1c}\u{1d}\u{1e}\u{1f}\u{20}\u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

const ID: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";

fn oracle(text: &str) -> Option<String> {
    let stripped = text.trim_matches(|c| PYTHON_SPACES.contains(c));
    ORACLE.is_match(stripped).then(|| stripped.to_ascii_lowercase())
}

fn agree(text: &str) -> Result<(), TestCaseError> {
    let expected = oracle(text);
    prop_assert_eq!(global::validate_peer_id(text), expected.clone());
    match PeerId::parse(text) {
        Ok(id) => prop_assert_eq!(Some(id.to_string()), expected),
        Err(error) => {
            prop_assert_eq!(None, expected);
            prop_assert_eq!(error.kind(), ErrorKind::InvalidPeerId);
        }
    }
    Ok(())
}

/// Generates a valid id in any case, with white space of Python around it.
fn valid() -> impl Strategy<Value = String> {
    let space = proptest::collection::vec(proptest::sample::select(PYTHON_SPACES.chars().collect::<Vec<_>>()), 0..4);
    let digits = proptest::collection::vec(proptest::sample::select(b"0123456789abcdefABCDEF".to_vec()), 32);
    (space.clone(), digits, space).prop_map(|(before, digits, after)| {
        let mut id = String::from_utf8(digits).unwrap();
        for at in [8, 13, 18, 23] {
            id.insert(at, '-');
        }
        before.into_iter().chain(id.chars()).chain(after).collect()
    })
}

/// Generates characters that are almost right: other digits, other hyphens, neighbours of the ranges.
fn near() -> impl Strategy<Value = char> {
    let chars: Vec<char> = "0/9:`agAGF@-_–‐٣３ａ \u{0}\n\u{200b}\u{feff}{}é".chars().collect();
    prop_oneof![proptest::sample::select(chars), any::<char>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_unicode_is_judged_like_the_expression(text in any::<String>()) {
        agree(&text)?;
    }

    #[test]
    fn valid_ids_are_judged_like_the_expression(text in valid()) {
        prop_assert!(oracle(&text).is_some());
        agree(&text)?;
    }

    #[test]
    fn mutated_ids_are_judged_like_the_expression(text in valid(), at in any::<prop::sample::Index>(), with in near(), how in 0..4) {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        match how {
            0 => chars[at] = with,
            1 => chars.insert(at, with),
            2 => { chars.remove(at); }
            _ => { let other = (at + 1) % chars.len(); chars.swap(at, other); }
        }
        agree(&chars.into_iter().collect::<String>())?;
    }

    #[test]
    fn near_misses_are_judged_like_the_expression(text in "[0-9a-fA-F]{7,9}-?[0-9a-gA-G]{3,5}[-_]?[0-9a-f]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{11,13}") {
        agree(&text)?;
    }
}

#[test]
fn characters_are_trimmed_as_python_trims_them() {
    for c in '\0'..=char::MAX {
        let trimmed = PYTHON_SPACES.contains(c);
        assert_eq!(PeerId::parse(&format!("{c}{ID}")).is_ok(), trimmed, "{c:?} before");
        assert_eq!(PeerId::parse(&format!("{ID}{c}")).is_ok(), trimmed, "{c:?} after");
    }
}

#[test]
fn error_names_the_text_and_the_cause() {
    let error = PeerId::parse("3f2b8c1a\u{1b}[2J").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPeerId);
    let text = error.to_string();
    assert!(text.starts_with(r#"not a peer id: "3f2b8c1a\u{1b}[2J" (it takes 8-4-4-4-12 hex digits"#), "{text}");
    assert!(std::error::Error::source(&error).is_some());
    let endless = PeerId::parse(&"a".repeat(100_000)).unwrap_err().to_string();
    assert!(endless.len() < 400, "{} bytes", endless.len());
}

#[test]
fn id_keeps_its_bytes_and_its_order() {
    let id = PeerId::parse(ID).unwrap();
    assert_eq!(id.as_bytes()[..2], [0x3f, 0x2b]);
    assert_eq!(PeerId::from_bytes(id.as_bytes()), id);
    assert_eq!(format!("{id:?}"), format!("PeerId({ID})"));
    assert!(id < PeerId::parse(&ID.replace("3f2b", "4f2b")).unwrap());
}
