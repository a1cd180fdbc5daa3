//! The removal of our workspace, which the platform is asked for after a 401.
//!
//! The platform revokes the tokens of a workspace that it removes. Each call with our token is answered 401 then, as with a
//! wrong token or while the platform's database is down. `GET /workspaces/:id` needs no token, and says which it is:
//!
//! | answer | meaning |
//! | --- | --- |
//! | 410 with our id | removed |
//! | 404 in the platform's own words, twice, 10 s apart | purged: removed, and forgotten by the platform |
//! | 200 | the workspace is there: the token is wrong |
//! | any other, an empty 404 of the hosted edge among them | nothing is known |

use std::time::Duration;

use serde_json::Value;

use super::response::Response;
use crate::error::{Error, ErrorKind, WorkspaceRemoved};
use crate::util::clock::CoarseInstant;
use crate::util::sync::Mutex;
use crate::wire;

/// Shortest time between two questions.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Longest time between two answers of 404 that together say that the workspace was purged.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);

/// Advice for a removed workspace where the platform gives none, as in the Python module `a2a_client`.
const REMOVED_HINT: &str =
    "Workspace was deleted on the platform. Regenerate workspace + token from the canvas → Tokens tab.";
/// Advice for a workspace that the platform has forgotten.
const PURGED_HINT: &str = "Workspace was purged: the platform does not know its id any more. Create a workspace and a token \
                           on the canvas, or check the id.";

/// Longest body of an answer that is read, in bytes.
pub(super) const MAX_RESPONSE: u64 = 256 * 1024;

/// A client's knowledge of the removal of its workspace.
///
/// A removal is remembered, and asked for again by the next call, at most once in 10 s. It is forgotten once the platform
/// has the workspace again, or the token is another one.
#[derive(Debug, Default)]
pub(super) struct RemovalMonitor(Mutex<RemovalState>);

#[derive(Debug, Default)]
struct RemovalState {
    /// Number of the token that the rest is about.
    token: u64,
    asked: Option<CoarseInstant>,
    /// Time of the first answer that the platform does not know the workspace.
    unknown_since: Option<CoarseInstant>,
    removal: Option<Removal>,
    /// True once the log says that this token is refused.
    is_logged: bool,
}

/// The removal of our workspace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Removal {
    /// Status of the answer that says it: 410, or 404.
    status: u16,
    details: WorkspaceRemoved,
}

/// The end of a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    Removed(Removal),
    /// The workspace is there, and the token is wrong. `is_new` where this was not found before.
    TokenRefused {
        is_new: bool,
    },
    /// Nothing is known, or it is too early to ask again.
    Undecided,
}

impl RemovalMonitor {
    /// Returns whether a removal is known. It may be out of date.
    pub(super) fn is_known(&self) -> bool {
        self.0.lock().removal.is_some()
    }

    /// Returns what is known, after `ask` if that is due. `token` is the number of the token in use.
    pub(super) fn find(
        &self,
        now: CoarseInstant,
        token: u64,
        workspace_id: &str,
        ask: impl FnOnce() -> Result<Response, Error>,
    ) -> Finding {
        if !self.begin(now, token) {
            return self.0.lock().removal.clone().map_or(Finding::Undecided, Finding::Removed);
        }
        // Nothing is locked meanwhile: other threads go on with their 401.
        let answer = ask().ok();
        self.record(
            now,
            answer.map_or(Existence::Other, |response| Existence::read(&response, workspace_id)),
            workspace_id,
        )
    }

    /// Returns the time until a second answer can confirm that the workspace was purged. `None` where nothing says so.
    pub(super) fn until_confirmation(&self, now: CoarseInstant) -> Option<Duration> {
        let state = self.0.lock();
        let suspected = state.removal.is_none().then_some(state.unknown_since).flatten()?;
        Some(ASK_EVERY.saturating_sub(now.since(state.asked.unwrap_or(suspected))))
    }

    /// Returns whether the platform is to be asked. Then no other thread asks for 10 s.
    fn begin(&self, now: CoarseInstant, token: u64) -> bool {
        let mut state = self.0.lock();
        if state.token != token {
            *state = RemovalState { token, ..RemovalState::default() };
        }
        let is_due = state.asked.is_none_or(|asked| now.since(asked) >= ASK_EVERY);
        if is_due {
            state.asked = Some(now);
        }
        is_due
    }

    fn record(&self, now: CoarseInstant, answer: Existence, workspace_id: &str) -> Finding {
        let mut state = self.0.lock();
        match answer {
            Existence::Removed(removal) => state.removal = Some(removal),
            Existence::Unknown => {
                let first = state.unknown_since.filter(|first| now.since(*first) <= UNKNOWN_FOR);
                if first.is_some() && state.removal.is_none() {
                    state.removal = Some(Removal::purged(workspace_id));
                }
                state.unknown_since = Some(first.unwrap_or(now));
            }
            Existence::Present => {
                let is_new = !std::mem::replace(&mut state.is_logged, true);
                (state.removal, state.unknown_since) = (None, None);
                return Finding::TokenRefused { is_new };
            }
            Existence::Other => {}
        }
        state.removal.clone().map_or(Finding::Undecided, Finding::Removed)
    }
}

impl Removal {
    fn purged(workspace_id: &str) -> Self {
        Removal { status: 404, details: purge_details(workspace_id) }
    }

    /// Returns the error of a request to `target`, of which nothing took effect.
    pub(super) fn into_error(self, target: String) -> Error {
        let error = Error::new(ErrorKind::Removed, removal_text(&self.details));
        error.with_target(target).with_status(self.status).with_removed(self.details)
    }
}

/// An answer of the platform about our workspace.
enum Existence {
    Removed(Removal),
    /// The platform does not know it.
    Unknown,
    Present,
    /// It says nothing of the workspace.
    Other,
}

impl Existence {
    fn read(response: &Response, workspace_id: &str) -> Self {
        match response.status {
            200 if is_of(response, workspace_id) => Existence::Present,
            410 if is_of(response, workspace_id) => {
                Existence::Removed(Removal { status: 410, details: removal_details(response, workspace_id) })
            }
            404 if wire::is_platform_error(&response.body) => Existence::Unknown,
            _ => Existence::Other,
        }
    }
}

/// Returns whether an answer has our id. The platform writes ids in lower case, and takes either.
fn is_of(response: &Response, workspace_id: &str) -> bool {
    let fields = wire::error_fields(&response.body);
    fields.get("id").and_then(Value::as_str).is_some_and(|id| id.eq_ignore_ascii_case(workspace_id))
}

/// Reads the body of a 410. Defaults for what it lacks are those of the Python module `a2a_client`.
pub(crate) fn removal_details(response: &Response, workspace_id: &str) -> WorkspaceRemoved {
    let fields = wire::error_fields(&response.body);
    let text = |field: &str| fields.get(field).and_then(Value::as_str).map(|text| response.excerpt_of(text));
    WorkspaceRemoved {
        id: text("id").unwrap_or_else(|| workspace_id.to_owned()),
        removed_at: text("removed_at"),
        hint: text("hint").unwrap_or_else(|| REMOVED_HINT.to_owned()),
    }
}

/// Returns the details of a workspace that the platform does not know.
pub(crate) fn purge_details(workspace_id: &str) -> WorkspaceRemoved {
    WorkspaceRemoved { id: workspace_id.to_owned(), removed_at: None, hint: PURGED_HINT.to_owned() }
}

/// Returns the text of an error for a removal.
pub(crate) fn removal_text(removed: &WorkspaceRemoved) -> String {
    let when = removed.removed_at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
    format!("the workspace {} was removed{when}: {}", removed.id, removed.hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

    fn removed() -> Response {
        Response::for_test(410, format!(r#"{{"error":"workspace removed","hint":"make another","id":"{ID}"}}"#))
    }

    fn unknown() -> Response {
        Response::for_test(404, r#"{"error":"workspace not found"}"#)
    }

    /// Asks at this many seconds, and returns what is found and whether the platform was asked.
    fn find(monitor: &RemovalMonitor, secs: u64, token: u64, response: Response) -> (Finding, bool) {
        let mut is_asked = false;
        let now = CoarseInstant::START.plus(Duration::from_secs(secs));
        let finding = monitor.find(now, token, ID, || {
            is_asked = true;
            Ok(response)
        });
        (finding, is_asked)
    }

    fn is_removed(finding: &Finding) -> bool {
        matches!(finding, Finding::Removed(_))
    }

    #[test]
    fn only_a_410_with_our_id_is_a_removal_at_once() {
        let body = |status, body: &str| Response::for_test(status, body);
        for (response, is_removal) in [
            (removed(), true),
            (body(410, &format!(r#"{{"error":"workspace removed","id":"{}"}}"#, ID.to_uppercase())), true),
            (body(410, r#"{"error":"workspace removed","id":"3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c"}"#), false),
            (body(410, r#"{"error":"workspace removed"}"#), false),
            (body(410, ""), false),
            (unknown(), false),
            (body(404, ""), false),
            (body(403, ""), false),
            (body(401, r#"{"error":"missing workspace auth token"}"#), false),
            (body(500, r#"{"error":"workspace removed"}"#), false),
            (body(200, "<html>"), false),
            (body(200, &format!(r#"{{"id":"{ID}"}}"#)), false),
        ] {
            let (status, monitor) = (response.status, RemovalMonitor::default());
            let (finding, _) = find(&monitor, 0, 0, response);
            assert_eq!((is_removed(&finding), monitor.is_known()), (is_removal, is_removal), "{status}: {finding:?}");
        }
    }

    #[test]
    fn platform_is_asked_once_in_ten_seconds() {
        let monitor = RemovalMonitor::default();
        let asked = |secs| find(&monitor, secs, 0, Response::for_test(500, "")).1;
        assert_eq!([0, 1, 9, 10, 19, 20].map(asked), [true, false, false, true, false, true]);
    }

    #[test]
    fn purge_is_two_answers_ten_seconds_apart() {
        let monitor = RemovalMonitor::default();
        let until = |secs| {
            let now = CoarseInstant::START.plus(Duration::from_secs(secs));
            monitor.until_confirmation(now).map(|wait| wait.as_secs())
        };
        assert_eq!(until(0), None);
        assert_eq!(find(&monitor, 0, 0, unknown()), (Finding::Undecided, true));
        assert_eq!((until(3), until(30)), (Some(7), Some(0)));
        assert_eq!(find(&monitor, 9, 0, unknown()), (Finding::Undecided, false));
        let (Finding::Removed(removal), true) = find(&monitor, 10, 0, unknown()) else { panic!("not removed") };
        assert_eq!(until(10), None);
        let error = removal.into_error("GET http://p/x".to_owned());
        assert_eq!((error.kind(), error.status()), (ErrorKind::Removed, Some(404)));
        assert!(error.to_string().contains("was removed: Workspace was purged"), "{error}");
        assert_eq!(error.removed().map(|removed| removed.id.as_str()), Some(ID));
    }

    #[test]
    fn answers_of_404_do_not_add_up_across_a_workspace_that_is_there_or_ten_minutes() {
        let present = || Response::for_test(200, format!(r#"{{"id":"{ID}"}}"#));
        let monitor = RemovalMonitor::default();
        let found = |secs, response| is_removed(&find(&monitor, secs, 0, response).0);
        assert!(!found(0, unknown()) && !found(10, present()) && !found(20, unknown()));
        assert!(!found(700, unknown()), "the first one is too old");
        // An answer that says nothing does not end the suspicion.
        assert!(!found(710, Response::for_test(404, "")) && found(720, unknown()));
    }

    #[test]
    fn removal_is_remembered_until_the_workspace_is_back_or_the_token_changed() {
        let monitor = RemovalMonitor::default();
        assert!(is_removed(&find(&monitor, 0, 0, removed()).0));
        assert!(matches!(find(&monitor, 5, 0, unknown()), (Finding::Removed(_), false)));
        for response in [Response::for_test(404, ""), Response::for_test(503, ""), unknown()] {
            let secs = 10;
            let monitor = RemovalMonitor::default();
            find(&monitor, 0, 0, removed());
            assert!(matches!(find(&monitor, secs, 0, response), (Finding::Removed(_), true)));
        }
        let present = Response::for_test(200, format!(r#"{{"id":"{ID}"}}"#));
        assert_eq!(find(&monitor, 10, 0, present).0, Finding::TokenRefused { is_new: true });
        assert!(!monitor.is_known());
        assert!(is_removed(&find(&monitor, 20, 0, removed()).0));
        assert_eq!(find(&monitor, 21, 1, Response::for_test(500, "")), (Finding::Undecided, true), "another token");
    }

    #[test]
    fn refused_token_is_new_once() {
        let monitor = RemovalMonitor::default();
        let found = |secs, token| find(&monitor, secs, token, Response::for_test(200, format!(r#"{{"id":"{ID}"}}"#))).0;
        let new = [(0, 0), (10, 0), (11, 1)].map(|(secs, token)| found(secs, token));
        assert_eq!(new, [true, false, true].map(|is_new| Finding::TokenRefused { is_new }));
    }
}
