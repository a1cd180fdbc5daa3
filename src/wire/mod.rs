//! JSON in and out. Pure: no I/O, no clock.

mod record;

pub(crate) use record::{error_words, is_no, object};
