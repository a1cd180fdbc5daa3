//! A blocking A2A (agent-to-agent) client for threaded inbox pollers, with no async runtime.
//!
//! Agents live in *workspaces*; a *platform* keeps a registry of them and relays their messages. A
//! poller's notification callback wants to know who is talking. [`Client::enrich`] tells it: from a
//! cache in nanoseconds, or by one lookup that is bounded whatever the registry does.
//!
//! ```no_run
//! let client = a2a_blocking::Client::from_env()?;
//! # let peer_id = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
//! if let Some(peer) = client.enrich(peer_id) {
//!     println!("{} ({})", peer.name().unwrap_or("?"), peer.role().unwrap_or("?"));
//! }
//! # Ok::<(), a2a_blocking::Error>(())
//! ```
//!
//! [`InboxPoller`] is the poller itself: it hands every message that arrives in the workspace's inbox to a callback,
//! at least once and in order, and goes on where it was after a crash.
//!
//! # What an enrichment does
//!
//! 1. A text that is no peer id is `None`, and nobody is asked.
//! 2. What is remembered is the answer: a record for its TTL (300 s), and for the negative TTL (the same)
//!    that the registry said no, or that it gave no usable answer.
//! 3. Otherwise there is one lookup, 2 s in all. Threads that miss the same peer together share it.
//! 4. A 401 has the token read again, and the lookup made once more if it changed.
//! 5. A lookup that fails keeps an older record, which serves for up to an hour past its TTL. The registry's
//!    own no drops it at once.
//! 6. A hit in the last fifth of its TTL has the record refreshed in the background, so that a busy peer never
//!    waits. TTLs are shortened by up to 10 %, each by another amount, and the first refresh of a peer comes at
//!    some moment before that last fifth, so that a fleet does not ask as one.
//! 7. After a lookup that was not answered at all, one is made at a time; after three in a row none, but for a
//!    probe after 1 s, 2 s, and so on up to 30 s. Whoever misses meanwhile returns at once, with an older
//!    record or none. Any HTTP status ends it. Peers of whom there is no record are asked for at once in the
//!    background; older records serve on, each until its own moment of the time in which the outage is made up
//!    for: twice its length, and four fifths of a TTL at the most. A 429 or 503 with `Retry-After` is obeyed in the same way, for 60 s at the most. So,
//!    where there are background threads, a dead registry stalls a thread for three lookups, whatever the
//!    number of peers.
//! 8. The cache holds 10,000 peers and 64 MiB of records. Past that, peers that nobody has asked for since
//!    they came go first, so that a burst of strangers does not push out the busy ones.
//! 9. [`Client::enrich_nonblocking`] does all of this without ever waiting.
//! 10. A lookup begun before [`Client::forget`] or [`Client::clear`] files nothing.
//!
//! Requests go to the platform's own address only: redirects are not followed, and the environment's
//! proxy is not used.
//!
//! # Threads
//!
//! Two background threads start when there is first something to do for them, hold the client weakly, and end
//! by themselves when its last handle is gone: at once, or when the lookup that they are in is over. They are
//! never joined, and do not keep a process from ending. A fork is noticed: the child starts its own, and does
//! not use its parent's connections. Where the system has no threads to give, enrichment goes on without them.
//!
//! Each thread that asks keeps up to 2,048 of the answers that it got, in 128 KiB of its own, so that a hit costs it
//! about ten nanoseconds, however many other threads ask for the same peer. A write, [`Client::forget`], an eviction or
//! the end of a client counts in every thread at its next call. Records that are no longer anybody's may stay in
//! memory until the thread asks for something that it does not keep: 1 MiB a thread at the most. A [`Peer`] is best
//! dropped by the thread that asked for it, before it asks for the same one again: it is handed out again then, and no
//! counter is touched that threads share.
//!
//! A poller has a thread (`a2a-in-…`) and one for its heartbeat (`a2a-heartbeat`), and makes each request on a thread
//! of its own, so that a stop need not wait for a connection that does not come about. The callback runs in the
//! poller's thread, with no lock held. [`PollerHandle::stop`] waits for the thread's end, dropping the handle does not.
//!
//! # Features
//!
//! | feature | what it does |
//! | --- | --- |
//! | `rustls` (default) | TLS by rustls, with the Mozilla roots that it ships |
//! | `platform-verifier` | with `rustls`: the system's trust store in place of the Mozilla roots |
//! | `native-tls` | where `rustls` is off: TLS by the system's library and trust store |
//! | `cli` | the binary `a2a-peer` and what only it needs |
//!
//! Without a TLS feature an https platform URL is refused when the client is built.
//!
//! # Logging
//!
//! By the [`log`] crate: a lookup that brought no record at debug, with the URL and what went wrong; a
//! token that cannot be read again at warn; an environment that makes no client at error, once. Of a poller: a
//! poll that failed at warn (the first of a series; the rest at debug), a gap that could not be closed and an entry
//! that is no row at warn, a push that was given up, a callback that panicked and a cursor that cannot be read or
//! written at error. None of it shows the token. The HTTP client below logs too: its target `ureq_proto` at *trace* level dumps every
//! byte that is sent, the token among them, so keep that target at debug; and `ureq` at debug level shows some
//! headers of an answer as they came (`Location`, `Content-Encoding`).

mod cache;
mod cancel;
mod client;
mod clock;
mod config;
mod enrich;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod global;
mod http;
mod inbox;
mod peer;
mod random;
mod registry;
mod retry;
mod rpc;
mod send;
mod stats;
mod sync;
mod token;
mod wire;
mod workspace;

pub use cancel::CancelToken;
pub use client::Client;
pub use config::ClientBuilder;
#[doc(hidden)]
pub use enrich::simulation;
pub use enrich::{Lookup, Source};
pub use error::{Delivery, Error, ErrorKind, Removed};
pub use inbox::{InboxPoller, Notification, Polled, PollerBuilder, PollerHandle, Push, PushKind, StopReason, Verdict};
pub use peer::{Peer, PeerId, PeerRef};
pub use retry::RetryPolicy;
pub use send::{Progress, SendOptions};
pub use stats::{CircuitState, Stats};
pub use wire::{Attachment, File, FileContent, Message, Part, Queued, Reply, ReplyMessage, Task};
pub use workspace::Workspace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
