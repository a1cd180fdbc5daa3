//! One row of the inbox: its time, its sender, its request and its response.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::peer::for_values;
use crate::util::text::strip;
use crate::wire::json::{MemoryBudget, parse_json};

/// Memory for the values of one row, in bytes, beside a multiple of its text.
pub(super) const ROW_ROOM: usize = for_values(8 * 1024 * 1024);
/// Longest text of a delegation that is read as JSON, in bytes. The platform's own is a third of that.
const MAX_QUEUED: usize = 256;

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

/// Returns whether the platform numbers its rows. Platforms that do not are older, and write nothing of who a human is.
pub(crate) fn is_numbered(fields: &Map<String, Value>) -> bool {
    fields.get("seq").is_some_and(|seq| !seq.is_null())
}

/// Returns the request that made the row. It is parsed if it came as text; `null` if there is none or it is no JSON.
pub(crate) fn request_body(fields: &Map<String, Value>) -> Cow<'_, Value> {
    parsed_field(fields, "request_body")
}

/// Returns the metadata of a request's parameters. In a row without a sender it is the platform that writes who it is.
pub(crate) fn request_metadata(request: &Value) -> &Value {
    &request["params"]["metadata"]
}

/// Returns the origin of a request without a sender: `source` of its metadata, or else `source_type` of its message's.
pub(crate) fn request_origin(request: &Value) -> Option<&str> {
    let source_type = &request["params"]["message"]["metadata"]["source_type"];
    [&request_metadata(request)["source"], source_type]
        .into_iter()
        .filter_map(Value::as_str)
        .find(|origin| !strip(origin).is_empty())
}

/// Returns whether the row has an answer.
pub(crate) fn has_response(fields: &Map<String, Value>) -> bool {
    fields.get("response_body").is_some_and(|response| !response.is_null())
}

/// Returns the id of the delegation that the row tells of.
pub(crate) fn delegation_id(fields: &Map<String, Value>) -> Option<&str> {
    let places =
        ["response_body", "request_body"].into_iter().filter_map(|body| fields.get(body)?.get("delegation_id"));
    places.filter_map(Value::as_str).find(|id| !id.trim().is_empty())
}

/// Returns the text of a delegation's result, or else why it failed.
pub(crate) fn delegation_text(fields: &Map<String, Value>) -> Option<String> {
    let response = parsed_field(fields, "response_body");
    let words =
        response["text"].as_str().filter(|text| !text.is_empty()).or_else(|| text_field(fields, "error_detail"));
    words.map(str::to_owned)
}

/// Returns whether a delegation's result only says that the task waits for a callee that polls.
pub(crate) fn is_queued_delegation(fields: &Map<String, Value>) -> bool {
    let response = parsed_field(fields, "response_body");
    let text = response["text"].as_str().filter(|text| text.len() <= MAX_QUEUED).unwrap_or_default();
    let budget = &mut MemoryBudget::new(text.len(), ROW_ROOM);
    let Ok(Value::Object(queued)) = parse_json(text.as_bytes(), budget) else { return false };
    queued.len() == 3
        && queued.contains_key("method")
        && text_field(&queued, "delivery_mode") == Some("poll")
        && text_field(&queued, "status") == Some("queued")
}

/// Returns a field that is JSON. It is parsed if it came as text; `null` if there is none or it is no JSON.
fn parsed_field<'a>(fields: &'a Map<String, Value>, name: &str) -> Cow<'a, Value> {
    match fields.get(name) {
        Some(Value::String(text)) => {
            let budget = &mut MemoryBudget::new(text.len(), ROW_ROOM);
            Cow::Owned(parse_json(text.as_bytes(), budget).unwrap_or_default())
        }
        Some(body) => Cow::Borrowed(body),
        None => Cow::Owned(Value::Null),
    }
}
