//! The platform's calls: each makes a request and says what the response means. No retries, no cache.
//!
//! [`response`] decides for all of them what a status or an error object means to the caller.

mod ack;
mod activity;
mod attempt;
mod delegations;
mod files;
mod heartbeat;
mod message;
mod notify;
mod post;
mod probes;
mod queue;
mod register;
mod registry;
mod requests;
pub(crate) mod response;
mod state;
mod uploads;
mod workspace;

pub(crate) use ack::{AckAnswer, acknowledge};
pub(crate) use activity::{ActivityPage, ListEnd, MAX_PAGE, PageRequest, RowDetail, RowsToList, activity};
pub(crate) use attempt::{Attempt, FailedAttempt, RetryHint};
pub use delegations::{DelegatedTask, DelegationEntry, DelegationReceipt};
pub(crate) use delegations::{delegate, delegations, end_delegation};
pub(crate) use files::{ack_file, download, file_id};
pub(crate) use heartbeat::{Vitals, bare_heartbeat, heartbeat};
pub(crate) use message::{OutgoingMessage, message_path};
pub use notify::Notice;
pub(crate) use notify::outgoing_notice;
pub(crate) use probes::{is_origin_of_canvas, probe_events};
pub(crate) use queue::queued_state;
pub use queue::{QueuedOutcome, QueuedState};
pub(crate) use register::{register, update_card};
pub(crate) use registry::Registry;
pub use requests::{NewRequest, RequestAction, RequestDetails, RequestMessage, WorkspaceRequest};
pub(crate) use requests::{
    RequestList, cancel_request, instructions, new_request, request_details, request_message, requests, respond,
};
pub use state::WorkspaceState;
pub(crate) use state::workspace_state;
pub use uploads::UploadedFile;
pub(crate) use uploads::upload;
pub use workspace::Workspace;
pub(crate) use workspace::{WorkspaceAnswer, workspace};
