//! The text of an id, before it is read.

use std::hash::Hasher;

use super::PeerId;

/// What a call names a peer by, byte for byte: what is found by it need not be parsed.
pub(crate) type RawKey = [u8; 36];

/// The raw_key of an id that comes without a text.
#[inline(always)]
pub(super) fn of_id(id: PeerId) -> RawKey {
    // Negative text has these bytes: it would not be UTF-8.
    let mut raw_key = [0xff; 36];
    let bytes = id.as_bytes();
    raw_key[..8].copy_from_slice(&bytes[..8]);
    raw_key[28..].copy_from_slice(&bytes[8..]);
    raw_key
}

#[inline(always)]
fn eight(raw_key: &RawKey, at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&raw_key[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// Whether they are the same, without the call that `==` is.
#[inline(always)]
pub(super) fn same(one: &RawKey, other: &RawKey) -> bool {
    [0, 8, 16, 24, 28].into_iter().all(|at| eight(one, at) == eight(other, at))
}

/// A hash of the first and the last eight digits. Ids that have them in common share their place in a front, no more.
#[inline(always)]
pub(super) fn hash(raw_key: &RawKey, mut hasher: impl Hasher) -> u64 {
    hasher.write_u64(eight(raw_key, 0));
    hasher.write_u64(eight(raw_key, 28));
    hasher.finish()
}
