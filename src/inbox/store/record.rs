//! The changes of a cursor as JSON: one line each, an object with one key, whose value is short.
//!
//! | key | value |
//! | --- | --- |
//! | `anchor`, `broadcasts` | `["id", "2026-04-30T12:00:00.000000000Z", seq, is_open]`, or `null` |
//! | `floor`, `listed` | a time, as text |
//! | `handled` | `["id", nanoseconds, seq, "message key", ["boot id", milliseconds]]` |
//! | `tries` | `["id", number]` |
//! | `stepped_over` | `["id", nanoseconds]` |
//! | `upload` | `"id"` |
//! | `acked_seq` | a number |
//! | `message` | `["message key", nanoseconds]` |
//!
//! Values at the end of a list that are `null` or `false` are left out. Nanoseconds count from 1970. Message keys and
//! boot ids are in 32 hexadecimal digits.

use serde_json::{Value, json};

use crate::inbox::feed::RowKey;
use crate::inbox::feed::cursor::saved::{AnchorRow, BootTime, CursorChange, HandledMessage, HandledRow, MessageKey};
use crate::util::text::excerpt;
use crate::wire::Timestamp;

/// Returns a change as JSON.
pub(super) fn to_json(change: &CursorChange) -> Vec<u8> {
    let (key, value) = match change {
        CursorChange::Anchor(anchor) => ("anchor", anchor_to_json(anchor.as_ref())),
        CursorChange::Floor(at) => ("floor", json!(at.to_string())),
        CursorChange::Handled(handled) => ("handled", handled_to_json(handled)),
        CursorChange::Attempts(id, attempts) => ("tries", json!([&**id, attempts])),
        CursorChange::SteppedOver(row) => ("stepped_over", json!([&*row.id, row.at.nanos()])),
        CursorChange::Upload(id) => ("upload", json!(&**id)),
        CursorChange::Broadcasts(anchor) => ("broadcasts", anchor_to_json(anchor.as_ref())),
        CursorChange::AckedSeq(seq) => ("acked_seq", json!(seq)),
        CursorChange::Listed(at) => ("listed", json!(at.to_string())),
        CursorChange::Message(message) => ("message", json!([hex(message.key.0), message.at.nanos()])),
    };
    json!({ key: value }).to_string().into_bytes()
}

/// Why a cursor file cannot be used.
#[derive(Debug, PartialEq)]
pub(super) enum LoadError {
    /// It cannot be read, for this reason.
    Unreadable(String),
    /// It belongs to the workspace of this id.
    OtherWorkspace(String),
    /// Another release wrote it: it has this.
    OtherRelease(String),
}

/// Returns the change that a line's JSON describes.
pub(super) fn from_json(value: &Value) -> Result<CursorChange, LoadError> {
    let malformed = || LoadError::OtherRelease(format!("the record {}", excerpt(value)));
    let mut fields = value.as_object().ok_or_else(malformed)?.iter();
    let (Some((key, value)), None) = (fields.next(), fields.next()) else { return Err(malformed()) };
    let change = match key.as_str() {
        "anchor" => anchor_from_json(value).map(CursorChange::Anchor),
        "floor" => time_from_json(value).map(CursorChange::Floor),
        "handled" => handled_from_json(value).map(CursorChange::Handled),
        "tries" => attempts_from_json(value),
        "stepped_over" => row_from_json(value).map(CursorChange::SteppedOver),
        "upload" => value.as_str().map(|id| CursorChange::Upload(id.into())),
        "broadcasts" => anchor_from_json(value).map(CursorChange::Broadcasts),
        "acked_seq" => value.as_i64().map(CursorChange::AckedSeq),
        "listed" => time_from_json(value).map(CursorChange::Listed),
        "message" => message_from_json(value).map(CursorChange::Message),
        _ => return Err(LoadError::OtherRelease(format!("a record {}", excerpt(key)))),
    };
    change.ok_or_else(malformed)
}

/// Returns a list without the values at its end that say nothing.
fn list<const N: usize>(values: [Value; N]) -> Value {
    let says_something = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    let length = values.iter().rposition(says_something).map_or(0, |last| last + 1);
    values.into_iter().take(length).collect()
}

fn anchor_to_json(anchor: Option<&AnchorRow>) -> Value {
    let Some(AnchorRow { row, seq, is_open }) = anchor else { return Value::Null };
    list([json!(&*row.id), json!(row.at.to_string()), json!(seq), json!(is_open)])
}

fn anchor_from_json(value: &Value) -> Option<Option<AnchorRow>> {
    if value.is_null() {
        return Some(None);
    }
    let row = RowKey { id: value[0].as_str()?.into(), at: time_from_json(&value[1])? };
    Some(Some(AnchorRow { row, seq: optional(&value[2], Value::as_i64)?, is_open: value[3] == true }))
}

fn handled_to_json(handled: &HandledRow) -> Value {
    let HandledRow { row, seq, message, first_listed } = handled;
    let message = message.map(|key| hex(key.0));
    let first_listed = first_listed.map(|at| json!([hex(at.boot), at.millis]));
    list([json!(&*row.id), json!(row.at.nanos()), json!(seq), json!(message), json!(first_listed)])
}

fn handled_from_json(value: &Value) -> Option<HandledRow> {
    Some(HandledRow {
        row: row_from_json(value)?,
        seq: optional(&value[2], Value::as_i64)?,
        message: optional(&value[3], hex_from_json)?.map(MessageKey),
        first_listed: optional(&value[4], |at| {
            Some(BootTime { boot: hex_from_json(&at[0])?, millis: at[1].as_u64()? })
        })?,
    })
}

fn attempts_from_json(value: &Value) -> Option<CursorChange> {
    Some(CursorChange::Attempts(value[0].as_str()?.into(), value[1].as_u64()?.try_into().ok()?))
}

fn row_from_json(value: &Value) -> Option<RowKey> {
    Some(RowKey { id: value[0].as_str()?.into(), at: Timestamp::from_nanos(value[1].as_i64()?) })
}

fn message_from_json(value: &Value) -> Option<HandledMessage> {
    let key = MessageKey(hex_from_json(&value[0])?);
    Some(HandledMessage { key, at: Timestamp::from_nanos(value[1].as_i64()?) })
}

fn time_from_json(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse)
}

/// Reads a value that may be missing. Returns `None` if it is there and malformed.
fn optional<'a, T>(value: &'a Value, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<Option<T>> {
    if value.is_null() { Some(None) } else { read(value).map(Some) }
}

/// Returns a number in 32 hexadecimal digits.
pub(super) fn hex(number: u128) -> String {
    format!("{number:032x}")
}

/// Reads what [`hex`] writes.
pub(super) fn hex_from_json(value: &Value) -> Option<u128> {
    let text = value.as_str()?;
    let number = u128::from_str_radix(text, 16).ok()?;
    (hex(number) == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::feed::cursor::saved::tests::each_change;

    #[test]
    fn each_change_is_read_back() {
        let bare = HandledRow::new(RowKey { at: Timestamp::from_nanos(-5), id: "\u{0}\"\n\\é".into() });
        let more = [
            CursorChange::Anchor(None),
            CursorChange::Anchor(Some(AnchorRow::new(bare.row.clone()))),
            CursorChange::Handled(bare),
        ];
        for change in each_change().into_iter().chain(more) {
            let json = to_json(&change);
            assert!(!json.contains(&b'\n') && json.len() < 160, "{}", String::from_utf8_lossy(&json));
            assert_eq!(from_json(&serde_json::from_slice(&json).unwrap()), Ok(change));
        }
    }

    #[test]
    fn format_is_as_documented() {
        let row = RowKey { at: Timestamp::from_nanos(1), id: "r".into() };
        let text = |change| String::from_utf8(to_json(&change)).unwrap();
        let anchor = AnchorRow { row: row.clone(), seq: Some(7), is_open: true };
        assert_eq!(
            text(CursorChange::Anchor(Some(anchor))),
            r#"{"anchor":["r","1970-01-01T00:00:00.000000001Z",7,true]}"#
        );
        let first_listed = Some(BootTime { boot: 10, millis: 3 });
        let handled = HandledRow { row: row.clone(), seq: None, message: Some(MessageKey(255)), first_listed };
        assert_eq!(
            text(CursorChange::Handled(handled)),
            r#"{"handled":["r",1,null,"000000000000000000000000000000ff",["0000000000000000000000000000000a",3]]}"#
        );
        assert_eq!(text(CursorChange::Handled(HandledRow::new(row))), r#"{"handled":["r",1]}"#);
    }

    #[test]
    fn unknown_and_malformed_records_are_errors() {
        let read = |text: &str| from_json(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"moon\n":1}"#), Err(LoadError::OtherRelease(r"a record moon\n".to_owned())));
        for text in [
            "[]",
            "{}",
            r#"{"floor":1,"listed":2}"#,
            r#"{"anchor":["r"]}"#,
            r#"{"anchor":["r","2026-04-30T12:00:00Z","7"]}"#,
            r#"{"handled":["r",1,1,"ff"]}"#,
            r#"{"handled":["r",1,1,null,["a",1]]}"#,
            r#"{"tries":["r",-1]}"#,
            r#"{"acked_seq":1.5}"#,
            r#"{"message":["+0000000000000000000000000000000",1]}"#,
        ] {
            assert_eq!(read(text), Err(LoadError::OtherRelease(format!("the record {text}"))));
        }
    }
}
