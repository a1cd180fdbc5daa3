//! One poll: lists the next rows, delivers them, and saves what was acked.

use std::sync::Arc;

use super::deliver::{DeliveryOutcome, Dispatcher, ErrorCallback, Verdict};
use super::feed::cursor::{Cursor, cursor_full_error};
use super::feed::{Batch, Lister, MalformedLog};
use super::handle::PollerControl;
use super::kind::names::overlay_names;
use super::loop_brake::LoopBrake;
use super::message::InboxMessage;
use super::request_watch::RequestWatch;
use super::row_filter::RowFilter;
use super::store::CursorFile;
use crate::client::Client;
use crate::error::failure_log::FailureLog;
use crate::error::{Error, guard};
use crate::stats::{SkipReason, SkippedRows};
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;
use crate::util::panic;
use crate::util::text::Untrusted;

/// The result of one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PollSummary {
    /// Number of messages that the callback acknowledged.
    pub delivered: usize,
    /// Number of messages that exhausted their delivery attempts.
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
    pub(super) lister: Lister,
    pub(super) filter: RowFilter,
    pub(super) dispatcher: Dispatcher,
    pub(super) control: Arc<PollerControl>,
    pub(super) on_error: Option<ErrorCallback>,
    pub(super) brake: Option<Arc<LoopBrake>>,
    pub(super) requests: Option<RequestWatch>,
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
            let batch = self.lister.next_batch(&mut self.cursor)?;
            overlay_names(&self.client, &batch.rows);
            let listed_by = CoarseInstant::now();
            self.brake.iter().for_each(|brake| brake.note_listing(&batch.rows, listed_by));
            self.deliver_batch(batch, listed_by, callback)
        });
        self.file.check_process()?;
        self.file.save(&mut self.cursor, true);
        let health = &self.control.health;
        health.cursor_saved(self.cursor.anchor.as_ref(), self.file.is_failing());
        match &summary {
            Ok(_) => {
                health.poll_succeeded();
                if let Some(requests) = &mut self.requests {
                    requests.check();
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

    /// Delivers the rows of a batch, which were listed by `listed_by`, in order, and acks each in the cursor. Skips acked
    /// rows and those that the filter names, and logs malformed ones.
    ///
    /// Returns the number of messages by outcome, and whether there may be more. Returns early, without an error, when
    /// the poller is stopped or the workspace is paused. Returns an error before the first unacked row while the cursor is full.
    fn deliver_batch(
        &mut self,
        batch: Batch,
        listed_by: CoarseInstant,
        callback: &mut dyn FnMut(&InboxMessage) -> Verdict,
    ) -> Result<PollSummary, Error> {
        let Batch { rows, listed, coverage, malformed, unreadable } = batch;
        let mut summary = PollSummary::default();
        self.skip(SkipReason::Malformed, malformed.count, &mut summary);
        self.malformed_log.warn("an entry that is no row is skipped", malformed);
        self.malformed_log.warn("a field that cannot be read is kept as the text that it came as", unreadable);
        self.malformed_log.warn_of_missing_zone(&rows);
        for (index, row) in rows.into_iter().enumerate() {
            let Some(key) = listed.get(index).map(|row| &row.key) else { break };
            if self.cursor.is_acked(&key.id) {
                self.cursor.ack(&listed, index, coverage);
                continue;
            }
            if self.is_held() {
                self.lister.restart();
                return Ok(summary);
            }
            // The next polls look past this row: newer rows show whether the platform's times go on.
            if self.cursor.is_full() {
                self.lister.note_undelivered_rows();
                return Err(cursor_full_error(&key.id));
            }
            if let Some(reason) = self.filter.skip_reason(&row.fields) {
                let id = Untrusted::new(&key.id);
                let why = reason.describe();
                log_safe!(debug, "inbox: row {id} is not delivered: {why}");
                self.skip(reason, 1, &mut summary);
                self.cursor.ack(&listed, index, coverage);
                continue;
            }
            let ticket = self.brake.as_ref().map(|brake| brake.ticket(row.at, listed_by));
            let message = InboxMessage::new(&self.client, row).with_brake(ticket);
            // Its messages may take minutes. The outage before it is over now.
            if summary.delivered + summary.dead_lettered == 0 {
                self.control.health.listing_succeeded();
                self.failure_log.succeeded();
            }
            let Self { dispatcher, cursor, file, .. } = self;
            match dispatcher.deliver(&message, key, cursor, file, callback) {
                DeliveryOutcome::Acked => summary.delivered += 1,
                DeliveryOutcome::DeadLettered => summary.dead_lettered += 1,
                DeliveryOutcome::Stopped => return Ok(summary),
            }
            self.cursor.ack(&listed, index, coverage);
        }
        self.cursor.finish_batch(coverage);
        summary.has_more = self.lister.should_list_again(coverage);
        Ok(summary)
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
