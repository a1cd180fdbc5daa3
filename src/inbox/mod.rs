//! The inbox poller: every row of our inbox to a callback, at least once and in order.

mod builder;
mod deliver;
pub(crate) mod envelope;
pub(crate) mod feed;
mod handle;
mod heartbeat;
mod message;
mod poller;
pub(crate) mod store;

pub use builder::PollerBuilder;
pub use deliver::Verdict;
pub use envelope::PromptEnvelope;
pub use handle::{PollerHandle, StopReason};
pub use message::{InboxMessage, InboxMessageKind};
pub use poller::{InboxPoller, PollSummary};
