//! The meaning of the platform's answer to a request for a page.

use super::Feed;
use super::cursor::Cursor;
use super::fetcher::{Fetched, Page, PageEnd};
use super::position::RowKey;
use super::reader::Reader;
use super::since_id::SinceIdSupport;
use super::window::RowState;
use crate::error::{Error, ErrorKind};
use crate::inbox::verdict::DeadLetterReason;
use crate::util::clock::CoarseInstant;

/// Number of rows that the platform lists and then does not know, from which on it is paged by time.
const MAX_LOST_ROWS: u32 = 3;

impl Feed {
    /// Returns a page that was asked for, and why a row at its end was not read. `behind` is the row that it was to begin
    /// behind. `None` where another listing is needed.
    pub(super) fn judge(
        &mut self,
        fetched: Fetched,
        behind: Option<&RowKey>,
        cursor: &mut Cursor,
        now: CoarseInstant,
    ) -> Result<Option<(Page, DeadLetterReason)>, Error> {
        match fetched {
            Fetched::Page(page) if behind.is_some_and(|behind| !self.since_id.shows(&page, behind)) => {
                self.page_by_time("since_id", cursor, now);
                Ok(None)
            }
            Fetched::Page(page) => {
                if behind.is_some() {
                    self.last_listed = Some(now);
                }
                cursor.forget_slow_row();
                Ok(Some((page, DeadLetterReason::TooLarge)))
            }
            Fetched::AnchorGone => self.lose_row(behind, cursor, now).map(|()| None),
            Fetched::Stalled(head, error) => {
                let state = head.id.as_deref().and_then(|id| cursor.window.state(id));
                if state == Some(RowState::SteppedOver) {
                    let page = Page { end: PageEnd::LargeRow(head), ..Page::default() };
                    return Ok(Some((page, DeadLetterReason::TooSlow)));
                }
                if !cursor.count_slow_row(&head, now) || !self.fetcher.is_answered() {
                    return Err(error);
                }
                let page = Page { end: PageEnd::LargeRow(head), ..Page::default() };
                Ok(Some((page, DeadLetterReason::TooSlow)))
            }
        }
    }

    /// Goes on where the platform does not know the row that a page was to begin behind: it was pruned.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Status`]: there is no end of such rows, on a platform that lists behind others.
    fn lose_row(&mut self, behind: Option<&RowKey>, cursor: &mut Cursor, now: CoarseInstant) -> Result<(), Error> {
        match behind.filter(|row| cursor.window.state(&row.id) == Some(RowState::SteppedOver)) {
            Some(row) => cursor.forget(&row.id),
            None => self.lost_rows += 1,
        }
        self.newest = None;
        if self.lost_rows >= MAX_LOST_ROWS {
            if self.since_id == SinceIdSupport::Known {
                self.lost_rows = 0;
                let platform = self.fetcher.platform();
                let what = "knows none of the rows behind which the inbox could be listed";
                return Err(Error::new(ErrorKind::Status, format!("{platform} {what}")));
            }
            self.page_by_time("the rows that it lists", cursor, now);
            return Ok(());
        }
        // The row of a listing may be pruned before the anchor is: then the next one begins at the anchor.
        self.reader = cursor.anchor().map(|anchor| match behind {
            Some(behind) if behind == anchor.row() => Reader::after_loss(anchor),
            _ => Reader::head(anchor.row().clone()),
        });
        Ok(())
    }
}
