//! What public data is as JSON (feature `serde`). It is kept stable: fields may be added, none changes.
//!
//! What came from the platform goes out as it came; what is ours has the names that it has here. Left out are builders,
//! handles and what only a callback sees: they are no data.

use std::time::Duration;

use serde_core::de::{Deserialize, Deserializer, Error as _};
use serde_core::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::enrich::{Lookup, LookupSource};
use crate::error::{Delivery, Error, ErrorKind, WorkspaceRemoved};
use crate::inbox::{InboxMessage, InboxMessageKind, PollSummary, PromptEnvelope, StopReason};
use crate::peer::{Peer, PeerId};
use crate::platform::Workspace;
use crate::stats::{CircuitState, Stats};
use crate::wire::{Attachment, File, FileContent, Message, Part, Queued, Reply, ReplyMessage, Task};

/// Its word.
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

/// What an expression makes of it.
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

/// An object of these fields, in this order.
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

as_word!(CircuitState, Delivery, ErrorKind, InboxMessageKind, LookupSource);

as_value! {
    Peer, peer => peer.as_json();
    Workspace, workspace => workspace.as_json();
    Reply, reply => reply.as_json();
    ReplyMessage, message => message.as_json();
    Task, task => task.as_json();
    Queued, queued => queued.as_json();
    Message, message => message.as_json(None);
    Part<'_>, part => part_json(part);
    File<'_>, file => file_json(file);
}

as_object! {
    Lookup, lookup { "peer": lookup.peer, "source": lookup.source, "from_cache": lookup.from_cache }
    Attachment, file { "kind": file.kind, "uri": file.uri, "name": file.name, "media_type": file.media_type }
    InboxMessage, push {
        "activity_id": push.activity_id(),
        "kind": push.kind(),
        "peer": push.peer(),
        "text": push.text(),
        "method": push.method(),
        "created_at": push.created_at(),
        "attachments": push.attachments(),
        "delivery_attempt": push.delivery_attempt(),
        "row": push.row(),
    }
    PromptEnvelope, notification { "content": notification.content(), "meta": notification.meta() }
    PollSummary, polled {
        "delivered": polled.delivered,
        "dead_lettered": polled.dead_lettered,
        "skipped": polled.skipped,
        "has_more": polled.has_more,
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
        "removed": error.removed(),
        "is_transient": error.is_transient(),
    }
    Settings, settings {
        "platform_url": settings.platform_url,
        "workspace_id": settings.workspace_id,
        "org_id": settings.org_id,
        "origin": settings.origin,
        "token_file": settings.token_file.as_ref().map(|path| path.to_string_lossy()),
        "ttl_seconds": settings.ttl.as_secs_f64(),
        "negative_ttl_seconds": settings.negative_ttl.as_secs_f64(),
        "stale_if_error_seconds": settings.stale_if_error.as_secs_f64(),
        "ttl_spread": settings.ttl_spread,
        "lookup_timeout_seconds": settings.lookup_timeout.as_secs_f64(),
        "call_timeout_seconds": settings.call_timeout.as_secs_f64(),
        "circuit_threshold": settings.circuit_threshold,
        "circuit_backoff_seconds": <[Duration; 2]>::from(settings.circuit_backoff).map(|wait| wait.as_secs_f64()),
        "background_threads": settings.background_threads,
        "queue": settings.queue,
        "capacity": settings.capacity,
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
        "dropped": stats.dropped,
        "circuit": stats.circuit,
        "circuit_opened": stats.circuit_opened,
        "longest_wait_seconds": stats.longest_wait.as_secs_f64(),
        "skipped": stats.skipped,
        "entries": stats.entries,
        "bytes": stats.bytes,
        "evictions": stats.evictions,
    }
}

/// In the spelling of protocol 0.3, whichever the agent has.
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

/// As [`PeerId::parse`] reads it.
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        PeerId::parse(&text).map_err(D::Error::custom)
    }
}
