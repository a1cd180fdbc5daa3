//! Reports the tasks and approvals that are put to our workspace, for which there are no rows in the feed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::{CancelToken, Registration};
use crate::client::Client;
use crate::error::Error;
use crate::error::failure_log::{FailureLog, severity};
use crate::http::{Http, Pool};
use crate::platform::{RequestList, WorkspaceRequest, requests};
use crate::util::clock::{CoarseInstant, Deadline};
use crate::util::log_safe::log_safe;
use crate::util::panic;

/// Time between two requests for the list.
const INTERVAL: Duration = Duration::from_secs(60);
/// Longest wait that the platform can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// Most requests that are remembered as reported. Further ones wait until some of these are over.
const MAX_REPORTED: usize = 10_000;

/// The callback of [`PollerBuilder::on_request`](crate::PollerBuilder::on_request).
pub(super) type RequestCallback = Box<dyn FnMut(&WorkspaceRequest) + Send>;

/// Lists the pending requests now and then, and reports each of them once.
pub(super) struct RequestWatch {
    http: Arc<Http>,
    pool: Pool,
    token: CancelToken,
    /// Shuts the connection down when the poller is stopped.
    _hook: Registration,
    callback: RequestCallback,
    /// Time for one list.
    timeout: Duration,
    state: WatchState,
    /// Ids of the pending requests that were reported.
    reported: HashSet<String>,
    log: FailureLog,
}

/// When the list is asked for again.
#[derive(Debug, Clone, Copy)]
enum WatchState {
    Due,
    Waiting {
        since: CoarseInstant,
        wait: Duration,
    },
    /// Never: the platform has no requests.
    Off,
}

impl RequestWatch {
    /// Makes the watch of a poller of `client`. Cancelling `token` ends a list in progress.
    pub(super) fn new(client: &Client, token: &CancelToken, callback: RequestCallback) -> Self {
        let http = client.http().clone();
        let timeout = client.settings().call_timeout;
        let pool = http.kept_alive_pool(timeout);
        let on_stop = pool.clone();
        let ended = format!("inbox: {} lists requests again", http.platform());
        RequestWatch {
            pool,
            _hook: token.register(move || on_stop.shut_down()),
            token: token.clone(),
            callback,
            timeout,
            state: WatchState::Due,
            reported: HashSet::new(),
            log: FailureLog::new("a2a_blocking::inbox", "inbox: no request is reported", ended),
            http,
        }
    }

    /// Lists the pending requests and reports the new ones, if a minute has passed since the last time.
    ///
    /// A platform that has no requests is not asked again. Other failures are logged as [`FailureLog`] says.
    pub(super) fn check(&mut self) {
        let now = CoarseInstant::now();
        match self.state {
            WatchState::Due => {}
            WatchState::Waiting { since, wait } if now.since(since) >= wait => {}
            WatchState::Waiting { .. } | WatchState::Off => return,
        }
        let (http, pool, deadline) = (self.http.clone(), self.pool.clone(), Deadline::after(self.timeout));
        let list = move || requests(&http, &pool, RequestList::Pending, deadline);
        let Some(outcome) = self.token.run("a2a-requests", list) else { return };
        self.state = WatchState::Waiting { since: now, wait: INTERVAL };
        match outcome {
            Ok(pending) => {
                self.log.succeeded();
                self.report(&pending);
            }
            Err(_) if self.token.is_cancelled() => {}
            // The poll before it succeeded, so it is not the workspace that does not exist.
            Err(error) if error.status() == Some(404) => {
                log_safe!(debug, "{error}; this platform has no requests, and is not asked for them again");
                self.state = WatchState::Off;
            }
            Err(error) => self.fail(now, &error),
        }
    }

    fn fail(&mut self, since: CoarseInstant, error: &Error) {
        let wait = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER).max(INTERVAL);
        self.state = WatchState::Waiting { since, wait };
        self.log.failed(severity(error), error, format_args!("; next try in {wait:.0?}"));
    }

    /// Calls the callback for each request that was not reported yet, the oldest first. Forgets those that are over.
    fn report(&mut self, pending: &[WorkspaceRequest]) {
        let listed: HashSet<&str> = pending.iter().map(WorkspaceRequest::id).collect();
        self.reported.retain(|id| listed.contains(id.as_str()));
        for request in pending.iter().rev() {
            if self.token.is_cancelled() {
                return;
            }
            if self.reported.contains(request.id()) {
                continue;
            }
            if self.reported.len() >= MAX_REPORTED {
                log_safe!(
                    warn,
                    "inbox: more than 10,000 requests are pending: further ones wait for a response to these"
                );
                return;
            }
            self.reported.insert(request.id().to_owned());
            if panic::catch(|| (self.callback)(request)).is_err() {
                log_safe!(error, "inbox: the callback for requests panicked");
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(a2a_loom))]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    fn watch(platform: &mockito::Server) -> (RequestWatch, Receiver<String>) {
        let client = Client::builder().platform_url(platform.url()).workspace_id("w").build().unwrap();
        let (sender, reported) = mpsc::channel();
        let callback = move |request: &WorkspaceRequest| {
            sender.send(request.id().to_owned()).unwrap();
            assert_ne!(request.id(), "panics");
        };
        (RequestWatch::new(&client, &CancelToken::new(), Box::new(callback)), reported)
    }

    /// Makes the platform answer so, and lists at once.
    fn check(watch: &mut RequestWatch, platform: &mut mockito::Server, status: usize, body: &str) -> WatchState {
        platform.reset();
        let list = platform.mock("GET", "/workspaces/w/requests/inbox?status=pending");
        let list = list.with_status(status).with_body(body).expect(1).create();
        watch.state = WatchState::Due;
        watch.check();
        list.assert();
        // Not before a minute has passed.
        watch.check();
        list.assert();
        watch.state
    }

    fn list(ids: &[&str]) -> String {
        let entries: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        format!("[{}]", entries.join(","))
    }

    #[test]
    fn each_request_is_reported_once_and_forgotten_when_it_is_over() {
        let mut platform = mockito::Server::new();
        let (mut watch, reported) = watch(&platform);
        for (listed, expected) in [
            (&["b", "a"][..], &["a", "b"][..]),
            (&["b", "a"], &[]),
            (&["d", "panics", "b", "c"], &["c", "panics", "d"]),
            (&["d", "panics"], &[]),
            (&[], &[]),
            (&["d"], &["d"]),
        ] {
            check(&mut watch, &mut platform, 200, &list(listed));
            assert_eq!(reported.try_iter().collect::<Vec<_>>(), expected, "{listed:?}");
            assert_eq!(watch.reported.len(), listed.len());
        }
    }

    #[test]
    fn no_more_than_ten_thousand_are_remembered() {
        let mut platform = mockito::Server::new();
        let (mut watch, reported) = watch(&platform);
        let ids: Vec<String> = (0..=MAX_REPORTED).map(|n| format!("r{n}")).collect();
        let mut ids: Vec<&str> = ids.iter().rev().map(String::as_str).collect();
        check(&mut watch, &mut platform, 200, &list(&ids));
        assert_eq!((reported.try_iter().count(), watch.reported.len()), (MAX_REPORTED, MAX_REPORTED));
        ids.pop();
        check(&mut watch, &mut platform, 200, &list(&ids));
        assert_eq!(reported.try_iter().collect::<Vec<_>>(), [format!("r{MAX_REPORTED}")]);
    }

    #[test]
    fn platform_without_requests_is_not_asked_again_and_a_failing_one_is() {
        let mut platform = mockito::Server::new();
        let (mut watch, _reported) = watch(&platform);
        for (status, body) in [(500, "{}"), (401, "{}"), (200, "{}"), (429, "{}")] {
            let state = check(&mut watch, &mut platform, status, body);
            assert!(matches!(state, WatchState::Waiting { wait, .. } if wait == INTERVAL), "{status}: {state:?}");
        }
        let state = check(&mut watch, &mut platform, 404, "404 page not found");
        assert!(matches!(state, WatchState::Off), "{state:?}");
    }

    #[test]
    fn wait_is_as_long_as_the_platform_asks() {
        let platform = mockito::Server::new();
        let (mut watch, _reported) = watch(&platform);
        for (asked, expected) in [(7, INTERVAL), (100, Duration::from_secs(100)), (80_000, MAX_RETRY_AFTER)] {
            let error = Error::new(crate::error::ErrorKind::Status, "x").with_status(429);
            watch.fail(CoarseInstant::now(), &error.with_retry_after(Some(Duration::from_secs(asked))));
            assert!(matches!(watch.state, WatchState::Waiting { wait, .. } if wait == expected), "{asked}");
        }
    }
}
