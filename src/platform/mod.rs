//! The platform's calls: each makes a request and says what the response means. No retries, no cache.
//!
//! [`response`] decides for all of them what a status or an error object means to the caller.

mod activity;
mod attempt;
mod heartbeat;
mod message;
mod notify;
mod registry;
pub(crate) mod response;
mod state;
mod workspace;

pub(crate) use activity::{ActivityPage, MAX_PAGE, PageRequest, activity};
pub(crate) use attempt::{Attempt, FailedAttempt, RetryHint};
pub(crate) use heartbeat::{Vitals, heartbeat};
pub(crate) use message::{OutgoingMessage, message_path};
pub(crate) use notify::OutgoingNotice;
pub(crate) use registry::Registry;
pub use state::WorkspaceState;
pub(crate) use state::workspace_state;
pub use workspace::Workspace;
pub(crate) use workspace::workspace;
