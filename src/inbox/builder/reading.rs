//! Settings of what is read of the inbox: how far back, how much at a time, and which messages.

use std::time::Duration;

use super::PollerBuilder;

/// Longest backlog. A longer one counts as this.
const MAX_BACKLOG: Duration = Duration::from_secs(30 * 86_400);

/// Reading.
impl PollerBuilder {
    /// Sets how old a message may be to be delivered on the first start, when there is no cursor yet and nothing was
    /// [acknowledged](PollerBuilder::ack) before.
    ///
    /// Measured on the platform's clock, in whole seconds, from the poller's start. Older messages are skipped.
    /// Default: 600 s. Must be at least 1 s. A value above 30 days counts as 30 days.
    pub fn backlog(mut self, age: Duration) -> Self {
        self.backlog = age.min(MAX_BACKLOG);
        self
    }

    /// Sets the number of rows that one request asks for.
    ///
    /// Pages that are too large or too slow are asked for again in smaller pieces, whatever the setting.
    /// Default: 500, which is also the maximum that the platform allows. Must be at least 1.
    pub fn page_size(mut self, rows: usize) -> Self {
        self.page_size = rows;
        self
    }

    /// Sets how late the platform may commit a message: the time for which what was listed is listed again.
    ///
    /// A message that is committed later, behind newer ones that were listed this long ago, is lost without a word. The
    /// platform commits messages up to 30 s late, and uploads later. A shorter time saves requests in tests only.
    ///
    /// Default: 60 s. Measured by this machine's clock, sleep included.
    pub fn late(mut self, time: Duration) -> Self {
        self.late = time;
        self
    }

    /// Sets the largest row that is read, in bytes of JSON. The rows of a page together have at most as many.
    ///
    /// A larger one is given up ([`on_dead_letter`](PollerBuilder::on_dead_letter)): only what comes before its body is
    /// known of it. The platform's rows have up to 90 MB, and any peer can cause one. A row takes up to eight times its
    /// bytes of memory.
    ///
    /// Default: 32 MiB. Must be at least 64 KiB.
    pub fn max_row(mut self, bytes: usize) -> Self {
        self.max_row = bytes;
        self
    }

    /// Sets whether the platform is told which messages were handled.
    ///
    /// The platform then keeps them for 7 days and others for 30, and leaves them out of its summaries of unread mail. A poller
    /// without a cursor goes on where the last one was, whatever the [`backlog`](PollerBuilder::backlog). It is told a minute
    /// ([`late`](PollerBuilder::late)) after a message was listed, once a minute at most, by a request that takes at most 5 s. A
    /// failure is only logged, at debug level. The platform keeps one number for the workspace, which only grows: turn it off
    /// where several programs read one inbox.
    ///
    /// Default: true.
    pub fn ack(mut self, acknowledges: bool) -> Self {
        self.ack = acknowledges;
        self
    }

    /// Sets whether messages that this workspace sent to itself are delivered.
    ///
    /// A callback that answers them writes to its own inbox, and then answers that.
    ///
    /// Default: false. They are counted in [`SkippedRows::own`](crate::SkippedRows::own).
    pub fn own(mut self, delivers: bool) -> Self {
        self.own = delivers;
        self
    }
}
