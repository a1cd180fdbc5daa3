//! Work without a request: late rows, queued sends, delegations, heartbeats that stop.

use std::time::Duration;

use super::delegations::dispatch_delegations;
use super::feed;
use super::queue::dispatch_queued;
use super::state::{Shared, State};
use super::time::Micros;
use crate::util::clock::Deadline;

/// One queued send of each workspace is dispatched so often.
const DRAIN_EVERY: Duration = Duration::from_secs(3);
/// An agent whose last heartbeat is as old is taken for gone.
const LAPSED: Duration = Duration::from_secs(180);
/// The longest wait for something that is not known yet.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Commits late rows when they are due, and marks agents whose heartbeats stopped, until the platform ends.
pub(super) fn commit_rows(shared: &Shared) {
    let mut state = shared.lock();
    while !state.ended {
        let waiting = state.pending.len();
        let next = feed::commit_due(&mut state);
        mark_lapsed(&mut state);
        if state.pending.len() < waiting {
            shared.notify();
        }
        state = shared.wait(state, Deadline::after(next.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)));
    }
}

/// Dispatches delegations at once and queued sends every three seconds, until the platform ends.
pub(super) fn dispatch(shared: &Shared) {
    let mut drain = Deadline::after(DRAIN_EVERY);
    loop {
        let mut state = shared.lock();
        let mut held = state.faults.holds_background;
        while !state.ended && (held || (!drain.left().is_zero() && !has_undispatched(&state))) {
            let wait = if held { LONGEST_WAIT } else { drain.left().min(LONGEST_WAIT) };
            state = shared.wait(state, Deadline::after(wait));
            held = state.faults.holds_background;
        }
        if state.ended {
            return;
        }
        drop(state);
        dispatch_delegations(shared);
        if drain.left().is_zero() {
            dispatch_queued(shared, None);
            drain = Deadline::after(DRAIN_EVERY);
        }
    }
}

fn has_undispatched(state: &State) -> bool {
    state.delegations.iter().any(|delegation| !delegation.is_dispatched)
}

fn mark_lapsed(state: &mut State) {
    let oldest = Micros::now().minus(LAPSED);
    for workspace in state.workspaces.values_mut() {
        if workspace.status == "online" && workspace.last_heartbeat.is_some_and(|last| last < oldest) {
            "awaiting_agent".clone_into(&mut workspace.status);
        }
    }
}
