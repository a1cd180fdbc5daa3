//! A blocking client for external agents of the Molecule platform (today EnterOS), without an async runtime.
//!
//! Agents live in *workspaces* of a *platform*, which keeps a registry of them and relays their
//! [A2A](https://a2a-protocol.org) messages. An external agent runs elsewhere and acts as one workspace.
//!
//! Use this crate in programs that talk to agents from plain threads: a thread polls an inbox, hands each message to a
//! callback, and the callback looks up the sender and answers.
//!
//! ```no_run
//! use a2a_blocking::{Client, InboxPoller, Verdict};
//!
//! let poller = InboxPoller::builder(Client::from_env()?).spawn(|message| {
//!     // No sender can forge the header line. The body is still the sender's words.
//!     println!("{}", message.envelope().content());
//!     Verdict::after(message.reply("on it"))
//! })?;
//! println!("ended: {:?}", poller.join());
//! # Ok::<(), a2a_blocking::Error>(())
//! ```
//!
//! # What you get
//!
//! | | |
//! | --- | --- |
//! | [`Client`] | one workspace of a platform: who is a peer, send, notify |
//! | [`InboxPoller`] | every message to a callback, at least once, in order, across crashes |
//! | [`global`] | drop-in names of the Python module `a2a_client` |
//! | [`guide`] | each subject in depth, and whole programs |
//!
//! # Promises
//!
//! - **Bounded.** A cached answer takes nanoseconds, any other lookup at most 2 s, a send at most its budget (600 s), DNS
//!   included. Memory is bounded, too: [`guide::limits_and_memory`].
//! - **Honest.** Every error of a send says what is known of the delivery: [`Error::delivery`].
//! - **Quiet failure is a bug.** What is skipped, dropped or repeated is counted ([`Stats`]) or logged.
//!
//! No call panics, and each ends in time, also if the platform or a peer is slow, dead, lying or hostile:
//! [`guide::failure_behaviour`].
//!
//! # Features
//!
//! | feature | effect |
//! | --- | --- |
//! | `rustls` (default) | TLS by rustls, with the Mozilla roots that it ships |
//! | `platform-verifier` | with `rustls`: the system's trust store in place of the Mozilla roots |
//! | `native-tls` | if `rustls` is off: TLS by the system's library and trust store |
//! | `serde` | `serde::Serialize` for what the calls return, and `Deserialize` for [`PeerId`]; adds no crate |
//! | `testing` | the module `testing`: the platform in process, for tests; adds no crate |
//! | `cli` | the binary `a2a-peer`, the crates that only it needs, and `testing` |
//!
//! Without a TLS feature an https platform URL is refused when the client is built.
//!
//! # The guide
//!
//! - Use it: [enrichment](guide::enrichment), [sending](guide::sending), [requests](guide::requests),
//!   [inbox](guide::inbox), [settings](guide::settings).
//! - Run it: [containers](guide::containers), [observability](guide::observability),
//!   [failure behaviour](guide::failure_behaviour), [limits and memory](guide::limits_and_memory).
//! - Decide: [the platform's protocol](guide::platform), [stability](guide::stability),
//!   [migration](guide::migration), [comparison](guide::comparison).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod cache;
mod cancel;
mod client;
mod config;
mod enrich;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod global;
pub mod guide;
mod http;
mod inbox;
mod peer;
mod platform;
mod retry;
mod send;
#[cfg(feature = "serde")]
mod serde_impl;
mod stats;
#[cfg(any(test, fuzzing))]
mod test_util;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod token;
mod util;
mod wire;

pub use cancel::CancelToken;
pub use client::{Client, ClientBuilder, PlatformFile};
pub use config::Settings;
#[cfg(a2a_simulation)]
#[doc(hidden)]
pub use enrich::simulation;
pub use enrich::{Lookup, LookupSource};
pub use error::{Delivery, Error, ErrorKind, WorkspaceRemoved};
pub use inbox::{
    AuthenticatedUser, Boundary, CursorPosition, DeadLetterReason, InboxMessage, InboxMessageKind, InboxPoller,
    PollFailure, PollSummary, PollerBuilder, PollerHandle, PollerHealth, PromptEnvelope, StopReason, Verdict,
};
pub use peer::{Peer, PeerId, PeerRef};
pub use platform::{
    DelegatedTask, DelegationEntry, DelegationReceipt, NewRequest, Notice, QueuedOutcome, QueuedState, RequestAction,
    RequestDetails, RequestMessage, UploadedFile, Workspace, WorkspaceRequest, WorkspaceState,
};
pub use retry::RetryPolicy;
pub use send::{SendOptions, SendProgress};
pub use stats::{CircuitState, InboxStats, SkippedRows, Stats};
pub use wire::{AgentCard, Attachment, File, FileContent, Message, Part, Queued, Reply, ReplyMessage, Task};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
