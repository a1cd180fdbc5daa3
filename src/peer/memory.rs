//! Estimates of the memory that JSON takes on the heap: the cache's bound counts memory, not text.

use serde_json::{Map, Value};

/// Bytes of a map's first node, which holds its first 11 fields: a map is a B-tree.
pub(crate) const MAP_NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 16;
/// Bytes that the 12th field adds: it splits the node in two, and puts one with 12 children above them.
const MAP_SPLIT: usize = 2 * MAP_NODE + 12 * size_of::<usize>();
/// Bytes that each further field adds: nodes are split in halves.
pub(crate) const MAP_FIELD: usize = MAP_NODE / 5 + 8;

/// Returns how many bytes one more field adds to a map that has `fields`.
pub(crate) fn map_growth(fields: usize) -> usize {
    match fields {
        0 => MAP_NODE,
        1..11 => 0,
        11 => MAP_SPLIT,
        _ => MAP_FIELD,
    }
}

/// Returns about how many bytes a map takes on the heap, with all that is in it.
pub(super) fn map_bytes(fields: &Map<String, Value>) -> usize {
    let nodes = match fields.len() {
        0 => 0,
        1..12 => MAP_NODE,
        more => MAP_NODE + MAP_SPLIT + (more - 12) * MAP_FIELD,
    };
    nodes + fields.iter().map(|(name, value)| name.len() + heap_bytes(value)).sum::<usize>()
}

/// Returns the bytes that a value holds beside itself. The recursion is as deep as the parser allows: 128 levels.
fn heap_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(items) => items.capacity() * size_of::<Value>() + items.iter().map(heap_bytes).sum::<usize>(),
        Value::Object(fields) => map_bytes(fields),
    }
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
            fields.insert(format!("{n:02}"), json!(n));
        }
    }
}
