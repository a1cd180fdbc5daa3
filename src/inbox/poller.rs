//! The poller: its settings, and the loop over polls.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::ack::Acknowledger;
use super::builder::PollerBuilder;
use super::cursor_path::create_home;
use super::deliver::Dispatcher;
use super::feed::cursor::saved::Anchor;
use super::feed::{Feed, FeedSettings, MalformedLog};
use super::handle::{EndOnDrop, PollerControl, PollerHandle, StopReason};
use super::health::PollerHealth;
use super::heartbeat::{CallbackStats, Heartbeat};
use super::keeper::{KeeperSettings, WorkspaceKeeper};
use super::loop_brake::LoopBrake;
use super::message::InboxMessage;
use super::poll::{PollRunner, PollSummary};
use super::request_watch::RequestWatch;
use super::row_filter::RowFilter;
use super::store::CursorFile;
use super::token_watch::TokenWatch;
use super::verdict::Verdict;
use crate::client::Client;
use crate::error::failure_log::{FailureLog, severity};
use crate::error::{Error, ErrorKind, guard};
use crate::retry::RetryPolicy;
use crate::util::log_safe::log_safe;
use crate::util::random::random;

/// Longest wait after a failed poll, without the jitter, which makes it 4 s. A request that is under way fails after 5 s. So
/// polls go on within 10 s of the end of an outage.
const MAX_BACKOFF: Duration = Duration::from_millis(3_200);
/// Longest wait that the platform can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Wait for the rate limit above which it is logged as a warning.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// Polls our workspace's inbox and hands each message to a callback: at least once, in order, and across restarts.
///
/// ```no_run
/// use a2a_blocking::{Client, InboxPoller, Verdict};
///
/// let poller = InboxPoller::builder(Client::from_env()?).spawn(|message| {
///     let sender = message.sender();
///     let name = sender.as_ref().and_then(|peer| peer.name()).unwrap_or("somebody");
///     println!("{name:?}: {:?}", message.text());
///     Verdict::after(message.reply("on it"))
/// })?;
/// println!("ended: {:?}", poller.join());
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
///
/// [`PollerBuilder::spawn`] polls on its own thread. Programs with their own loop call
/// [`poll_once`](InboxPoller::poll_once).
///
/// # Guarantees
///
/// - **At least once.** Each listed row is delivered until the callback returns [`Verdict::Ack`], or until it was
///   delivered five times ([`PollerBuilder::retry`]) and goes to [`on_dead_letter`](PollerBuilder::on_dead_letter). A
///   panic in the callback counts as [`Verdict::Retry`]. After a crash only the message that was being delivered is
///   delivered again, and its earlier attempts count.
/// - **In order** of the rows' times. A message that is retried holds back the later ones, by default for about 15 s.
/// - **Late rows.** The platform may commit rows out of order. What was listed is listed again, until it was first listed
///   60 s ago ([`PollerBuilder::late`]). A row that is committed later, before rows that old, is missed. A late row comes
///   when it is found: mostly with the next poll, and within 10 s in a quiet inbox. These times are of this machine's
///   clock. The platform's clock gives the rows their order: it must not be set back by as much.
/// - **Bad rows do not block others.** A field that cannot be read, because it nests too deep for example, is kept as
///   its JSON text, and logged. Entries that are no objects or have no id are skipped, counted and logged, once each. A row
///   above 32 MiB ([`PollerBuilder::max_row`]) is given up ([`TooLarge`](crate::DeadLetterReason::TooLarge)), and so is one whose body
///   three polls in 60 s did not get ([`TooSlow`](crate::DeadLetterReason::TooSlow)).
/// - **Not delivered**, and counted by reason ([`PollSummary::skipped_by`]): notices to our human, what we sent to
///   ourselves ([`PollerBuilder::own`]), what a push agent of ours answered, the first result of a delegation to a
///   callee that polls, which says that the task is queued, and further rows of a message that was handled in the last
///   24 h: those with the same sender, message id and parameters.
/// - **Bounded.** A page is read row by row, at most 32 MiB of it. It has 5 s for its first byte, a page of one row 30 s
///   while the platform answers otherwise, and then has to come at 64 KiB a second. One that breaks off delivers what came, and one of which nothing came is requested
///   in smaller pieces. On an old platform, which lists by time only, 5,000 rows or 32 MiB and a page are held. The cursor
///   keeps the ids of the rows that are not settled, at most 100,000. If more come within 60 s, the poller stops before the
///   next one and each poll fails ([`ErrorKind::TooLarge`]), until some are settled.
///
/// # The cursor file
///
/// It records what was acknowledged: a line is appended for each message, so that a crash of the process loses nothing.
/// It is synced at the end of each page, once per second and at the stop. So a power failure repeats the messages of
/// about the last second. A child by `fork` does not poll with it.
///
/// | problem | consequence |
/// | --- | --- |
/// | there is no cursor | the poller goes on behind what was acknowledged to the platform ([`PollerBuilder::ack`]); where nothing was, the messages of the last 600 s are delivered ([`PollerBuilder::backlog`]) |
/// | its end is damaged | logged as a warning; messages that only the end records are delivered again |
/// | it cannot be read | logged as an error; the file is kept as `….unreadable`, and there is no cursor |
/// | it cannot be written | logged as an error; delivery goes on, and messages are delivered again after a restart; [`require_cursor`](PollerBuilder::require_cursor) refuses to start |
/// | the platform pruned the row that it names | the poller goes back to the row's time; if the inbox was last listed more than 7 days ago, a possible gap is logged as a warning |
pub struct InboxPoller {
    client: Client,
    /// Time between two polls.
    interval: Duration,
    /// Time between two heartbeats. `None` sends none.
    heartbeat: Option<Duration>,
    keeper: KeeperSettings,
    control: Arc<PollerControl>,
    runner: PollRunner,
}

impl InboxPoller {
    /// Returns a builder for a poller of the client's workspace.
    pub fn builder(client: Client) -> PollerBuilder {
        PollerBuilder::new(client)
    }

    /// Checks the settings, locks and reads the cursor file, and makes the poller. Sends no request.
    pub(super) fn new(builder: PollerBuilder) -> Result<Self, Error> {
        let path = builder.validate()?;
        create_home(builder.client.settings(), &path)?;
        let PollerBuilder { client, interval, retry, backlog, page_size, late, max_row, heartbeat, .. } = builder;
        let PollerBuilder {
            require_cursor, on_dead_letter, on_error, on_request, loop_brake, own, ack, keeper, ..
        } = builder;
        let filter = RowFilter {
            workspace_id: client.http().workspace_id().to_owned(),
            delivers_own: own,
            own_uploads: client.own_uploads().clone(),
        };
        let (mut file, mut cursor) = CursorFile::open(path, client.http().workspace_id())?;
        if require_cursor {
            file.require_writable(&mut cursor)?;
        }
        let control = PollerControl::new(&client);
        let settings = FeedSettings { page_size, max_row, late, backlog, acks: ack };
        let feed = Feed::new(client.http(), &control.token, settings);
        let dispatcher =
            Dispatcher { retry, on_dead_letter, stats: CallbackStats::default(), control: control.clone() };
        control.health.cursor_saved(cursor.anchor().map(Anchor::row), false);
        let malformed_log = MalformedLog::default();
        let ended = format!("inbox: {} answers again", client.http().platform());
        let failure_log = FailureLog::new("a2a_blocking::inbox", "inbox: nothing is delivered", ended);
        let runner = PollRunner {
            client: client.clone(),
            cursor,
            file,
            feed,
            filter,
            dispatcher,
            control: control.clone(),
            on_error,
            brake: loop_brake.map(LoopBrake::new),
            requests: on_request.map(|callback| RequestWatch::new(&client, &control.token, callback)),
            acks: ack.then(|| Acknowledger::new(client.http(), &control.token, late)),
            malformed_log,
            failure_log,
            delivers_paused: keeper.delivers_paused,
        };
        Ok(Self { client, interval, heartbeat, keeper, control, runner })
    }

    /// Polls once: lists pages until one has new messages, and delivers about a page of them to `callback`.
    ///
    /// Blocks until each of them is acknowledged or dead-lettered, the waits between delivery attempts included. Most polls
    /// make one request. Beside that a poll lists what may be late, every 10 s, and where to begin, if the cursor is missing
    /// or its row was pruned. It makes at most 256 requests in a row that bring nothing new. Sends no heartbeat, registers nothing
    /// ([`Client::register`] does), and does not ask whether the workspace is paused ([`Client::state`] does).
    ///
    /// ```no_run
    /// use a2a_blocking::{Client, InboxPoller, Verdict};
    ///
    /// // All messages that are there now: for a job that is started regularly.
    /// let mut poller = InboxPoller::builder(Client::from_env()?).build()?;
    /// while poller.poll_once(|message| Verdict::after(message.reply("on it")))?.has_more {}
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A failed poll. What was delivered before the failure is not delivered again.
    ///
    /// - [`ErrorKind::Removed`]: the platform removed our workspace. Do not poll again.
    /// - [`ErrorKind::Unauthorized`]: the token was refused.
    /// - [`ErrorKind::TooLarge`]: too many rows came within the time in which rows may be late.
    /// - Others: a failed request, another status, or a body that is no list.
    ///
    /// Wait before the next poll, at least for [`Error::retry_after`].
    pub fn poll_once(&mut self, mut callback: impl FnMut(&InboxMessage) -> Verdict) -> Result<PollSummary, Error> {
        self.runner.run(&mut callback)
    }

    /// Returns the poller's health, as [`PollerHandle::health`] does.
    #[must_use]
    pub fn health(&self) -> PollerHealth {
        self.control.health.health(self.client.stats().circuit)
    }

    /// Starts the poller on its own thread, as [`PollerBuilder::spawn`] does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the system refuses to start a thread.
    pub fn spawn(
        mut self,
        callback: impl FnMut(&InboxMessage) -> Verdict + Send + 'static,
    ) -> Result<PollerHandle, Error> {
        let (control, client) = (self.control.clone(), self.client.clone());
        self.runner.feed.detach_requests();
        // Linux cuts names of threads to 15 characters: pthread_setname_np(3).
        let id = self.client.http().workspace_id();
        let name = format!("a2a-in-{}", id.get(..8).unwrap_or(id));
        let thread = thread::Builder::new().name(name).spawn(move || self.run(callback));
        let thread = thread.map_err(|why| {
            Error::new(ErrorKind::Internal, format!("no thread for the poller: {why}")).with_source(why)
        })?;
        Ok(PollerHandle::new(control, client, thread))
    }

    /// Runs on the poller's thread: starts the heartbeat, polls until the poller is stopped, and cleans up.
    ///
    /// Before it marks the poller as ended it saves the cursor, waits for the heartbeat's thread, releases the lock of
    /// the cursor file and drops the callback.
    fn run(mut self, mut callback: impl FnMut(&InboxMessage) -> Verdict) {
        let control = self.control.clone();
        control.threads.add_this_thread();
        let ended = EndOnDrop(control.clone());
        let stats = self.runner.dispatcher.stats.clone();
        let heartbeat = self.heartbeat.and_then(|every| Heartbeat::new(&self.client, &control, stats, every).spawn());
        let keeper = WorkspaceKeeper::new(&self.client, &control, self.keeper.clone(), self.heartbeat).spawn();
        if !self.keeper.delivers_paused {
            keeper.wait_for_state();
        }
        self.poll_until_stopped(&mut callback);
        if !self.runner.file.is_own_process() {
            // In a child by fork. To drop the poller would shut down the connections that it shares with its parent.
            return mem::forget((self, callback, heartbeat, keeper, ended));
        }
        self.runner.save_cursor();
        // Stops the other threads. No effect if one of them stopped the poller, since the first reason counts.
        control.stop(StopReason::Stopped);
        let _ = heartbeat.map(thread::JoinHandle::join);
        keeper.join();
        let panicked = guard(|| {
            drop((self, callback));
            Ok(())
        });
        if panicked.is_err() {
            log_safe!(error, "inbox: the callback panicked when it was dropped");
        }
        drop(ended);
    }

    /// Polls until the poller is stopped or the workspace is removed, and waits between the polls.
    ///
    /// The wait is the interval, nothing after a full page, and a backoff after a failure, which a new token ends early
    /// where the last one was refused. It is longer where little of the rate limit is left. A paused workspace is not
    /// polled. Failures are logged as
    /// [`FailureLog`] says, and so is the first success after them.
    fn poll_until_stopped(&mut self, callback: &mut dyn FnMut(&InboxMessage) -> Verdict) {
        let mut failures = 0;
        loop {
            if self.runner.is_held() {
                if self.control.token.wait(self.interval) {
                    return;
                }
                continue;
            }
            let watch = TokenWatch::before_call(self.client.http(), &self.control.token);
            let wait = match self.runner.run(callback) {
                _ if self.control.token.is_cancelled() || !self.runner.file.is_own_process() => return,
                Ok(summary) => {
                    self.runner.failure_log.succeeded();
                    failures = 0;
                    self.paced(if summary.has_more { Duration::ZERO } else { self.interval })
                }
                Err(error) if error.kind() == ErrorKind::Removed => {
                    log_safe!(error, "inbox: {error}");
                    return self.control.stop(StopReason::from_removal(&error));
                }
                Err(error) => {
                    failures += 1;
                    let asked = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
                    let wait = self.paced(backoff(self.interval, failures, random()).max(asked));
                    let wait = self.client.http().until_purge_is_confirmed().unwrap_or(wait);
                    self.runner.failure_log.failed(severity(&error), &error, format_args!("; next try in {wait:.1?}"));
                    if watch.wait_after(&error, wait) {
                        return;
                    }
                    Duration::ZERO
                }
            };
            if !wait.is_zero() && self.control.token.wait(wait) {
                return;
            }
        }
    }
}

impl InboxPoller {
    /// Returns the `wait` before the next poll, or a longer one where little of the platform's rate limit is left.
    fn paced(&self, wait: Duration) -> Duration {
        let paced = self.client.http().rate_limit().poll_wait().max(wait);
        if paced > wait.max(LONG_WAIT) {
            log_safe!(warn, "inbox: the platform's rate limit is nearly used up: next poll in {paced:.1?}");
        } else if paced > wait {
            log_safe!(debug, "inbox: little of the platform's rate limit is left: next poll in {paced:.1?}");
        }
        paced
    }
}

/// Returns the wait after so many failed polls: the interval, twice the interval, and so on up to 3.2 s, each ±25 %.
/// `random` is from 0 to 1.
///
/// The jitter is not cut off at the longest wait: pollers that an outage has put in step would stay so.
fn backoff(interval: Duration, failures: u32, random: f64) -> Duration {
    let policy = RetryPolicy::new().with_base(interval.min(MAX_BACKOFF)).with_cap(MAX_BACKOFF).with_jitter(0.0);
    policy.backoff(failures, random).mul_f64(0.75 + random.clamp(0.0, 1.0) / 2.0)
}

/// Shows the client and the interval.
impl fmt::Debug for InboxPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("InboxPoller");
        shown.field("client", &self.client).field("interval", &self.interval).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_after_failed_polls_is_at_most_four_seconds_and_never_the_same_for_all() {
        let ms = Duration::from_millis;
        for (interval, failures, expected) in [
            (ms(100), 1, [ms(75), ms(125)]),
            (ms(100), 2, [ms(150), ms(250)]),
            (ms(5_000), 1, [ms(2_400), ms(4_000)]),
            (ms(5_000), u32::MAX, [ms(2_400), ms(4_000)]),
            (ms(60_000), 7, [ms(2_400), ms(4_000)]),
        ] {
            assert_eq!(
                [0.0, 1.0].map(|random| backoff(interval, failures, random)),
                expected,
                "{interval:?} {failures}"
            );
        }
    }
}
