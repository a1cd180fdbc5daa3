//! The changes of a cursor as JSON: one line each, an object with one key, whose value is short.
//!
//! | key | value |
//! | --- | --- |
//! | `anchor` | `["id", "2026-04-30T12:00:00.000000000Z", seq, "open" or "pruned"]`, or `null` |
//! | `listed` | a time, as text |
//! | `handled` | `["id", nanoseconds, seq, "message key", ["boot id", milliseconds]]` |
//! | `tries` | `["id", number]` |
//! | `slow` | `["id", number, ["boot id", milliseconds]]`, or `null` |
//! | `stepped_over` | `["id", nanoseconds, seq, ["boot id", milliseconds]]` |
//! | `broadcasts` | `["id", nanoseconds, seq]`, or `null` |
//! | `upload` | `"id"` |
//! | `acked_seq` | a number |
//! | `message` | `["message key", nanoseconds]` |
//!
//! A `seq` of zero is `null`. Values at the end of a list that are `null` are left out. Nanoseconds count from 1970. Message keys and
//! boot ids are in 32 hexadecimal digits.

use serde_json::{Value, json};

use crate::inbox::feed::RowKey;
use crate::inbox::feed::cursor::saved::{
    Anchor, BootTime, CursorChange, HandledMessage, HandledRow, MessageKey, SlowRow,
};
use crate::util::text::excerpt;
use crate::wire::Timestamp;

/// Returns a change as JSON.
pub(super) fn to_json(change: &CursorChange) -> Vec<u8> {
    let (key, value) = match change {
        CursorChange::Anchor(anchor) => ("anchor", anchor_to_json(anchor.as_ref())),
        CursorChange::Handled(handled) => ("handled", handled_to_json(handled)),
        CursorChange::Attempts(id, attempts) => ("tries", json!([&**id, attempts])),
        CursorChange::SteppedOver(row) => ("stepped_over", row_to_json(row)),
        CursorChange::SlowRow(row) => ("slow", row.as_ref().map_or(Value::Null, slow_to_json)),
        CursorChange::Upload(id) => ("upload", json!(&**id)),
        CursorChange::Broadcasts(row) => ("broadcasts", row.as_ref().map_or(Value::Null, row_to_json)),
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
        "handled" => handled_from_json(value).map(CursorChange::Handled),
        "tries" => attempts_from_json(value),
        "slow" => optional(value, slow_from_json).map(CursorChange::SlowRow),
        "stepped_over" => row_from_json(value).map(CursorChange::SteppedOver),
        "upload" => value.as_str().map(|id| CursorChange::Upload(id.into())),
        "broadcasts" => optional(value, row_from_json).map(CursorChange::Broadcasts),
        "acked_seq" => value.as_i64().map(CursorChange::AckedSeq),
        "listed" => time_from_json(value).map(CursorChange::Listed),
        "message" => message_from_json(value).map(CursorChange::Message),
        _ => return Err(LoadError::OtherRelease(format!("a record {}", excerpt(key)))),
    };
    change.ok_or_else(malformed)
}

/// Returns a list without the values at its end that say nothing.
fn list<const N: usize>(values: [Value; N]) -> Value {
    let length = values.iter().rposition(|value| !value.is_null()).map_or(0, |last| last + 1);
    values.into_iter().take(length).collect()
}

fn anchor_to_json(anchor: Option<&Anchor>) -> Value {
    let Some(anchor) = anchor else { return Value::Null };
    let row = anchor.row();
    let kind = match anchor {
        Anchor::Behind(_) => None,
        Anchor::Open(_) => Some("open"),
        Anchor::Pruned(_) => Some("pruned"),
    };
    list([json!(&*row.id), json!(row.at.to_string()), seq_to_json(row), json!(kind)])
}

fn anchor_from_json(value: &Value) -> Option<Option<Anchor>> {
    if value.is_null() {
        return Some(None);
    }
    let row = RowKey { at: time_from_json(&value[1])?, seq: seq_from_json(&value[2])?, id: value[0].as_str()?.into() };
    match value[3].as_str() {
        None if value[3].is_null() => Some(Some(Anchor::Behind(row))),
        Some("open") => Some(Some(Anchor::Open(row))),
        Some("pruned") => Some(Some(Anchor::Pruned(row))),
        _ => None,
    }
}

fn seq_to_json(row: &RowKey) -> Value {
    json!((row.seq != 0).then_some(row.seq))
}

fn seq_from_json(value: &Value) -> Option<i64> {
    optional(value, Value::as_i64).map(Option::unwrap_or_default)
}

fn handled_to_json(handled: &HandledRow) -> Value {
    let HandledRow { row, message, first_listed } = handled;
    let message = message.map(|key| hex(key.0));
    let first_listed = first_listed.map(boot_time_to_json);
    list([json!(&*row.id), json!(row.at.nanos()), seq_to_json(row), json!(message), json!(first_listed)])
}

fn handled_from_json(value: &Value) -> Option<HandledRow> {
    Some(HandledRow {
        row: row_from_json(value)?,
        message: optional(&value[3], hex_from_json)?.map(MessageKey),
        first_listed: optional(&value[4], boot_time_from_json)?,
    })
}

fn slow_to_json(slow: &SlowRow) -> Value {
    list([json!(&*slow.id), json!(slow.polls), json!(slow.first.map(boot_time_to_json))])
}

fn slow_from_json(value: &Value) -> Option<SlowRow> {
    let polls = value[1].as_u64()?.try_into().ok()?;
    Some(SlowRow { id: value[0].as_str()?.into(), polls, first: optional(&value[2], boot_time_from_json)? })
}

fn boot_time_to_json(at: BootTime) -> Value {
    json!([hex(at.boot), at.millis])
}

fn boot_time_from_json(value: &Value) -> Option<BootTime> {
    Some(BootTime { boot: hex_from_json(&value[0])?, millis: value[1].as_u64()? })
}

fn attempts_from_json(value: &Value) -> Option<CursorChange> {
    Some(CursorChange::Attempts(value[0].as_str()?.into(), value[1].as_u64()?.try_into().ok()?))
}

fn row_to_json(row: &RowKey) -> Value {
    list([json!(&*row.id), json!(row.at.nanos()), seq_to_json(row)])
}

fn row_from_json(value: &Value) -> Option<RowKey> {
    let at = Timestamp::from_nanos(value[1].as_i64()?);
    Some(RowKey { at, seq: seq_from_json(&value[2])?, id: value[0].as_str()?.into() })
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
        let bare = HandledRow::new(RowKey { at: Timestamp::from_nanos(-5), seq: 0, id: "\u{0}\"\n\\é".into() });
        let more = [
            CursorChange::Anchor(None),
            CursorChange::Anchor(Some(Anchor::Behind(bare.row.clone()))),
            CursorChange::Anchor(Some(Anchor::Pruned(bare.row.clone()))),
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
        let row = RowKey { at: Timestamp::from_nanos(1), seq: 0, id: "r".into() };
        let text = |change| String::from_utf8(to_json(&change)).unwrap();
        let anchor = Anchor::Open(RowKey { seq: 7, ..row.clone() });
        assert_eq!(
            text(CursorChange::Anchor(Some(anchor))),
            r#"{"anchor":["r","1970-01-01T00:00:00.000000001Z",7,"open"]}"#
        );
        let first_listed = Some(BootTime { boot: 10, millis: 3 });
        let handled = HandledRow { row: row.clone(), message: Some(MessageKey(255)), first_listed };
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
            r#"{"listed":1,"upload":2}"#,
            r#"{"anchor":["r"]}"#,
            r#"{"anchor":["r","2026-04-30T12:00:00Z","7"]}"#,
            r#"{"anchor":["r","2026-04-30T12:00:00Z",7,true]}"#,
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
