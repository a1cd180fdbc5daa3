//! The steps of `doctor` that try the platform as the user's workspace: HTTP, organisation, workspace, authorisation,
//! registration, state.
//!
//! No step bounds its own time: see `run_within`.

use a2a_blocking::{Client, Error, ErrorKind, Workspace, WorkspaceState};

use super::step::{Finding, StepResult};
use crate::advice;
use crate::args::Args;
use crate::report::ErrorReport;

/// Longest text of the platform that a step shows, in characters.
const MAX_SHOWN: usize = 200;

/// The platform's answer about the user's workspace, which it gives to anybody. A refusal is an answer, too.
pub(super) type WorkspaceAnswer = Result<Workspace, Error>;

/// A workspace, and its state if the platform tells it.
pub(super) type Authorised = (Workspace, Option<WorkspaceState>);

/// Asks the platform for the user's workspace. Any answer of a platform passes, also a refusal.
pub(super) fn http(client: &Client, args: &Args) -> StepResult<WorkspaceAnswer> {
    let answer = client.workspace();
    let via = args.connection.proxy_source().map_or("", |_| ", through the proxy");
    match answer {
        Ok(workspace) => Finding::ok(Ok(workspace), format!("answered 200{via}")),
        Err(error) => match (error.kind(), error.status()) {
            (ErrorKind::Unauthorized | ErrorKind::NotFound | ErrorKind::Removed, Some(status))
            | (ErrorKind::Status, Some(status @ 400)) => Finding::ok(Err(error), format!("answered {status}{via}")),
            _ => Err(ErrorReport::of_call(&error, args)),
        },
    }
}

/// Checks that the platform accepts the `Origin` and the organisation, and does not take us for its canvas.
pub(super) fn organisation(client: &Client, answer: WorkspaceAnswer, args: &Args) -> StepResult<WorkspaceAnswer> {
    if let Err(error) = &answer {
        if advice::is_from_edge(error) || advice::lacks_organisation(error) {
            return Err(ErrorReport::of_call(error, args));
        }
    }
    let settings = client.settings();
    let organisation = match settings.org_id {
        Some(_) => "the organisation of MOLECULE_ORG_ID",
        None => "no organisation",
    };
    let Some(origin) = &settings.origin else {
        return Finding::ok(answer, format!("the platform accepts {organisation} and no Origin"));
    };
    match client.is_origin_of_canvas() {
        Ok(true) => {
            let detail = format!(
                "the platform takes the Origin {origin} for its canvas: messages from here are stamped as a human's"
            );
            Finding::warning(answer, detail, advice::ORIGIN_OF_CANVAS)
        }
        _ => Finding::ok(answer, format!("the platform accepts {organisation} and the Origin {origin}")),
    }
}

/// Checks that the platform has the workspace. A 401 or 403 does not say.
pub(super) fn workspace(answer: WorkspaceAnswer, args: &Args) -> StepResult<WorkspaceAnswer> {
    match answer {
        Ok(workspace) => {
            let detail = format!("the workspace is {}", quoted(&workspace, "name"));
            Finding::ok(Ok(workspace), detail)
        }
        Err(error) if error.kind() == ErrorKind::Unauthorized => {
            let detail = format!("answered {}, which does not say", error.status().unwrap_or_default());
            Finding::ok(Err(error), detail)
        }
        Err(error) => Err(ErrorReport::of_call(&error, args)),
    }
}

/// Proves the token: the platform tells the state of a workspace only to its own token.
pub(super) fn authorisation(client: &Client, answer: WorkspaceAnswer, args: &Args) -> StepResult<Authorised> {
    let workspace = answer.map_err(|error| ErrorReport::of_call(&error, args))?;
    match client.state() {
        Ok(state) => Finding::ok((workspace, Some(state)), "the platform accepts the token"),
        Err(error) if error.status() == Some(404) => Finding::warning(
            (workspace, None),
            "not proved: this platform has no `state`, which needs the token",
            "nothing needs to be done: an older platform answers so, and the steps peers and inbox try the token",
        ),
        Err(error) => Err(ErrorReport::of_call(&error, args)),
    }
}

/// Tells a registered workspace from another one, and one whose messages are polled from one whose messages are pushed.
///
/// The platform does not tell the mode to a workspace: a URL and a card say what was registered.
pub(super) fn registration((workspace, state): Authorised) -> StepResult<Authorised> {
    let (name, url) = (quoted(&workspace, "name"), quoted(&workspace, "url"));
    let has = |field: &str| workspace.get(field).is_some_and(|value| !value.is_null() && value != "");
    // The state is asked later than the workspace.
    let status = state.as_ref().and_then(WorkspaceState::status).or_else(|| text(&workspace, "status"));
    let is_awaiting = status == Some("awaiting_agent");
    let is_push = match text(&workspace, "delivery_mode") {
        Some(mode) => mode == "push",
        None => has("url"),
    };
    let knows_cards = workspace.get("agent_card").is_some();
    let (detail, next) = if is_push && has("url") {
        let detail = format!("{name} is in push mode: the platform posts its messages to {url}, and none is polled");
        (detail, advice::PUSH_MODE)
    } else if is_awaiting && !has("agent_card") {
        (format!("{name} is not registered: senders get 503 and nothing is queued for it"), advice::NOT_REGISTERED)
    } else if is_push || (knows_cards && !has("agent_card")) {
        let detail = format!("{name} is in push mode without a URL: its agent sends heartbeats and is not registered");
        (detail, advice::NOT_REGISTERED)
    } else if is_awaiting {
        let detail = format!("the agent of {name} is gone: the platform got no heartbeat for 180 s");
        (detail, "start the workspace's agent: its heartbeats bring the workspace online")
    } else {
        return Finding::ok((workspace, state), format!("{name} is in poll mode: messages wait to be polled"));
    };
    Finding::warning((workspace, state), detail, next)
}

/// Checks that the workspace is neither paused nor hibernated, which changes no other answer.
pub(super) fn state((workspace, state): &Authorised) -> StepResult<()> {
    let status = state.as_ref().and_then(WorkspaceState::status).or_else(|| text(workspace, "status"));
    let detail = format!("the status is {}", in_quotes(status));
    let is_off = state.as_ref().is_some_and(|state| state.is_paused() || state.is_hibernated())
        || matches!(status, Some("paused" | "hibernated"));
    match status {
        _ if is_off => Finding::warning((), format!("{detail}: messages wait at the platform"), advice::PAUSED),
        Some("failed" | "offline" | "provisioning") => Finding::warning((), detail, advice::NOT_ONLINE),
        _ => Finding::ok((), detail),
    }
}

fn text<'a>(workspace: &'a Workspace, field: &str) -> Option<&'a str> {
    workspace.get(field).and_then(|value| value.as_str())
}

fn quoted(workspace: &Workspace, field: &str) -> String {
    in_quotes(text(workspace, field))
}

/// Returns the start of a text of the platform, escaped.
fn in_quotes(text: Option<&str>) -> String {
    format!("{:?}", text.unwrap_or("?").chars().take(MAX_SHOWN).collect::<String>())
}
