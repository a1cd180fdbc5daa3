//! Parity with the Python module `a2a_client`: its strings, its requests, and its rule of a peer id.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod calls;
mod global;
mod peer_id;
#[path = "../support/mod.rs"]
mod support;
