//! The poller: asks, delivers, remembers.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::builder::PollerBuilder;
use super::deliver::{Delivered, Deliverer, Verdict};
use super::feed::cursor::Cursor;
use super::feed::{Batch, Lister};
use super::handle::{PollerHandle, Shared, StopReason};
use super::heartbeat::{self, Pulse};
use super::message::{InboxMessage, is_own};
use super::store::CursorFile;
use crate::client::Client;
use crate::error::{Error, ErrorKind, guard};
use crate::retry::RetryPolicy;
use crate::util::log_safe::log_safe;
use crate::util::random::random;
use crate::wire::MalformedRows;

/// The longest wait after a poll that failed, where the platform asks for none.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The longest wait that the platform can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// Of how many entries that are no rows, or cannot be read, it is known that they were logged.
const MAX_ODD: usize = 1_000;

/// Polls our workspace's inbox, and hands each message in it to a callback: at least once, in order, and from where it
/// was when it starts again.
///
/// ```no_run
/// use a2a_blocking::{Client, InboxPoller, Verdict};
///
/// let poller = InboxPoller::builder(Client::from_env()?).spawn(|push| {
///     let sender = push.sender();
///     let name = sender.as_ref().and_then(|peer| peer.name()).unwrap_or("somebody");
///     println!("{name:?}: {:?}", push.text());
///     Verdict::after(push.reply("on it"))
/// })?;
/// println!("ended: {:?}", poller.join());
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
///
/// # What it promises
///
/// - **At least once.** A row that the platform lists reaches the callback until it answers [`Verdict::Ack`], or has
///   been tried five times and is told to [`on_dead_letter`](PollerBuilder::on_dead_letter). A panic in the
///   callback counts as [`Verdict::Retry`]. After a crash the row that was being delivered comes again, with its tries
///   counted on; no other does.
/// - **In order** of the rows' times. A row to be tried again holds back those after it, for some 15 s at the most.
/// - **Late rows.** Rows may be committed out of order: up to 5 s after its time a row is still found, and none
///   comes twice. One that comes later than that can be missed, where newer rows were delivered by then. A row whose
///   time is more than 10 minutes ahead of this machine's clock is delivered, logged, and not taken for the time.
/// - **Nothing in a row stops the others.** A field that cannot be read as JSON, as what nests too deep, is kept as
///   the text that it came as, and logged. The exception is a single row above 32 MiB, which a platform that cuts
///   bodies at 1 MiB cannot hold: no page is small enough for it, and each poll fails ([`ErrorKind::TooLarge`]).
/// - **Left out** are our own rows: notices to our human (method `notify` without a source), and echoes of what we
///   sent, unless they bring a delegation's result. Entries that are no objects or have no id are logged.
/// - **Bounded.** A request takes 10 s and 32 MiB at the most; a page that is above either is asked for in smaller
///   pieces. A look back holds 5,000 rows or 32 MiB and a page; the cursor holds the ids of the last 5 s, and 100,000 at
///   the most: where the platform lists more whose times do not go on, or cannot be read, the poller stands still before
///   the next one until they do, and each poll fails ([`ErrorKind::TooLarge`]).
///
/// # The cursor
///
/// A file that is replaced at each row, so that a crash of the process loses nothing of it, and synced at the end of
/// each page, each second and at the stop, so that a power failure repeats what was acknowledged in about the last
/// second: on a file system that keeps the order of such a replacement, or that has hard links, for which what was
/// synced is kept under another name. Elsewhere it may leave an unreadable cursor. Where it cannot be
/// written that is logged as an error, and delivery goes on. Without a cursor the rows of the last 600 s are
/// delivered; an unreadable one is logged, kept aside and treated so, too. Where the platform has pruned the row that
/// the cursor names, the poller goes back to its time, and logs what cannot be had any more as a gap.
pub struct InboxPoller {
    client: Client,
    interval: Duration,
    heartbeat: Option<Duration>,
    cursor: Cursor,
    file: CursorFile,
    lister: Lister,
    deliverer: Deliverer,
    shared: Arc<Shared>,
    odd: HashSet<String>,
}

/// What one poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PollSummary {
    /// Pushes that the callback acknowledged.
    pub delivered: usize,
    /// Pushes that were tried as often as they may be.
    pub dead_lettered: usize,
    /// Rows that are our own, and entries that are no rows.
    pub skipped: usize,
    /// Whether there may be more at once: poll again without a pause.
    pub has_more: bool,
}

impl InboxPoller {
    /// A builder for a poller of the client's own workspace.
    pub fn builder(client: Client) -> PollerBuilder {
        PollerBuilder::new(client)
    }

    pub(super) fn new(builder: PollerBuilder) -> Result<Self, Error> {
        let path = builder.check()?;
        let PollerBuilder { client, interval, retry, backlog, page_size, heartbeat, dead_letter, .. } = builder;
        let (file, cursor) = CursorFile::open(path, client.http().workspace_id())?;
        let shared = Arc::<Shared>::default();
        let token = shared.token.clone();
        let lister = Lister::new(client.http(), &token, client.settings().call_timeout, page_size, backlog);
        let deliverer = Deliverer { retry, dead_letter, token, pulse: Pulse::default() };
        let odd = HashSet::new();
        Ok(InboxPoller { client, interval, heartbeat, cursor, file, lister, deliverer, shared, odd })
    }

    /// One poll: asks for one page, or after the loss of a cursor for as many as it takes, and delivers what is new.
    /// It returns when all of it is through: the waits between the tries of a push are spent here.
    ///
    /// There is no heartbeat, unless [`spawn`](InboxPoller::spawn) runs the poller.
    ///
    /// ```no_run
    /// use a2a_blocking::{Client, InboxPoller, Verdict};
    ///
    /// // All that is there, and no has_more: for a job that comes round.
    /// let mut poller = InboxPoller::builder(Client::from_env()?).build()?;
    /// while poller.poll_once(|push| Verdict::after(push.reply("on it")))?.has_more {}
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A poll that failed, and what was delivered before is not delivered again:
    /// [`ErrorKind::Removed`] where the platform removed our workspace, which is for good; refused
    /// ([`ErrorKind::Unauthorized`]), a status, a body that is no list, a transport that failed, a row or a number of them
    /// that is too large ([`ErrorKind::TooLarge`]). Wait before the next one, at least for [`Error::retry_after`].
    pub fn poll_once(&mut self, mut callback: impl FnMut(&InboxMessage) -> Verdict) -> Result<PollSummary, Error> {
        self.poll(&mut callback)
    }

    fn poll(&mut self, callback: &mut dyn FnMut(&InboxMessage) -> Verdict) -> Result<PollSummary, Error> {
        let batch = guard(|| self.lister.list(&mut self.cursor));
        // The anchor may be another one by now, also where the poll failed.
        let polled = batch.and_then(|batch| self.deliver(batch, callback));
        self.file.save(&mut self.cursor, true);
        polled
    }

    fn deliver(
        &mut self,
        batch: Batch,
        callback: &mut dyn FnMut(&InboxMessage) -> Verdict,
    ) -> Result<PollSummary, Error> {
        let Batch { rows, seen, extent, odd, unread } = batch;
        let mut polled = PollSummary { skipped: odd.count, ..PollSummary::default() };
        self.tell("an entry that is no row is skipped", odd);
        self.tell("a field that cannot be read is kept as the text that it came as", unread);
        for (at, row) in rows.into_iter().enumerate() {
            let Some(mark) = seen.get(at).map(|seen| &seen.mark) else { break };
            if self.cursor.is_acked(&mark.id) {
                self.cursor.pass(&seen, at, extent);
                continue;
            }
            // The next polls look past it: what is newer shows whether the times go on.
            if self.cursor.is_full() {
                self.lister.has_left_some();
                return Err(too_many(&mark.id));
            }
            if is_own(&row.fields, self.client.http().workspace_id()) {
                polled.skipped += 1;
                self.cursor.pass(&seen, at, extent);
                continue;
            }
            let push = InboxMessage::new(&self.client, row);
            let Self { deliverer, cursor, file, .. } = self;
            match deliverer.deliver(&push, mark, cursor, file, callback) {
                Delivered::Acked => polled.delivered += 1,
                Delivered::Dead => polled.dead_lettered += 1,
                Delivered::Stopped => return Ok(polled),
            }
            self.cursor.pass(&seen, at, extent);
        }
        self.cursor.finish(extent);
        polled.has_more = self.lister.is_to_go_on(extent);
        Ok(polled)
    }

    /// Logs each of them once, though it be listed again.
    fn tell(&mut self, what: &str, odd: MalformedRows) {
        let (more, mut news) = (odd.count - odd.shown.len(), false);
        for entry in odd.shown {
            if self.odd.len() >= MAX_ODD {
                self.odd.clear();
            }
            if !self.odd.contains(&entry) {
                log_safe!(warn, "inbox: {what}: {entry}");
                self.odd.insert(entry);
                news = true;
            }
        }
        if news && more > 0 {
            log_safe!(warn, "inbox: {what}: {more} more beside these");
        }
    }

    /// Runs the poller on a thread of its own, as [`PollerBuilder::spawn`] does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] where the system has no thread to give.
    pub fn spawn(
        mut self,
        callback: impl FnMut(&InboxMessage) -> Verdict + Send + 'static,
    ) -> Result<PollerHandle, Error> {
        let shared = self.shared.clone();
        self.lister.detached = true;
        // Linux shows the first 15 characters.
        let id = self.client.http().workspace_id();
        let name = format!("a2a-in-{}", id.get(..8).unwrap_or(id));
        let thread = thread::Builder::new().name(name).spawn(move || self.run(callback));
        let thread = thread.map_err(|why| {
            Error::new(ErrorKind::Internal, format!("no thread for the poller: {why}")).with_source(why)
        })?;
        Ok(PollerHandle::new(shared, thread))
    }

    fn run(mut self, mut callback: impl FnMut(&InboxMessage) -> Verdict) {
        let shared = self.shared.clone();
        shared.run_by(thread::current().id());
        let ended = Ended(shared.clone());
        let (http, pulse, timeout) = (self.client.http(), &self.deliverer.pulse, self.client.settings().call_timeout);
        let beating = self.heartbeat.and_then(|every| heartbeat::start(http, &shared, pulse, every, timeout));
        self.poll_on(&mut callback);
        self.file.save(&mut self.cursor, true);
        // For the heartbeat, where it was not that which ended us.
        shared.stop(StopReason::Stopped);
        let _ = beating.map(thread::JoinHandle::join);
        // The lock is free and the callback is gone before anybody hears of the end.
        let panicked = guard(|| {
            drop((self, callback));
            Ok(())
        });
        if panicked.is_err() {
            log_safe!(error, "inbox: the callback panicked at its end");
        }
        drop(ended);
    }

    fn poll_on(&mut self, callback: &mut dyn FnMut(&InboxMessage) -> Verdict) {
        let backoff = RetryPolicy::new().with_base(self.interval).with_cap(MAX_BACKOFF.max(self.interval));
        let mut failures = 0;
        loop {
            let wait = match guard(|| self.poll(callback)) {
                _ if self.shared.token.is_cancelled() => return,
                Ok(polled) => {
                    if failures > 0 {
                        log_safe!(info, "inbox: {} answers again", self.client.http().platform());
                    }
                    failures = 0;
                    if polled.has_more { Duration::ZERO } else { self.interval }
                }
                Err(error) if error.kind() == ErrorKind::Removed => {
                    log_safe!(error, "inbox: {error}");
                    return self.shared.stop(StopReason::removed(&error));
                }
                Err(error) => {
                    failures += 1;
                    let asked = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
                    let wait = backoff.backoff(failures, random()).max(asked);
                    match failures {
                        1 => {
                            log_safe!(warn, "inbox: {error}; again in {wait:.1?}");
                        }
                        _ => {
                            log_safe!(debug, "inbox: {error}; again in {wait:.1?}");
                        }
                    }
                    wait
                }
            };
            if !wait.is_zero() && self.shared.token.wait(wait) {
                return;
            }
        }
    }
}

/// What a poll comes to where the cursor is full.
fn too_many(next: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the inbox stands still before row {next}: so many rows have one time, or none that can be read, that they can \
             not be told from new ones any more; it goes on when the platform's times do, or from the backlog without the \
             cursor file"
        ),
    )
}

/// Says that the thread ends, however it does.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl fmt::Debug for InboxPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("InboxPoller");
        shown.field("client", &self.client).field("interval", &self.interval).finish_non_exhaustive()
    }
}
