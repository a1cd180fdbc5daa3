//! One poll: lists the next rows, delivers them, and saves what was acked.

use std::sync::Arc;

use super::ack::Acknowledger;
use super::deliver::{DeliveryOutcome, Dispatcher, ErrorCallback};
use super::feed::cursor::Cursor;
use super::feed::cursor::saved::Anchor;
use super::feed::{Batch, Feed, MalformedLog, RowKey, RowState, UnreadRow};
use super::handle::PollerControl;
use super::kind::names::overlay_names;
use super::loop_brake::LoopBrake;
use super::message::{InboxMessage, key_of_row};
use super::request_watch::RequestWatch;
use super::row_filter::RowFilter;
use super::store::CursorFile;
use super::verdict::Verdict;
use crate::client::Client;
use crate::error::failure_log::FailureLog;
use crate::error::{Error, ErrorKind, guard};
use crate::stats::{SkipReason, SkippedRows};
use crate::util::clock::{CoarseInstant, wall_nanos};
use crate::util::log_safe::log_safe;
use crate::util::panic;
use crate::util::text::Untrusted;
use crate::wire::{Row, Timestamp};

/// The result of one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PollSummary {
    /// Number of messages that the callback acknowledged.
    pub delivered: usize,
    /// Number of messages that were given up: see [`DeadLetterReason`](crate::DeadLetterReason).
    pub dead_lettered: usize,
    /// Number of entries that were not delivered: the sum of `skipped_by`.
    pub skipped: usize,
    /// The same by reason.
    pub skipped_by: SkippedRows,
    /// True if there may be more messages: poll again at once.
    pub has_more: bool,
}

/// The part of a poller that one poll after the other uses.
pub(super) struct PollRunner {
    pub(super) client: Client,
    pub(super) cursor: Cursor,
    pub(super) file: CursorFile,
    pub(super) feed: Feed,
    pub(super) filter: RowFilter,
    pub(super) dispatcher: Dispatcher,
    pub(super) control: Arc<PollerControl>,
    pub(super) on_error: Option<ErrorCallback>,
    pub(super) brake: Option<Arc<LoopBrake>>,
    pub(super) requests: Option<RequestWatch>,
    /// `None` where nothing is acknowledged to the platform.
    pub(super) acks: Option<Acknowledger>,
    pub(super) malformed_log: MalformedLog,
    /// Series of failed polls. The poller's loop reports the failures, and this the first success after them.
    pub(super) failure_log: FailureLog,
    /// True if the messages of a paused workspace are delivered.
    pub(super) delivers_paused: bool,
}

impl PollRunner {
    /// Lists the next batch and delivers it, as [`InboxPoller::poll_once`](crate::InboxPoller::poll_once) does.
    ///
    /// Saves and syncs the cursor at the end, also after an error, since the anchor may have changed by then. Records the
    /// outcome, and reports a failure to the error callback. A poll that was stopped has no outcome. In a child by `fork`
    /// it fails, and touches nothing that the parent's threads may have locked.
    pub(super) fn run(&mut self, callback: &mut dyn FnMut(&InboxMessage) -> Verdict) -> Result<PollSummary, Error> {
        self.file.check_process()?;
        let summary = guard(|| {
            let mut summary = PollSummary::default();
            loop {
                let batch = self.feed.next_page(&mut self.cursor, CoarseInstant::now())?;
                // Of an inbox without a row nothing has to be known.
                let has_rows =
                    self.cursor.anchor().is_some() || batch.as_ref().is_some_and(|batch| !batch.rows.is_empty());
                if let Some(nanos) = wall_nanos().filter(|_| has_rows) {
                    self.cursor.record_listing(Timestamp::from_nanos(nanos));
                }
                let Some(batch) = batch else {
                    summary.has_more = self.feed.is_waiting();
                    break;
                };
                let is_of_head = batch.is_of_head;
                self.deliver_batch(batch, &mut summary, callback)?;
                let is_page = summary.delivered + summary.dead_lettered >= self.feed.page_size();
                let ends = is_of_head || is_page || self.feed.must_wait();
                if ends || !summary.has_more || self.control.token.is_cancelled() {
                    break;
                }
            }
            self.deliver_broadcasts(&mut summary, callback);
            Ok(summary)
        });
        self.file.check_process()?;
        self.file.save(&mut self.cursor, true);
        let health = &self.control.health;
        health.cursor_saved(self.cursor.anchor().map(Anchor::row), self.file.is_failing());
        match &summary {
            Ok(_) => {
                health.poll_succeeded();
                if let Some(requests) = &mut self.requests {
                    requests.check();
                }
                if let Some(acks) = &mut self.acks {
                    acks.send(&mut self.cursor, CoarseInstant::now());
                    self.file.save(&mut self.cursor, false);
                }
            }
            Err(_) if self.control.token.is_cancelled() => {}
            Err(error) => {
                health.poll_failed(error);
                let report = |on_error: &mut ErrorCallback| panic::catch(|| on_error(error));
                if self.on_error.as_mut().map(report).is_some_and(|outcome| outcome.is_err()) {
                    log_safe!(error, "inbox: the error callback panicked");
                }
            }
        }
        summary
    }

    /// Delivers the rows of a batch in order, and records each in the cursor. Skips those that the filter names and further
    /// rows of handled messages, and logs malformed ones.
    ///
    /// Counts the messages in `summary` by outcome, and says there whether there may be more. Returns early, without an error,
    /// when the poller is stopped or the workspace is paused. Returns an error before a new row while the cursor is full.
    fn deliver_batch(
        &mut self,
        batch: Batch,
        summary: &mut PollSummary,
        callback: &mut dyn FnMut(&InboxMessage) -> Verdict,
    ) -> Result<(), Error> {
        let Batch { rows, unread, malformed, unreadable, .. } = batch;
        let listed_by = CoarseInstant::now();
        overlay_names(&self.client, rows.iter().map(|(_, row)| row));
        if let Some(brake) = &self.brake {
            brake.note_listing(rows.iter().map(|(_, row)| row), listed_by);
        }
        self.skip(SkipReason::Malformed, malformed.count, summary);
        self.malformed_log.warn("an entry that is no row is skipped", malformed);
        self.malformed_log.warn("a field that cannot be read is kept as the text that it came as", unreadable);
        for (key, row) in rows {
            self.malformed_log.warn_of_time(&row);
            if self.is_held() {
                self.feed.abandon();
                summary.has_more = false;
                return Ok(());
            }
            if !self.feed.has_room_for(&key, &self.cursor) {
                self.feed.abandon_full(&mut self.cursor);
                return Err(cursor_full_error(&key.id));
            }
            if self.cursor.list(&key, row.bytes as u64, listed_by) != RowState::Listed {
                continue;
            }
            let of_row = self.filter.skip_reason(&row.fields);
            let ticket = self.brake.as_ref().map(|brake| brake.ticket(row.at, listed_by));
            let message = InboxMessage::new(&self.client, row).with_brake(ticket);
            let message_key = self.cursor.hash_key().and_then(|secret| message.key(secret));
            let is_repeat = message_key.is_some_and(|message| self.cursor.is_handled(message));
            if let Some(reason) = of_row.or(is_repeat.then_some(SkipReason::Repeat)) {
                let id = Untrusted::new(&key.id);
                let why = reason.describe();
                log_safe!(debug, "inbox: row {id} is not delivered: {why}");
                self.skip(reason, 1, summary);
                self.cursor.handle(&key, None);
                continue;
            }
            match self.deliver_message(&message, &key, *summary, callback) {
                DeliveryOutcome::Acked => summary.delivered += 1,
                DeliveryOutcome::DeadLettered => summary.dead_lettered += 1,
                DeliveryOutcome::Stopped => {
                    self.feed.abandon();
                    summary.has_more = false;
                    return Ok(());
                }
            }
            self.cursor.handle(&key, message_key);
        }
        if let Some(unread) = unread {
            self.give_up(unread);
            summary.dead_lettered += 1;
        }
        summary.has_more = self.feed.end_page(&mut self.cursor, CoarseInstant::now());
        Ok(())
    }

    /// Delivers one message. `key` is that of its row.
    fn deliver_message(
        &mut self,
        message: &InboxMessage,
        key: &RowKey,
        summary: PollSummary,
        callback: &mut dyn FnMut(&InboxMessage) -> Verdict,
    ) -> DeliveryOutcome {
        // Its messages may take minutes. The outage before it is over now.
        if summary.delivered + summary.dead_lettered == 0 {
            self.control.health.listing_succeeded();
            self.failure_log.succeeded();
        }
        let Self { dispatcher, cursor, file, .. } = self;
        dispatcher.deliver(message, key, cursor, file, callback)
    }

    /// Lists broadcasts, where that is due and no message is left, and delivers them.
    ///
    /// A list that fails is tried again after a minute. It fails no poll, since an old platform knows no broadcasts.
    fn deliver_broadcasts(&mut self, summary: &mut PollSummary, callback: &mut dyn FnMut(&InboxMessage) -> Verdict) {
        let is_busy = summary.has_more && !self.feed.are_broadcasts_overdue(CoarseInstant::now());
        if is_busy || self.is_held() || self.control.token.is_cancelled() || self.feed.must_wait() {
            return;
        }
        let rows = match self.feed.next_broadcasts(&mut self.cursor, CoarseInstant::now()) {
            Ok(rows) => rows,
            Err(error) => return log_safe!(debug, "inbox: broadcasts cannot be listed: {error}"),
        };
        overlay_names(&self.client, rows.iter().map(|(_, row)| row));
        for (key, row) in rows {
            let message_key = self.cursor.hash_key().map(|secret| key_of_row(&key.id, secret));
            if message_key.is_none_or(|message| !self.cursor.is_handled(message)) {
                let message = InboxMessage::new(&self.client, row);
                match self.deliver_message(&message, &key, *summary, callback) {
                    DeliveryOutcome::Acked => summary.delivered += 1,
                    DeliveryOutcome::DeadLettered => summary.dead_lettered += 1,
                    DeliveryOutcome::Stopped => return self.feed.abandon_broadcasts(),
                }
                self.cursor.handle_broadcast(&key, message_key);
            }
            self.feed.broadcast_handled(&key.id);
        }
    }

    /// Gives up a row that cannot be read: it is recorded, and reported with what is known of it.
    fn give_up(&mut self, unread: UnreadRow) {
        let UnreadRow { key, reason, head } = unread;
        let row = Row { id: key.id.to_string(), at: head.at, bytes: 0, fields: head.fields };
        let message = InboxMessage::of_head(&self.client, row, reason);
        // First, so that a crash reports it again instead of never.
        self.dispatcher.give_up(&message, reason);
        self.cursor.step_over(&key, self.feed.max_row() as u64, CoarseInstant::now());
        self.file.save(&mut self.cursor, true);
    }

    /// Counts entries that are not delivered.
    fn skip(&self, reason: SkipReason, count: usize, summary: &mut PollSummary) {
        summary.skipped += count;
        summary.skipped_by.add(reason, count as u64);
        self.control.health.counters().skipped.add(reason, count as u64);
    }

    /// Returns whether the messages are to stay at the platform.
    pub(super) fn is_held(&self) -> bool {
        !self.delivers_paused && self.control.health.is_paused()
    }

    /// Saves and syncs the cursor.
    pub(super) fn save_cursor(&mut self) {
        self.file.save(&mut self.cursor, true);
    }
}

/// Returns the error of a poll that stopped before row `next`, because the cursor can keep no more rows.
fn cursor_full_error(next: &str) -> Error {
    let next = Untrusted::new(next);
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the inbox stands still before row {next}: 100,000 rows came within the time in which rows may be late \
             (PollerBuilder::late); it goes on once they are settled"
        ),
    )
}
