//! The record of what arrived where, for tests.

use super::json::Json;
use super::row::FeedRow;
use crate::util::text::floor_char_boundary;

/// A row that the platform wrote, in the order of writing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// Workspace in whose inbox the row is.
    pub workspace_id: String,
    /// The row's id.
    pub row_id: String,
    /// The row's number on the platform.
    pub seq: u64,
    /// Type of the row, such as `a2a_receive`.
    pub activity_type: String,
    /// Method of the row, such as `message/send`, or empty.
    pub method: String,
    /// Workspace that sent it, if one did.
    pub source_id: Option<String>,
    /// The sender's id of the message, if it has one.
    pub message_id: Option<String>,
    /// Text of the message: that of its parts, one line each, up to 64 KiB. Empty for other rows.
    pub text: String,
}

impl LedgerEntry {
    pub(super) fn new(row: &FeedRow) -> Self {
        LedgerEntry {
            workspace_id: row.workspace_id.clone(),
            row_id: row.id.clone(),
            seq: row.seq,
            activity_type: row.activity_type.clone(),
            method: row.method.clone().unwrap_or_default(),
            source_id: row.source_id.clone(),
            message_id: row.message_id.clone(),
            text: row.text.clone(),
        }
    }
}

/// A message that a program sent over HTTP and the platform accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentMessage {
    /// Workspace that sent it. `None` for a human.
    pub from: Option<String>,
    /// Workspace that it is for. `None` for the human of the sender's canvas (`notify`).
    pub to: Option<String>,
    /// Text of the message: that of its parts, one line each, up to 64 KiB.
    pub text: String,
    /// The sender's id of the message. Empty for a notice.
    pub message_id: String,
    /// The id of the message that this one answers: `metadata.in_reply_to`.
    pub in_reply_to: Option<String>,
}

impl SentMessage {
    /// The message of a request to the relay, whose body is complete.
    pub(super) fn of_request(from: Option<&str>, to: &str, body: &Json) -> Self {
        let message = body.get("params").and_then(|params| params.get("message"));
        let field = |key: &str| message.and_then(|message| message.get(key)).and_then(Json::as_str);
        let metadata = message.and_then(|message| message.get("metadata"));
        SentMessage {
            from: from.map(str::to_owned),
            to: Some(to.to_owned()),
            text: text_of(body),
            message_id: field("messageId").unwrap_or_default().to_owned(),
            in_reply_to: metadata.and_then(|data| data.get("in_reply_to")).and_then(Json::as_str).map(str::to_owned),
        }
    }
}

/// The longest text that the ledger keeps, in bytes.
const LONGEST_TEXT: usize = 64 << 10;

/// Returns the text of a message's parts, one line each, up to 64 KiB.
pub(super) fn text_of(body: &Json) -> String {
    let parts = body.get("params").and_then(|params| params.get("message")).and_then(|message| message.get("parts"));
    let texts = parts.map(Json::items).unwrap_or_default().iter();
    let texts = texts.filter_map(|part| part.get("text").and_then(Json::as_str));
    let mut out = String::new();
    for (at, text) in texts.enumerate() {
        out.push_str(if at > 0 { "\n" } else { "" });
        let room = LONGEST_TEXT.saturating_sub(out.len());
        out.push_str(text.get(..floor_char_boundary(text, room)).unwrap_or(""));
    }
    out
}
