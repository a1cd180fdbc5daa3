//! The content of an inbox message: its words and its files.

use serde_json::{Map, Value};

use super::row::is_numbered;
use crate::wire::part::Attachment;
use crate::wire::part::read::{attachment, describe, describe_file, file_attachment, kind_of_media_type, text};
use crate::wire::received::ReceivedMessage;

/// Most parts that a text in place of words describes.
const MAX_DESCRIBED: usize = 10;
/// Text in place of a request that cannot be read.
const UNREADABLE: &str = "(unreadable A2A message)";

/// Returns the text that a person reads, from the first of these that there is:
///
/// 1. the text parts of the message in the request, joined;
/// 2. `data.text` or `data.message` of the row;
/// 3. what the message has in place of words: `[data]`, `[file: a.txt, text/plain]`;
/// 4. `summary` of a row whose request has no parts, on a platform that does not [number](is_numbered) its rows. The others
///    write a summary for every message, which says nothing of what is in it.
pub(crate) fn message_text(fields: &Map<String, Value>, body: &Value, files: &[Attachment]) -> Option<String> {
    let parts = ReceivedMessage::in_request(body).parts();
    let words: String = parts.iter().filter_map(text).collect();
    if !words.is_empty() {
        return Some(words);
    }
    let non_empty =
        |value: Option<&Value>| value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let in_data = |name: &str| non_empty(fields.get("data").and_then(|data| data.get(name)));
    let is_unread = body.is_null() && fields.get("request_body").is_some_and(Value::is_string);
    in_data("text")
        .or_else(|| in_data("message"))
        .or_else(|| join_descriptions(parts.iter().filter_map(describe)))
        .or_else(|| join_descriptions(files.iter().map(describe_attachment)))
        .or_else(|| non_empty(fields.get("summary")).filter(|_| parts.is_empty() && !is_numbered(fields)))
        .or_else(|| is_unread.then(|| UNREADABLE.to_owned()))
}

fn describe_attachment(file: &Attachment) -> String {
    describe_file(file.name.as_deref(), file.media_type.as_deref())
}

/// Joins the descriptions of parts. Returns `None` if there are none.
fn join_descriptions(mut described: impl Iterator<Item = String>) -> Option<String> {
    let mut shown: Vec<String> = described.by_ref().take(MAX_DESCRIBED).collect();
    let more = described.count();
    if more > 0 {
        shown.push(format!("[{more} more]"));
    }
    (!shown.is_empty()).then(|| shown.join(" "))
}

/// Returns the files of a message, from the first of these that has any:
///
/// 1. `attachments` of the row, those with a kind, unless more of the message's parts have an address or bytes;
/// 2. the file parts of the message in the request;
/// 3. the request itself, if it describes an upload.
///
/// The row's list has no sizes: they are those of the other two.
pub(crate) fn attachments(fields: &Map<String, Value>, body: &Value) -> Vec<Attachment> {
    let of_row = fields.get("attachments").and_then(Value::as_array).into_iter().flatten();
    let mut of_row: Vec<Attachment> =
        of_row.filter_map(|entry| Some(attachment(entry["kind"].as_str()?, entry))).collect();
    let of_parts = ReceivedMessage::in_request(body).parts().iter().filter_map(file_attachment);
    let mut of_parts: Vec<Attachment> = of_parts.collect();
    if of_parts.is_empty() {
        of_parts.extend(uploaded_file(body));
    }
    let with_content =
        |files: &[Attachment]| files.iter().filter(|file| file.uri.is_some() || file.bytes.is_some()).count();
    if of_row.is_empty() || with_content(&of_row) < with_content(&of_parts) {
        return of_parts;
    }
    // Both lists are in the order of the message.
    for (file, part) in of_row.iter_mut().zip(&of_parts) {
        if file.size.is_none() && file.uri == part.uri && file.name == part.name {
            file.size = part.size;
        }
    }
    of_row
}

/// Reads the row of an upload on the canvas, which has the file's description in place of a request.
fn uploaded_file(body: &Value) -> Option<Attachment> {
    let media_type = body["mimeType"].as_str().or_else(|| body["mime_type"].as_str());
    let file = attachment(kind_of_media_type(media_type), body);
    let is_upload = body["uri"].is_string() || body["file_id"].is_string();
    Some(file).filter(|file| is_upload && (file.uri.is_some() || file.name.is_some()))
}
