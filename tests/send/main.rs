//! Sending: retries, the delivery that is reported, the budget, and cancellation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod attempts;
mod cancel;
mod recorded;
#[path = "../support/mod.rs"]
mod support;
