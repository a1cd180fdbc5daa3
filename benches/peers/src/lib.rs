//! Shared code of this package's benches: measuring on a noisy machine, the crate's rivals, and printing results.

#[cfg(feature = "rivals")]
pub mod chart;
pub mod ids;
#[cfg(feature = "rivals")]
pub mod lookups;
#[cfg(feature = "rivals")]
pub mod machine;
#[cfg(feature = "rivals")]
mod parse;
#[cfg(feature = "rivals")]
pub mod python;
pub mod registry;
#[cfg(feature = "rivals")]
pub mod repetition;
#[cfg(feature = "rivals")]
pub mod rivals;
#[cfg(feature = "rivals")]
pub mod rounds;
#[cfg(feature = "rivals")]
pub mod table;
#[cfg(feature = "rivals")]
pub mod writer;
