//! The platform's calls: a request in, a typed outcome out. No retry, no cache.

mod activity;
mod message;
mod notify;
mod registry;
mod workspace;

pub(crate) use activity::{ActivityPage, MAX_PAGE, Position, activity};
pub(crate) use message::{Failed, Outgoing, RetryHint, message_path};
pub(crate) use notify::{Vitals, heartbeat, notify};
pub(crate) use registry::Registry;
pub use workspace::Workspace;
pub(crate) use workspace::workspace;
