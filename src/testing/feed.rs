//! The rows of a workspace: how they are written, and what activity lists.

use std::sync::Arc;
use std::time::Duration;

use super::delivery::LedgerEntry;
use super::entities::WorkspaceEntry;
use super::row::{Announce, FeedRow, PendingRow};
use super::state::{MOST_ROWS, State};
use super::time::Micros;
use crate::util::clock::Deadline;

/// Bytes of all bodies of rows. The oldest rows go first.
const MOST_BODY_BYTES: usize = 1 << 30;
/// Rows of all workspaces.
const MOST_ROWS_IN_ALL: usize = 1_000_000;
/// Bytes of all texts in the ledger.
const MOST_LEDGER_BYTES: usize = 256 << 20;

/// The most rows of a page.
const MOST_LISTED: usize = 500;

/// The query of a list of activity.
#[derive(Debug, Default)]
pub(super) struct ListQuery {
    /// Types that a row may have: the first one that was named. All if `None`.
    pub(super) activity_type: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) since_id: Option<String>,
    pub(super) since: Option<Micros>,
    pub(super) before: Option<Micros>,
    /// True for rows of humans only, false for rows of workspaces only.
    pub(super) from_canvas: Option<bool>,
    pub(super) peer_id: Option<String>,
}

/// A `since_id` that no row of the workspace has.
pub(super) struct UnknownCursor;

impl State {
    /// Takes the next number, as an insert does.
    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    fn database_time(&self) -> Micros {
        Micros(Micros::now().0.saturating_add(self.faults.skew.saturating_mul(1_000_000)))
    }

    /// Writes a row. Returns its id. It is listed at once, or later if rows are to be late.
    pub(super) fn insert(&mut self, mut row: FeedRow, announce: Announce) -> String {
        row.created_at = self.database_time();
        row.seq = self.take_seq();
        let id = row.id.clone();
        let (left, delay) = self.faults.late;
        if left > 0 && row.activity_type == "a2a_receive" {
            self.faults.late = (left - 1, delay);
            self.pending.push(PendingRow { row, due: Deadline::after(delay), announce });
        } else {
            self.commit(row, &announce);
        }
        id
    }

    /// Writes several rows of one time, as one upload does.
    pub(super) fn insert_together(&mut self, rows: Vec<FeedRow>) -> Vec<String> {
        let now = self.database_time();
        let (left, delay) = self.faults.late;
        let is_late = left > 0 && !rows.is_empty();
        if is_late {
            self.faults.late = (left.saturating_sub(rows.len()), delay);
        }
        let due = Deadline::after(delay);
        let write = |mut row: FeedRow| {
            row.created_at = now;
            row.seq = self.take_seq();
            let (id, announce) = (row.id.clone(), Announce::Once(row.request_body.clone()));
            if is_late {
                self.pending.push(PendingRow { row, due, announce });
            } else {
                self.commit(row, &announce);
            }
            id
        };
        rows.into_iter().map(write).collect()
    }

    /// True while a row is being written.
    pub(super) fn is_pending(&self, id: &str) -> bool {
        self.pending.iter().any(|pending| pending.row.id == id)
    }

    /// Commits the late rows that are due. Returns when the next one is, if any.
    pub(super) fn commit_due(&mut self) -> Option<Duration> {
        let (due, left): (Vec<PendingRow>, Vec<PendingRow>) =
            self.pending.drain(..).partition(|pending| pending.due.left().is_zero());
        self.pending = left;
        for pending in due {
            self.commit(pending.row, &pending.announce);
        }
        self.pending.iter().map(|pending| pending.due.left()).min()
    }

    fn commit(&mut self, row: FeedRow, announce: &Announce) {
        self.announce(&row, announce);
        self.remember(LedgerEntry::new(&row));
        let size = [&row.request_body, &row.response_body].into_iter().flatten().map(|body| body.len()).sum();
        let (workspace_id, id) = (row.workspace_id.clone(), row.id.clone());
        let Some(workspace) = self.workspaces.get_mut(&workspace_id) else { return };
        let at = workspace.rows.partition_point(|other| other.key() < row.key());
        workspace.rows.insert(at, Arc::new(row));
        if workspace.rows.len() > MOST_ROWS {
            workspace.drop_row(0);
        }
        self.row_bytes += size;
        self.row_order.push_back((workspace_id, id, size));
        while self.row_bytes > MOST_BODY_BYTES || self.row_order.len() > MOST_ROWS_IN_ALL {
            let Some((workspace, id, size)) = self.row_order.pop_front() else { return };
            self.row_bytes -= size;
            if let Some(workspace) = self.workspaces.get_mut(&workspace) {
                // It may have gone before.
                if let Some(at) = workspace.rows.iter().position(|row| row.id == id) {
                    workspace.drop_row(at);
                }
            }
        }
    }

    fn remember(&mut self, entry: LedgerEntry) {
        self.ledger_bytes += entry.text.len();
        self.ledger.push_back(entry);
        while self.ledger.len() > MOST_ROWS || self.ledger_bytes > MOST_LEDGER_BYTES {
            self.ledger_bytes -= self.ledger.pop_front().map_or(self.ledger_bytes, |entry| entry.text.len());
        }
    }

    /// Commits all late rows now.
    pub(super) fn commit_all(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            self.commit(pending.row, &pending.announce);
        }
    }

    /// Changes a row that is listed, or that is late.
    pub(super) fn update_row(&mut self, workspace: &str, id: &str, change: impl FnOnce(&mut FeedRow)) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.row.id == id) {
            return change(&mut pending.row);
        }
        let rows = self.workspaces.get_mut(workspace).map(|workspace| &mut workspace.rows);
        if let Some(row) = rows.and_then(|rows| rows.iter_mut().rev().find(|row| row.id == id)) {
            change(Arc::make_mut(row));
        }
    }

    /// Returns the id of the row of a message. The relay writes one for each message id and target.
    pub(super) fn row_of_message(&self, workspace: &str, message_id: &str) -> Option<String> {
        self.workspaces.get(workspace)?.messages.get(message_id).cloned()
    }

    /// Writes the row of a message, and remembers its id.
    pub(super) fn insert_message(&mut self, row: FeedRow, announce: Announce) -> String {
        let workspace = self.workspaces.get_mut(&row.workspace_id);
        if let (Some(workspace), Some(message_id)) = (workspace, &row.message_id) {
            workspace.messages.insert(message_id.clone(), row.id.clone());
        }
        self.insert(row, announce)
    }

    /// Removes all rows of a workspace, as the server does when they are old.
    pub(super) fn prune(&mut self, workspace: &str) {
        if let Some(workspace) = self.workspace_mut(workspace) {
            workspace.rows.clear();
            workspace.messages.clear();
        }
    }

    /// Returns a page of rows: ascending after `since_id`, else descending.
    pub(super) fn list(&self, workspace: &str, query: &ListQuery) -> Result<Vec<Arc<FeedRow>>, UnknownCursor> {
        let Some(workspace) = self.workspace(workspace) else { return Ok(Vec::new()) };
        let rows = &workspace.rows;
        let matches = |row: &&Arc<FeedRow>| {
            query.activity_type.as_ref().is_none_or(|kind| row.activity_type == *kind)
                && query.since.is_none_or(|since| row.created_at >= since)
                && query.before.is_none_or(|before| row.created_at < before)
                && query.from_canvas.is_none_or(|canvas| row.source_id.is_none() == canvas)
                && query
                    .peer_id
                    .as_deref()
                    .is_none_or(|peer| [&row.source_id, &row.target_id].iter().any(|id| id.as_deref() == Some(peer)))
        };
        let limit = query.limit.unwrap_or(100).min(MOST_LISTED);
        let Some(cursor) = &query.since_id else {
            return Ok(rows.iter().rev().filter(matches).take(limit).cloned().collect());
        };
        let anchor = rows.iter().rev().find(|row| row.id.eq_ignore_ascii_case(cursor)).ok_or(UnknownCursor)?.key();
        let start = rows.partition_point(|row| row.key() <= anchor);
        Ok(rows.iter().skip(start).filter(matches).take(limit).cloned().collect())
    }
}

impl WorkspaceEntry {
    fn drop_row(&mut self, at: usize) {
        let row = self.rows.remove(at);
        if let Some(message_id) = row.as_ref().and_then(|row| row.message_id.as_ref()) {
            self.messages.remove(message_id);
        }
    }
}
