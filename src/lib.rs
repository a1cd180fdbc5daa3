//! A blocking A2A (agent-to-agent) client for threaded inbox pollers, with no async runtime.
//!
//! Agents live in *workspaces*; a *platform* keeps a registry of them and relays their messages. An agent outside the
//! platform's network polls its inbox from plain threads. For every message that arrives (a *push*) its callback wants to
//! know who is talking (*enrichment*), and may want to answer. Whatever the registry or a peer does, slow, dead, lying or
//! hostile, the callback gets an answer in a bounded time, and never a panic.
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
//! - [`Client`] is one workspace's way to its platform: who a peer is, our own peers, a message to one of them.
//! - [`InboxPoller`] hands every message that arrives to a callback, at least once and in order, and goes on where it was
//!   after a crash.
//! - [`global`] has the functions of the original Python module, over one process-wide client.
//! - [`guide`] has whole programs, and says how to move over from the original.
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
//!    for: twice its length, and four fifths of a TTL at the most. A 429 or 503 with `Retry-After` is obeyed in the
//!    same way, for 60 s at the most. So, where there are background threads, a dead registry stalls a thread for
//!    three lookups, whatever the number of peers.
//! 8. The cache holds 10,000 peers and 64 MiB of records. Past that, peers that nobody has asked for since
//!    they came go first, so that a burst of strangers does not push out the busy ones.
//! 9. [`Client::enrich_nonblocking`] does all of this without ever waiting.
//! 10. A lookup begun before [`Client::forget`] or [`Client::clear`] files nothing.
//!
//! Requests go to the platform's own address only: redirects are not followed, and the environment's
//! proxy is not used (one that was asked for is: [`ClientBuilder::proxy`]).
//!
//! # What a send does
//!
//! 1. Up to five attempts inside one budget, 600 s, to which every timeout and every pause is cut
//!    ([`RetryPolicy`]). A [`CancelToken`] ends it at once.
//! 2. Only failures of the transport are tried again: refused, broken, silent. Never a status, an error of the agent's, or
//!    a body that cannot be read. [`RetryPolicy::honor_retry_after`] also waits where the platform asks for it.
//! 3. Each attempt has the same request and message id, and a connection of its own.
//! 4. [`Error::delivery`] says what is known over all attempts. By default a message that may have arrived is sent again;
//!    where a repeated task does harm, [`RetryPolicy::only_undelivered`] does not.
//! 5. A [`Reply`] is a message, a task, or the word that it is queued; the spellings of protocol 0.3 and 1.0 are read.
//!    0.3 is what is sent.
//!
//! # What a poller does
//!
//! It lists the inbox's rows oldest first, hands each to the callback, and replaces its cursor's file after it. A
//! [`Verdict::Retry`], or a panic, brings the push again after 1, 2, 4 and 8 s; after five tries it is told to
//! [`on_dead_letter`](PollerBuilder::on_dead_letter). [`InboxPoller`] has the promises in full. What a push says is its
//! sender's word: [`InboxMessage::notification`] makes it fit for an agent's prompt.
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
//! A send with a [`CancelToken`] makes each attempt on a thread of its own (`a2a-send`).
//!
//! # Memory and stack
//!
//! A client holds 10,000 peers and 64 MiB of records at the most. Each thread that asks has 130 KiB more, and may hold 1 MiB
//! of records that were replaced. A poller holds a page (32 MiB at the most), and where it looks back 5,000 rows or
//! 32 MiB. Bodies are read up to a limit of each call: 256 KiB for a lookup, 10 MB for a reply or a list. JSON is
//! read 127 levels deep; calls over http get by with 256 KiB of stack for that in an unoptimised build. The crate's own
//! threads have Rust's usual 2 MiB.
//!
//! In a child by fork a client works, and has nothing of what its parent had under way; a [`PollerHandle`] there does
//! nothing, since the poller is its parent's, and the cursor's lock stays with the parent. A fork takes whatever a thread
//! has locked in that very moment with it, as any does: no lock is held while a request is under way or a callback runs.
//! The calls work from destructors of thread-locals and from what runs at exit, and signals do them no harm.
//!
//! Under `panic = "abort"` a panic ends the process, as everywhere: of `ureq` where the system has no threads to give, of
//! a callback, of a logger. With unwinding, the default, each of them is caught.
//!
//! # Hostile answers
//!
//! Whatever the platform or a peer answers, reading it takes eight times its size at the most (twelve, where a page of
//! the inbox is no UTF-8), and besides: 1 MiB for a record, 64 MiB for the list of peers, 16 MiB for what else a caller
//! asked for and for a page of the inbox. Sizes are bounded, too: a record has 256 KiB, a page 32 MiB, all else 10 MB; of
//! a body that says itself that it is longer nothing is read. Of JSON it is lists and maps of tiny values that cost much
//! more than their text. What would exceed the bound is [`ErrorKind::TooLarge`], with the bound in its text. What one peer
//! wrote is its own loss only: its entry in the list of peers is left out and counted ([`Stats::skipped`]), the field of a
//! row in the inbox stays text, and rows that are too much together come in shorter pages.
//!
//! # Features
//!
//! | feature | what it does |
//! | --- | --- |
//! | `rustls` (default) | TLS by rustls, with the Mozilla roots that it ships |
//! | `platform-verifier` | with `rustls`: the system's trust store in place of the Mozilla roots |
//! | `native-tls` | where `rustls` is off: TLS by the system's library and trust store |
//! | `serde` | `serde::Serialize` for what the calls give back, and `Deserialize` for [`PeerId`]; no crate more |
//! | `cli` | the binary `a2a-peer` and what only it needs |
//!
//! Without a TLS feature an https platform URL is refused when the client is built.
//!
//! # Metrics and JSON
//!
//! [`Client::stats`] is a snapshot of plain numbers: a line for a log by `Display`, a page for Prometheus by
//! [`Stats::to_prometheus`]. With the feature `serde` what the platform said ([`Peer`], [`Workspace`], [`Reply`]) is
//! serialised as it came, and what is ours ([`Lookup`], [`InboxMessage`], [`PromptEnvelope`], [`Stats`], [`Settings`], [`Error`], …) as
//! an object with the names of its fields or methods; enums are the words of their `as_str`. Times are seconds. Builders and
//! handles are not serialised.
//!
//! # Logging
//!
//! By the [`log`] crate, under the names of the modules: a filter by the beginnings below holds.
//!
//! | target | levels | what |
//! | --- | --- | --- |
//! | `a2a_blocking::enrich` | debug | a lookup that brought no record, with the URL and why; entries of a list that are none |
//! | `a2a_blocking::http` | debug | a request that is repeated on a fresh connection |
//! | `a2a_blocking::send` | debug | an attempt that failed, and the pause |
//! | `a2a_blocking::platform` | debug | a reply whose id is not the request's |
//! | `a2a_blocking::token` | warn | a token that was refused and cannot be read again; a token file that others may use |
//! | `a2a_blocking::inbox` | error | a push that was given up, a callback that panicked, a cursor that cannot be read or written, a workspace that was removed |
//! | `a2a_blocking::inbox` | warn | the first poll or heartbeat of a series that failed, a gap, an entry that is no row, an answer that was given up |
//! | `a2a_blocking::inbox` | info | the platform answers again |
//! | `a2a_blocking::inbox` | debug | the further polls of such a series, a push that is to come again |
//! | `a2a_blocking::global` | error | an environment that makes no client; once |
//! | `a2a_blocking::global` | debug | a discover that failed |
//!
//! None of it shows the token. The HTTP client below logs too: at debug level `ureq` shows some headers of an answer as
//! they came (`Location`, `Content-Encoding`), and at *trace* level `ureq_proto` dumps all that it writes and reads. The
//! token is put into a request below it, so what is sent is shown with a text in its place that is worth nothing; messages
//! and answers are shown as they are.
//!
//! # Versions
//!
//! Rust 1.85 is the least that it takes; a later one is asked for by a minor release, never by a patch. Versions are
//! semantic: before 1.0 a minor release may break, a patch does not. What counts is the API as documented, with the
//! words of `as_str`, the names of metrics, log targets, JSON fields and environment variables, and the strings of
//! [`global`]. The texts of errors and log lines do not count, nor do the types behind an [`Error`]'s
//! [`source`](std::error::Error::source). Public types of others are `serde_json`'s `Value` and `Map`, of version 1, and
//! with the feature `serde` the traits of `serde` 1. All else stays behind our own types, the HTTP client too. Enums and
//! structs that may grow are `#[non_exhaustive]`.

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
mod token;
mod util;
mod wire;

pub use cancel::CancelToken;
pub use client::{Client, ClientBuilder};
pub use config::Settings;
#[cfg(a2a_simulation)]
#[doc(hidden)]
pub use enrich::simulation;
pub use enrich::{Lookup, LookupSource};
pub use error::{Delivery, Error, ErrorKind, WorkspaceRemoved};
pub use inbox::{
    InboxMessage, InboxMessageKind, InboxPoller, PollSummary, PollerBuilder, PollerHandle, PromptEnvelope, StopReason,
    Verdict,
};
pub use peer::{Peer, PeerId, PeerRef};
pub use platform::Workspace;
pub use retry::RetryPolicy;
pub use send::{SendOptions, SendProgress};
pub use stats::{CircuitState, Stats};
pub use wire::{Attachment, File, FileContent, Message, Part, Queued, Reply, ReplyMessage, Task};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
