//! The JSON that is sent and received. Does no I/O and reads no clock.

mod activity;
mod card;
mod json;
mod message;
mod part;
mod received;
pub(crate) mod record;
mod reply;
pub(crate) mod time;

pub(crate) use activity::content::{attachments, message_text};
pub(crate) use activity::row::{
    RowSender, claimed_kind, created_at, delegation_id, delegation_text, has_response, is_numbered,
    is_queued_delegation, request_body, request_metadata, request_origin, sender, text_field,
};
pub(crate) use activity::{ActivityRows, IncomingEnd, IncomingPage, LargeRows, MalformedRows, Row, RowHead};
pub use card::AgentCard;
#[cfg(any(test, fuzzing))]
pub(crate) use json::to_utf8;
pub(crate) use json::{JsonError, MemoryBudget, parse_json};
pub use message::Message;
#[cfg(feature = "serde")]
pub(crate) use message::base64;
pub(crate) use message::{envelope, has_nul};
pub(crate) use part::pending_file;
pub use part::{Attachment, File, FileContent, Part};
pub(crate) use received::ReceivedMessage;
pub(crate) use record::{
    BodyError, CALL_MEMORY, PeerList, RECORD_MEMORY, error_fields, error_text, has_error_text, is_platform_error,
    is_removed_peer, object, objects, peer_list,
};
pub(crate) use reply::read::{MessageAnswer, read_answer};
pub use reply::{Queued, Reply, ReplyMessage, Task};
pub(crate) use time::Timestamp;
#[cfg(feature = "testing")]
pub(crate) use time::{date_of, days_since_1970};
