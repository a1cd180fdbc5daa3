//! A message as it is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::part::read::text;
use crate::util::text::strip;

/// Deepest nesting of a message's data. Most JSON parsers stop at 128 levels, some of which the request takes.
pub(super) const MAX_DEPTH: usize = 120;

/// A message to a peer: its parts, and the conversation and task that they belong to.
///
/// ```
/// use a2a_blocking::Message;
/// use serde_json::json;
///
/// let message = Message::from("please look at this")
///     .data(json!({ "ticket": 4211 }))
///     .file_uri("log.txt", "text/plain", "https://files.example/log.txt")
///     .context_id("c-7")
///     .metadata("urgency", json!("low"));
/// assert_eq!(message.part_count(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Message {
    parts: Vec<Value>,
    message_id: Option<String>,
    context_id: Option<String>,
    task_id: Option<String>,
    reference_task_ids: Vec<String>,
    metadata: Map<String, Value>,
    /// True if its role is `agent`: it answers another agent. Otherwise its role is `user`.
    by_agent: bool,
}

impl Message {
    /// Creates a message without parts. Add at least one before it is sent.
    pub fn new() -> Self {
        Message::default()
    }

    /// Adds a text part.
    ///
    /// A message whose parts are all empty or blank texts is refused when it is sent.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.part(json!({ "kind": "text", "text": text.into() }))
    }

    /// Adds a part of structured data.
    ///
    /// A message whose data nests deeper than 118 levels is refused when it is sent.
    pub fn data(self, data: Value) -> Self {
        self.part(json!({ "kind": "data", "data": data }))
    }

    /// Adds a file with its contents.
    ///
    /// They are sent as base64, which is a third longer. A request takes at most 1 MiB in all
    /// ([`max_request`](crate::ClientBuilder::max_request)).
    pub fn file_bytes(self, name: impl Into<String>, media_type: impl Into<String>, bytes: &[u8]) -> Self {
        let file = json!({ "name": name.into(), "mimeType": media_type.into(), "bytes": base64(bytes) });
        self.part(json!({ "kind": "file", "file": file }))
    }

    /// Adds a file by its address.
    pub fn file_uri(self, name: impl Into<String>, media_type: impl Into<String>, uri: impl Into<String>) -> Self {
        let file = json!({ "name": name.into(), "mimeType": media_type.into(), "uri": uri.into() });
        self.part(json!({ "kind": "file", "file": file }))
    }

    /// Adds a part in its JSON form, which is sent unchanged.
    pub fn part(mut self, part: Value) -> Self {
        self.parts.push(part);
        self
    }

    /// Sets the id of the conversation that the message belongs to. An empty one counts as none.
    pub fn context_id(mut self, id: impl Into<String>) -> Self {
        self.context_id = non_empty(id);
        self
    }

    /// Sets the id of the task that the message continues. An empty one counts as none.
    ///
    /// The receiver must know the task, and it must not have ended: an agent refuses the message otherwise. To name
    /// another task, use [`reference_task_id`](Message::reference_task_id).
    pub fn task_id(mut self, id: impl Into<String>) -> Self {
        self.task_id = non_empty(id);
        self
    }

    /// Adds the id of a task that the message is about, and does not continue. An empty one is left out.
    ///
    /// It is sent among the message's `referenceTaskIds`, which a receiver may use and need not know.
    pub fn reference_task_id(mut self, id: impl Into<String>) -> Self {
        self.reference_task_ids.extend(non_empty(id));
        self
    }

    /// Adds a field of metadata. A field of the same name is replaced.
    pub fn metadata(mut self, field: impl Into<String>, value: Value) -> Self {
        self.metadata.insert(field.into(), value);
        self
    }

    /// Sets the message's id, by which a receiver recognises a repeat.
    ///
    /// Default, also for an empty one: a new UUID for each send. All attempts of one send have the same id. A message whose
    /// id is above 255 bytes is refused when it is sent.
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = non_empty(id);
        self
    }

    /// Sets the role `agent`: the message answers another agent. The default is `user`.
    pub(crate) fn by_agent(mut self) -> Self {
        self.by_agent = true;
        self
    }

    /// Returns the JSON form of the message. `message_id` is its id, unless it has one already.
    pub(crate) fn as_json(&self, message_id: Option<&str>) -> Map<String, Value> {
        let Message { parts, message_id: own_id, context_id, task_id, reference_task_ids, metadata, by_agent } = self;
        let mut fields = Map::new();
        fields.insert("role".into(), if *by_agent { "agent" } else { "user" }.into());
        fields.extend(own_id.as_deref().or(message_id).map(|id| ("messageId".into(), id.into())));
        fields.insert("parts".into(), parts.clone().into());
        fields.extend(context_id.iter().map(|id| ("contextId".into(), id.as_str().into())));
        fields.extend(task_id.iter().map(|id| ("taskId".into(), id.as_str().into())));
        if !reference_task_ids.is_empty() {
            fields.insert("referenceTaskIds".into(), reference_task_ids.as_slice().into());
        }
        if !metadata.is_empty() {
            fields.insert("metadata".into(), metadata.clone().into());
        }
        fields
    }

    /// Returns whether the data or the metadata nests deeper than [`MAX_DEPTH`] levels.
    pub(crate) fn is_too_deep(&self) -> bool {
        is_deeper_than(self.parts.iter().chain(self.metadata.values()).collect(), MAX_DEPTH)
    }

    /// Returns whether each part is a text that is empty or blank.
    pub(crate) fn is_blank(&self) -> bool {
        self.parts.iter().all(|part| text(part).is_some_and(|text| strip(text).is_empty()))
    }

    /// Returns the id that the message was given.
    pub(crate) fn own_id(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    /// Returns the number of parts.
    #[must_use]
    pub fn part_count(&self) -> usize {
        self.parts.len()
    }
}

/// A message with one text part.
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Message::new().text(text)
    }
}

/// A message with one text part.
impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::new().text(text)
    }
}

fn non_empty(id: impl Into<String>) -> Option<String> {
    Some(id.into()).filter(|id| !id.is_empty())
}

/// Encodes the bytes of a file part.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Returns whether some of the values nest deeper than `depth` levels.
///
/// Walks level by level, not recursively, since a deep value could exhaust the stack.
pub(super) fn is_deeper_than(values: Vec<&Value>, depth: usize) -> bool {
    let mut level = values;
    for _ in 0..depth {
        level = level.into_iter().flat_map(children).collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Returns the body of the JSON-RPC request `message/send`. It is the same for each attempt of a send.
pub(crate) fn envelope(message: &Message, request_id: &str, message_id: &str) -> Vec<u8> {
    let fields = message.as_json(Some(message_id));
    let request =
        json!({ "jsonrpc": "2.0", "id": request_id, "method": "message/send", "params": { "message": fields } });
    request.to_string().into_bytes()
}

/// Returns whether a text or a name in JSON that `serde_json` wrote has U+0000, which is the escape `\u0000` there.
pub(crate) fn has_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        rest = &rest[at..];
        if rest.starts_with(br"\u0000") {
            return true;
        }
        // The escaped character, which may be a backslash, begins no escape.
        rest = rest.get(2..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_found_in_every_text_and_name() {
        for (message, has) in [
            (Message::from("a\0b"), true),
            (Message::from("x").data(json!({ "a": [{ "\0": 1 }] })), true),
            (Message::from("x").file_uri("\0", "text/plain", "u"), true),
            (Message::from("x").metadata("k", json!("\\\0")), true),
            (Message::from("x").context_id("\0"), true),
            (Message::from(r"\u0000 \\u0000 \"), false),
            (Message::from("\u{1}\u{10000}\"\\"), false),
        ] {
            assert_eq!(has_nul(&envelope(&message, "r", "m")), has, "{message:?}");
        }
        assert!(!has_nul(b"\\") && !has_nul(b""));
    }

    #[test]
    fn envelope_of_a_text_is_that_of_the_python_module() {
        let bytes = envelope(&Message::from("a \"b\"\r\n"), "r", "m");
        let expected = json!({ "jsonrpc": "2.0", "id": "r", "method": "message/send", "params": { "message": {
            "role": "user", "messageId": "m", "parts": [{ "kind": "text", "text": "a \"b\"\r\n" }] } } });
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), expected);
    }

    #[test]
    fn data_nested_beyond_the_limit_is_recognised() {
        let nested = |depth| (0..depth).fold(json!(1), |value, _| json!([value]));
        assert!(!Message::from("x").data(nested(118)).metadata("k", nested(119)).is_too_deep());
        assert!(Message::from("x").data(nested(119)).is_too_deep());
        assert!(Message::from("x").metadata("k", nested(1_000)).is_too_deep());
    }

    /// An agent takes an empty task id for that of a task.
    #[test]
    fn empty_ids_are_left_out() {
        let message = Message::from("x").context_id("").task_id("").reference_task_id("").message_id("");
        assert_eq!(envelope(&message, "r", "m"), envelope(&Message::from("x"), "r", "m"));
    }

    #[test]
    fn only_a_message_without_words_data_and_files_is_blank() {
        for blank in
            [Message::from(""), Message::from(" \n\u{a0}\u{1c}"), Message::from("").part(json!({ "text": "\t" }))]
        {
            assert!(blank.is_blank(), "{blank:?}");
        }
        for message in [
            Message::from("x"),
            Message::from("").text("x"),
            Message::from("").data(json!(null)),
            Message::new().file_bytes("", "", b""),
            Message::new().part(json!({ "kind": "later" })),
            Message::from("\u{200b}"),
        ] {
            assert!(!message.is_blank(), "{message:?}");
        }
    }

    #[test]
    fn every_setter_reaches_the_request() {
        let message = Message::new()
            .text("t")
            .data(json!([1]))
            .file_bytes("f", "text/plain", b"\x00\xff")
            .file_uri("g", "image/png", "https://h/g")
            .part(json!({ "kind": "later" }))
            .context_id("c")
            .task_id("k")
            .reference_task_id("other")
            .message_id("own")
            .metadata("a", json!(1));
        let sent: Value = serde_json::from_slice(&envelope(&message, "r", "m")).unwrap();
        let expected = json!({ "role": "user", "messageId": "own", "contextId": "c", "taskId": "k",
            "referenceTaskIds": ["other"], "metadata": { "a": 1 }, "parts": [
                { "kind": "text", "text": "t" },
                { "kind": "data", "data": [1] },
                { "kind": "file", "file": { "name": "f", "mimeType": "text/plain", "bytes": "AP8=" } },
                { "kind": "file", "file": { "name": "g", "mimeType": "image/png", "uri": "https://h/g" } },
                { "kind": "later" },
            ] });
        assert_eq!(sent["params"]["message"], expected);
    }
}
