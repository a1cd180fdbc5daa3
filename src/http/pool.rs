//! Connections to the platform, with the timeouts that their requests share.

use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

use super::route::Route;
use super::transport::exchange::ShutdownFlag;
use super::transport::{self, MAX_IDLE_AGE};

/// Number of idle connections that are kept.
///
/// With the 3 that `ureq` keeps by default, a burst of eight threads opened five new connections. With 64 it opened 0.04.
const MAX_IDLE: usize = 64;
/// Output buffer of a request that must have a fresh connection, in bytes.
///
/// `ureq` reuses a connection only for a request with the same settings. Another size than the pool's keeps the request
/// away from the kept connections, and leaves those in place.
pub(super) const FRESH_BUFFER: usize = 128 * 1024 + 1;
/// Largest difference between a request's time and its pool's bound for which the request uses that bound.
const BOUND_SLACK: Duration = Duration::from_millis(1);
/// Timeout for resolving a name, and another for connecting, for connections that are used once. As in the Python module
/// `a2a_client`.
const ONE_SHOT_CONNECT: Duration = Duration::from_secs(30);
/// Timeout for connecting, for bodies that come for long.
const LONG_CONNECT: Duration = Duration::from_secs(5);
/// Timeout for resolving a name, for bodies that come for long. The system asks its next name server after 5 s, so that the
/// answer of the second one comes later than that.
const LONG_RESOLVE: Duration = Duration::from_secs(10);
/// Timeout for each write, for connections that are used once. As in the Python module `a2a_client`.
const ONE_SHOT_WRITE: Duration = Duration::from_secs(30);
/// Longest wait for the next byte, for connections that are used once. As in the Python module `a2a_client`.
const ONE_SHOT_SILENCE: Duration = Duration::from_secs(300);

/// Connections to the platform, and the time that a request over them usually has.
///
/// Clones share the connections. A request that has all of the pool's bound needs no settings besides the pool's. `ureq`
/// keeps its TLS set-up only for such requests; with the system's trust store the set-up costs 17 ms and 2,300 allocations
/// a connection.
#[derive(Clone)]
pub(crate) struct Pool {
    pub(super) agent: Agent,
    /// Time that a request has in all.
    pub(super) bound: Duration,
    /// Longest wait for the next byte of a response. `None` where only the bound limits it.
    silence: Option<Duration>,
    pub(super) shutdown: ShutdownFlag,
}

impl Pool {
    /// Returns a pool that keeps its connections for the next request, for GETs.
    pub(super) fn kept_alive(route: &Route, bound: Duration) -> Self {
        let config = config(route)
            .max_idle_age(MAX_IDLE_AGE)
            .max_idle_connections(MAX_IDLE)
            .max_idle_connections_per_host(MAX_IDLE);
        Pool::new(config, bound, None)
    }

    /// Returns a pool that opens a connection for each request, for POSTs.
    ///
    /// A server may close a kept connection while a request is on its way. A lost lookup is simply repeated, but a message
    /// must not be sent twice without need.
    pub(super) fn one_shot(route: &Route, bound: Duration) -> Self {
        let config = config(route)
            .max_idle_connections(0)
            .timeout_resolve(Some(ONE_SHOT_CONNECT))
            .timeout_connect(Some(ONE_SHOT_CONNECT))
            .timeout_per_write(Some(ONE_SHOT_WRITE))
            .timeout_per_read(Some(ONE_SHOT_SILENCE));
        Pool::new(config, bound, Some(ONE_SHOT_SILENCE))
    }

    /// Returns a pool like [`kept_alive`](Self::kept_alive) for bodies that come for long. A connection is waited for 5 s, and
    /// its address 10 s. The head of a response is waited for as long as `head`, and its body may be silent for at most
    /// `silence`.
    pub(super) fn kept_alive_for_long(route: &Route, bound: Duration, head: Duration, silence: Duration) -> Self {
        let config = config(route)
            .max_idle_age(MAX_IDLE_AGE)
            .timeout_resolve(Some(LONG_RESOLVE))
            .timeout_connect(Some(LONG_CONNECT))
            .timeout_per_write(Some(ONE_SHOT_WRITE))
            .timeout_recv_response(Some(head))
            .timeout_per_read(Some(head.max(silence)));
        Pool::new(config, bound, Some(head.max(silence)))
    }

    fn new(config: ConfigBuilder<AgentScope>, bound: Duration, silence: Option<Duration>) -> Self {
        let agent = transport::agent(config.timeout_global(Some(bound)).build());
        Pool { agent, bound, silence, shutdown: ShutdownFlag::default() }
    }

    /// Breaks the exchanges under way, and fails every later one.
    ///
    /// An exchange that looks a name up or connects notices it within a tenth of a second.
    pub(crate) fn shut_down(&self) {
        self.shutdown.set();
        self.agent.clone().shutdown();
    }

    /// Returns whether the pool's own timeouts serve a request that has `left` and allows `silence`.
    pub(super) fn fits(&self, left: Duration, silence: Option<Duration>) -> bool {
        let bound_fits = left <= self.bound && self.bound - left <= BOUND_SLACK;
        bound_fits && (silence.is_none() || silence == self.silence)
    }
}

/// Returns whether a connection that an exchange left at `last` can still be in a pool at `now`, by `millis_up`.
pub(super) fn is_within_idle_age(last: u64, now: u64) -> bool {
    last != 0 && Duration::from_millis(now.saturating_sub(last)) <= MAX_IDLE_AGE
}

/// Returns the settings that all pools share.
pub(super) fn config(route: &Route) -> ConfigBuilder<AgentScope> {
    let config = Agent::config_builder()
        .user_agent(concat!("a2a-blocking/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .accept_encoding("identity")
        // An error status has a body that says why, and a `Retry-After`.
        .http_status_as_error(false)
        // The token goes to the platform only, never to an address that the platform names.
        .max_redirects(0);
    route.apply(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_with_the_pools_own_bound_needs_no_other_settings() {
        let silence = Some(Duration::from_secs(9));
        let pool = Pool { silence, ..Pool::one_shot(&Route::direct().unwrap(), Duration::from_secs(2)) };
        let bound = Duration::from_micros(1_999_990);
        assert!(pool.fits(bound, None) && pool.fits(bound, silence));
        assert!(!pool.fits(bound, Some(Duration::from_secs(8))));
        let brief = Duration::from_millis(1_990);
        assert!(!pool.fits(brief, None) && !pool.fits(brief * 2, None));
    }

    #[test]
    fn connection_may_be_kept_for_the_maximum_idle_age() {
        assert!(!is_within_idle_age(0, 1), "nothing was exchanged yet");
        assert!(is_within_idle_age(1, 1) && is_within_idle_age(1, 5_001));
        assert!(!is_within_idle_age(1, 5_002));
    }
}
