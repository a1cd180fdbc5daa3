//! The inbox poller: every row of our inbox to a callback, at least once and in order.

/// Logs, and does not mind a logger that panics.
macro_rules! say {
    ($level:ident, $($words:tt)+) => {
        drop(crate::error::guard(|| {
            log::$level!($($words)+);
            Ok(())
        }))
    };
}

mod builder;
mod cursor;
mod deliver;
mod disk;
mod file;
mod handle;
mod heartbeat;
mod held;
mod limit;
mod listing;
mod notification;
mod poller;
mod push;

pub use builder::PollerBuilder;
pub use deliver::Verdict;
pub use handle::{PollerHandle, StopReason};
pub use notification::Notification;
pub use poller::{InboxPoller, Polled};
pub use push::{Push, PushKind};
