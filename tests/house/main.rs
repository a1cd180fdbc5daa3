//! The structure of the crate, checked on its source text.
//!
//! - [`floors`]: which room (a module of the crate's root) may import which.
//! - [`circles`]: no circle of imports among the files of a room.
//! - [`effects`]: which files may do I/O, read clocks, hold locks or catch panics.
//! - [`files`]: the length of files, and no `#[path]`.
//! - [`names`]: one name for one type, and no two functions that differ by an underscore.
//! - [`unversioned`]: one folder uses the part of `ureq` that a minor version may change, and lists what it uses.
//! - [`words`]: text of others in log lines and errors.
//! - [`docs`]: the table of log targets, and the links of the Markdown files.
//!
//! Each check returns what it found wrong, and has a self-test on a small tree that it must object to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod circles;
mod docs;
mod effects;
mod files;
mod floors;
mod names;
mod source;
mod tree;
mod unversioned;
mod words;

/// Fails with one line for each fault.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
