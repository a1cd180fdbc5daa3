//! Estimates of the memory that JSON takes on the heap: the cache's bound counts memory, not text.
//!
//! Another crate of the program may enable features of `serde_json`, which Cargo then enables for all of it. They change
//! the types of numbers and maps, so the estimates follow from the types of this build.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde_json::{Map, Number, Value};

/// True with serde_json's feature `arbitrary_precision`: a number is its text.
pub(crate) const NUMBERS_ARE_TEXTS: bool = size_of::<Number>() > 16;
/// True with serde_json's feature `preserve_order`: a map is a list of its fields and a table of their places.
const MAPS_ARE_ORDERED: bool = size_of::<Map<String, Value>>() > size_of::<BTreeMap<String, Value>>();
/// Size of a [`Value`] for which the bounds of memory are written, in bytes.
const USUAL_VALUE: usize = 32;

/// Bytes of a B-tree's first node, which holds its first 11 fields.
const TREE_NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 16;
/// Bytes that the 12th field adds: it splits the node in two, and puts one with 12 children above them.
const TREE_SPLIT: usize = 2 * TREE_NODE + 12 * size_of::<usize>();
/// Bytes that each further field adds: nodes are split in halves.
const TREE_FIELD: usize = TREE_NODE / 5 + 8;

/// Bytes of a field in an ordered map: its hash, name and value.
const ORDERED_FIELD: usize = size_of::<usize>() + size_of::<String>() + size_of::<Value>();
/// Bytes of a bucket in an ordered map's table: a place in the list, and a byte to search by.
const BUCKET: usize = size_of::<usize>() + 1;
/// Bytes of a table besides its buckets.
const TABLE: usize = 16;

/// Scales a bound of memory to the values of this build, which may be larger than usual.
pub(crate) const fn for_values(bytes: usize) -> usize {
    if size_of::<Value>() > USUAL_VALUE { (bytes / USUAL_VALUE).saturating_mul(size_of::<Value>()) } else { bytes }
}

/// Returns how many bytes one more field adds to a map that has `fields`.
pub(crate) fn map_growth(fields: usize) -> usize {
    map_memory(fields + 1) - map_memory(fields)
}

/// Returns how many bytes a map of this many fields takes on the heap, without what its fields have there.
pub(crate) fn map_memory(fields: usize) -> usize {
    match fields {
        0 => 0,
        _ if MAPS_ARE_ORDERED => {
            // As `hashbrown` grows: seven eighths of the buckets are used, and the list has room for as many fields.
            let buckets =
                if fields < 8 { (fields + 1).next_power_of_two().max(4) } else { (fields * 8 / 7).next_power_of_two() };
            let capacity = if buckets < 16 { buckets - 1 } else { buckets / 8 * 7 };
            capacity * ORDERED_FIELD + buckets * BUCKET + TABLE
        }
        1..12 => TREE_NODE,
        more => TREE_NODE + TREE_SPLIT + (more - 12) * TREE_FIELD,
    }
}

/// Returns about how many bytes a map takes on the heap, with all that is in it.
pub(super) fn map_bytes(fields: &Map<String, Value>) -> usize {
    map_memory(fields.len()) + fields.iter().map(|(name, value)| name.len() + heap_bytes(value)).sum::<usize>()
}

/// Returns the bytes that a value holds beside itself. The recursion is as deep as the parser allows: 128 levels.
fn heap_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => number_bytes(number),
        Value::String(text) => text.capacity(),
        Value::Array(items) => items.capacity() * size_of::<Value>() + items.iter().map(heap_bytes).sum::<usize>(),
        Value::Object(fields) => map_bytes(fields),
    }
}

/// Returns the bytes of a number's text, if it is one.
fn number_bytes(number: &Number) -> usize {
    struct Length(usize);
    impl Write for Length {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut length = Length(0);
    if NUMBERS_ARE_TEXTS {
        // Never fails.
        let _ = write!(length, "{number}");
    }
    length.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn growth_of_each_field_adds_up_to_the_size_of_the_map() {
        let mut fields = Map::new();
        let mut grown = 0;
        for n in 0..40 {
            assert_eq!(map_bytes(&fields), grown, "{n} fields");
            grown += map_growth(fields.len()) + 2;
            fields.insert(format!("{n:02}"), json!(null));
        }
    }

    #[test]
    fn number_takes_its_text_where_it_is_one() {
        let bytes = |value: &Value| heap_bytes(value);
        assert_eq!(bytes(&json!(12_345)), if NUMBERS_ARE_TEXTS { 5 } else { 0 });
        assert_eq!(bytes(&json!([1])), size_of::<Value>() + usize::from(NUMBERS_ARE_TEXTS));
    }

    #[test]
    fn bounds_grow_with_the_values() {
        let larger = size_of::<Value>() > USUAL_VALUE;
        assert_eq!(for_values(64), if larger { 2 * size_of::<Value>() } else { 64 });
        assert_eq!(larger, MAPS_ARE_ORDERED, "a map is the largest kind of value");
    }
}
