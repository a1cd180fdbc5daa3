//! Waits that end early once a refused token was replaced.

use std::time::Duration;

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::http::Http;
use crate::util::clock::Deadline;

/// Time between two looks at the token file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A look-out for a new token, from before a call that the platform may refuse.
pub(super) struct TokenWatch<'a> {
    http: &'a Http,
    stop: &'a CancelToken,
    /// Number of the token before the call.
    used: u64,
}

impl<'a> TokenWatch<'a> {
    /// Makes a watch for one call and the wait after it. `stop` ends the wait.
    pub(super) fn before_call(http: &'a Http, stop: &'a CancelToken) -> Self {
        TokenWatch { http, stop, used: http.tokens().number() }
    }

    /// Blocks for `wait` after a call that failed with `error`, or until the poller is stopped. Returns whether it is.
    ///
    /// It reads the file of a refused token each second, and ends the wait when the file has another token. A token function
    /// is called only after a 401.
    pub(super) fn wait_after(&self, error: &Error, wait: Duration) -> bool {
        let tokens = self.http.tokens();
        if error.kind() != ErrorKind::Unauthorized || !tokens.is_from_file() {
            return self.stop.wait(wait);
        }
        // A wait that the clock cannot add ends by a new token, or by a stop.
        let deadline = Deadline::checked_after(wait);
        loop {
            let left = deadline.map_or(Duration::MAX, Deadline::left);
            if self.stop.wait(left.min(LOOK_EVERY)) {
                return true;
            }
            // Another thread may have read the new token during the call.
            if left <= LOOK_EVERY || tokens.number() != self.used || tokens.has_changed(LOOK_EVERY) {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    /// A wait that would not end by itself in the time of a test.
    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn only_a_refused_token_from_a_file_ends_a_wait() {
        let stop = CancelToken::new();
        let client = |builder: crate::ClientBuilder| builder.workspace_id("w").build().unwrap();
        let (given, none) =
            (client(Client::builder().token("t")), client(Client::builder().token_file("/nonexistent")));
        let error = |kind| Error::new(kind, "");
        let watch = |client: &Client, error: &Error, wait| {
            TokenWatch::before_call(client.http(), &stop).wait_after(error, wait)
        };
        assert!(!watch(&given, &error(ErrorKind::Unauthorized), Duration::ZERO));
        assert!(!watch(&none, &error(ErrorKind::Unauthorized), Duration::from_millis(1)));
        stop.cancel();
        for client in [&given, &none] {
            for kind in [ErrorKind::Unauthorized, ErrorKind::Connect] {
                assert!(watch(client, &error(kind), LONG), "a stop ends it");
            }
        }
    }
}
