//! The activity feed: which rows are next (`lister`), and which are acked (`cursor`).

mod batch;
pub(crate) mod cursor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod lister;
mod reorder_buffer;

pub(super) use batch::{Batch, MalformedLog, RowKey};
pub(super) use lister::Lister;

#[cfg(test)]
pub(super) use batch::{Coverage, ListedRow};
