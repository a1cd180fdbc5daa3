//! JSON in and out. Pure: no I/O, no clock.

mod activity;
mod json;
mod message;
mod part;
pub(crate) mod record;
mod reply;
pub(crate) mod time;

pub use activity::Attachment;
pub(crate) use activity::{
    Listed, MalformedRows, Row, activity, attachments, body_text, created_at, request_body, source, text,
};
pub(crate) use json::{JsonError, MemoryBudget, parse_json};
pub use message::Message;
#[cfg(feature = "serde")]
pub(crate) use message::base64;
pub(crate) use message::envelope;
pub use part::{File, FileContent, Part};
pub(crate) use record::{BodyError, CALL_MEMORY, PeerList, RECORD_MEMORY, error_text, has_error, object, peer_list};
pub(crate) use reply::read::{MessageAnswer, read_answer};
pub use reply::{Queued, Reply, ReplyMessage, Task};
pub(crate) use time::Timestamp;
