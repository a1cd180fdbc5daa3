use std::time::Duration;

use super::super::messages::MAX_MESSAGES;
use super::*;

fn row(n: i64) -> RowKey {
    RowKey { at: Timestamp::from_nanos(n), seq: n, id: format!("r{n}").into() }
}

fn anchor(n: i64) -> Option<Anchor> {
    Some(if n == 0 { Anchor::Open(row(n)) } else { Anchor::Behind(row(n)) })
}

fn handled(n: i64, message: Option<MessageKey>) -> CursorChange {
    let first_listed = Some(BootTime { boot: 7, millis: 9 });
    CursorChange::Handled(HandledRow { row: row(n), message, first_listed })
}

/// Returns a change of each kind.
pub(in crate::inbox) fn each_change() -> Vec<CursorChange> {
    let message = HandledMessage { key: MessageKey(u128::MAX), at: Timestamp::from_nanos(4) };
    vec![
        CursorChange::Listed(Timestamp::from_nanos(5)),
        CursorChange::Anchor(anchor(0)),
        CursorChange::Attempts("r8".into(), 3),
        CursorChange::SteppedOver(row(6)),
        CursorChange::SlowRow(Some(SlowRow {
            id: "r9".into(),
            polls: 2,
            first: Some(BootTime { boot: 7, millis: 9 }),
        })),
        CursorChange::Upload("upload".into()),
        CursorChange::Broadcasts(Some(row(2))),
        CursorChange::AckedSeq(-1),
        CursorChange::Message(message),
        handled(7, Some(MessageKey(1))),
    ]
}

fn state(changes: impl IntoIterator<Item = CursorChange>) -> SavedCursor {
    let mut state = SavedCursor::default();
    changes.into_iter().for_each(|change| state.apply(change));
    state
}

#[test]
fn changes_of_a_state_make_that_state() {
    let first = state(each_change());
    assert_eq!(state(first.changes()), first);
    assert_eq!((first.messages.len(), first.handled.len(), first.handled[0].message), (2, 1, None));
}

#[test]
fn handled_row_has_no_attempts_left() {
    let after = state([CursorChange::Attempts("r8".into(), 3), handled(8, None)]);
    assert_eq!(after.attempts, []);
}

#[test]
fn anchor_passes_rows_that_were_stepped_over() {
    let after = state([3, 5, 7].map(|n| CursorChange::SteppedOver(row(n))));
    let after = state(after.changes().chain([CursorChange::Anchor(anchor(5))]));
    assert_eq!(after.stepped_over, [row(5), row(7)]);
}

#[test]
fn message_is_remembered_for_a_day() {
    let hour = |n: u32| CursorChange::Listed(Timestamp::from_nanos(0).plus(Duration::from_secs(3_600) * n));
    let known = |hours: u32| {
        let after = state([hour(1), handled(1, Some(MessageKey(1))), hour(hours)]);
        state(after.changes()).messages.len()
    };
    assert_eq!((known(25), known(26)), (1, 0));
}

#[test]
fn all_lists_are_bounded() {
    let many = (0..250_000).map(|n| handled(n, Some(MessageKey(n.unsigned_abs().into()))));
    let after = state(many.chain([CursorChange::Anchor(anchor(240_000))]));
    assert!(after.handled.len() <= 2 * MAX_HANDLED && after.messages.len() == MAX_MESSAGES);
    assert_eq!(after.handled.last().unwrap().row, row(249_999), "the newest are kept");
    let many = (0..2_000).flat_map(|n| {
        [CursorChange::SteppedOver(row(n)), CursorChange::Upload(row(n).id), CursorChange::Attempts(row(n).id, 1)]
    });
    let after = state(many);
    let newest = (after.stepped_over.back(), after.uploads.back(), after.attempts.last());
    assert_eq!(newest, (Some(&row(1_999)), Some(&row(1_999).id), Some(&(row(1_999).id, 1))));
    let kept = (after.stepped_over.len(), after.uploads.len(), after.attempts.len());
    assert_eq!(kept, (MAX_LISTED_IDS, MAX_LISTED_IDS, MAX_ATTEMPTS));
}

#[test]
fn pending_changes_are_bounded_and_only_the_last_anchor_counts() {
    let mut pending = PendingChanges::default();
    (0..9).for_each(|n| pending.push(CursorChange::Anchor(anchor(n))));
    assert_eq!(pending.get(), Some(&[CursorChange::Anchor(anchor(8))][..]));
    (0..2_000).for_each(|n| pending.push(handled(n, None)));
    assert!(pending.get().is_none() && !pending.is_empty());
    pending.clear();
    assert!(pending.get() == Some(&[]) && pending.is_empty());
}
