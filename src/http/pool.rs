//! The agents: their timeouts and their pools.

use std::time::Duration;

use ureq::Agent;

use super::route::Route;
use super::transport;

/// How long an idle connection is kept: shorter than the 5 s and more after which servers commonly close
/// theirs, so that few requests meet a connection that is just being closed.
pub(super) const MAX_IDLE_AGE: Duration = Duration::from_secs(5);
/// Idle connections kept: with `ureq`'s own 3, eight threads opened five new ones a burst (0.04 with 64).
const MAX_IDLE: usize = 64;
/// By how much less than an agent's own bound the time left may be for a request to go by that bound.
const BOUND_SLACK: Duration = Duration::from_millis(1);
/// A message's bounds for connecting, for each write, and for silence, as the original's.
const SEND_CONNECT: Duration = Duration::from_secs(30);
const SEND_WRITE: Duration = Duration::from_secs(30);
pub(crate) const SEND_SILENCE: Duration = Duration::from_secs(300);

/// An agent and the bound that it is set to. Requests that have all of that bound need no settings of their
/// own, and only for those does `ureq` keep its TLS set-up: 17 ms and 2,300 allocations a connection with
/// the system's trust store.
#[derive(Clone)]
pub(super) struct Bounded {
    pub(super) agent: Agent,
    bound: Duration,
}

impl Bounded {
    fn new(config: Config, bound: Duration) -> Self {
        Bounded { agent: transport::agent(config.timeout_global(Some(bound)).build()), bound }
    }

    /// One that keeps its connections for the next request.
    pub(super) fn pooled(route: &Route, bound: Duration) -> Self {
        let config = config(route).max_idle_age(MAX_IDLE_AGE);
        Bounded::new(config.max_idle_connections(MAX_IDLE).max_idle_connections_per_host(MAX_IDLE), bound)
    }

    /// The bound for a request with so much time left, where it is not the agent's own.
    pub(super) fn shorter(&self, left: Duration) -> Option<Duration> {
        (left > self.bound || self.bound - left > BOUND_SLACK).then_some(left)
    }
}

/// Connections for messages: fresh ones, since on a pooled one a request can be lost in the moment of
/// its being closed, and a message, unlike a lookup, cannot be repeated for nothing.
#[derive(Clone)]
pub(crate) struct Wire(pub(super) Bounded);

impl Wire {
    /// A wire that can be shut down without harm to others, for sends of so much time at the most.
    pub(super) fn new(route: &Route, bound: Duration) -> Self {
        let config = config(route)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .timeout_resolve(Some(SEND_CONNECT))
            .timeout_connect(Some(SEND_CONNECT))
            .timeout_per_write(Some(SEND_WRITE))
            .timeout_per_read(Some(SEND_SILENCE));
        Wire(Bounded::new(config, bound))
    }

    /// One that keeps its connections for the next request, for GETs of so much time at the most.
    pub(super) fn pooled(route: &Route, bound: Duration) -> Self {
        Wire(Bounded::pooled(route, bound))
    }

    /// Breaks what is under way, and lets nothing more be sent.
    pub(crate) fn shut_down(self) {
        self.0.agent.shutdown();
    }
}

type Config = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

/// What all agents have in common.
pub(super) fn config(route: &Route) -> Config {
    let config = Agent::config_builder()
        .user_agent(concat!("a2a-blocking/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .accept_encoding("identity")
        // An error status has a body that says why, and a `Retry-After`.
        .http_status_as_error(false)
        // The token goes to the platform and nowhere that it points to.
        .max_redirects(0);
    route.lead(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_all_of_the_bound_needs_no_settings_of_its_own() {
        let by = Bounded { agent: Agent::new_with_defaults(), bound: Duration::from_secs(2) };
        assert_eq!(by.shorter(Duration::from_micros(1_999_990)), None);
        let brief = Duration::from_millis(1_990);
        assert_eq!(by.shorter(brief), Some(brief));
        assert_eq!(by.shorter(brief * 2), Some(brief * 2));
    }
}
