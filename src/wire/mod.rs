//! JSON in and out. Pure: no I/O, no clock.

mod activity;
mod message;
mod part;
mod record;
#[cfg(any(test, fuzzing))]
pub(crate) mod record_fuzz;
mod refusal;
mod reply;
#[cfg(any(test, fuzzing))]
pub(crate) mod reply_fuzz;
mod time;
#[cfg(any(test, fuzzing))]
pub(crate) mod time_fuzz;
mod value;

pub use activity::Attachment;
pub(crate) use activity::{Listed, Odd, Row, activity, attachments, body_text, created_at, request_body, source, text};
pub use message::Message;
#[cfg(feature = "serde")]
pub(crate) use message::base64;
pub(crate) use message::envelope;
pub use part::{File, FileContent, Part};
pub(crate) use record::{CALL_ROOM, Listing, RECORD_ROOM, error_words, is_no, listing, object};
pub(crate) use reply::read;
pub use reply::{Queued, Reply, ReplyMessage, Task};
pub(crate) use time::Moment;
pub(crate) use value::{Allowance, Unread, value};
