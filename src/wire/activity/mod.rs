//! Rows of the inbox, as the platform lists them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::json::{JsonError, MapBuilder, MemoryBudget, each_entry, each_field, parse_json};
use super::record::{BodyError, CALL_MEMORY};
use super::time::Timestamp;

/// What a row without any text reads: the original's words.
const EMPTY: &str = "(empty A2A message)";
/// The longest id that is taken for one, in bytes: it goes back in a URL.
const MAX_ID: usize = 256;

/// How many characters of an entry that is no row are kept.
const MAX_ODD: usize = 4_000;
/// Of how many such entries a page they are.
const MAX_ODDS: usize = 10;
/// The most entries of a page that are read, though fewer were asked for: each takes memory.
const MAX_ENTRIES: usize = 100_000;
/// What the values of one row may take beside a multiple of its text; how much of that is for the names of its fields
/// where some field takes too much; and about what it takes without any.
const ROW_ROOM: usize = 8 * 1024 * 1024;
const NAMES_ROOM: usize = 1024 * 1024;
const ROW: usize = 256;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// When it was made; `None` where it does not say so as RFC 3339.
    pub(crate) at: Option<Timestamp>,
    pub(crate) fields: Map<String, Value>,
}

/// What the platform listed.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) rows: Vec<Row>,
    /// The entries that are no rows: no object, or one without an id.
    pub(crate) odd: MalformedRows,
    /// The fields that could not be read, and the rows that they are of.
    pub(crate) unread: MalformedRows,
    /// The oldest time of an entry that is no row.
    pub(crate) oldest_odd: Option<Timestamp>,
    /// Whether there may be more of them.
    pub(crate) full: bool,
    /// About how many bytes the rows' lists and maps take.
    pub(crate) bytes: usize,
}

/// What is to be told: the first few, and how many there are.
#[derive(Debug, Default)]
pub(crate) struct MalformedRows {
    pub(crate) shown: Vec<String>,
    pub(crate) count: usize,
}

impl MalformedRows {
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.shown.len() < MAX_ODDS {
            self.shown.push(text());
        }
    }

    /// With those of another page.
    pub(crate) fn merge(&mut self, other: MalformedRows) {
        self.count += other.count;
        self.shown.extend(other.shown);
        self.shown.truncate(MAX_ODDS);
    }
}

/// A file that came with a message. All of it is the sender's word.
///
/// ```
/// use std::path::Path;
/// # use a2a_blocking::{Client, InboxPoller, Verdict};
/// # let dir = std::env::temp_dir().join(format!("a2a-doc-attachment-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let mut platform = mockito::Server::new();
/// # let inbox = platform.mock("GET", "/workspaces/my-team/activity").match_query(mockito::Matcher::Any);
/// # let row = r#"[{"id": "r-1", "source_id": "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", "attachments": [{"kind": "image",
/// #     "uri": "workspace:/tmp/df.png", "name": "../df.png", "mime_type": "image/png"}]}]"#;
/// # inbox.with_body(row).create();
/// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
/// # let mut poller = InboxPoller::builder(client).cursor_file(dir.join("cursor.json")).build()?;
/// let polled = poller.poll_once(|push| {
///     let file = &push.attachments()[0];
///     assert_eq!((file.kind.as_str(), file.media_type.as_deref()), ("image", Some("image/png")));
///     // "../df.png" is no path to write to.
///     let name = file.name.as_deref().map(Path::new).and_then(Path::file_name);
///     assert_eq!(name, Some("df.png".as_ref()));
///     Verdict::Ack
/// })?;
/// # assert_eq!(polled.delivered, 1);
/// # drop(poller);
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
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
///
/// One at a time: what a peer wrote into one row must not hide the others. Their lists and maps may take five times the
/// text, and 16 MiB besides; those of one row five times its own text, and 8 MiB besides.
pub(crate) fn activity(body: &[u8]) -> Result<Listed, BodyError> {
    let mut listed = Listed::default();
    let mut budget = MemoryBudget::new(body.len(), CALL_MEMORY);
    let mut entries = 0;
    let text = String::from_utf8_lossy(body);
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
        // What was not UTF-8 has grown. A row must not have more than the page that it may be alone on.
        let mut own = MemoryBudget::new(text.len().min(body.len()), ROW_ROOM);
        let fields = fields(text, &mut own, &mut listed.unread);
        match fields.map_or(Err(None), |fields| row(fields).map_err(Some)) {
            Ok(row) => {
                listed.rows.push(row);
                listed.bytes += own.used() + ROW;
            }
            Err(odd) => {
                let at = odd.as_ref().and_then(created_at).and_then(Timestamp::parse);
                listed.oldest_odd = [listed.oldest_odd, at].into_iter().flatten().min();
                listed.odd.add(|| text.chars().take(MAX_ODD).collect());
                return entries <= MAX_ENTRIES;
            }
        }
        budget.take(own.used() + ROW) && entries <= MAX_ENTRIES
    });
    match all {
        Ok(true) => Ok(listed),
        Ok(false) if entries > MAX_ENTRIES => {
            Err(BodyError::too_large(format!("a list of more than {MAX_ENTRIES} entries")))
        }
        Ok(false) => {
            Err(BodyError::too_large(format!("a list that is too large: {}", JsonError::TooLarge(budget.limit()))))
        }
        Err(why) => Err(BodyError::malformed(format!("a body that is not JSON ({why})"))),
    }
}

/// The fields of an entry, if it is an object. A field that does not fit into a [`Value`] is the text that it came as:
/// what nests too deep, half a surrogate pair, a number beyond all bounds, more memory than there is to be.
fn fields(text: &str, budget: &mut MemoryBudget, unread: &mut MalformedRows) -> Option<Map<String, Value>> {
    match parse_json(text.as_bytes(), budget) {
        Ok(Value::Object(fields)) => return Some(fields),
        Ok(_) => return None,
        Err(_) => {}
    }
    // What stands in one field must not leave those after it without a name.
    let mut names = budget.split_off(NAMES_ROOM);
    let (mut filling, mut texts, mut more) = (MapBuilder { fields: Map::new(), budget: &mut names }, Vec::new(), 0);
    let whole = each_field(text, |name, text| {
        let field = parse_json(text.as_bytes(), budget).unwrap_or_else(|why| {
            // Those of one name are as many as the text has room for.
            if texts.len() < MAX_ODDS {
                texts.push((name.clone(), why));
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
        unread.count += more;
        let id = || fields.get("id").map_or("a row without an id".to_owned(), Value::to_string);
        for (name, why) in texts {
            unread.add(|| format!("{name:?} of {} ({why})", id()).chars().take(MAX_ODD).collect());
        }
    }
    whole.then_some(fields)
}

fn said(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The row that these fields are, unless they have no id.
fn row(fields: Map<String, Value>) -> Result<Row, Map<String, Value>> {
    let id = match fields.get("id") {
        Some(Value::String(id)) if !id.trim().is_empty() && id.len() <= MAX_ID => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(fields),
    };
    let at = created_at(&fields).and_then(Timestamp::parse);
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
        Some(Value::String(text)) => {
            let budget = &mut MemoryBudget::new(text.len(), ROW_ROOM);
            Cow::Owned(parse_json(text.as_bytes(), budget).unwrap_or_default())
        }
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
    let own = fields.get("attachments").and_then(Value::as_array).into_iter().flatten();
    let own = own.filter_map(|entry| Some(attachment(entry["kind"].as_str()?, entry)));
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
mod tests;
