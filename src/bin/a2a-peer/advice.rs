//! What to do next, for each kind of failure.

use std::env;
use std::path::Path;

use a2a_blocking::{Delivery, Error, ErrorKind};

use crate::args::{Args, Command};
use crate::proxy::unused;
use crate::setup::{Setup, TokenState};

/// What a user may do about the error; `None` where its own words say it all.
pub(crate) fn advice(error: &Error, args: &Args) -> Option<String> {
    let setup = &args.setup;
    let hosted_edge = matches!(error.status(), Some(403 | 404)) && error.body_snippet().is_none();
    match error.kind() {
        _ if hosted_edge => Some(
            "an answer without a body comes from a hosted platform's edge, not from the platform: is the address the one \
             that a browser has for it, and MOLECULE_ORG_ID set to your organisation?"
                .to_owned(),
        ),
        ErrorKind::Config if error.to_string().starts_with("the token ") => {
            Some("give a file that this user can read, with the token on one line of it: --token-file PATH".to_owned())
        }
        ErrorKind::Connect => Some(connect(setup, &error.to_string())),
        ErrorKind::Timeout => Some(late(setup)),
        ErrorKind::Tls => Some(tls()),
        ErrorKind::Disconnected | ErrorKind::Protocol => Some(format!(
            "is that the platform's port, and http or https right? Its address comes from {}{}",
            setup.platform_from(),
            setup.proxy_from().map_or_else(String::new, |from| format!(", that of the proxy from {from}"))
        )),
        ErrorKind::Unauthorized => Some(token(setup)),
        ErrorKind::NotFound if matches!(args.command, Command::Discover { .. }) => {
            Some("`a2a-peer peers` lists whom the platform shows to this workspace".to_owned())
        }
        ErrorKind::NotFound => Some(registration(setup)),
        ErrorKind::Removed => Some(ANOTHER_WORKSPACE.to_owned()),
        ErrorKind::Malformed => {
            Some(format!("is that an A2A platform? Its address comes from {}", setup.platform_from()))
        }
        // Their own words say what is wrong with what the user gave, or it is what the user wanted.
        ErrorKind::Config | ErrorKind::InvalidPeerId | ErrorKind::InvalidMessage | ErrorKind::Cancelled => None,
        ErrorKind::Internal => Some(OUR_OWN_PART.to_owned()),
        ErrorKind::TooLarge => Some(too_large(error, args)),
        _ => Some(no(error, args)),
    }
}

/// Where our own is gone.
pub(crate) const ANOTHER_WORKSPACE: &str =
    "make a workspace and a token on the platform's canvas, and set WORKSPACE_ID and the token file to them";

/// Where this process could not do its part.
pub(crate) const OUR_OWN_PART: &str = "may this process have the threads and files that it takes (ulimit -u, ulimit -n)? If so it is a fault of a2a-peer, and \
     RUST_LOG=debug shows where";

fn too_large(error: &Error, args: &Args) -> String {
    match args.command {
        Command::Send { .. } if error.delivery() == Delivery::NotSent => "send less, or a link to it".to_owned(),
        Command::Send { .. } => {
            "it is the answer that is too large: ask the peer for less, or for a link to it".to_owned()
        }
        _ => format!("is that an A2A platform? Its address comes from {}", args.setup.platform_from()),
    }
}

/// Where somebody has answered, and it is no yes.
fn no(error: &Error, args: &Args) -> String {
    // What may have come would come twice.
    let again = match error.delivery() {
        Delivery::Unknown => "ask the peer whether it came, and if not, try again",
        _ => "try again",
    };
    if let Some(wait) = error.retry_after() {
        return format!("the platform asks to come again in {} s", wait.as_secs());
    }
    match (error.kind(), error.status()) {
        (ErrorKind::Rpc | ErrorKind::Agent, _) => "it is the peer's agent that says so: its log says why".to_owned(),
        (_, Some(429)) => format!("it is asked too often: {again} in a minute"),
        (_, Some(500..=599)) => {
            format!("the platform, or the agent behind it, is in trouble, as its log says: {again} in a minute")
        }
        (_, Some(300..=399)) => format!(
            "no redirect is followed: give the address that it leads to. This one comes from {}",
            args.setup.platform_from()
        ),
        (ErrorKind::Platform, Some(403 | 404 | 410)) => {
            "`a2a-peer peers` lists to whom this workspace may send".to_owned()
        }
        (ErrorKind::Platform, _) => "it is the platform that says so: its log says why".to_owned(),
        _ => format!("is that an A2A platform? Its address comes from {}", args.setup.platform_from()),
    }
}

/// Where no connection comes about.
pub(crate) fn connect(setup: &Setup, words: &str) -> String {
    match setup.proxy_from() {
        Some(from) => through(from, words),
        None => directly(setup, words) + &unused(),
    }
}

/// Where the proxy cannot be reached, or lets nothing through.
fn through(from: &str, words: &str) -> String {
    if words.contains("ProxyError") {
        return format!(
            "does the proxy let this machine through to the platform's host and port? Where it asks for a password \
             (407): A2A_PEER_PROXY=http://user:password@host:port. Its address comes from {from}"
        );
    }
    format!("is the proxy up, and this its name and port? Its address comes from {from}")
}

fn directly(setup: &Setup, words: &str) -> String {
    let from = format!("address comes from {}; --platform or PLATFORM_URL set it", setup.platform_from());
    let inside_docker = env::var_os("DOCKER_VERSION").is_some() || Path::new("/.dockerenv").exists();
    let dockers_host = words.contains("host.docker.internal");
    let has_address = !["failed to lookup address", "has no address"].iter().any(|why| words.contains(why));
    match (dockers_host, inside_docker, has_address) {
        (true, false, _) => "host.docker.internal is a name that is known inside Docker only: outside it is localhost \
                             (--platform http://localhost:8080, or PLATFORM_URL)"
            .to_owned(),
        (true, true, false) => "on Linux a container knows host.docker.internal only if it was started with \
                                --add-host=host.docker.internal:host-gateway"
            .to_owned(),
        (false, _, false) => {
            format!("is the name right, and does this machine's DNS know it? The {from}")
        }
        (false, true, true) => format!(
            "is the platform up? Its {from}. Inside Docker localhost is the container itself, and the \
             host is host.docker.internal"
        ),
        _ => format!("is the platform up? Its {from}"),
    }
}

/// Where nothing comes in time.
pub(crate) fn late(setup: &Setup) -> String {
    let (who, from, unused) = match setup.proxy_from() {
        Some(from) => ("a proxy that listens there, and does it reach the platform", from, String::new()),
        None => ("the platform that listens there, and no firewall between", setup.platform_from(), unused()),
    };
    format!("is it {who}? Its address comes from {from}; `a2a-peer doctor` tells where it stops{unused}")
}

fn tls() -> String {
    let trusted = match (cfg!(feature = "rustls"), cfg!(feature = "platform-verifier")) {
        (true, false) => "Mozilla's",
        _ => "the system's",
    };
    format!(
        "is it https that is spoken there, and the certificate that host's, current and of a trusted authority? This build \
         trusts {trusted}; --ca-file PATH names others"
    )
}

/// What to do where there is no token.
pub(crate) const WHERE_A_TOKEN_GOES: &str =
    "put it there on one line, or give --token-file PATH; the canvas (Tokens tab) makes one";

/// Where the platform refuses who we say we are.
pub(crate) fn token(setup: &Setup) -> String {
    let path = setup.token_file();
    let shown = path.display();
    match setup.token_state() {
        TokenState::There(_) => format!(
            "the token came from {shown}: is it this workspace's, and the newest? The canvas (Tokens tab) makes another; \
             --token-file PATH takes it from elsewhere"
        ),
        TokenState::Blank => format!("there is no token: {shown} is empty; {WHERE_A_TOKEN_GOES}"),
        TokenState::Missing => format!("there is no token: {shown} is not there; {WHERE_A_TOKEN_GOES}"),
    }
}

/// Where the platform does not know us.
fn registration(setup: &Setup) -> String {
    let (workspace, platform) = (setup.workspace_from(), setup.platform_from());
    format!(
        "is the workspace's id right (it comes from {workspace}), and is this the platform that has it (from {platform})? A \
         workspace is registered when its agent starts"
    )
}
