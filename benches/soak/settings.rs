//! The settings of the clients under test, and the times that follow from them.

use std::time::Duration;

use a2a_blocking::ClientBuilder;

/// Time to live of a record.
pub const TTL: Duration = Duration::from_secs(2);
/// Time to live of the registry's own no.
pub const NEGATIVE_TTL: Duration = Duration::from_secs(1);
/// Time past its TTL for which a record is still served while the registry does not answer.
pub const STALE_IF_ERROR: Duration = Duration::from_secs(6);
/// Bound of one lookup.
pub const LOOKUP: Duration = Duration::from_millis(500);
/// First and longest backoff of the circuit breaker.
const CIRCUIT_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Time after a fault until no failure of a lookup has an effect any more.
///
/// By then each remembered failure has expired (`NEGATIVE_TTL`) and the circuit has probed: its longest backoff and a
/// quarter, 1.25 s, with a lookup before and after it. The refreshes that fell due are made up for: four fifths of a TTL
/// at most, 1.6 s. The rest is for a busy machine, 0.65 s.
pub const SETTLE: Duration = Duration::from_millis(4_500);

/// Error of the crate's coarse clock. Ages do not depend on the scheduler, so nothing is added for it.
pub const CLOCK_ERROR: Duration = Duration::from_millis(50);

/// Applies the settings to a client's builder.
pub fn apply(builder: ClientBuilder) -> ClientBuilder {
    builder
        .ttl(TTL)
        .negative_ttl(NEGATIVE_TTL)
        .stale_if_error(STALE_IF_ERROR)
        .lookup_timeout(LOOKUP)
        .circuit_backoff(CIRCUIT_BACKOFF.0, CIRCUIT_BACKOFF.1)
}
