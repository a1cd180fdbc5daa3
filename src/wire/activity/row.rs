//! One row of the inbox: its time, its sender, its words and its files.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::peer::for_values;
use crate::util::text::strip;
use crate::wire::json::{MemoryBudget, parse_json};
use crate::wire::part::Attachment;
use crate::wire::part::read::{attachment, describe_files, describe_kinds, file_attachment, kind_of_media_type, text};
use crate::wire::received::ReceivedMessage;

/// Memory for the values of one row, in bytes, beside a multiple of its text.
pub(super) const ROW_ROOM: usize = for_values(8 * 1024 * 1024);
/// Text of a row without any words, in the words of the Python module `a2a_client`.
pub(super) const EMPTY: &str = "(empty A2A message)";

/// The sender of a row, as the row names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowSender<'a> {
    /// Nothing is there in its place, as in a row of the human.
    Absent,
    /// An empty or blank text is there: the row names nobody.
    Blank,
    /// A text, which need not be a valid id.
    Named(&'a str),
    /// A value that is no text.
    Unreadable,
}

impl<'a> RowSender<'a> {
    fn read(id: Option<&'a Value>) -> Self {
        match id {
            None | Some(Value::Null) => RowSender::Absent,
            Some(Value::String(id)) if strip(id).is_empty() => RowSender::Blank,
            Some(Value::String(id)) => RowSender::Named(id),
            Some(_) => RowSender::Unreadable,
        }
    }
}

/// Returns the sender that a row names in `source_id`, or else in `data.peer_id`.
pub(crate) fn sender(fields: &Map<String, Value>) -> RowSender<'_> {
    let source = RowSender::read(fields.get("source_id"));
    let in_data = RowSender::read(fields.get("data").and_then(|data| data.get("peer_id")));
    match (source, in_data) {
        // The human has no id, and some platforms write that as an empty one beside the kind.
        (RowSender::Absent, RowSender::Blank) if claimed_kind(fields) == Some("canvas_user") => RowSender::Absent,
        (RowSender::Absent, in_data) => in_data,
        (RowSender::Blank, RowSender::Named(id)) => RowSender::Named(id),
        (source, _) => source,
    }
}

/// Returns the kind of sender that a row names in its `data`.
pub(crate) fn claimed_kind(fields: &Map<String, Value>) -> Option<&str> {
    let data = fields.get("data").and_then(Value::as_object)?;
    text_field(data, "kind").or_else(|| text_field(data, "source"))
}

/// Returns the time of a row as it came: `created_at`, or else `ts`.
pub(crate) fn created_at(fields: &Map<String, Value>) -> Option<&str> {
    text_field(fields, "created_at").or_else(|| text_field(fields, "ts"))
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
/// 2. `data.text` or `data.message` of the row;
/// 3. the kinds of the message's parts, if it has parts and none is a text;
/// 4. `summary` of the row, which the platform writes for every message;
/// 5. the number of files;
/// 6. `(empty A2A message)`.
pub(crate) fn message_text(fields: &Map<String, Value>, body: &Value, files: &[Attachment]) -> String {
    let parts = ReceivedMessage::in_request(body).parts();
    let words: String = parts.iter().filter_map(text).collect();
    if !words.is_empty() {
        return words;
    }
    let non_empty =
        |value: Option<&Value>| value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let in_data = |name: &str| non_empty(fields.get("data").and_then(|data| data.get(name)));
    in_data("text")
        .or_else(|| in_data("message"))
        .or_else(|| describe_kinds(parts))
        .or_else(|| non_empty(fields.get("summary")))
        .or_else(|| describe_files(files.len()))
        .unwrap_or_else(|| EMPTY.to_owned())
}

/// Returns the files of a message, from the first of these that has any:
///
/// 1. `attachments` of the row, those with a kind, unless more of the message's parts have an address or bytes;
/// 2. the file parts of the message in the request;
/// 3. the request itself, if it describes an upload.
pub(crate) fn attachments(fields: &Map<String, Value>, body: &Value) -> Vec<Attachment> {
    let of_row = fields.get("attachments").and_then(Value::as_array).into_iter().flatten();
    let of_row: Vec<Attachment> = of_row.filter_map(|entry| Some(attachment(entry["kind"].as_str()?, entry))).collect();
    let of_parts = ReceivedMessage::in_request(body).parts().iter().filter_map(file_attachment);
    let of_parts: Vec<Attachment> = of_parts.collect();
    let with_content =
        |files: &[Attachment]| files.iter().filter(|file| file.uri.is_some() || file.bytes.is_some()).count();
    match (of_row.is_empty(), of_parts.is_empty()) {
        (true, true) => uploaded_file(body).into_iter().collect(),
        (false, _) if with_content(&of_row) >= with_content(&of_parts) => of_row,
        _ => of_parts,
    }
}

/// Reads the row of an upload on the canvas, which has the file's description in place of a request.
fn uploaded_file(body: &Value) -> Option<Attachment> {
    let media_type = body["mimeType"].as_str().or_else(|| body["mime_type"].as_str());
    let file = attachment(kind_of_media_type(media_type), body);
    let is_upload = body["uri"].is_string() || body["file_id"].is_string();
    Some(file).filter(|file| is_upload && (file.uri.is_some() || file.name.is_some()))
}
