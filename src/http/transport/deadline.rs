//! The exchange's deadline for each step that has a timeout of its own: behind a proxy `ureq` gives all the time that there was
//! for connecting to each of several steps, which are the proxy's name, the connection to it, and each read of its answer.

use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::exchange::current;

/// What is waited for outside of an exchange, which is nothing: a time that can be added to any moment.
const DAY: Duration = Duration::from_secs(86_400);

/// The timeout, or what is left to the exchange where that is less.
pub(in crate::http) fn in_time(timeout: NextTimeout) -> NextTimeout {
    let left = current().map_or(DAY, |current| current.left());
    if left < *timeout.after { NextTimeout { after: left.into(), ..timeout } } else { timeout }
}

/// A resolver that takes no longer than the exchange may.
#[derive(Debug, Default)]
pub(in crate::http) struct DeadlineResolver<T>(T);

impl<T: Resolver> Resolver for DeadlineResolver<T> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.0.resolve(uri, config, in_time(timeout))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;
    use ureq::unversioned::transport::{ConnectionDetails, Connector};
    use ureq::{Agent, Timeout};

    use super::*;
    use crate::http::transport::exchange::ExchangeGuard;
    use crate::http::transport::test_socket::Socket;
    use crate::util::clock::Deadline;

    fn soon() -> NextTimeout {
        NextTimeout { after: Duration::from_secs(9).into(), reason: Timeout::Global, ..NextTimeout::default() }
    }

    fn exchange(left: u64) -> ExchangeGuard {
        ExchangeGuard::begin(None, None, Deadline::after(Duration::from_secs(left)))
    }

    #[test]
    fn nothing_is_waited_for_longer_than_the_exchange_may_take() {
        assert_eq!(in_time(soon()).after, soon().after, "outside of an exchange");
        let without_end = NextTimeout { after: Duration::MAX.into(), ..soon() };
        assert_eq!(*in_time(without_end).after, DAY);
        let _exchanging = exchange(0);
        assert!(in_time(soon()).after.is_zero());
        let _exchanging = exchange(3_600);
        assert_eq!(in_time(soon()).after, soon().after);
    }

    /// Tells how much time it was given, and does nothing with it.
    #[derive(Debug, Default, Clone)]
    struct Watch(Arc<Mutex<Vec<Duration>>>);

    impl Resolver for Watch {
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
        type Out = Socket;

        fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Socket>, Error> {
            Err(Error::ConnectionFailed)
        }
    }

    #[test]
    fn a_name_has_what_is_left_to_the_exchange_and_no_more() {
        for (left, longest) in [(5, 5), (3_600, 60)] {
            let watch = Watch::default();
            let config = Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).proxy(None).build();
            let agent = Agent::with_parts(config, NoConnector, DeadlineResolver(watch.clone()));
            let _exchanging = exchange(left);
            assert!(agent.get("http://platform.test/").call().is_err());
            let given = watch.0.lock();
            let near = Duration::from_secs(longest - 4)..=Duration::from_secs(longest);
            assert!(given.len() == 1 && near.contains(&given[0]), "{given:?}");
        }
    }
}
