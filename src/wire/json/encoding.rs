//! The encoding of JSON text.
//!
//! RFC 8259 asks for UTF-8 without a byte order mark, and lets a reader ignore one
//! (<https://www.rfc-editor.org/rfc/rfc8259#section-8.1>). The Python module `a2a_client` also reads UTF-16 and UTF-32,
//! in which some programs on Windows write. They are recognised as there:
//! <https://github.com/python/cpython/blob/3.13/Lib/json/__init__.py>, `detect_encoding`.

use std::borrow::Cow;

/// Returns JSON text as UTF-8 without a byte order mark.
///
/// Text in UTF-8 is not checked. In UTF-16 and UTF-32, what is no character becomes U+FFFD. Text that ends within a
/// character is returned as it came: it is no JSON.
pub(crate) fn to_utf8(text: &[u8]) -> Cow<'_, [u8]> {
    let (width, order, rest) = detect(text);
    let decoded = if width > 1 { decode(width, order, rest) } else { return Cow::Borrowed(rest) };
    decoded.map_or(Cow::Borrowed(text), |decoded| Cow::Owned(decoded.into_bytes()))
}

/// Returns whether a text that begins with these bytes, at least four or all of it, is UTF-16 or UTF-32.
pub(crate) fn is_wide(text: &[u8]) -> bool {
    detect(text).0 > 1
}

#[derive(Clone, Copy)]
enum ByteOrder {
    Big,
    Little,
}

/// Returns the bytes of a code unit, their order, and the text after its byte order mark.
///
/// Without a mark, the zero bytes of the first two characters decide. These are ASCII in JSON, and never U+0000.
fn detect(text: &[u8]) -> (usize, ByteOrder, &[u8]) {
    use ByteOrder::{Big, Little};
    match text {
        [0, 0, 0xfe, 0xff, rest @ ..] => (4, Big, rest),
        [0xff, 0xfe, 0, 0, rest @ ..] => (4, Little, rest),
        [0xfe, 0xff, rest @ ..] => (2, Big, rest),
        [0xff, 0xfe, rest @ ..] => (2, Little, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] => (1, Big, rest),
        [0, 0, _, _, ..] => (4, Big, text),
        [0, _, _, _, ..] | [0, _] => (2, Big, text),
        [_, 0, 0, 0, ..] => (4, Little, text),
        [_, 0, _, _, ..] | [_, 0] => (2, Little, text),
        _ => (1, Big, text),
    }
}

/// Decodes UTF-16 or UTF-32, whose code units have 2 or 4 bytes. Returns `None` where the last one is not whole.
fn decode(width: usize, order: ByteOrder, text: &[u8]) -> Option<String> {
    let append = |unit: u32, byte: &u8| unit << 8 | u32::from(*byte);
    let units = text.chunks_exact(width);
    if !units.remainder().is_empty() {
        return None;
    }
    let units = units.map(|unit| match order {
        ByteOrder::Big => unit.iter().fold(0, append),
        ByteOrder::Little => unit.iter().rev().fold(0, append),
    });
    Some(match width {
        // Two bytes fit into `u16`.
        2 => char::decode_utf16(units.map(|unit| unit as u16))
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
        _ => units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, width: usize, order: ByteOrder) -> Vec<u8> {
        let units: Vec<u32> = if width == 2 {
            text.encode_utf16().map(u32::from).collect()
        } else {
            text.chars().map(u32::from).collect()
        };
        let bytes = units.into_iter().flat_map(|unit| match order {
            ByteOrder::Big => unit.to_be_bytes()[4 - width..].to_vec(),
            ByteOrder::Little => unit.to_le_bytes()[..width].to_vec(),
        });
        bytes.collect()
    }

    #[test]
    fn every_encoding_that_python_reads_is_read_with_and_without_a_mark() {
        for text in ["{}", "7", "[\"\"]", "{\"name\":\"søren 王 \u{1f600}\"}"] {
            for mark in ["", "\u{feff}"] {
                let marked = format!("{mark}{text}");
                assert_eq!(to_utf8(marked.as_bytes()), text.as_bytes(), "{marked:?}");
                for width in [2, 4] {
                    for order in [ByteOrder::Big, ByteOrder::Little] {
                        let bytes = wide(&marked, width, order);
                        assert_eq!(to_utf8(&bytes), text.as_bytes(), "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn text_that_is_no_whole_number_of_characters_is_returned_as_it_came() {
        for bytes in [&b"\xff\xfe{\0}"[..], b"{\0}\0\0", b"\0{\0", b"\0\0\0{\0", b"", b"{", b"\0", b"\xef\xbb"] {
            assert_eq!(to_utf8(bytes), bytes, "{bytes:?}");
        }
        assert_eq!(to_utf8(b"\xff\xfe"), b"".as_slice());
        assert_eq!(to_utf8(b"\xef\xbb\xbf\xff{"), b"\xff{".as_slice(), "UTF-8 is checked by its reader");
    }

    #[test]
    fn half_of_a_surrogate_pair_is_replaced() {
        assert_eq!(to_utf8(b"\"\0\x3d\xd8\"\0"), "\"\u{fffd}\"".as_bytes());
        assert_eq!(to_utf8(b"\"\0\0\0\0\xd8\0\0\"\0\0\0"), "\"\u{fffd}\"".as_bytes());
    }
}
