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

#[cfg(any(test, fuzzing))]
pub(crate) mod activity_fuzz;
mod builder;
mod cursor;
#[cfg(any(test, fuzzing))]
pub(crate) mod cursor_fuzz;
mod deliver;
mod disk;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod file_fuzz;
mod handle;
mod heartbeat;
mod held;
mod limit;
mod listing;
mod newest;
mod notification;
#[cfg(any(test, fuzzing))]
pub(crate) mod notification_fuzz;
mod poller;
mod push;

pub use builder::PollerBuilder;
pub use deliver::Verdict;
pub use handle::{PollerHandle, StopReason};
pub use notification::Notification;
pub use poller::{InboxPoller, Polled};
pub use push::{Push, PushKind};
