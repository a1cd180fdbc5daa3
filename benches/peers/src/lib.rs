//! What the benches of this package share: how to measure on a noisy machine, the crate's rivals, and how to
//! print what came of it.

pub mod chart;
pub mod ids;
pub mod lookups;
pub mod machine;
mod parse;
pub mod python;
pub mod registry;
pub mod repetition;
pub mod rivals;
pub mod rounds;
pub mod table;
pub mod writer;
