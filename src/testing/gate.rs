//! The checks before any call: Origin, rate limit, organisation.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::answer::HttpAnswer;
use super::entities::RateWindow;
use super::http::HttpRequest;
use super::state::{MOST, State};
use super::time::Micros;
use crate::util::clock::Deadline;

/// The one strange origin that is let in, as the canvas's development server has it.
const ALLOWED_ORIGIN: &str = "http://localhost:3000";
const WINDOW: Duration = Duration::from_secs(60);

/// Headers that the gate adds to the answer.
pub(super) type GateHeaders = Vec<(&'static str, String)>;

/// Lets a request in with headers for its answer, or answers it.
pub(super) fn pass(
    state: &mut State,
    request: &HttpRequest,
    from: SocketAddr,
    host: &str,
) -> Result<GateHeaders, HttpAnswer> {
    let mut headers = vec![("Date", Micros::now().http_date())];
    let with_date = |answer: HttpAnswer| answer.with_header("Date", Micros::now().http_date());
    headers.extend(check_origin(request, host).map_err(with_date)?);
    let (limits, refused) = count(state, request, from);
    headers.extend(limits.iter().cloned());
    if let Some(seconds) = refused {
        let body = json!({ "error": "rate limit exceeded", "retry_after": seconds });
        let mut answer = with_date(HttpAnswer::json(429, &body).with_header("Retry-After", seconds.to_string()));
        answer.headers.extend(limits);
        return Err(answer);
    }
    for (name, value) in [
        ("Content-Security-Policy", "default-src 'self'"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
    ] {
        headers.push((name, value.to_owned()));
    }
    if let Err(mut answer) = check_tenant(state, request, host) {
        answer.headers.extend(headers);
        return Err(answer);
    }
    Ok(headers)
}

/// Refuses a strange `Origin`. That of the host itself is let in, with either scheme.
fn check_origin(request: &HttpRequest, host: &str) -> Result<GateHeaders, HttpAnswer> {
    let origin = request.header("origin");
    if origin.is_empty() || is_of_host(origin, host) {
        return Ok(Vec::new());
    }
    if origin != ALLOWED_ORIGIN {
        return Err(HttpAnswer::empty(403));
    }
    let mut headers: GateHeaders = vec![
        ("Access-Control-Allow-Credentials", "true".to_owned()),
        ("Access-Control-Allow-Origin", origin.to_owned()),
        ("Vary", "Origin".to_owned()),
    ];
    if request.method != "OPTIONS" {
        return Ok(headers);
    }
    let allowed =
        "Origin,Content-Type,X-Workspace-Id,X-Molecule-Org-Id,X-Molecule-Org-Slug,X-Confirm-Name,Authorization";
    headers.push(("Access-Control-Allow-Headers", allowed.to_owned()));
    headers.push(("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,OPTIONS".to_owned()));
    let mut answer = HttpAnswer::empty(204);
    answer.headers = headers;
    Err(answer)
}

fn is_of_host(origin: &str, host: &str) -> bool {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
}

/// Counts a request. Returns the headers that tell of the account, and the seconds to wait if it is refused.
fn count(state: &mut State, request: &HttpRequest, from: SocketAddr) -> (GateHeaders, Option<u64>) {
    let Some(limit) = state.setup.rate_limit else {
        let name = |name: &'static str| (name, "unlimited".to_owned());
        return (vec![name("X-Ratelimit-Limit"), name("X-Ratelimit-Remaining"), name("X-Ratelimit-Reset")], None);
    };
    let organisation = request.header("x-molecule-org-id");
    let identity = match request.bearer() {
        _ if !organisation.is_empty() => format!("organisation {organisation}"),
        Some(token) => format!("token {token}"),
        None => format!("address {}", from.ip()),
    };
    state.windows.retain(|_, window| !window.ends.left().is_zero());
    if state.windows.len() > MOST {
        state.windows.clear();
    }
    let window = state.windows.entry(identity);
    let window = window.or_insert_with(|| RateWindow { ends: Deadline::after(WINDOW), requests: 0 });
    window.requests = window.requests.saturating_add(1);
    let seconds = window.ends.left().as_secs();
    let headers = vec![
        ("X-Ratelimit-Limit", limit.to_string()),
        ("X-Ratelimit-Remaining", limit.saturating_sub(window.requests).to_string()),
        ("X-Ratelimit-Reset", seconds.to_string()),
    ];
    (headers, (window.requests > limit).then_some(seconds))
}

/// Refuses a request without the organisation's header, or with another one's. Registration and heartbeat are exempt, and
/// what comes from a page of the host.
fn check_tenant(state: &State, request: &HttpRequest, host: &str) -> Result<(), HttpAnswer> {
    let Some(tenant) = &state.setup.tenant else { return Ok(()) };
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let is_exempt = matches!(path[..], ["health" | "buildinfo"] | ["registry", "register" | "heartbeat"]);
    if is_exempt || is_of_host(request.header("origin"), host) {
        return Ok(());
    }
    match request.header("x-molecule-org-id") {
        "" => {
            let detail = "SaaS tenant API requests must include X-Molecule-Org-Id matching the organization UUID.";
            let body = json!({
                "code": "TENANT_ORG_HEADER_REQUIRED",
                "detail": detail,
                "error": "missing tenant routing header",
                "required_header": "X-Molecule-Org-Id",
            });
            Err(HttpAnswer::json(400, &body))
        }
        sent if sent == tenant => Ok(()),
        _ => Err(HttpAnswer::empty(404)),
    }
}
