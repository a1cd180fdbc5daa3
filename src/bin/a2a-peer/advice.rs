//! Advice: what a user can do about each kind of failure.

use a2a_blocking::{Delivery, Error, ErrorKind};

use crate::args::{Args, Command};
use crate::connection::{ConnectionArgs, TokenFileState};
use crate::environment;
use crate::proxy;

/// Advice where the user's own workspace was removed.
pub(crate) const REMOVED: &str =
    "create a workspace and a token on the platform's canvas, and set WORKSPACE_ID and the token file to them";

/// Advice where this process lacks a resource.
pub(crate) const INTERNAL: &str = "check the process's limits on threads and files (ulimit -u, ulimit -n). If they are not reached, this is a bug of \
     a2a-peer: run with RUST_LOG=debug to see where";

/// Advice where there is no token.
pub(crate) const MISSING_TOKEN: &str =
    "write the token there on one line, or give --token-file PATH. The platform's canvas (Tokens tab) makes tokens";

/// Advice where the directory of the default token file does not exist.
pub(crate) const MISSING_DIRECTORY: &str = "create it, or set CONFIGS_DIR to the directory that has the token in .auth_token. `poll` keeps its cursor \
     there, too. Or give --token-file PATH. The platform's canvas (Tokens tab) makes tokens";

/// Advice where messages are posted to another agent.
pub(crate) const PUSH_MODE: &str = "if another program is this workspace's agent, give this one a workspace of its own. \
     Otherwise `a2a-peer register --replace` registers it for polling, which removes that URL";

/// Advice where no agent has registered.
pub(crate) const NOT_REGISTERED: &str =
    "start the workspace's agent, which registers it, or run `a2a-peer register`. `doctor` registers nothing";

/// Advice where the workspace is paused or hibernated.
pub(crate) const PAUSED: &str = "resume the workspace on the platform's canvas";

/// Advice where the workspace has a status in which its agent is not there.
pub(crate) const NOT_ONLINE: &str = "start the workspace's agent: its heartbeats bring the workspace online";

/// Advice where the platform's canvas and its server are one host.
pub(crate) const ORIGIN_OF_CANVAS: &str = "canvas and server are one host there, and whoever reaches it can write as the \
     human: keep it from others. In your program call `origin(None)` of the client's builder";

/// Advice about the cursor's file.
pub(crate) const CURSOR: &str = "the cursor is in the token file's directory, unless your program sets `cursor_file`: let \
     this user write that directory, or set CONFIGS_DIR to another one. `poll --cursor PATH` names another file";

/// Advice where the platform has no event stream.
pub(crate) const NO_EVENTS: &str = "nothing needs to be done: the platform is an older one, and the inbox is polled";

/// Advice where the event stream does not come through.
pub(crate) const EVENTS_HELD_BACK: &str = "have the proxy in front of the platform pass on \
     /workspaces/…/events/stream unbuffered (nginx: `proxy_buffering off`)";

/// Advice where the platform does not know a message any more that it queued.
pub(crate) const UNKNOWN_END: &str = "ask the peer whether the message arrived";

/// Returns true for an answer that comes from the checks before any call, or from the edge of a hosted platform: they have
/// no body.
pub(crate) fn is_from_edge(error: &Error) -> bool {
    matches!(error.status(), Some(403 | 404)) && error.body_snippet().is_none()
}

/// Returns true where the platform is one of an organisation, and the request named none.
pub(crate) fn lacks_organisation(error: &Error) -> bool {
    says(error, "TENANT_ORG_HEADER_REQUIRED")
}

/// Returns true for a 400 whose body has this text.
fn says(error: &Error, text: &str) -> bool {
    error.status() == Some(400) && error.body_snippet().is_some_and(|body| body.contains(text))
}

/// Returns what to do about the `Origin` or the organisation, if it is about these.
fn organisation(error: &Error) -> Option<&'static str> {
    match error.status() {
        _ if lacks_organisation(error) => Some(
            "this platform is one of an organisation: set MOLECULE_ORG_ID to the organisation's id, exactly as the canvas \
             shows it",
        ),
        Some(403) if is_from_edge(error) => Some(
            "a 403 without a body refuses the Origin, which is the platform's address: give the address that a browser uses. If the platform is one of an organisation, set MOLECULE_ORG_ID",
        ),
        _ if is_from_edge(error) => Some(
            "a 404 without a body refuses the organisation: set MOLECULE_ORG_ID to the organisation's id, exactly as the \
             canvas shows it, and check the platform's address",
        ),
        _ => None,
    }
}

/// Returns what to do about the error, or `None` where its own text says it.
pub(crate) fn advice(error: &Error, args: &Args) -> Option<String> {
    let connection = &args.connection;
    if let Some(advice) = organisation(error) {
        return Some(advice.to_owned());
    }
    if says(error, "invalid workspace ID") {
        return Some(not_registered(connection));
    }
    match error.kind() {
        ErrorKind::Config => token_file(connection, &error.to_string()),
        ErrorKind::InvalidMessage if error.to_string().contains("SendOptions::own") => {
            Some("--own sends it to your own inbox".to_owned())
        }
        // The error's text says which value is wrong. A cancelled send is what the user wanted.
        ErrorKind::InvalidPeerId | ErrorKind::InvalidMessage | ErrorKind::LoopBrake | ErrorKind::Cancelled => None,
        ErrorKind::Connect => Some(connect(connection, &error.to_string())),
        ErrorKind::Timeout => Some(timeout(connection)),
        ErrorKind::Tls => Some(tls()),
        ErrorKind::Disconnected | ErrorKind::Protocol => Some(protocol(connection)),
        ErrorKind::Unauthorized => Some(unauthorized(connection)),
        ErrorKind::NotFound if matches!(args.command, Command::Discover { .. }) => {
            Some("`a2a-peer peers` lists the peers that the platform shows to this workspace".to_owned())
        }
        ErrorKind::NotFound if matches!(args.command, Command::Respond { .. }) => {
            Some("`a2a-peer requests` lists the requests that wait for a response".to_owned())
        }
        ErrorKind::NotFound => Some(not_registered(connection)),
        ErrorKind::Removed => Some(REMOVED.to_owned()),
        ErrorKind::Malformed => Some(not_a_platform(connection)),
        ErrorKind::Internal => Some(INTERNAL.to_owned()),
        ErrorKind::TooLarge => Some(too_large(error, args)),
        _ => Some(refused(error, args)),
    }
}

/// Returns what to do about a token file that cannot be used. `text` is the error's. Other settings' errors say it.
fn token_file(connection: &ConnectionArgs, text: &str) -> Option<String> {
    let alone = "the file has the token alone, on one line. The platform's canvas (Tokens tab) makes tokens";
    if text.starts_with("the token from ") {
        return Some(alone.to_owned());
    }
    let why = text.strip_prefix("the token file ")?;
    let advice = if why.contains(" it is UTF-16: ") {
        "in PowerShell, `Set-Content -Encoding ascii` writes such a file"
    } else if why.ends_with("is it the right file?") {
        alone
    } else if why.contains(" is not a directory: ") && connection.token_file_source() == "CONFIGS_DIR" {
        "CONFIGS_DIR names a file: set it to the directory that has the token in .auth_token, or give --token-file PATH"
    } else {
        "name a file that this user can read and that has the token on one line: --token-file PATH"
    };
    Some(advice.to_owned())
}

/// Returns what to do where no connection could be made. `text` is the error's.
pub(crate) fn connect(connection: &ConnectionArgs, text: &str) -> String {
    match connection.proxy_source() {
        Some(source) => connect_to_proxy(source, text),
        None => connect_directly(connection, text) + &proxy::ignored_proxy_hint(),
    }
}

fn connect_to_proxy(source: &str, text: &str) -> String {
    // The text of ureq's error for a proxy that answers CONNECT with anything but 200.
    if text.contains("CONNECT proxy failed") {
        return format!(
            "check that the proxy allows this machine to reach the platform's host and port. If it asks for a password \
             (407), set A2A_PEER_PROXY=http://user:password@host:port. Its address comes from {source}"
        );
    }
    format!("check that the proxy is up, and its host and port. Its address comes from {source}")
}

fn connect_directly(connection: &ConnectionArgs, text: &str) -> String {
    let source = format!("address comes from {}: --platform or PLATFORM_URL sets it", connection.platform_source());
    let is_docker_name = text.contains("host.docker.internal");
    let is_inside_docker = environment::is_inside_docker();
    // The first text is the resolver's, the second that of `doctor`.
    let has_address = !["failed to lookup address", "has no address"].iter().any(|why| text.contains(why));
    match (is_docker_name, is_inside_docker, has_address) {
        (true, false, _) => {
            "host.docker.internal is known only inside Docker: outside Docker use localhost (--platform \
                             http://localhost:8080, or PLATFORM_URL)"
                .to_owned()
        }
        (true, true, false) => "on Linux a container knows host.docker.internal only if it was started with \
                                --add-host=host.docker.internal:host-gateway"
            .to_owned(),
        (false, _, false) => format!("check the name, and that this machine's DNS resolves it. The {source}"),
        (false, true, true) => format!(
            "check that the platform is up. Its {source}. Inside Docker, localhost is the container itself; the host is \
             host.docker.internal"
        ),
        _ => format!("check that the platform is up. Its {source}"),
    }
}

/// Returns what to do where no answer came in time.
pub(crate) fn timeout(connection: &ConnectionArgs) -> String {
    let (check, source, hint) = match connection.proxy_source() {
        Some(source) => ("a proxy listens there, and that it reaches the platform", source, String::new()),
        None => {
            let check = "the platform listens there, and that no firewall is in between";
            (check, connection.platform_source(), proxy::ignored_proxy_hint())
        }
    };
    format!("check that {check}. Its address comes from {source}; `a2a-peer doctor` shows the step that hangs{hint}")
}

fn tls() -> String {
    let roots = match (cfg!(feature = "rustls"), cfg!(feature = "platform-verifier")) {
        (true, false) => "Mozilla's authorities",
        _ => "the system's authorities",
    };
    format!(
        "check that the port speaks https, and that its certificate is for this host, current, and signed by a trusted \
         authority. This build trusts {roots}; --ca-file PATH names others"
    )
}

fn protocol(connection: &ConnectionArgs) -> String {
    let proxy = connection.proxy_source().map_or_else(String::new, |source| format!(", the proxy's from {source}"));
    let platform = connection.platform_source();
    format!("check the platform's port, and http or https. Its address comes from {platform}{proxy}")
}

/// Returns what to do where the platform refuses the token, or there is none.
fn unauthorized(connection: &ConnectionArgs) -> String {
    if connection.has_token_variable() {
        return "the token came from MOLECULE_WORKSPACE_TOKEN: check that it is this workspace's newest token. The platform's \
                canvas (Tokens tab) makes another; --token-file PATH takes precedence"
            .to_owned();
    }
    let path = connection.token_file();
    let path = path.display();
    match connection.token_file_state() {
        TokenFileState::Present(_) => format!(
            "the token came from {path}: check that it is this workspace's newest token. The platform's canvas (Tokens \
             tab) makes another; --token-file PATH names another file"
        ),
        TokenFileState::Blank => format!("there is no token: {path} is empty: {MISSING_TOKEN}"),
        TokenFileState::NoDirectory(_) => {
            format!("there is no token: {path} does not exist, and neither does its directory: {MISSING_DIRECTORY}")
        }
        TokenFileState::Missing => format!("there is no token: {path} does not exist: {MISSING_TOKEN}"),
    }
}

fn not_registered(connection: &ConnectionArgs) -> String {
    let (workspace, platform) = (connection.workspace_source(), connection.platform_source());
    format!(
        "check the workspace's id (it comes from {workspace}) and that this platform has the workspace (its address comes \
         from {platform}). Do not register it: an id that the platform does not know becomes a new workspace"
    )
}

fn not_a_platform(connection: &ConnectionArgs) -> String {
    format!("check that this is an A2A platform. Its address comes from {}", connection.platform_source())
}

fn too_large(error: &Error, args: &Args) -> String {
    match args.command {
        Command::Send { .. } if error.delivery() == Delivery::NotSent => {
            "send a shorter text, or a link to it".to_owned()
        }
        Command::Send { .. } => "the answer is too large: ask the peer for less, or for a link to it".to_owned(),
        _ => not_a_platform(&args.connection),
    }
}

/// Returns what to do about an HTTP status or an error object.
fn refused(error: &Error, args: &Args) -> String {
    if let Some(wait) = error.retry_after() {
        return format!("the platform asks to wait: try again in {} s", wait.as_secs());
    }
    let retry = match error.delivery() {
        // The message would arrive twice if the first attempt was delivered.
        Delivery::Unknown => "ask the peer whether the message arrived, and if not, try again",
        _ => "try again",
    };
    match (error.kind(), error.status()) {
        (ErrorKind::Rpc | ErrorKind::Agent, _) => "the peer's agent reports this error: see its log".to_owned(),
        (_, Some(429)) => format!("too many requests: {retry} in a minute"),
        (_, Some(500..=599)) => {
            format!("the platform or the agent behind it has a problem, see its log: {retry} in a minute")
        }
        (_, Some(300..=399)) => format!(
            "redirects are not followed: give the address that it redirects to. This one comes from {}",
            args.connection.platform_source()
        ),
        (ErrorKind::Platform, Some(403 | 404 | 410)) => {
            "`a2a-peer peers` lists the peers that this workspace can send to".to_owned()
        }
        (ErrorKind::Platform, _) => "the platform reports this error: see its log".to_owned(),
        _ => not_a_platform(&args.connection),
    }
}
