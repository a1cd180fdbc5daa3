//! Pages of the inbox, as the platform lists them.

pub(super) mod content;
mod incoming;
pub(super) mod row;
mod scan;

pub(crate) use incoming::{IncomingEnd, IncomingPage, LargeRows, RowHead};

use std::fmt::Display;
use std::hash::{DefaultHasher, Hasher};

use serde_json::{Map, Value};

use self::row::{ROW_ROOM, created_at};
use super::json::{JsonError, MapBuilder, MemoryBudget, each_entry, each_field, parse_json, to_utf8};
use super::record::{BodyError, CALL_MEMORY};
use super::time::Timestamp;
use crate::peer::for_values;
use crate::util::text::prefix;

/// Longest id of a row, in bytes. It is sent back in a URL.
const MAX_ID: usize = 256;

/// Number of characters that are kept of a malformed entry, to log it.
const MAX_EXCERPT: usize = 4_000;
/// Number of malformed entries of a page that are kept to be logged. The others are only counted.
const MAX_EXCERPTS: usize = 10;
/// Most entries of a page that are read, even if fewer were asked for: each takes memory.
const MAX_ENTRIES: usize = 100_000;
/// Part of [`ROW_ROOM`] that is set aside for the names of the fields, in case one field takes the rest.
const NAMES_ROOM: usize = for_values(1024 * 1024);
/// Approximate memory that a row takes without any fields, in bytes.
const ROW: usize = 256;

/// One row of the activity feed.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// Time at which the platform made the row. `None` if the row has no time that can be read.
    pub(crate) at: Option<Timestamp>,
    /// Bytes of its JSON.
    pub(crate) bytes: usize,
    /// The row as it came.
    pub(crate) fields: Map<String, Value>,
}

/// One page of the activity feed.
#[derive(Debug, Default)]
pub(crate) struct ActivityRows {
    /// The readable rows, in the platform's order.
    pub(crate) rows: Vec<Row>,
    /// Entries that are no rows: not an object, or without a usable id.
    pub(crate) malformed: MalformedRows,
    /// Fields that could not be read, with the ids of their rows. The rows themselves are in `rows`.
    pub(crate) unreadable: MalformedRows,
    /// Oldest time of an entry that is no row.
    pub(crate) oldest_malformed: Option<Timestamp>,
    /// Approximate memory of the rows, in bytes.
    pub(crate) bytes: usize,
}

/// Malformed rows or fields of a page: excerpts of the first ones, to be logged, and their number.
#[derive(Debug, Default)]
pub(crate) struct MalformedRows {
    /// Excerpts of the first ten.
    pub(crate) excerpts: Vec<String>,
    /// Number of all of them.
    pub(crate) count: usize,
    /// Hashes of the texts of entries, in their order. Fields have none.
    hashes: Vec<u64>,
}

impl MalformedRows {
    /// Counts one, and keeps its `excerpt` if it is among the first ten.
    fn add(&mut self, excerpt: impl FnOnce() -> String) {
        self.count += 1;
        if self.excerpts.len() < MAX_EXCERPTS {
            self.excerpts.push(excerpt());
        }
    }

    /// Adds an entry, which is recognized by its `text` if it is listed again.
    fn add_entry(&mut self, text: &str) {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        self.hashes.push(hasher.finish());
        self.add(|| text.chars().take(MAX_EXCERPT).collect());
    }

    /// Keeps the entries that `is_new` accepts the hash of, and drops the others and those without a hash.
    pub(crate) fn retain_entries(&mut self, mut is_new: impl FnMut(u64) -> bool) {
        let kept: Vec<bool> = self.hashes.iter().map(|hash| is_new(*hash)).collect();
        let mut each = kept.iter();
        self.excerpts.retain(|_| each.next().copied().unwrap_or_default());
        let mut each = kept.iter();
        self.hashes.retain(|_| each.next().copied().unwrap_or_default());
        self.count = self.hashes.len();
    }

    /// Drops the excerpts and hashes, so that the entries are neither logged nor counted before they are listed again.
    pub(crate) fn forget_texts(&mut self) {
        self.excerpts.clear();
        self.hashes.clear();
    }
}

/// Parses a page of the activity feed: a JSON list of rows.
///
/// Entries are parsed one at a time, so that a malformed row does not hide the others. Lists and maps of all rows may
/// take five times the size of the text and 16 MiB; those of one row five times the size of that row's text and 8 MiB.
///
/// # Errors
///
/// A body that is no JSON list, has more than 100,000 entries, or takes more memory than that. The text continues
/// "the platform answered".
pub(crate) fn activity(body: &[u8]) -> Result<ActivityRows, BodyError> {
    let mut page = PageBuilder::new(body.len());
    let text = to_utf8(body);
    let text = String::from_utf8_lossy(&text);
    if text.trim_start().starts_with(|c| c != '[') {
        let found = parse_json(body, &mut page.budget);
        let why = if let Err(JsonError::NotJson(why)) = found { Some(why) } else { None };
        return Err(BodyError::malformed(match why {
            Some(why) => format!("a body that is not JSON ({why})"),
            None => "JSON that is no list, where a list of rows was expected".to_owned(),
        }));
    }
    let all = each_entry(&text, |text| page.add(text, text.len().min(body.len())));
    match all {
        Ok(true) => Ok(page.rows),
        Ok(false) => Err(page.too_large()),
        Err(why) => Err(BodyError::malformed(format!("a body that is not JSON ({why})"))),
    }
}

/// Makes a page of the texts of its entries.
struct PageBuilder {
    rows: ActivityRows,
    budget: MemoryBudget,
    entries: usize,
}

impl PageBuilder {
    /// Begins a page whose text has so many bytes.
    fn new(length: usize) -> Self {
        PageBuilder { rows: ActivityRows::default(), budget: MemoryBudget::new(length, CALL_MEMORY), entries: 0 }
    }

    /// Adds an entry. `length` is the number of its bytes as they came: text that is not UTF-8 has grown, since each bad
    /// byte became three.
    ///
    /// Returns false where the page takes too much memory or has too many entries. The entry is in it then.
    fn add(&mut self, text: &str, length: usize) -> bool {
        self.entries += 1;
        let rows = &mut self.rows;
        // The budget of a row is capped by the page's, since the row may be alone on the page.
        let mut own = MemoryBudget::new(length, ROW_ROOM);
        let fields = entry_fields(text, &mut own, &mut rows.unreadable);
        match fields.map_or(Err(None), |fields| into_row(fields).map_err(Some)) {
            Ok(row) => {
                rows.rows.push(Row { bytes: length, ..row });
                rows.bytes += own.used() + ROW;
                self.budget.take(own.used() + ROW) && self.entries <= MAX_ENTRIES
            }
            Err(malformed) => {
                let at = malformed.as_ref().and_then(created_at).and_then(Timestamp::parse);
                rows.oldest_malformed = [rows.oldest_malformed, at].into_iter().flatten().min();
                rows.malformed.add_entry(text);
                self.entries <= MAX_ENTRIES
            }
        }
    }

    /// Adds an entry of a page whose end is not there yet. It has its own budget only: the caller looks at the sum.
    fn add_incoming(&mut self, text: &[u8]) {
        let _ = self.add(&String::from_utf8_lossy(text), text.len());
    }

    /// Returns the error for a page that takes too much memory or has too many entries.
    fn too_large(&self) -> BodyError {
        if self.entries > MAX_ENTRIES {
            return BodyError::too_large(format!("a list of more than {MAX_ENTRIES} entries"));
        }
        let limit = JsonError::TooLarge(self.budget.limit());
        BodyError::too_large(format!("a list that is too large: {limit}"))
    }
}

/// Parses an entry. Returns its fields, or `None` if it is no object.
///
/// A field that does not fit into a [`Value`] becomes a string of its JSON text, and is added to `unreadable`: it nests
/// too deep, has half a surrogate pair or a number out of range, or exceeds the budget.
fn entry_fields(text: &str, budget: &mut MemoryBudget, unreadable: &mut MalformedRows) -> Option<Map<String, Value>> {
    match parse_json(text.as_bytes(), budget) {
        Ok(Value::Object(fields)) => return Some(fields),
        Ok(_) => return None,
        Err(_) => {}
    }
    // A field that takes the whole budget must leave room for the names of the fields after it.
    let mut names = budget.split_off(NAMES_ROOM);
    let (mut filling, mut unread, mut more) = (MapBuilder { fields: Map::new(), budget: &mut names }, Vec::new(), 0);
    let whole = each_field(text, |name, text| {
        let field = parse_json(text.as_bytes(), budget).unwrap_or_else(|why| {
            // The same name may stand there many times, so the number of them is bounded only by the length of the
            // text.
            if unread.len() < MAX_EXCERPTS {
                unread.push((name.clone(), why));
            } else {
                more += 1;
            }
            text.into()
        });
        filling.insert(name, field)
    });
    let fields = filling.fields;
    budget.merge(names);
    if whole {
        unreadable.count += more;
        // A name or an id may be megabytes long. The reason comes last, so that each gets its part.
        let start_of = |text: &dyn Display| prefix(text, MAX_EXCERPT / 4);
        let id = fields.get("id").map_or("a row without an id".to_owned(), |id| start_of(id));
        for (name, why) in unread {
            let shown = || format!("{:?} of {id} ({})", start_of(&name), start_of(&why));
            unreadable.add(|| shown().chars().take(MAX_EXCERPT).collect());
        }
    }
    whole.then_some(fields)
}

/// Makes a row of its fields. Returns the fields if they have no usable id: a text that is not blank and has at most
/// 256 bytes, or a number.
fn into_row(fields: Map<String, Value>) -> Result<Row, Map<String, Value>> {
    let id = match fields.get("id") {
        Some(Value::String(id)) if !id.trim().is_empty() && id.len() <= MAX_ID => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(fields),
    };
    let at = created_at(&fields).and_then(Timestamp::parse);
    Ok(Row { id, at, bytes: 0, fields })
}

#[cfg(test)]
mod tests;
