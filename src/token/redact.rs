//! Cuts a token out of a text, in time that is linear in the text.
//!
//! The token is found plain and as JSON or a URL escapes it: RFC 8259, section 7,
//! <https://www.rfc-editor.org/rfc/rfc8259#section-7>, and RFC 3986, section 2.1,
//! <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>. So a byte of the text may be read in several ways: a `%` is the
//! character itself or begins an escape. The search follows all readings at once, by the algorithm Shift-And (also known
//! as Bitap): a bit for each place in the token, and one step for each byte of the text.

use crate::util::text::floor_char_boundary;

/// Replacement for a token.
const REPLACEMENT: &str = "[token]";
/// Number of the token's first characters that are searched for, one for each bit of a [`Places`].
///
/// A longer token is found by these, and all of it that follows them is cut out with them.
const SEARCHED: usize = Places::BITS as usize;
/// Number of the token's first characters that count as the token at the end of a text, where the rest may be cut off.
const CUT_OFF: usize = 8;
/// Number of bytes of the longest way to write a character: `\u0061`.
pub(super) const LONGEST_ESCAPE: usize = 6;
/// Number of readings of a text that are followed to find a token's end: those that reach furthest.
///
/// Only a token with backslashes or percent signs has more than one.
const MAX_READINGS: usize = 16;

/// A set of places in the token's first characters.
type Places = u128;

/// Returns the start of `text` with each occurrence of the token replaced by `[token]`.
///
/// Takes over what begins in the first `max_bytes` bytes. To recognise a token there, it looks at as many bytes more as the
/// token with each character escaped has. A token whose end is cut off by the end of the text counts, too.
///
/// All of `token` is ASCII.
pub(super) fn redact(token: &[u8], text: &str, max_bytes: usize) -> String {
    let window = max_bytes.saturating_add(LONGEST_ESCAPE * token.len()).min(text.len());
    let bytes = &text.as_bytes()[..window];
    let starts = find_starts(token, bytes);
    let (mut out, mut taken) = (String::new(), 0);
    let max_bytes = max_bytes.min(text.len());
    for start in starts.into_iter().take_while(|start| *start < max_bytes) {
        // Others overlap with the token before.
        if start >= taken {
            // A token's first byte is ASCII, and so is its last one, so that each slice ends at characters.
            out.push_str(&text[taken..start]);
            out.push_str(REPLACEMENT);
            taken = find_end(token, bytes, start);
        }
    }
    let end = floor_char_boundary(text, max_bytes.max(taken));
    out.push_str(&text[taken..end]);
    out
}

/// Returns the offsets at which the token begins, or its first [`SEARCHED`] characters, in ascending order.
fn find_starts(token: &[u8], text: &[u8]) -> Vec<usize> {
    let searched = &token[..token.len().min(SEARCHED)];
    let mut places_of: [Places; 128] = [0; 128];
    for (place, byte) in searched.iter().enumerate() {
        places_of[usize::from(*byte & 0x7f)] |= 1 << place;
    }
    let Some(last) = searched.len().checked_sub(1).map(|last| 1 << last) else { return Vec::new() };
    // The step goes from the end of the text to its start. For an offset, the set has each place from which on the token
    // follows there. At the end of the text, so do the places behind enough of the token.
    let at_end = if searched.len() > CUT_OFF { (last | (last - 1)) & !((1 << CUT_OFF) - 1) } else { 0 };
    // The sets of the next offsets, by offset modulo the size.
    let mut next = [at_end; LONGEST_ESCAPE + 2];
    let mut starts = Vec::new();
    for at in (0..text.len()).rev() {
        let mut places = 0;
        for (c, length) in readings(&text[at..]) {
            let Some(of_c) = places_of.get(usize::from(c)) else { continue };
            places |= of_c & (next[(at + length) % next.len()] >> 1 | last);
        }
        next[at % next.len()] = places;
        if places & 1 == 1 {
            starts.push(at);
        }
    }
    starts.reverse();
    starts
}

/// Returns where the token ends that begins at `start`, or the part of it that is there.
fn find_end(token: &[u8], text: &[u8], start: usize) -> usize {
    let mut ends = vec![start];
    let mut further = Vec::new();
    for c in token {
        for end in &ends {
            let read = readings(&text[*end..]).filter(|(read, _)| read == c);
            further.extend(read.map(|(_, length)| end + length));
        }
        further.sort_unstable();
        further.dedup();
        if further.is_empty() {
            break;
        }
        further.drain(..further.len().saturating_sub(MAX_READINGS));
        std::mem::swap(&mut ends, &mut further);
        further.clear();
    }
    ends.last().copied().unwrap_or(start)
}

/// Returns the characters that the start of a text can be read as, each with the number of bytes that it takes.
fn readings(text: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let (escaped, json, url) = match text {
        [b'\\', b'u', code @ ..] => (Some((b'u', 2)), hex(code, 4).map(|c| (c, 6)), None),
        [b'\\', c, ..] => (Some((*c, 2)), None, None),
        [b'%', code @ ..] => (None, None, hex(code, 2).map(|c| (c, 3))),
        _ => (None, None, None),
    };
    let plain = text.first().map(|c| (*c, 1));
    [plain, escaped, url, json].into_iter().flatten()
}

/// Returns the byte whose code these hex digits are.
fn hex(text: &[u8], digits: usize) -> Option<u8> {
    let digits = text.get(..digits)?.iter().map(|digit| char::from(*digit).to_digit(16));
    let code = digits.reduce(|code, digit| Some(code? * 16 + digit?)).flatten()?;
    u8::try_from(code).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by trying each offset, in quadratic time. For a token that is too short to be known by a part of it.
    fn by_trying(token: &str, text: &str) -> String {
        let ends_of = |start: usize| {
            let ends = token.bytes().fold(vec![start], |ends, c| {
                let read = |end: usize| readings(&text.as_bytes()[end..]).filter(move |(read, _)| *read == c);
                ends.into_iter().flat_map(|end| read(end).map(move |(_, length)| end + length)).collect()
            });
            ends.into_iter().max()
        };
        let (mut out, mut at) = (String::new(), 0);
        while let Some(c) = text[at..].chars().next() {
            if let Some(end) = ends_of(at) {
                out.push_str(REPLACEMENT);
                at = end;
            } else {
                out.push(c);
                at += c.len_utf8();
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Over an alphabet of which much is an escape.
        #[test]
        fn linear_search_finds_what_trying_each_offset_finds(
            token in r"[a%\\u0-1]{1,7}",
            text in r"([a%\\u0-1é]|%61|%25|\\u0061|\\u005c){0,40}",
        ) {
            prop_assert_eq!(whole(&token, &text), by_trying(&token, &text));
        }
    }

    fn whole(token: &str, text: &str) -> String {
        redact(token.as_bytes(), text, text.len())
    }

    #[test]
    fn token_is_redacted_in_each_of_its_escaped_forms() {
        let token = "aB/c=";
        for text in ["<aB/c=>", r"<aB\/c=>", r"<aB\u002fc\u003D>", "<aB%2Fc%3d>", r"<\u0061B/c=>"] {
            assert_eq!(whole(token, text), "<[token]>", "{text}");
        }
        for text in ["aB/c", r"aB\u00", "é%é", "%2", "", "aB/C=", r"\", r"\u", r"\u+02f", "%+f", "aB%c"] {
            assert_eq!(whole(token, text), text);
        }
        assert_eq!(whole(token, "aB/c=aB/c=é"), "[token][token]é");
        // A token that contains the characters that begin an escape.
        let token = r"a%25\u0b";
        for text in [r"<a%25\u0b>", r"<a%2525%5Cu0b>", r"<a%25\\u0b>", r"<a\u002525\u005cu0b>", r"<a%2525\u0b>"] {
            assert_eq!(whole(token, text), "<[token]>", "{text}");
        }
    }

    #[test]
    fn overlapping_tokens_are_cut_from_the_left() {
        assert_eq!(whole("aa", "aaa"), "[token]a");
        assert_eq!(whole("aba", "ababa aba"), "[token]ba [token]");
        assert_eq!(whole("x", "x%78y"), "[token][token]y");
    }

    #[test]
    fn token_of_backslashes_or_percent_signs_is_cut_out_whole() {
        for (token, text) in [(r"\\\\\\\\", r"<\\\\\\\\>"), (r"\\\\", r"<\\\\\\\\>"), ("%25%25%25", "<%25%25%25>")] {
            assert_eq!(whole(token, text), "<[token]>", "{token} in {text}");
        }
        let backslashes = r"\".repeat(300);
        assert_eq!(whole(&backslashes, &format!("<{backslashes}>")), "<[token]>");
    }

    #[test]
    fn long_token_is_cut_out_whole_and_so_is_a_part_of_it() {
        let token: String = (0..4_000).map(|n| char::from(b'!' + (n * n % 89) as u8)).collect();
        let escaped: String = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        for echo in [&token, &escaped, &token[..200], &token[..3_999]] {
            assert_eq!(whole(&token, &format!("é{echo}\né{echo}")), "é[token]\né[token]");
        }
        assert_eq!(whole(&token, &token[..100]), "[token]", "cut off by the end of the text");
        assert_eq!(whole(&token, &format!("{} ", &token[..127])), format!("{} ", &token[..127]));
    }

    #[test]
    fn start_of_a_token_at_the_end_of_a_text_is_cut_out() {
        let token = "s3cr3t-token";
        assert_eq!(whole(token, "sent: s3cr3t-t"), "sent: [token]");
        assert_eq!(whole(token, r"sent: \u00733cr3t-to"), "sent: [token]");
        assert_eq!(whole(token, "sent: s3cr3t-"), "sent: s3cr3t-", "too short to be known");
        assert_eq!(whole(token, "s3cr3t-t, sent"), "s3cr3t-t, sent");
        assert_eq!(whole("secret", "secre"), "secre");
    }

    #[test]
    fn only_the_start_of_a_text_is_taken_over() {
        let text = "ab é token éé";
        for (max_bytes, start) in [(0, ""), (1, "a"), (4, "ab "), (5, "ab é"), (6, "ab é "), (7, "ab é [token]")] {
            assert_eq!(redact(b"token", text, max_bytes), start);
        }
        assert_eq!(redact(b"token", text, 13), "ab é [token] ");
        assert_eq!(redact(b"token", text, 99), "ab é [token] éé");
    }
}
