//! JSON in and out. Pure: no I/O, no clock.

mod message;
mod part;
mod record;
mod refusal;
mod reply;

pub use message::Message;
pub(crate) use message::envelope;
pub use part::{File, FileContent, Part};
pub(crate) use record::{Listing, error_words, is_no, listing, object};
pub(crate) use reply::read;
pub use reply::{Queued, Reply, ReplyMessage, Task};
