//! Events, as the stream of each workspace gets them.

use std::sync::Arc;

use super::json::escape_html;
use super::row::{Announce, FeedRow, quote};
use super::state::State;
use super::time::Micros;

/// Events that may wait for a reader. What comes then is dropped.
const MOST_WAITING: usize = 64;

/// Sends an event to the open streams of a workspace. `data` is JSON. The caller wakes them.
pub(super) fn emit(state: &mut State, workspace: &str, kind: &str, data: &str) {
    if state.setup.mutes_events || !state.subscribers.iter().any(|reader| reader.workspace == workspace) {
        return;
    }
    let text = format!("{{\"type\":{},\"timestamp\":{},\"data\":{data}}}", quote(kind), Micros::now().millis());
    let mut line = b"data: ".to_vec();
    escape_html(text.as_bytes(), &mut line);
    line.extend_from_slice(b"\n\n");
    let line: Arc<[u8]> = line.into();
    for reader in state.subscribers.iter_mut().filter(|reader| reader.workspace == workspace) {
        if reader.waiting.len() < MOST_WAITING {
            reader.waiting.push_back(line.clone());
        }
    }
}

/// Tells the streams of a row.
pub(super) fn announce(state: &mut State, row: &FeedRow, announce: &Announce) {
    let workspace = row.workspace_id.clone();
    if !state.subscribers.iter().any(|reader| reader.workspace == workspace) {
        return;
    }
    match announce {
        Announce::Never => {}
        Announce::Once(body) => {
            let data = row.event(body.as_deref());
            emit(state, &workspace, "ACTIVITY_LOGGED", &data);
        }
        Announce::Twice(body) => {
            let data = row.event(Some(body));
            emit(state, &workspace, "ACTIVITY_LOGGED", &data);
            let is_human = row.source_id.is_none();
            if is_human {
                let id = row.message_id.as_deref().unwrap_or_default();
                let content = format!("{{\"content\":{},\"message_id\":{}", quote(&row.text), quote(id));
                emit(state, &workspace, "USER_MESSAGE", &format!("{content},\"workspace_id\":{}}}", quote(&workspace)));
            }
            let queued = row.summary.replace(" (ingest)", " (queued for poll)");
            let data = FeedRow { summary: queued, ..row.clone() }.event(Some(body));
            emit(state, &workspace, "ACTIVITY_LOGGED", &data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entities::{CONCIERGE, Subscriber};
    use super::super::state::Shared;
    use super::emit;

    #[test]
    fn events_are_dropped_when_a_reader_is_64_behind() {
        let shared = Shared::new(([127, 0, 0, 1], 1).into());
        let mut state = shared.lock();
        state.subscribers.push(Subscriber { id: 0, workspace: CONCIERGE.to_owned(), waiting: Default::default() });
        (0..70).for_each(|n| emit(&mut state, CONCIERGE, "X", &n.to_string()));
        let waiting = &state.subscribers[0].waiting;
        assert_eq!(waiting.len(), 64);
        let last = String::from_utf8_lossy(&waiting[63]).into_owned();
        assert!(
            last.starts_with("data: {\"type\":\"X\",\"timestamp\":") && last.ends_with(",\"data\":63}\n\n"),
            "{last}"
        );
    }
}
