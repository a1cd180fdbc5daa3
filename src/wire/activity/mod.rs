//! Pages of the inbox, as the platform lists them.

pub(super) mod content;
pub(super) mod row;

use std::fmt::Display;

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
    /// True if the page has as many entries as were asked for, so that there may be more. Set by the caller, who knows.
    pub(crate) is_full: bool,
    /// Approximate memory of the rows, in bytes.
    pub(crate) bytes: usize,
}

/// Malformed rows or fields of one page or of several: excerpts of the first ones, to be logged, and their number.
#[derive(Debug, Default)]
pub(crate) struct MalformedRows {
    /// Excerpts of the first ten.
    pub(crate) excerpts: Vec<String>,
    /// Number of all of them.
    pub(crate) count: usize,
}

impl MalformedRows {
    /// Counts one, and keeps its `excerpt` if it is among the first ten.
    fn add(&mut self, excerpt: impl FnOnce() -> String) {
        self.count += 1;
        if self.excerpts.len() < MAX_EXCERPTS {
            self.excerpts.push(excerpt());
        }
    }

    /// Adds those of another page.
    pub(crate) fn merge(&mut self, other: MalformedRows) {
        self.count += other.count;
        self.excerpts.extend(other.excerpts);
        self.excerpts.truncate(MAX_EXCERPTS);
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
    let mut page = ActivityRows::default();
    let mut budget = MemoryBudget::new(body.len(), CALL_MEMORY);
    let mut entries = 0;
    let text = to_utf8(body);
    let text = String::from_utf8_lossy(&text);
    if text.trim_start().starts_with(|c| c != '[') {
        let found = parse_json(body, &mut budget);
        let why = if let Err(JsonError::NotJson(why)) = found { Some(why) } else { None };
        return Err(BodyError::malformed(match why {
            Some(why) => format!("a body that is not JSON ({why})"),
            None => "JSON that is no list, where a list of rows was expected".to_owned(),
        }));
    }
    let all = each_entry(&text, |text| {
        entries += 1;
        // Text that is not UTF-8 has grown: each bad byte became three. The budget of a row is capped by the page's,
        // since the row may be alone on the page.
        let mut own = MemoryBudget::new(text.len().min(body.len()), ROW_ROOM);
        let fields = entry_fields(text, &mut own, &mut page.unreadable);
        match fields.map_or(Err(None), |fields| into_row(fields).map_err(Some)) {
            Ok(row) => {
                page.rows.push(row);
                page.bytes += own.used() + ROW;
            }
            Err(malformed) => {
                let at = malformed.as_ref().and_then(created_at).and_then(Timestamp::parse);
                page.oldest_malformed = [page.oldest_malformed, at].into_iter().flatten().min();
                page.malformed.add(|| text.chars().take(MAX_EXCERPT).collect());
                return entries <= MAX_ENTRIES;
            }
        }
        budget.take(own.used() + ROW) && entries <= MAX_ENTRIES
    });
    match all {
        Ok(true) => Ok(page),
        Ok(false) if entries > MAX_ENTRIES => {
            Err(BodyError::too_large(format!("a list of more than {MAX_ENTRIES} entries")))
        }
        Ok(false) => {
            Err(BodyError::too_large(format!("a list that is too large: {}", JsonError::TooLarge(budget.limit()))))
        }
        Err(why) => Err(BodyError::malformed(format!("a body that is not JSON ({why})"))),
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
    Ok(Row { id, at, fields })
}

#[cfg(test)]
mod tests;
