//! The parser of a bare id of 36 characters, without branches or tables.
//!
//! The compiler turns its loops into vector instructions where the target has them. It takes half the time of `uuid`'s
//! own parser, but says only yes or no: [`PeerId::parse`](super::PeerId::parse) builds the error.

/// Returns the 128 bits of `8-4-4-4-12` hexadecimal digits in either case, or `None` for any other text.
#[inline(always)]
pub(super) fn parse(text: &[u8; 36]) -> Option<u128> {
    let hyphens = (text[8] ^ b'-') | (text[13] ^ b'-') | (text[18] ^ b'-') | (text[23] ^ b'-');

    let mut nibbles = [0_u8; 32];
    let mut invalid = [false; 32];
    for (at, c) in digits(text).into_iter().enumerate() {
        let decimal = c.wrapping_sub(b'0');
        // Lower and upper case differ in bit 5.
        let letter = (c | 0x20).wrapping_sub(b'a');
        nibbles[at] = if decimal < 10 { decimal } else { letter.wrapping_add(10) };
        invalid[at] = !((decimal < 10) | (letter < 6));
    }
    // One branch for the whole text: few are invalid.
    let is_invalid = invalid.into_iter().fold(hyphens != 0, |any, invalid| any | invalid);
    if is_invalid {
        return None;
    }
    let mut bytes = [0_u8; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = (nibbles[2 * at] << 4) | nibbles[2 * at + 1];
    }
    Some(u128::from_be_bytes(bytes))
}

/// Returns the 32 characters that are not hyphens.
///
/// They are gathered in registers of eight. Written to memory byte by byte they would stall the vector load that follows.
#[inline(always)]
fn digits(text: &[u8; 36]) -> [u8; 32] {
    let four = |at: usize| u64::from(u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]));
    let mut digits = [0; 32];
    let starts = [(0, 4), (9, 14), (19, 24), (28, 32)];
    for (eight, (low, high)) in digits.chunks_exact_mut(8).zip(starts) {
        eight.copy_from_slice(&(four(low) | (four(high) << 32)).to_le_bytes());
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_uuid_for_every_byte_in_every_place() {
        let valid = *b"3f2B8c1a-5d4e-4F6a-9b7c-8d9e0f1a2b3C";
        for place in 0..valid.len() {
            for byte in 0..=u8::MAX {
                let mut text = valid;
                text[place] = byte;
                let oracle = uuid::Uuid::try_parse_ascii(&text).ok().map(|id| id.as_u128());
                assert_eq!(parse(&text), oracle, "{byte:#x} at {place}");
            }
        }
    }
}
