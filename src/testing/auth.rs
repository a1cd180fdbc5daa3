//! The identity behind a request.

use uuid::Uuid;

use super::answer::HttpAnswer;
use super::http::HttpRequest;
use super::state::State;
use super::time::Micros;

const MISSING: &str = "missing workspace auth token";
const INVALID: &str = "invalid workspace auth token";

/// The canvas user whom the session cookie `session=good` stands for.
pub(super) const HUMAN_ID: &str = "user-7";
pub(super) const HUMAN_EMAIL: &str = "human@corp.test";

/// The sender of a message to a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// A workspace, by its token.
    Agent(String),
    /// The canvas: a human, or an admin. `source` is the workspace that the request names.
    Canvas { source: Option<String>, is_known: bool },
    /// The holder of the target's inbound secret.
    Inbound,
}

impl Caller {
    /// Returns the workspace that the row names as its source.
    pub(super) fn source(&self) -> Option<&str> {
        match self {
            Caller::Agent(id) => Some(id),
            Caller::Canvas { source, .. } => source.as_deref(),
            Caller::Inbound => None,
        }
    }
}

/// Checks the token for calls below `/workspaces/:id`. Admins, organisation tokens and people may do all that a
/// workspace may.
pub(super) fn check_workspace(state: &mut State, request: &HttpRequest, id: &str) -> Result<(), HttpAnswer> {
    let Some(token) = request.bearer() else {
        let is_human = has_session(state, request).is_some();
        return if is_human { Ok(()) } else { Err(HttpAnswer::error(401, MISSING)) };
    };
    if is_admin(state, token) || state.org_tokens.iter().any(|known| known == token) {
        return Ok(());
    }
    check_token(state, token, id)
}

/// Checks the token for calls of the registry: of a workspace for which no token lives, anybody may make them.
pub(super) fn check_registry(state: &mut State, request: &HttpRequest, id: &str) -> Result<(), HttpAnswer> {
    if !state.has_token(id) {
        return Ok(());
    }
    match request.bearer() {
        Some(token) => check_token(state, token, id),
        None => Err(HttpAnswer::error(401, MISSING)),
    }
}

/// Checks that a token lives and is that of the workspace. Ids are compared as texts.
fn check_token(state: &mut State, token: &str, id: &str) -> Result<(), HttpAnswer> {
    match owner_of(state, token) {
        Some(owner) if owner == id => Ok(()),
        _ => Err(HttpAnswer::error(401, INVALID)),
    }
}

/// Returns the workspace of a token that lives. The tokens of a removed workspace are nobody's.
fn owner_of(state: &mut State, token: &str) -> Option<String> {
    let entry = state.tokens.get_mut(token)?;
    if state.workspaces.get(&entry.workspace).is_none_or(|workspace| workspace.is_removed()) {
        return None;
    }
    entry.last_used_at = Some(Micros::now());
    Some(entry.workspace.clone())
}

pub(super) fn is_admin(state: &State, token: &str) -> bool {
    token == state.admin_token
}

/// Checks the token for calls that are an admin's alone.
pub(super) fn check_admin(state: &State, request: &HttpRequest) -> Result<(), HttpAnswer> {
    match request.bearer() {
        Some(token) if is_admin(state, token) => Ok(()),
        Some(_) => Err(HttpAnswer::error(401, "invalid admin auth token")),
        None if has_session(state, request).is_some() => Ok(()),
        None => Err(HttpAnswer::error(401, "missing admin auth token")),
    }
}

/// Returns whether the cookie is one of a person, and whether the person is known. Only tenants have people.
fn has_session(state: &State, request: &HttpRequest) -> Option<bool> {
    state.setup.tenant.as_ref()?;
    match request.header("cookie") {
        "session=good" => Some(true),
        "session=noid" => Some(false),
        _ => None,
    }
}

/// True where canvas and server are one host and the request comes from a page of it. The bearer is not looked at.
fn is_from_canvas(state: &State, request: &HttpRequest, host: &str) -> bool {
    let is_own = |url: &str| {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        rest.is_some_and(|rest| rest == host || rest.strip_prefix(host).is_some_and(|rest| rest.starts_with('/')))
    };
    state.setup.combined && (is_own(request.header("origin")) || is_own(request.header("referer")))
}

/// Returns who sends a message.
pub(super) fn caller(state: &mut State, request: &HttpRequest, host: &str) -> Result<Caller, HttpAnswer> {
    let named = request.header("x-workspace-id");
    let source = Uuid::try_parse(named).is_ok().then(|| named.to_owned());
    if is_from_canvas(state, request, host) {
        return Ok(Caller::Canvas { source, is_known: false });
    }
    let Some(token) = request.bearer() else {
        return match has_session(state, request) {
            Some(is_known) => Ok(Caller::Canvas { source, is_known }),
            None => Err(HttpAnswer::error(401, "missing caller auth token")),
        };
    };
    if is_admin(state, token) {
        return Ok(Caller::Canvas { source, is_known: false });
    }
    if state.org_tokens.iter().any(|known| known == token) {
        return Ok(Caller::Canvas { source: None, is_known: false });
    }
    if !named.is_empty() && source.is_none() {
        return Err(HttpAnswer::error(403, "invalid caller ID"));
    }
    let Some(owner) = owner_of(state, token) else {
        return Err(HttpAnswer::error(401, "invalid caller auth token"));
    };
    if !named.is_empty() && named != owner {
        return Err(HttpAnswer::error(401, "caller ID does not match workspace auth token"));
    }
    Ok(Caller::Agent(owner))
}

/// True if one workspace may talk to another: both are there, and below the same one or one below the other.
pub(super) fn may_talk(state: &State, from: &str, to: &str) -> bool {
    let (Some(from), Some(to)) = (state.workspace(from), state.workspace(to)) else { return false };
    from.id == to.id
        || (from.parent.is_some() && from.parent == to.parent)
        || from.parent.as_ref() == Some(&to.id)
        || to.parent.as_ref() == Some(&from.id)
}
