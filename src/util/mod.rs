//! Building blocks that know nothing of agents, peers or platforms.

pub(crate) mod circuit_breaker;
pub(crate) mod clock;
pub(crate) mod failure_series;
pub(crate) mod log_safe;
pub(crate) mod panic;
pub(crate) mod random;
pub(crate) mod recent_texts;
pub(crate) mod single_flight;
pub(crate) mod str_enum;
pub(crate) mod sync;
pub(crate) mod text;
pub(crate) mod thread_group;
