//! `serde::Serialize` for the public data (feature `serde`).
//!
//! The JSON is stable: fields may be added, and none changes. The platform's data is serialised as it came, and ours
//! under the names of its fields and methods. Builders, handles and types that only a callback sees are not serialised.

use std::time::Duration;

use serde_core::de::{Deserialize, Deserializer, Error as _};
use serde_core::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::enrich::{Lookup, LookupSource};
use crate::error::{Delivery, Error, ErrorKind, WorkspaceRemoved};
use crate::inbox::{
    AuthenticatedUser, CursorPosition, InboxMessage, InboxMessageKind, PollFailure, PollSummary, PollerHealth,
    PromptEnvelope, StopReason,
};
use crate::peer::{Peer, PeerId};
use crate::platform::{
    DelegationEntry, DelegationReceipt, QueuedOutcome, QueuedState, RequestAction, RequestDetails, RequestMessage,
    UploadedFile, Workspace, WorkspaceRequest, WorkspaceState,
};
use crate::stats::{CircuitState, InboxStats, SkippedRows, Stats};
use crate::util::clock::unix_seconds;
use crate::wire::{AgentCard, Attachment, File, FileContent, Message, Part, Queued, Reply, ReplyMessage, Task};

/// Serialises an enum as its word.
macro_rules! as_word {
    ($($name:ident),+) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )+};
}

/// Serialises a type as the value of an expression.
macro_rules! as_value {
    ($($name:ty, $this:ident => $value:expr;)+) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self;
                ($value).serialize(serializer)
            }
        }
    )+};
}

/// Serialises a type as an object with these fields, in this order.
macro_rules! as_object {
    ($($name:ty, $this:ident { $($field:literal: $value:expr),+ $(,)? })+) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self;
                let mut object = serializer.serialize_map(None)?;
                $(object.serialize_entry($field, &$value)?;)+
                object.end()
            }
        }
    )+};
}

as_word!(CircuitState, Delivery, ErrorKind, InboxMessageKind, LookupSource, QueuedOutcome, RequestAction);

as_value! {
    Peer, peer => peer.as_json();
    Workspace, workspace => workspace.as_json();
    WorkspaceState, state => state.as_json();
    WorkspaceRequest, request => request.as_json();
    RequestMessage, message => message.as_json();
    DelegationEntry, entry => entry.as_json();
    Reply, reply => reply.as_json();
    ReplyMessage, message => message.as_json();
    Task, task => task.as_json();
    Queued, queued => queued.as_json();
    QueuedState, state => state.as_json();
    Message, message => message.as_json(None);
    AgentCard, card => card.as_json();
    Part<'_>, part => part_json(part);
    File<'_>, file => file_json(file);
}

as_object! {
    Lookup, lookup { "peer": lookup.peer, "source": lookup.source, "from_cache": lookup.from_cache }
    RequestDetails, details { "request": details.request, "messages": details.messages }
    DelegationReceipt, receipt {
        "delegation_id": receipt.delegation_id,
        "status": receipt.status,
        "is_repeat": receipt.is_repeat,
    }
    UploadedFile, file { "uri": file.uri, "name": file.name, "media_type": file.media_type, "size": file.size }
    Attachment, file {
        "kind": file.kind,
        "uri": file.uri,
        "bytes": file.bytes.as_deref().map(crate::wire::base64),
        "name": file.name,
        "media_type": file.media_type,
        "size": file.size,
    }
    AuthenticatedUser<'_>, user { "id": user.id, "email": user.email, "username": user.username }
    InboxMessage, message {
        "activity_id": message.activity_id(),
        "message_id": message.message_id(),
        "context_id": message.context_id(),
        "task_id": message.task_id(),
        "kind": message.kind(),
        "peer": message.peer(),
        "user": message.user(),
        "source": message.source(),
        "delegation_id": message.delegation_id(),
        "error_detail": message.error_detail(),
        "text": message.text(),
        "method": message.method(),
        "created_at": message.created_at(),
        "attachments": message.attachments(),
        "delivery_attempt": message.delivery_attempt(),
        "row": message.row(),
    }
    PromptEnvelope, envelope { "content": envelope.content(), "meta": envelope.meta() }
    SkippedRows, rows {
        "malformed": rows.malformed,
        "notices": rows.notices,
        "own": rows.own,
        "own_uploads": rows.own_uploads,
        "answered": rows.answered,
        "queued_delegations": rows.queued_delegations,
        "repeats": rows.repeats,
    }
    PollSummary, summary {
        "delivered": summary.delivered,
        "dead_lettered": summary.dead_lettered,
        "skipped": summary.skipped,
        "skipped_by": summary.skipped_by,
        "has_more": summary.has_more,
    }
    WorkspaceRemoved, removed { "id": removed.id, "removed_at": removed.removed_at, "hint": removed.hint }
    StopReason, reason {
        "reason": match reason { StopReason::Stopped => "stopped", StopReason::Removed(_) => "removed" },
        "removed": match reason { StopReason::Stopped => None, StopReason::Removed(removed) => Some(removed) },
    }
    Error, error {
        "kind": error.kind(),
        "message": error.to_string(),
        "status": error.status(),
        "retry_after_seconds": error.retry_after().map(|wait| wait.as_secs_f64()),
        "body_snippet": error.body_snippet(),
        "attempts": error.attempts(),
        "delivery": error.delivery(),
        "rpc_code": error.rpc_code(),
        "rpc_data": error.rpc_data(),
        "removed": error.removed(),
        "is_transient": error.is_transient(),
    }
    Settings, settings {
        "platform_url": settings.platform_url,
        "workspace_id": settings.workspace_id,
        "org_id": settings.org_id,
        "origin": settings.origin,
        "token_file": settings.token_file.as_ref().map(|path| path.to_string_lossy()),
        "cursor_dir": settings.cursor_dir.as_ref().map(|path| path.to_string_lossy()),
        "ttl_seconds": settings.ttl.as_secs_f64(),
        "negative_ttl_seconds": settings.negative_ttl.as_secs_f64(),
        "error_ttl_seconds": settings.error_ttl.as_secs_f64(),
        "stale_if_error_seconds": settings.stale_if_error.as_secs_f64(),
        "ttl_spread": settings.ttl_spread,
        "lookup_timeout_seconds": settings.lookup_timeout.as_secs_f64(),
        "call_timeout_seconds": settings.call_timeout.as_secs_f64(),
        "circuit_threshold": settings.circuit_threshold,
        "circuit_backoff_seconds": <[Duration; 2]>::from(settings.circuit_backoff).map(|wait| wait.as_secs_f64()),
        "background_threads": settings.background_threads,
        "queue": settings.queue,
        "capacity": settings.capacity,
        "max_request": settings.max_request,
        "max_answer": settings.max_answer,
    }
    Stats, stats {
        "fresh": stats.fresh,
        "stale": stats.stale,
        "absent": stats.absent,
        "unknown": stats.unknown,
        "lookups": stats.lookups,
        "found": stats.found,
        "failed_connect": stats.failed_connect,
        "failed_timeout": stats.failed_timeout,
        "failed_broken": stats.failed_broken,
        "failed_status": stats.failed_status,
        "failed_body": stats.failed_body,
        "failed_internal": stats.failed_internal,
        "coalesced": stats.coalesced,
        "refreshes": stats.refreshes,
        "shed": stats.shed,
        "rate_limit_shed": stats.rate_limit_shed,
        "rate_limited": stats.rate_limited,
        "rate_limit_left": stats.rate_limit_left,
        "dropped": stats.dropped,
        "circuit": stats.circuit,
        "circuit_opened": stats.circuit_opened,
        "longest_wait_seconds": stats.longest_wait.as_secs_f64(),
        "skipped": stats.skipped,
        "entries": stats.entries,
        "bytes": stats.bytes,
        "evictions": stats.evictions,
        "inbox": stats.inbox,
    }
    InboxStats, stats {
        "polls": stats.polls,
        "failed_polls": stats.failed_polls,
        "consecutive_failures": stats.consecutive_failures,
        "deliveries": stats.deliveries,
        "acked": stats.acked,
        "dead_lettered": stats.dead_lettered,
        "skipped": stats.skipped,
        "skipped_by": stats.skipped_by,
        "failed_replies": stats.failed_replies,
        "braked_replies": stats.braked_replies,
        "heartbeats": stats.heartbeats,
        "failed_heartbeats": stats.failed_heartbeats,
        "since_success_seconds": stats.since_success.map(|time| time.as_secs_f64()),
        "last_success_timestamp_seconds": stats.last_success.map(unix_seconds),
    }
    PollerHealth, health {
        "uptime_seconds": health.uptime.as_secs_f64(),
        "since_success_seconds": health.since_success.map(|time| time.as_secs_f64()),
        "consecutive_failures": health.consecutive_failures,
        "last_failure": health.last_failure,
        "in_callback_seconds": health.in_callback.map(|time| time.as_secs_f64()),
        "cursor": health.cursor,
        "is_cursor_failing": health.is_cursor_failing,
        "since_heartbeat_seconds": health.since_heartbeat.map(|time| time.as_secs_f64()),
        "heartbeat_failures": health.heartbeat_failures,
        "workspace_status": health.workspace_status,
        "is_paused": health.is_paused,
        "circuit": health.circuit,
    }
    PollFailure, failure {
        "kind": failure.kind,
        "status": failure.status,
        "message": failure.message,
        "ago_seconds": failure.ago.as_secs_f64(),
    }
    CursorPosition, cursor { "activity_id": cursor.activity_id, "created_at": cursor.created_at }
}

/// Returns a part as JSON of protocol 0.3, also for an agent of another version.
fn part_json(part: &Part<'_>) -> Value {
    match part {
        Part::Text(text) => json!({ "kind": "text", "text": text }),
        Part::Data(data) => json!({ "kind": "data", "data": data }),
        Part::File(file) => json!({ "kind": "file", "file": file_json(file) }),
        Part::Other(other) => (*other).clone(),
    }
}

fn file_json(file: &File<'_>) -> Value {
    let (field, content) = match &file.content {
        FileContent::Bytes(bytes) => ("bytes", crate::wire::base64(bytes)),
        FileContent::Uri(uri) => ("uri", (*uri).to_owned()),
    };
    json!({ "name": file.name, "mimeType": file.media_type, field: content })
}

#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Deserialises as [`PeerId::parse`] parses.
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        PeerId::parse(&text).map_err(D::Error::custom)
    }
}
