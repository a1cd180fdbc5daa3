//! The search for the token in a text, in each form in which it could hide.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use base64::Engine;

/// Contains each kind of character that some text format escapes.
pub(crate) const TOKEN: &str = r#"Zq7/mW2+xB9=tK4%vN6"rJ8\hD3&pF5<sG1'yL0"#;

/// Length of a piece of the token that must not appear.
const PIECE: usize = 8;

/// Reassembles the HTTP client's dump: 16 bytes in each row, in hexadecimal and as text. Returns both columns.
pub(crate) fn dumped(output: &str) -> (String, String) {
    let rows = output.lines().filter_map(|line| line.split_once(" ureq_proto::util: ").map(|(_, row)| row));
    let (mut bytes, mut text) = (Vec::new(), String::new());
    for row in rows {
        let (hex, plain) = row.split_at(row.len() - 16);
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        bytes.extend(digits.chunks_exact(2).map(byte));
        text += &plain[..digits.len() / 2];
    }
    (String::from_utf8_lossy(&bytes).into_owned(), text)
}

/// Returns every form of the token in a text, cut into pieces that must not appear.
fn pieces() -> BTreeSet<String> {
    let mut forms: Vec<String> = vec![TOKEN.to_owned()];
    // Escapes of Rust and of JSON.
    forms.push(TOKEN.escape_default().to_string());
    forms.push(TOKEN.escape_debug().to_string().escape_debug().to_string());
    forms.push(serde_json::to_string(TOKEN).unwrap().replace('/', r"\/"));
    let code = |escape: fn(u8) -> String| TOKEN.bytes().map(escape).collect::<String>();
    let escaped = |escape: fn(char) -> String| -> String {
        TOKEN.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { escape(c) }).collect()
    };
    forms.push(escaped(|c| format!("%{:02X}", u32::from(c))));
    forms.push(escaped(|c| format!("%{:02x}", u32::from(c))));
    forms.push(escaped(|c| format!("\\u{:04x}", u32::from(c))));
    forms.push(escaped(|c| format!("&#{};", u32::from(c))));
    let mut pieces: BTreeSet<String> = BTreeSet::new();
    for form in forms {
        let chars: Vec<char> = form.chars().collect();
        pieces.extend(chars.windows(PIECE).map(|piece| piece.iter().collect::<String>()));
    }
    // Two digits per byte in either case, with common separators, for as many bytes as above.
    for (hex, width) in [
        (code(|b| format!("{b:02x}")), 2),
        (code(|b| format!("{b:02X}")), 2),
        (code(|b| format!("{b:02x} ")), 3),
        (code(|b| format!("{b:02x}:")), 3),
        (code(|b| format!("{b}, ")), 0),
        (code(|b| format!("%{b:02X}")), 3),
    ] {
        let windows = match width {
            0 => TOKEN
                .as_bytes()
                .windows(PIECE)
                .map(|w| {
                    w.iter().fold(String::new(), |mut all, b| {
                        write!(all, "{b}, ").unwrap();
                        all
                    })
                })
                .collect(),
            width => {
                (0..=TOKEN.len() - PIECE).map(|at| hex[at * width..(at + PIECE) * width].to_owned()).collect::<Vec<_>>()
            }
        };
        pieces.extend(windows);
    }
    // Base64 in both alphabets, at each offset of the token. Its first and last characters depend on the neighbours.
    for before in 0..3 {
        let bytes = [&vec![b' '; before], TOKEN.as_bytes()].concat();
        for engine in [&base64::engine::general_purpose::STANDARD, &base64::engine::general_purpose::URL_SAFE] {
            let text = engine.encode(&bytes);
            pieces.extend(
                text.as_bytes()[4..text.len() - 4].windows(12).map(|w| String::from_utf8_lossy(w).into_owned()),
            );
        }
    }
    pieces
}

/// Returns a piece of the token that the text contains.
pub(crate) fn found(text: &str) -> Option<String> {
    let pieces = pieces();
    let mut by_start: HashMap<&[u8], Vec<&str>> = HashMap::new();
    for piece in &pieces {
        by_start.entry(&piece.as_bytes()[..PIECE]).or_default().push(piece);
    }
    let starts = text.as_bytes().windows(PIECE).enumerate();
    let mut here = starts.filter_map(|(at, start)| Some((&text.as_bytes()[at..], by_start.get(start)?)));
    here.find_map(|(rest, pieces)| pieces.iter().find(|piece| rest.starts_with(piece.as_bytes())))
        .map(|p| (*p).to_owned())
}

#[test]
fn search_finds_the_token_in_each_form() {
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = base64::engine::general_purpose::STANDARD.encode(format!("Bearer {TOKEN}"));
    let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for text in
        [TOKEN, &TOKEN[3..11], &format!("{TOKEN:?}"), &format!("{:?}", TOKEN.as_bytes()), &hex, &base64, &percent]
    {
        assert!(found(&format!("before {text} after")).is_some(), "{text}");
    }
    assert_eq!(found(&TOKEN[..PIECE - 1]), None);
    let row = |text: &str| {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("TRACE ureq_proto::util: {hex:-<32} {text:.<16}\n")
    };
    let rows: String = TOKEN.as_bytes().chunks(5).map(|part| row(std::str::from_utf8(part).unwrap())).collect();
    assert_eq!(found(&rows), None, "the rows hide it");
    let (bytes, text) = dumped(&rows);
    assert_eq!((bytes.as_str(), text.as_str()), (TOKEN, TOKEN));
}
