//! The rows of a workspace: how they are written, and what activity lists.

use std::sync::Arc;
use std::time::Duration;

use super::delivery::LedgerEntry;
use super::entities::WorkspaceEntry;
use super::events;
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

/// Takes the next number, as an insert does.
pub(super) fn take_seq(state: &mut State) -> u64 {
    let seq = state.next_seq;
    state.next_seq += 1;
    seq
}

fn database_time(state: &State) -> Micros {
    Micros(Micros::now().0.saturating_add(state.faults.skew.saturating_mul(1_000_000)))
}

/// Writes a row. Returns its id. It is listed at once, or later if rows are to be late.
pub(super) fn insert(state: &mut State, mut row: FeedRow, announce: Announce) -> String {
    row.created_at = database_time(state);
    row.seq = take_seq(state);
    let id = row.id.clone();
    let (left, delay) = state.faults.late;
    if left > 0 && row.activity_type == "a2a_receive" {
        state.faults.late = (left - 1, delay);
        state.pending.push(PendingRow { row, due: Deadline::after(delay), announce });
    } else {
        commit(state, row, &announce);
    }
    id
}

/// Writes several rows of one time, as one upload does.
pub(super) fn insert_together(state: &mut State, rows: Vec<FeedRow>) -> Vec<String> {
    let now = database_time(state);
    let (left, delay) = state.faults.late;
    let is_late = left > 0 && !rows.is_empty();
    if is_late {
        state.faults.late = (left.saturating_sub(rows.len()), delay);
    }
    let due = Deadline::after(delay);
    let write = |mut row: FeedRow| {
        row.created_at = now;
        row.seq = take_seq(state);
        let (id, announce) = (row.id.clone(), Announce::Once(row.request_body.clone()));
        if is_late {
            state.pending.push(PendingRow { row, due, announce });
        } else {
            commit(state, row, &announce);
        }
        id
    };
    rows.into_iter().map(write).collect()
}

/// True while a row is being written.
pub(super) fn is_pending(state: &State, id: &str) -> bool {
    state.pending.iter().any(|pending| pending.row.id == id)
}

/// Commits the late rows that are due. Returns when the next one is, if any.
pub(super) fn commit_due(state: &mut State) -> Option<Duration> {
    let (due, left): (Vec<PendingRow>, Vec<PendingRow>) =
        state.pending.drain(..).partition(|pending| pending.due.left().is_zero());
    state.pending = left;
    for pending in due {
        commit(state, pending.row, &pending.announce);
    }
    state.pending.iter().map(|pending| pending.due.left()).min()
}

fn commit(state: &mut State, row: FeedRow, announce: &Announce) {
    events::announce(state, &row, announce);
    remember(state, LedgerEntry::new(&row));
    let size = [&row.request_body, &row.response_body].into_iter().flatten().map(|body| body.len()).sum();
    let (workspace_id, id) = (row.workspace_id.clone(), row.id.clone());
    let Some(workspace) = state.workspaces.get_mut(&workspace_id) else { return };
    let at = workspace.rows.partition_point(|other| other.key() < row.key());
    workspace.rows.insert(at, Arc::new(row));
    if workspace.rows.len() > MOST_ROWS {
        drop_row(workspace, 0);
    }
    state.row_bytes += size;
    state.row_order.push_back((workspace_id, id, size));
    while state.row_bytes > MOST_BODY_BYTES || state.row_order.len() > MOST_ROWS_IN_ALL {
        let Some((workspace, id, size)) = state.row_order.pop_front() else { return };
        state.row_bytes -= size;
        if let Some(workspace) = state.workspaces.get_mut(&workspace) {
            // It may have gone before.
            if let Some(at) = workspace.rows.iter().position(|row| row.id == id) {
                drop_row(workspace, at);
            }
        }
    }
}

fn remember(state: &mut State, entry: LedgerEntry) {
    state.ledger_bytes += entry.text.len();
    state.ledger.push_back(entry);
    while state.ledger.len() > MOST_ROWS || state.ledger_bytes > MOST_LEDGER_BYTES {
        state.ledger_bytes -= state.ledger.pop_front().map_or(state.ledger_bytes, |entry| entry.text.len());
    }
}

/// Commits all late rows now.
pub(super) fn commit_all(state: &mut State) {
    for pending in std::mem::take(&mut state.pending) {
        commit(state, pending.row, &pending.announce);
    }
}

/// Changes a row that is listed, or that is late.
pub(super) fn update_row(state: &mut State, workspace: &str, id: &str, change: impl FnOnce(&mut FeedRow)) {
    if let Some(pending) = state.pending.iter_mut().find(|pending| pending.row.id == id) {
        return change(&mut pending.row);
    }
    let rows = state.workspaces.get_mut(workspace).map(|workspace| &mut workspace.rows);
    if let Some(row) = rows.and_then(|rows| rows.iter_mut().rev().find(|row| row.id == id)) {
        change(Arc::make_mut(row));
    }
}

/// Returns the id of the row of a message. The relay writes one for each message id and target.
pub(super) fn row_of_message(state: &State, workspace: &str, message_id: &str) -> Option<String> {
    state.workspaces.get(workspace)?.messages.get(message_id).cloned()
}

/// Writes the row of a message, and remembers its id.
pub(super) fn insert_message(state: &mut State, row: FeedRow, announce: Announce) -> String {
    let workspace = state.workspaces.get_mut(&row.workspace_id);
    if let (Some(workspace), Some(message_id)) = (workspace, &row.message_id) {
        workspace.messages.insert(message_id.clone(), row.id.clone());
    }
    insert(state, row, announce)
}

/// Removes all rows of a workspace, as the server does when they are old.
pub(super) fn prune(state: &mut State, workspace: &str) {
    if let Some(workspace) = state.workspace_mut(workspace) {
        workspace.rows.clear();
        workspace.messages.clear();
    }
}

/// Returns a page of rows: ascending after `since_id`, else descending.
pub(super) fn list(state: &State, workspace: &str, query: &ListQuery) -> Result<Vec<Arc<FeedRow>>, UnknownCursor> {
    let Some(workspace) = state.workspace(workspace) else { return Ok(Vec::new()) };
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

fn drop_row(workspace: &mut WorkspaceEntry, at: usize) {
    let row = workspace.rows.remove(at);
    if let Some(message_id) = row.as_ref().and_then(|row| row.message_id.as_ref()) {
        workspace.messages.remove(message_id);
    }
}
