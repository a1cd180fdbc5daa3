//! The key of a slot: the name of a peer byte for byte, so that a hit parses nothing.

use std::hash::Hasher;

use crate::peer::PeerId;

/// The 36 bytes of an id's text, or of an id that came without a text: see [`of_id`].
pub(super) type RawKey = [u8; 36];

/// Returns the key of an id that came without a text. No text has this key.
#[inline(always)]
pub(super) fn of_id(id: PeerId) -> RawKey {
    // UTF-8 has no byte 0xff.
    let mut key = [0xff; 36];
    let bytes = id.as_bytes();
    key[..8].copy_from_slice(&bytes[..8]);
    key[28..].copy_from_slice(&bytes[8..]);
    key
}

#[inline(always)]
fn eight_bytes(key: &RawKey, start: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&key[start..start + 8]);
    u64::from_le_bytes(bytes)
}

/// Returns whether two keys are equal. `==` on arrays of this length is a call of `memcmp`, which costs more.
#[inline(always)]
pub(super) fn is_equal(a: &RawKey, b: &RawKey) -> bool {
    // The last two words overlap.
    [0, 8, 16, 24, 28].into_iter().all(|start| eight_bytes(a, start) == eight_bytes(b, start))
}

/// Returns whether the first eight bytes of two keys are equal.
#[inline(always)]
pub(super) fn has_same_start(a: &RawKey, b: &RawKey) -> bool {
    eight_bytes(a, 0) == eight_bytes(b, 0)
}

/// Returns a hash of the first and the last eight bytes.
///
/// Keys that agree in these share a set of slots. That costs hits, and is never a wrong answer.
#[inline(always)]
pub(super) fn hash(key: &RawKey, mut hasher: impl Hasher) -> u64 {
    hasher.write_u64(eight_bytes(key, 0));
    hasher.write_u64(eight_bytes(key, 28));
    hasher.finish()
}
