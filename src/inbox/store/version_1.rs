//! The cursor file of release 0.1, which is read and never written.
//!
//! It is one JSON object. Ids and times are in pairs; the times of acked rows are in nanoseconds since 1970.
//!
//! ```json
//! {"version": 1, "workspace": "my-team", "anchor": ["r-7", "2026-04-30T12:00:00.000000000Z"], "floor": null,
//!  "tries": {"r-9": 2}, "snapshot": false, "acked": [["r-8", 1777550401000000000]]}
//! ```
//!
//! With `"snapshot": true` more acked rows are in the file `.acked` beside it. `.synced` is a hard link to the version that
//! was last synced.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::disk::{open_plain, sibling_path};
use super::record::LoadError;
use crate::inbox::feed::RowKey;
use crate::inbox::feed::cursor::saved::{Anchor, HandledRow, MAX_ATTEMPTS, SavedCursor};
use crate::util::text::excerpt;
use crate::wire::{CALL_MEMORY, JsonError, MemoryBudget, Timestamp, parse_json};

/// Version of the format.
const VERSION: u64 = 1;
/// Largest file that is read, in bytes. It fits 100,000 acked rows, each with the longest id and each byte of that escaped.
const MAX_BYTES: u64 = 160 * 1024 * 1024;
/// Longest id of a row, in bytes, that is taken over. The platform's are shorter.
const MAX_ID: usize = 1_024;

/// Reads the cursor in `text`, the contents of a cursor file. Reads its acked rows from the file `.acked` beside `cursor`,
/// too, if it refers to that.
pub(super) fn parse(text: impl Read, cursor: &Path, workspace: &str) -> Result<SavedCursor, LoadError> {
    let saved = read_json(text)?;
    if saved["version"] != VERSION {
        let version = excerpt(&saved["version"]);
        return Err(LoadError::Unreadable(format!("its version is {version}, and not {VERSION}")));
    }
    match saved["workspace"].as_str() {
        Some(saved) if saved == workspace => {}
        Some(other) => return Err(LoadError::OtherWorkspace(excerpt(other))),
        None => return Err(LoadError::Unreadable("it names no workspace".to_owned())),
    }
    let bad = |what: &str| LoadError::Unreadable(format!("its {what} is malformed"));
    let anchor = match &saved["anchor"] {
        Value::Null => None,
        value => Some(parse_anchor(value).ok_or_else(|| bad("anchor"))?),
    };
    let floor = match &saved["floor"] {
        Value::Null => None,
        value => {
            let at = value.as_str().and_then(Timestamp::parse).ok_or_else(|| bad("floor"))?;
            Some(Anchor::Pruned(RowKey { at, seq: 0, id: "".into() }))
        }
    };
    let mut acked = parse_row_keys(&saved["acked"]).ok_or_else(|| bad("list of acked rows"))?;
    if saved["snapshot"] == true {
        let snapshot = open_plain(&sibling_path(cursor, "acked"), File::options().read(true));
        let snapshot = snapshot.map_err(|why| LoadError::Unreadable(format!("its snapshot: {why}")))?;
        acked.extend(parse_row_keys(&read_json(snapshot)?["acked"]).ok_or_else(|| bad("snapshot"))?);
    }
    let attempts = saved["tries"].as_object().into_iter().flatten();
    let attempts = attempts.filter_map(|(id, attempts)| Some((parse_id(id)?, u32::try_from(attempts.as_u64()?).ok()?)));
    Ok(SavedCursor {
        anchor: anchor.map(Anchor::Behind).or(floor),
        handled: acked.into_iter().map(HandledRow::new).collect(),
        attempts: attempts.take(MAX_ATTEMPTS).collect(),
        ..SavedCursor::default()
    })
}

/// Reads the cursor that was last synced. `None` if there is none, or it is unreadable.
pub(super) fn read_synced(cursor: &Path, workspace: &str) -> Option<SavedCursor> {
    let synced = open_plain(&sibling_path(cursor, "synced"), File::options().read(true)).ok()?;
    parse(synced, cursor, workspace).ok()
}

fn read_json(text: impl Read) -> Result<Value, LoadError> {
    let mut bytes = Vec::new();
    text.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|why| LoadError::Unreadable(why.to_string()))?;
    let budget = &mut MemoryBudget::new(bytes.len(), CALL_MEMORY);
    parse_json(&bytes, budget).map_err(|why| {
        LoadError::Unreadable(match why {
            JsonError::TooLarge(_) => why.to_string(),
            JsonError::NotJson(why) => format!("it is not JSON: {why}"),
        })
    })
}

fn parse_id<'a, T: From<&'a str>>(id: &'a str) -> Option<T> {
    (id.len() <= MAX_ID).then(|| id.into())
}

/// Parses the anchor, `["id", "time"]` with the time in RFC 3339. Returns `None` if it is malformed.
fn parse_anchor(value: &Value) -> Option<RowKey> {
    Some(RowKey { at: Timestamp::parse(value[1].as_str()?)?, seq: 0, id: parse_id(value[0].as_str()?)? })
}

/// Parses a list of `["id", nanoseconds]`. Returns `None` if any entry is malformed.
fn parse_row_keys(value: &Value) -> Option<Vec<RowKey>> {
    let key = |value: &Value| {
        Some(RowKey { at: Timestamp::from_nanos(value[1].as_i64()?), seq: 0, id: parse_id(value[0].as_str()?)? })
    };
    value.as_array()?.iter().map(key).collect()
}
