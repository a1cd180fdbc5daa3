//! The inbox poller: delivers every row of our inbox to a callback, at least once and in order.
//!
//! One poll, in `poll`: `feed::lister` lists the next rows, `deliver` calls the callback, and
//! `feed::cursor` records what was acked, which `store` saves to the cursor file.

mod ack;
mod builder;
mod current_delivery;
mod cursor_path;
mod deliver;
pub(crate) mod envelope;
pub(crate) mod feed;
mod handle;
mod health;
mod heartbeat;
mod keeper;
mod kind;
mod loop_brake;
mod message;
mod poll;
mod poller;
mod request_watch;
mod row_filter;
pub(crate) mod store;
mod token_watch;
mod verdict;

pub use builder::PollerBuilder;
pub use envelope::{Boundary, PromptEnvelope};
pub use handle::{PollerHandle, StopReason};
pub use health::{CursorPosition, PollFailure, PollerHealth};
pub use kind::InboxMessageKind;
pub use message::{AuthenticatedUser, InboxMessage};
pub use poll::PollSummary;
pub use poller::InboxPoller;
pub use verdict::{DeadLetterReason, Verdict};
