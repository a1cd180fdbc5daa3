//! Looks names up within the exchange's deadline.
//!
//! Behind a proxy `ureq` gives the resolver the connect timeout as it was at the start of the exchange, although other
//! steps have used a part of it. A `ureq` that passes on what is left would make this module unnecessary.

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::deadline::cap_to_deadline;

/// A resolver that takes no longer than the exchange that its thread is in.
#[derive(Debug, Default)]
pub(super) struct DeadlineResolver<T>(T);

impl<T: Resolver> Resolver for DeadlineResolver<T> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.0.resolve(uri, config, cap_to_deadline(timeout))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;
    use ureq::Agent;
    use ureq::unversioned::transport::{ConnectionDetails, Connector};

    use super::*;
    use crate::http::pool::Pool;
    use crate::http::route::Route;
    use crate::http::transport::exchange::ExchangeGuard;
    use crate::http::transport::test_socket::TestSocket;
    use crate::util::clock::Deadline;

    /// A resolver that records the time that it is given, and answers at once.
    #[derive(Debug, Default, Clone)]
    struct RecordingResolver(Arc<Mutex<Vec<Duration>>>);

    impl Resolver for RecordingResolver {
        fn resolve(&self, _: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            self.0.lock().push(*timeout.after);
            let mut addresses = self.empty();
            addresses.push(([127, 0, 0, 1], 1).into());
            Ok(addresses)
        }
    }

    #[derive(Debug)]
    struct NoConnector;

    impl Connector for NoConnector {
        type Out = TestSocket;

        fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<TestSocket>, Error> {
            Err(Error::ConnectionFailed)
        }
    }

    #[test]
    fn resolver_gets_the_time_left_to_the_exchange() {
        for (left, longest) in [(5, 5), (3_600, 60)] {
            let resolver = RecordingResolver::default();
            let config = Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).proxy(None).build();
            let agent = Agent::with_parts(config, NoConnector, DeadlineResolver(resolver.clone()));
            let _exchange = ExchangeGuard::begin(None, None, Deadline::after(Duration::from_secs(left)));
            assert!(agent.get("http://platform.test/").call().is_err());
            let given = resolver.0.lock();
            let near = Duration::from_secs(longest - 4)..=Duration::from_secs(longest);
            assert!(given.len() == 1 && near.contains(&given[0]), "{given:?}");
        }
    }

    /// A name server that is silent must leave time for another attempt.
    #[test]
    fn resolver_of_a_send_gets_30_seconds_of_a_long_budget() {
        let budget = Duration::from_secs(600);
        let pool = Pool::one_shot(&Route::direct().unwrap(), budget);
        let resolver = RecordingResolver::default();
        let agent = Agent::with_parts(pool.agent.config().clone(), NoConnector, DeadlineResolver(resolver.clone()));
        let _exchange = ExchangeGuard::begin(None, None, Deadline::after(budget));
        assert!(agent.post("http://platform.test/").send_empty().is_err());
        let given = resolver.0.lock();
        let near = Duration::from_secs(26)..=Duration::from_secs(30);
        assert!(given.len() == 1 && near.contains(&given[0]), "{given:?}");
    }
}
