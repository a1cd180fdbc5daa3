//! The rows of the inbox that are not delivered: those that we made ourselves, and those that need no answer.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::kind::{is_delegation, is_ours, method};
use crate::stats::SkipReason;
use crate::util::recent_texts::RecentTexts;
use crate::wire::{self, RowSender};

/// Decides which rows are delivered.
pub(super) struct RowFilter {
    /// Our own id.
    pub(super) workspace_id: String,
    /// True if what we sent to ourselves is delivered.
    pub(super) delivers_own: bool,
    /// Addresses of the files that we uploaded.
    pub(super) own_uploads: Arc<RecentTexts>,
}

impl RowFilter {
    /// Returns why a row is not delivered, or `None` if it is.
    ///
    /// A notice has no sender; a peer that calls the method `notify` makes a [call](crate::InboxMessageKind::Call). A row
    /// that has an answer was answered by a push agent: the platform writes answers of nobody else, but for delegations.
    pub(super) fn skip_reason(&self, fields: &Map<String, Value>) -> Option<SkipReason> {
        let has_no_sender = matches!(wire::sender(fields), RowSender::Absent | RowSender::Blank);
        match method(fields) {
            Some("notify") if has_no_sender => Some(SkipReason::Notice),
            Some("delegate_result") if is_delegation(fields, &self.workspace_id) => {
                wire::is_queued_delegation(fields).then_some(SkipReason::QueuedDelegation)
            }
            _ if wire::has_response(fields) => Some(SkipReason::Answered),
            Some("chat_upload_receive") if has_no_sender && self.is_own_upload(fields) => Some(SkipReason::OwnUpload),
            _ if !self.delivers_own && is_ours(fields, &self.workspace_id) => Some(SkipReason::Own),
            _ => None,
        }
    }

    fn is_own_upload(&self, fields: &Map<String, Value>) -> bool {
        wire::request_body(fields)["uri"].as_str().is_some_and(|uri| self.own_uploads.contains(uri))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    const SELF: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
    const QUEUED: &str = r#"{"delivery_mode":"poll","method":"message/send","status":"queued"}"#;

    #[test]
    fn each_row_that_is_not_delivered_has_its_reason() {
        let filter = RowFilter { workspace_id: SELF.to_owned(), delivers_own: false, own_uploads: Arc::default() };
        filter.own_uploads.add("ours");
        let result = |text: &str| json!({ "seq": 7, "method": "delegate_result", "source_id": SELF, "response_body": { "text": text } });
        for (row, reason) in [
            (json!({ "method": "notify" }), Some(SkipReason::Notice)),
            (
                json!({ "method": "notify", "source_id": "", "response_body": { "result": "x" } }),
                Some(SkipReason::Notice),
            ),
            (json!({ "method": "notify", "source_id": PEER }), None),
            (json!({ "method": "notify", "source_id": 7 }), None),
            (json!({ "method": "message/send", "source_id": SELF }), Some(SkipReason::Own)),
            (json!({ "source_id": SELF.to_uppercase() }), Some(SkipReason::Own)),
            (json!({ "source_id": format!("\n{SELF}\u{1f}") }), Some(SkipReason::Own)),
            (json!({ "method": "delegate_result", "source_id": SELF }), None),
            (json!({ "method": "message/send" }), None),
            (json!({}), None),
            (result(QUEUED), Some(SkipReason::QueuedDelegation)),
            (
                result(r#" {"status":"queued","delivery_mode":"poll","method":"message/stream"}"#),
                Some(SkipReason::QueuedDelegation),
            ),
            (result(r#"{"delivery_mode":"poll","method":"message/send","status":"queued","more":1}"#), None),
            (result(r#"{"delivery_mode":"poll","method":"message/send","status":"done"}"#), None),
            (result(r#"{"delivery_mode":"poll","status":"queued"}"#), None),
            (result(&format!("{QUEUED}{}", " ".repeat(300))), None),
            (result("done"), None),
            (result(""), None),
            // A peer can call any method. Such a row is no delegation's.
            (
                json!({ "seq": 7, "method": "delegate_result", "source_id": PEER, "response_body": { "text": QUEUED } }),
                Some(SkipReason::Answered),
            ),
            (
                json!({ "method": "message/send", "source_id": PEER, "response_body": { "result": {} } }),
                Some(SkipReason::Answered),
            ),
            (json!({ "method": "message/send", "source_id": PEER, "response_body": {} }), Some(SkipReason::Answered)),
            (json!({ "method": "message/send", "source_id": PEER, "response_body": null }), None),
            (
                json!({ "method": "chat_upload_receive", "request_body": { "uri": "ours" } }),
                Some(SkipReason::OwnUpload),
            ),
            (json!({ "method": "chat_upload_receive", "request_body": { "uri": "theirs" } }), None),
            (json!({ "method": "chat_upload_receive", "source_id": PEER, "request_body": { "uri": "ours" } }), None),
        ] {
            let Value::Object(fields) = row else { panic!("{row}") };
            assert_eq!(filter.skip_reason(&fields), reason, "{fields:?}");
        }
        let filter = RowFilter { delivers_own: true, ..filter };
        let own = json!({ "method": "message/send", "source_id": SELF });
        assert_eq!(filter.skip_reason(own.as_object().unwrap()), None);
    }
}
