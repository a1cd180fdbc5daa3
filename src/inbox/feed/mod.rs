//! The feed of rows: which rows come next, and which were handled.

pub(crate) mod cursor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod lister;
mod newest;
mod page_size;
mod reorder_buffer;

pub(super) use lister::{Batch, Lister};
