//! Rows of the inbox, as the platform lists them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::time::Moment;

/// What a row without any text reads: the original's words.
const EMPTY: &str = "(empty A2A message)";
/// The longest id that is taken for one, in bytes: it goes back in a URL.
const MAX_ID: usize = 256;

/// How many characters of an entry that is no row are kept.
const MAX_ODD: usize = 4_000;
/// Of how many such entries a page they are.
const MAX_ODDS: usize = 10;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// When it was made; `None` where it does not say so as RFC 3339.
    pub(crate) at: Option<Moment>,
    pub(crate) fields: Map<String, Value>,
}

/// What the platform listed.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) rows: Vec<Row>,
    /// The entries that are no rows: no object, or one without an id.
    pub(crate) odd: Odd,
    /// The fields that could not be read, and the rows that they are of.
    pub(crate) unread: Odd,
    /// The oldest time of an entry that is no row.
    pub(crate) oldest_odd: Option<Moment>,
    /// Whether there may be more of them.
    pub(crate) full: bool,
}

/// What is to be told: the first few, and how many there are.
#[derive(Debug, Default)]
pub(crate) struct Odd {
    pub(crate) shown: Vec<String>,
    pub(crate) count: usize,
}

impl Odd {
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.shown.len() < MAX_ODDS {
            self.shown.push(text());
        }
    }

    /// With those of another page.
    pub(crate) fn merge(&mut self, other: Odd) {
        self.count += other.count;
        self.shown.extend(other.shown);
        self.shown.truncate(MAX_ODDS);
    }
}

/// A file that came with a message. All of it is the sender's word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// What kind of file it is: `file`, `image`, `audio`, `video`, or another word.
    pub kind: String,
    /// Where it is. Nothing is fetched from there.
    pub uri: Option<String>,
    /// Its name. Do not write to it as a path.
    pub name: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
}

/// The rows of a list, or what the body is instead.
pub(crate) fn activity(body: &[u8]) -> Result<Listed, String> {
    let mut listed = Listed::default();
    let entries = match serde_json::from_slice(body) {
        Ok(Value::Array(entries)) => entries,
        Ok(_) => return Err("JSON that is no list, where a list of rows was expected".to_owned()),
        Err(why) => one_by_one(body, &mut listed).ok_or_else(|| format!("a body that is not JSON ({why})"))?,
    };
    listed.rows.reserve(entries.len());
    for entry in entries {
        match row(entry) {
            Ok(row) => listed.rows.push(row),
            Err(odd) => {
                let at = odd.as_object().and_then(created_at).and_then(Moment::parse);
                listed.oldest_odd = [listed.oldest_odd, at].into_iter().flatten().min();
                listed.odd.add(|| odd.to_string().chars().take(MAX_ODD).collect());
            }
        }
    }
    Ok(listed)
}

/// Whether a list has more entries than that, told without reading them: by the commas between them.
pub(crate) fn has_more_entries(body: &[u8], most: usize) -> bool {
    // Most pages have fewer commas altogether, which is seen at once.
    if body.iter().filter(|byte| **byte == b',').count() < most {
        return false;
    }
    let (mut depth, mut commas, mut bytes) = (0_usize, 0, body.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while bytes.next().is_some_and(|byte| *byte != b'"' && (*byte != b'\\' || bytes.next().is_some())) {}
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => commas += 1,
            _ => {}
        }
    }
    commas >= most
}

/// A page as it is read where something in it does not fit into a [`Value`]: what nests too deep, half a surrogate
/// pair, a number beyond all bounds. What a peer wrote into one row must not hide the others. A field that cannot be
/// read is the text that it came as.
fn one_by_one(body: &[u8], listed: &mut Listed) -> Option<Vec<Value>> {
    let text = String::from_utf8_lossy(body);
    let entries: Vec<&RawValue> = serde_json::from_str(&text).ok()?;
    let entry = |raw: &&RawValue| {
        serde_json::from_str(raw.get()).unwrap_or_else(|_| {
            let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()) else {
                return raw.get().into();
            };
            let id = fields.get("id").map_or("a row without an id", |id| id.get());
            let value = |(name, raw): (&String, &&RawValue)| {
                let value = serde_json::from_str::<Value>(raw.get()).unwrap_or_else(|why| {
                    listed.unread.add(|| format!("{name:?} of {id} ({why})").chars().take(MAX_ODD).collect());
                    raw.get().into()
                });
                (name.clone(), value)
            };
            fields.iter().map(value).collect()
        })
    };
    Some(entries.iter().map(entry).collect())
}

fn said(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn row(entry: Value) -> Result<Row, Value> {
    let Value::Object(fields) = entry else { return Err(entry) };
    let id = match fields.get("id") {
        Some(Value::String(id)) if !id.trim().is_empty() && id.len() <= MAX_ID => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(Value::Object(fields)),
    };
    let at = created_at(&fields).and_then(Moment::parse);
    Ok(Row { id, at, fields })
}

/// The row's time as it came: `created_at`, or else `ts`.
pub(crate) fn created_at(fields: &Map<String, Value>) -> Option<&str> {
    text(fields, "created_at").or_else(|| text(fields, "ts"))
}

/// Whom a row names as its sender. `None` where it names nobody; what is no text is not nobody, but somebody without
/// a name.
pub(crate) fn source(fields: &Map<String, Value>) -> Option<&str> {
    let named = |fields: &'_ Map<String, Value>, name| matches!(fields.get(name), Some(value) if !(value.is_null() || value.is_string()));
    let data = || {
        let data = fields.get("data")?.as_object()?;
        text(data, "peer_id").or(named(data, "peer_id").then_some(""))
    };
    text(fields, "source_id").or(named(fields, "source_id").then_some("")).or_else(data)
}

/// A field's text, unless it is blank.
pub(crate) fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// The request that the row is of, read from its text where it came as one.
pub(crate) fn request_body(fields: &Map<String, Value>) -> Cow<'_, Value> {
    match fields.get("request_body") {
        Some(Value::String(text)) => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
        Some(body) => Cow::Borrowed(body),
        None => Cow::Owned(Value::Null),
    }
}

/// What a person reads: the text parts of the message, or what stands in for them.
pub(crate) fn body_text(fields: &Map<String, Value>, body: &Value) -> String {
    let params = &body["params"];
    for parts in [&params["message"]["parts"], &params["parts"], &body["parts"]] {
        let texts = parts.as_array().into_iter().flatten();
        let texts = texts.filter(|part| part["kind"] == "text" || part["type"] == "text");
        let joined: String = texts.filter_map(|part| part["text"].as_str()).collect();
        if !joined.is_empty() {
            return joined;
        }
    }
    let data = fields.get("data");
    let within = |name: &str| data.and_then(|data| data.get(name));
    said(within("text"))
        .or_else(|| said(within("message")))
        .or_else(|| said(fields.get("summary")))
        .unwrap_or(EMPTY)
        .to_owned()
}

/// The files of a message: the row's own list, or else the parts of the request, or the one file that it is.
pub(crate) fn attachments(fields: &Map<String, Value>, body: &Value) -> Vec<Attachment> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let own = fields.get("attachments").map(list).unwrap_or_default();
    let own = own.iter().filter_map(|entry| Some(attachment(entry["kind"].as_str()?, entry)));
    let own: Vec<Attachment> = own.collect();
    if !own.is_empty() {
        return own;
    }
    let parts = body["params"]["message"]["parts"].as_array().into_iter().flatten();
    let parts: Vec<Attachment> = parts.filter_map(of_part).collect();
    if !parts.is_empty() {
        return parts;
    }
    of_upload(body).into_iter().collect()
}

fn of_part(part: &Value) -> Option<Attachment> {
    let kind = part["kind"].as_str().or_else(|| part["type"].as_str())?;
    if !matches!(kind, "file" | "image" | "audio" | "video") {
        return None;
    }
    let file = if part["file"].is_object() { &part["file"] } else { part };
    Some(attachment(kind, file)).filter(|found| found.uri.is_some() || found.name.is_some())
}

/// What the canvas writes for an upload: the file itself in place of a request.
fn of_upload(body: &Value) -> Option<Attachment> {
    let media_type = body["mimeType"].as_str().or_else(|| body["mime_type"].as_str()).unwrap_or_default();
    let kind = ["image", "audio", "video"].into_iter().find(|kind| media_type.starts_with(&format!("{kind}/")));
    let found = attachment(kind.unwrap_or("file"), body);
    let is_upload = body["uri"].is_string() || body["file_id"].is_string();
    (is_upload && (found.uri.is_some() || found.name.is_some())).then_some(found)
}

fn attachment(kind: &str, file: &Value) -> Attachment {
    let field = |names: &[&str]| {
        let mut found = names.iter().filter_map(|name| file[*name].as_str()).filter(|text| !text.is_empty());
        found.next().map(str::to_owned)
    };
    Attachment {
        kind: kind.to_owned(),
        uri: field(&["uri", "url"]),
        name: field(&["name", "filename"]),
        media_type: field(&["mime_type", "mimeType", "mediaType"]),
    }
}

#[cfg(test)]
#[path = "activity_tests.rs"]
mod tests;
