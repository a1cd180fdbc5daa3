//! Rows of the inbox, as the platform lists them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::json::{JsonError, MapBuilder, MemoryBudget, each_entry, each_field, parse_json, to_utf8};
use super::part::{Attachment, attachment, inbox_file, inbox_text};
use super::record::{BodyError, CALL_MEMORY};
use super::time::Timestamp;
use crate::peer::for_values;

/// Text of a row without any text, in the words of the Python module `a2a_client`.
const EMPTY: &str = "(empty A2A message)";
/// Longest id of a row, in bytes. It is sent back in a URL.
const MAX_ID: usize = 256;

/// Number of characters that are kept of a malformed entry, to log it.
const MAX_EXCERPT: usize = 4_000;
/// Number of malformed entries of a page that are kept to be logged. The others are only counted.
const MAX_EXCERPTS: usize = 10;
/// Most entries of a page that are read, even if fewer were asked for: each takes memory.
const MAX_ENTRIES: usize = 100_000;
/// Memory for the values of one row, in bytes, beside a multiple of its text.
const ROW_ROOM: usize = for_values(8 * 1024 * 1024);
/// Part of [`ROW_ROOM`] that is set aside for the names of the fields, in case one field takes the rest.
const NAMES_ROOM: usize = for_values(1024 * 1024);
/// Approximate memory that a row takes without any fields, in bytes.
const ROW: usize = 256;

/// One row of the activity feed.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// Time at which the platform made the row. `None` if the row has no time in the format of RFC 3339.
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
        let id = || fields.get("id").map_or("a row without an id".to_owned(), Value::to_string);
        for (name, why) in unread {
            unreadable.add(|| format!("{name:?} of {} ({why})", id()).chars().take(MAX_EXCERPT).collect());
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

/// Returns the time of a row as it came: `created_at`, or else `ts`.
pub(crate) fn created_at(fields: &Map<String, Value>) -> Option<&str> {
    text_field(fields, "created_at").or_else(|| text_field(fields, "ts"))
}

/// Returns the id that a row names as its sender: `source_id`, or else `data.peer_id`.
///
/// Returns `None` if it names nobody. An id that is no text is returned as `""`: somebody sent the row, but it is not
/// known who.
pub(crate) fn sender_id(fields: &Map<String, Value>) -> Option<&str> {
    let is_no_text = |fields: &Map<String, Value>, name: &str| {
        fields.get(name).is_some_and(|value| !value.is_null() && !value.is_string())
    };
    let in_data = || {
        let data = fields.get("data")?.as_object()?;
        text_field(data, "peer_id").or(is_no_text(data, "peer_id").then_some(""))
    };
    text_field(fields, "source_id").or(is_no_text(fields, "source_id").then_some("")).or_else(in_data)
}

/// Returns the text of a field, unless it is blank or no text.
pub(crate) fn text_field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// Returns the request that made the row. It is parsed if it came as text; `null` if there is none or it is no JSON.
pub(crate) fn request_body(fields: &Map<String, Value>) -> Cow<'_, Value> {
    match fields.get("request_body") {
        Some(Value::String(text)) => {
            let budget = &mut MemoryBudget::new(text.len(), ROW_ROOM);
            Cow::Owned(parse_json(text.as_bytes(), budget).unwrap_or_default())
        }
        Some(body) => Cow::Borrowed(body),
        None => Cow::Owned(Value::Null),
    }
}

/// Returns the text that a person reads, from the first of these that has one:
///
/// 1. the text parts of the message in the request, joined;
/// 2. `data.text`, `data.message` or `summary` of the row;
/// 3. `(empty A2A message)`.
pub(crate) fn message_text(fields: &Map<String, Value>, body: &Value) -> String {
    let params = &body["params"];
    for parts in [&params["message"]["parts"], &params["parts"], &body["parts"]] {
        let joined: String = parts.as_array().into_iter().flatten().filter_map(inbox_text).collect();
        if !joined.is_empty() {
            return joined;
        }
    }
    let data = fields.get("data");
    let in_data = |name: &str| data.and_then(|data| data.get(name));
    non_empty(in_data("text"))
        .or_else(|| non_empty(in_data("message")))
        .or_else(|| non_empty(fields.get("summary")))
        .unwrap_or(EMPTY)
        .to_owned()
}

fn non_empty(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the files of a message, from the first of these that has any:
///
/// 1. `attachments` of the row, those with a kind;
/// 2. the file parts of the message in the request;
/// 3. the request itself, if it describes an upload.
pub(crate) fn attachments(fields: &Map<String, Value>, body: &Value) -> Vec<Attachment> {
    let own = fields.get("attachments").and_then(Value::as_array).into_iter().flatten();
    let own = own.filter_map(|entry| Some(attachment(entry["kind"].as_str()?, entry)));
    let own: Vec<Attachment> = own.collect();
    if !own.is_empty() {
        return own;
    }
    let parts = body["params"]["message"]["parts"].as_array().into_iter().flatten();
    let parts: Vec<Attachment> = parts.filter_map(inbox_file).collect();
    if !parts.is_empty() {
        return parts;
    }
    uploaded_file(body).into_iter().collect()
}

/// Reads the row of an upload on the canvas, which has the file's description in place of a request.
fn uploaded_file(body: &Value) -> Option<Attachment> {
    let media_type = body["mimeType"].as_str().or_else(|| body["mime_type"].as_str()).unwrap_or_default();
    let kind = ["image", "audio", "video"].into_iter().find(|kind| media_type.starts_with(&format!("{kind}/")));
    let file = attachment(kind.unwrap_or("file"), body);
    let is_upload = body["uri"].is_string() || body["file_id"].is_string();
    Some(file).filter(|file| is_upload && file.has_uri_or_name())
}

#[cfg(test)]
mod tests;
