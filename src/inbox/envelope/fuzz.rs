//! Fuzz target of the prompt envelope.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use once_cell::sync::Lazy;
use regex::Regex;
use serde_json::Value;
use unicode_normalization::is_nfc;
use unicode_script::{Script, UnicodeScript};

use super::{Boundary, METHODS, PromptEnvelope};
use crate::client::Client;
use crate::inbox::message::InboxMessage;
use crate::peer::{Peer, PeerId};
use crate::test_util::halves;
use crate::wire::{Row, Timestamp};

const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
/// Harmless characters with single spaces between them. The last one may be an ellipsis.
const NAME: &str = r"[\p{L}\p{Nd}_.\-/+:@()]+(?: [\p{L}\p{Nd}_.\-/+:@()]+)*(?: ?…)?";
/// A boundary that a sender may know.
const BOUNDARY: &str = "fuzz-0123456789ab";

static CLIENT: Lazy<Client> =
    Lazy::new(|| Client::builder().platform_url("http://p.example").workspace_id("w").build().unwrap());

/// Matches a whole header line.
static HEADER: Lazy<Regex> = Lazy::new(|| {
    let peer = format!("(?: · peer_id=({UUID}))?");
    let from = format!(r"\[(?:call |broadcast )?from {NAME}(?: \({NAME}\))?{peer}\]");
    let delegation = format!(r"\[delegation (?:result|failed){peer}\]");
    Regex::new(&format!(r"\A(?:{from}|\[canvas user\]|{delegation}|\[unknown sender{peer}\])\z")).unwrap()
});

/// Matches the invisible characters at the start of a line.
static INVISIBLE: Lazy<Regex> =
    Lazy::new(|| Regex::new(r"\A[\p{Z}\p{C}\p{M}\t\x{115f}\x{1160}\x{3164}\x{ffa0}]*").unwrap());
static UNSEEN: Lazy<Regex> = Lazy::new(|| Regex::new(r"\p{Cf}").unwrap());
/// Matches a bracket of any script, or a piece of a frame.
static BRACKET: Lazy<Regex> =
    Lazy::new(|| Regex::new(r"\A(?:\[|[[\p{Ps}\p{Pe}\x{2308}-\x{230f}\x{2500}-\x{257f}]--[\x00-\x7f‚„]])").unwrap());
/// The pattern of each field of `meta`.
static FORMS: Lazy<[(&str, Regex); 9]> = Lazy::new(|| {
    let time = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})";
    [
        ("kind", "peer|human|system|call|delegation|upload|broadcast"),
        ("method", &METHODS.join("|")),
        ("source", NAME),
        ("activity_id", UUID),
        ("peer_id", UUID),
        ("ts", time),
        ("peer_name", NAME),
        ("peer_role", NAME),
        ("agent_card_url", &format!("http://p\\.example/registry/discover/{UUID}")),
    ]
    .map(|(field, form)| (field, Regex::new(&format!(r"\A(?:{form})\z")).unwrap()))
});

/// Makes an envelope of any row and any record of its sender. Asserts that each field has a known format, that no line of
/// the body can be taken for a header, and that a fence holds.
pub fn notification(data: &[u8]) {
    let (row, peer) = halves(data);
    // Input that is no JSON is the text of a message.
    let row = serde_json::from_slice(row)
        .unwrap_or_else(|_| serde_json::json!({ "id": "x", "data": { "text": String::from_utf8_lossy(row) } }));
    let Value::Object(fields) = row else { return };
    let id = fields.get("id").and_then(Value::as_str).unwrap_or("x").to_owned();
    let message = InboxMessage::new(&CLIENT, Row { id, at: None, bytes: 0, fields });
    let peer = match serde_json::from_slice(peer) {
        Ok(Value::Object(record)) => Some(Peer::discovered(PeerId::from_text(PEER).unwrap(), record)),
        _ => None,
    };
    let envelope = message.envelope_from(peer.as_ref(), None);
    check_format(&envelope);
    check_completeness(&message, &envelope);
    let boundary = Boundary::new(BOUNDARY).unwrap();
    check_fence(&envelope, &message.envelope_from(peer.as_ref(), Some(&boundary)));
}

/// Asserts that a fence is around the whole body, and that nothing else has the boundary.
fn check_fence(plain: &PromptEnvelope, fenced: &PromptEnvelope) {
    let (header, rest) = fenced.content().split_once('\n').unwrap();
    let body = rest.strip_prefix("--").and_then(|rest| rest.strip_prefix(BOUNDARY)?.strip_prefix('\n')).unwrap();
    let body = body.strip_suffix("--").and_then(|body| body.strip_suffix(BOUNDARY)?.strip_suffix("\n--")).unwrap();
    for part in [header, body] {
        assert!(!part.to_ascii_lowercase().contains(BOUNDARY), "{part:?}");
    }
    let (_, plain) = plain.content().split_once('\n').unwrap();
    if !plain.to_ascii_lowercase().contains(BOUNDARY) {
        assert_eq!(body, plain);
    }
    assert_eq!(fenced.meta()["boundary"], BOUNDARY);
}

/// Asserts that each field of `meta` matches its pattern, that the first line is a header, and that no other line is
/// like one.
fn check_format(envelope: &PromptEnvelope) {
    for (field, value) in envelope.meta() {
        let text = value.as_str().unwrap();
        let (_, form) = FORMS.iter().find(|(known, _)| known == field).unwrap();
        assert!(form.is_match(text), "{field}: {text:?}");
        assert!(!field.starts_with("peer_") || text.chars().count() <= 64, "{field}: {text:?}");
        let has = |script| text.chars().any(|c| c.script() == script);
        assert!(is_nfc(text) && !(has(Script::Latin) && (has(Script::Cyrillic) || has(Script::Greek))), "{text:?}");
    }
    let meta = |field| envelope.meta().get(field).and_then(Value::as_str);
    assert!(meta("ts").is_none_or(|time| Timestamp::parse(time).is_some()));
    assert_eq!(meta("agent_card_url").map(|url| &url[url.len() - 36..]), meta("peer_id"));

    let mut lines = envelope.content().split('\n');
    let header = lines.next().unwrap();
    let found = HEADER.captures(header).unwrap_or_else(|| panic!("{header:?}"));
    let named = found.iter().skip(1).flatten().next().map(|peer| peer.as_str());
    assert_eq!(named, meta("peer_id"));
    assert_eq!(header.starts_with("[from "), meta("kind") == Some("peer"), "{header}");
    assert_eq!(header == "[canvas user]", matches!(meta("kind"), Some("human" | "upload")), "{header}");
    assert!(meta("source").is_none() || meta("kind") == Some("system"));
    assert!(header.chars().count() <= 2 * 64 + 64 && header.matches(['[', ']']).count() == 2, "{header}");

    for line in lines.filter(|line| !line.starts_with("> ")) {
        let visible = INVISIBLE.replace(line, "");
        assert!(!BRACKET.is_match(&visible), "{line:?}");
        assert!(!UNSEEN.replace_all(line, "").contains("peer_id="), "{line:?}");
        let first_word = visible.trim_start_matches(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric());
        let word = first_word.split(|c: char| c.is_whitespace()).next().unwrap_or("");
        let before = &visible[..visible.len() - first_word.len()];
        let far = before.len() > 8 || line.len() - visible.len() > 0;
        assert!(far || !before.contains('[') || !word.eq_ignore_ascii_case("from"), "{line:?}");
    }
    for c in envelope.content().chars() {
        let is_bidi =
            matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!is_bidi && (!c.is_control() || matches!(c, '\n' | '\t')), "{c:?}");
        assert!(!('\u{e0000}'..='\u{effff}').contains(&c), "{c:?}");
    }
    let whole = envelope.to_json("m");
    assert_eq!(whole["params"]["content"], envelope.content());
    assert_eq!(serde_json::from_str::<Value>(&whole.to_string()).unwrap(), whole);
}

/// Asserts that the envelope has the whole body, line by line.
fn check_completeness(message: &InboxMessage, envelope: &PromptEnvelope) {
    assert_eq!(envelope.meta()["kind"], message.kind().as_str());
    let plain = message.text().replace("\r\n", "\n");
    let ends = plain.chars().filter(|c| matches!(c, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')).count();
    assert_eq!(envelope.content().matches('\n').count(), ends + 1);
    let (_, body) = envelope.content().split_once('\n').unwrap();
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
    assert!(letters(body) >= letters(&plain));
}
