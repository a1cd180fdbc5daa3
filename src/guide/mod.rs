//! Whole programs, and how to move over from the original. There is no code here.
//!
//! The programs are run by the tests as they stand here, against a platform on loopback.
//!
//! # A poller that answers
//!
//! `WORKSPACE_ID`, `PLATFORM_URL` and the token's file come from the environment; the cursor is kept beside the token.
//!
//! ```no_run
#![doc = include_str!("../../tests/programs/poller.rs")]
//! ```
//!
//! # A cron job that reports the team's state
//!
//! ```no_run
#![doc = include_str!("../../tests/programs/team.rs")]
//! ```
//!
//! # A bridge between two workspaces
//!
//! A client has one workspace and a cache of its own, since what one workspace may see of a peer another may not.
//!
//! ```no_run
#![doc = include_str!("../../tests/programs/bridge.rs")]
//! ```
//!
//! # Moving over from the original
//!
//! [`global`](crate::global) has the original module's functions under their names, and answers in its strings: put
//! it in the module's place first, and take up the right column where a caller wants to know more.
//!
//! | the original | here, in the same strings | here, typed |
//! | --- | --- | --- |
//! | `enrich_peer_metadata(id)` | [`global::enrich_peer_metadata`](crate::global::enrich_peer_metadata) | [`Client::enrich`](crate::Client::enrich), [`lookup`](crate::Client::lookup) |
//! | `enrich_peer_metadata_nonblocking(id)` | [`global::enrich_peer_metadata_nonblocking`](crate::global::enrich_peer_metadata_nonblocking) | [`Client::enrich_nonblocking`](crate::Client::enrich_nonblocking) |
//! | `discover_peer(id)` | [`global::discover_peer`](crate::global::discover_peer) | [`Client::discover`](crate::Client::discover) |
//! | `send_a2a_message(id, text)` | [`global::send_a2a_message`](crate::global::send_a2a_message) | [`Client::send`](crate::Client::send), [`send_with`](crate::Client::send_with) |
//! | `get_peers()` | [`global::get_peers`](crate::global::get_peers) | [`Client::peers`](crate::Client::peers) |
//! | `get_peers_with_diagnostic()` | [`global::get_peers_with_diagnostic`](crate::global::get_peers_with_diagnostic) | [`Client::peers`](crate::Client::peers); the diagnostic is the error's text |
//! | `get_workspace_info()` | [`global::get_workspace_info`](crate::global::get_workspace_info) | [`Client::workspace`](crate::Client::workspace) |
//! | `agent_card_url_for(id)` | [`global::agent_card_url_for`](crate::global::agent_card_url_for) | [`Client::discover_url`](crate::Client::discover_url) |
//! | `validate_peer_id(id)` | [`global::validate_peer_id`](crate::global::validate_peer_id) | [`PeerId::parse`](crate::PeerId::parse) |
//!
//! The strings of `send_a2a_message`: the reply's text as it is; `(no response)` where there is none; `[A2A_ERROR] …
//! [target=URL]`; `[A2A_QUEUED] target=URL method=METHOD`. A caller that looks for the prefix goes on working:
//!
//! ```
//! use a2a_blocking::global;
//!
//! let answer = global::send_a2a_message("ops-agent", "who is on call?");
//! assert_eq!(answer, "[A2A_ERROR] invalid peer_id (expected UUID): 'ops-agent'");
//! assert_eq!(global::validate_peer_id(" 3F2B8C1A-5D4E-4F6A-9B7C-8D9E0F1A2B3C ").as_deref(),
//!     Some("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c"));
//! ```
//!
//! What is unlike the original, on purpose:
//!
//! - A send keeps to its 600 s; the original can overrun them by an attempt. Its message id is the same in each attempt.
//! - A dead registry stalls a thread for three lookups, not 2 s a peer, and an older record serves meanwhile.
//! - The cache is bounded, and threads that miss together share one request.
//! - A 401 has the token read again, and never costs a known record.
//! - Queued and task replies are told from empty ones. A list is no record for `discover`.
//! - A card's URL is refused for what is no UUID. A missing `WORKSPACE_ID` is an error value, not a crash at import.
