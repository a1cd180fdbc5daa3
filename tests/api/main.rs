//! The public types: the traits that users rely on, their words, and their JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[cfg(feature = "serde")]
mod json;
#[path = "../support/mod.rs"]
mod support;
mod traits;
