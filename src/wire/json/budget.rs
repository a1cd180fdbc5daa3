//! The memory that the values of a text may take.

use crate::peer::{for_values, map_growth};

/// Memory that lists and maps may take, as a multiple of the size of their text. The absolute part of a budget comes on top.
///
/// With the strings, and with the text itself while it arrives, that makes eight times the text. Where values are larger
/// than usual, the multiple is larger in the same ratio: see [`for_values`].
const TEXT_MULTIPLE: usize = 5;
/// Memory that a string takes besides its text, in bytes: the header of an allocator's block, and the unused rest of a
/// short one.
///
/// `"a",` is 4 bytes of text, and glibc's smallest block has 32.
pub(in crate::wire) const STRING_OVERHEAD: usize = 24;

/// Memory that values may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MemoryBudget {
    limit: usize,
    left: usize,
    pub(super) exceeded: bool,
}

impl MemoryBudget {
    /// Returns the budget for a text of `text` bytes: a multiple of that, and `extra` bytes.
    pub(crate) fn new(text: usize, extra: usize) -> Self {
        MemoryBudget::exactly(for_values(text.saturating_mul(TEXT_MULTIPLE)).saturating_add(extra))
    }

    /// Returns the budget of `limit` bytes.
    pub(super) fn exactly(limit: usize) -> Self {
        MemoryBudget { limit, left: limit, exceeded: false }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.limit - self.left
    }

    /// Takes `bytes` from the budget. Returns false, and takes nothing, where less is left.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.exceeded |= left.is_none();
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    pub(super) fn spend<E: serde_core::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        if self.take(bytes) { Ok(()) } else { Err(E::custom("too much memory")) }
    }

    /// Takes what one more field of this name needs in a map of `fields` fields.
    pub(super) fn spend_field<E: serde_core::de::Error>(&mut self, name: &str, fields: usize) -> Result<(), E> {
        self.spend(map_growth(fields) + string_overhead(name))
    }

    /// Moves up to `bytes` of what is left into a new budget. [`merge`](Self::merge) returns what that did not use.
    pub(in crate::wire) fn split_off(&mut self, bytes: usize) -> MemoryBudget {
        let part = bytes.min(self.left);
        self.left -= part;
        MemoryBudget::exactly(part)
    }

    /// Adds what is left of a budget that was split off.
    pub(in crate::wire) fn merge(&mut self, part: MemoryBudget) {
        self.left += part.left;
    }
}

/// Returns the memory that a string takes besides its text. An empty string has no block.
pub(super) fn string_overhead(text: &str) -> usize {
    if text.is_empty() { 0 } else { STRING_OVERHEAD }
}
