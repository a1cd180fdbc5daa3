//! Requests, delegations, uploads, notices with files, and instructions: the calls beside messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod downloads;
mod faults;
mod platform;
#[path = "../support/poll.rs"]
mod poll;
mod recorded;
#[path = "../support/mod.rs"]
mod support;
mod uploads;
mod watch;
