//! The parser of the floor and the rivals: the fastest one known, whichever the crate itself uses.

use a2a_blocking::PeerId;

/// Returns the 128 bits of an id.
#[inline]
pub(crate) fn key(id: &str) -> Option<u128> {
    #[cfg(target_arch = "x86_64")]
    if let Ok(text) = id.as_bytes().try_into() {
        // SAFETY: every x86-64 has SSE2.
        #[allow(unsafe_code)]
        return unsafe { sse2::key(text) };
    }
    PeerId::parse(id).ok().map(|id| u128::from_be_bytes(id.as_bytes()))
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn key(text: &[u8; 36]) -> Option<u128> {
        let four = |at: usize| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
        let eight = |low: usize, high: usize| (u64::from(four(low)) | u64::from(four(high)) << 32) as i64;
        let hyphens = (text[8] ^ b'-') | (text[13] ^ b'-') | (text[18] ^ b'-') | (text[23] ^ b'-');

        let (high, high_valid) = nibbles(_mm_set_epi64x(eight(9, 14), eight(0, 4)));
        let (low, low_valid) = nibbles(_mm_set_epi64x(eight(28, 32), eight(19, 24)));
        if _mm_movemask_epi8(_mm_and_si128(high_valid, low_valid)) != 0xffff || hyphens != 0 {
            return None;
        }
        let bytes = _mm_packus_epi16(paired(high), paired(low));
        let first = _mm_cvtsi128_si64(bytes) as u64;
        let last = _mm_cvtsi128_si64(_mm_unpackhi_epi64(bytes, bytes)) as u64;
        Some(u128::from(first.swap_bytes()) << 64 | u128::from(last.swap_bytes()))
    }

    /// Returns the values of 16 hexadecimal digits, and a mask with all bits set for each valid one.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn nibbles(text: __m128i) -> (__m128i, __m128i) {
        let decimal = _mm_sub_epi8(text, _mm_set1_epi8(b'0' as i8));
        let letter = _mm_sub_epi8(_mm_or_si128(text, _mm_set1_epi8(0x20)), _mm_set1_epi8(b'a' as i8));
        let is_decimal = _mm_cmpeq_epi8(_mm_min_epu8(decimal, _mm_set1_epi8(9)), decimal);
        let is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
        let of_letter = _mm_andnot_si128(is_decimal, _mm_add_epi8(letter, _mm_set1_epi8(10)));
        (_mm_or_si128(_mm_and_si128(is_decimal, decimal), of_letter), _mm_or_si128(is_decimal, is_letter))
    }

    /// Combines the two nibbles in each 16 bits to one byte.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn paired(nibbles: __m128i) -> __m128i {
        let pair = _mm_or_si128(_mm_slli_epi16(nibbles, 4), _mm_srli_epi16(nibbles, 8));
        _mm_and_si128(pair, _mm_set1_epi16(0xff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_crate_for_every_byte_in_every_place() {
        let valid = *b"3f2B8c1a-5d4e-4F6a-9b7c-8d9e0f1a2b3C";
        for place in 0..valid.len() {
            for byte in 0..128 {
                let mut text = valid;
                text[place] = byte;
                // A byte of white space at an end makes it one character too short.
                let text = std::str::from_utf8(&text).unwrap();
                let ours = PeerId::parse(text).ok().map(|id| u128::from_be_bytes(id.as_bytes()));
                assert_eq!(key(text), ours, "{text:?}");
            }
        }
    }
}
