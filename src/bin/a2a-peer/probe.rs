//! What `doctor` tries, one step at a time. None of it is bounded by itself: each runs in a thread of its own, and is
//! not waited for beyond its time.

use std::fs::Metadata;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use a2a_blocking::{Client, Error, ErrorKind, Workspace};
use http::Uri;

use crate::advice::{WHERE_A_TOKEN_GOES, connect};
use crate::args::Args;
use crate::failure::{Trouble, exit};
use crate::setup::TokenState;

/// What a step that did not fail has found.
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) status: Status,
    pub(crate) detail: String,
    /// What to do about a warning.
    pub(crate) next: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Status {
    Ok,
    Warning,
    Skipped,
    Failed,
}

pub(crate) type Outcome<T> = Result<Found<T>, Trouble>;

/// The platform's host and port, and whether TLS is spoken there.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) https: bool,
}

impl<T> Found<T> {
    fn ok(value: T, detail: impl Into<String>) -> Outcome<T> {
        Ok(Found { value, status: Status::Ok, detail: detail.into(), next: None })
    }

    fn warning(value: T, detail: impl Into<String>, next: impl Into<String>) -> Outcome<T> {
        Ok(Found { value, status: Status::Warning, detail: detail.into(), next: Some(next.into()) })
    }
}

/// A client without the token, and where it connects to.
pub(crate) fn settings(args: &Args) -> Outcome<(Client, Place)> {
    let setup = &args.setup;
    let client = setup.client_without_token().map_err(|failure| Trouble::of(&failure, args))?;
    let (url, place) = place(&client).map_err(Trouble::internal)?;
    let (platform, workspace) = (setup.platform_from(), setup.workspace_from());
    Found::ok((client, place), format!("the platform is {url} (from {platform}), the workspace's id from {workspace}"))
}

fn place(client: &Client) -> Result<(String, Place), String> {
    // A card's URL is the platform's address and what follows.
    let any = "00000000-0000-0000-0000-000000000000";
    let card = client.agent_card_url(any).map_err(|error| error.to_string())?;
    let url = card.strip_suffix(&format!("/registry/discover/{any}")).unwrap_or(&card).to_owned();
    let uri: Uri = url.parse().map_err(|why| format!("{url}: {why}"))?;
    let https = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    Ok((url, Place { host, port, https }))
}

/// The client as all other commands have it. What the token is, nobody is told.
pub(crate) fn token_file(args: &Args) -> Outcome<Client> {
    let path = args.setup.token_file();
    let shown = path.display();
    let client = args.setup.client().map_err(|failure| Trouble::of(&failure, args))?;
    let file = match args.setup.token_state() {
        TokenState::Missing => {
            return Found::warning(client, format!("no token: {shown} is not there"), WHERE_A_TOKEN_GOES);
        }
        TokenState::Blank => {
            return Found::warning(client, format!("no token: {shown} is empty"), WHERE_A_TOKEN_GOES);
        }
        TokenState::There(file) => file,
    };
    match others_may_read(&file) {
        Some(mode) => {
            let next = format!("chmod 600 {shown}");
            Found::warning(client, format!("{shown} has the mode {mode:04o}: others may read the token"), next)
        }
        None => Found::ok(client, format!("{shown} can be read, and by nobody else")),
    }
}

#[cfg(unix)]
fn others_may_read(file: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.permissions().mode() & 0o7777;
    (file.is_file() && mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn others_may_read(_: &Metadata) -> Option<u32> {
    None
}

pub(crate) fn dns(place: &Place, args: &Args) -> Outcome<Vec<SocketAddr>> {
    let Place { host, port, .. } = place;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Found::ok(vec![SocketAddr::new(address, *port)], format!("{host} is an address: no name to look up"));
    }
    let failed = |why: String| {
        let trouble =
            Trouble::new(exit::UNREACHABLE, ErrorKind::Connect.as_str(), format!("{host} has no address: {why}"));
        Trouble { next: Some(connect(&args.setup, &trouble.message)), ..trouble }
    };
    let found = (host.as_str(), *port).to_socket_addrs().map_err(|why| failed(why.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(failed("the answer is empty".to_owned()));
    }
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    Found::ok(addresses, format!("{host} is {}", list.join(", ")))
}

/// The first address that takes a connection.
pub(crate) fn tcp(addresses: &[SocketAddr], limit: Duration, args: &Args) -> Outcome<()> {
    let mut why = Vec::new();
    // One that swallows packets leaves the others their time, and us ours to say so.
    let share = limit.mul_f64(0.9) / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    for address in addresses {
        match TcpStream::connect_timeout(address, share) {
            Ok(_) => return Found::ok((), format!("{address} takes connections")),
            Err(error) => why.push(format!("{address}: {error}")),
        }
    }
    let trouble = Trouble::new(exit::UNREACHABLE, ErrorKind::Connect.as_str(), why.join("; "));
    Err(Trouble { next: Some(connect(&args.setup, &trouble.message)), ..trouble })
}

/// A request without the token: a certificate that is bad must not see it.
pub(crate) fn tls(client: &Client, place: &Place, args: &Args) -> Outcome<()> {
    if !place.https {
        let detail = "the address is http: nothing is encrypted".to_owned();
        return Ok(Found { value: (), status: Status::Skipped, detail, next: None });
    }
    match client.workspace() {
        Err(error) if error.status().is_none() => Err(Trouble::of_call(&error, args)),
        _ => Found::ok((), format!("the certificate is good for {}", place.host)),
    }
}

/// What the platform says of our workspace, whatever it is, so long as it is an answer.
pub(crate) fn http(client: &Client, args: &Args) -> Outcome<Result<Workspace, Error>> {
    let answer = client.workspace();
    match answer {
        Ok(workspace) => Found::ok(Ok(workspace), "answered 200"),
        Err(error) => match (error.kind(), error.status()) {
            (ErrorKind::Unauthorized | ErrorKind::Absent | ErrorKind::Removed, Some(status)) => {
                Found::ok(Err(error), format!("answered {status}"))
            }
            _ => Err(Trouble::of_call(&error, args)),
        },
    }
}

pub(crate) fn authorisation(answer: Result<Workspace, Error>, args: &Args) -> Outcome<Result<Workspace, Error>> {
    match &answer {
        Err(error) if error.kind() == ErrorKind::Unauthorized => Err(Trouble::of_call(error, args)),
        _ => Found::ok(answer, "the platform does not refuse us"),
    }
}

pub(crate) fn registration(answer: Result<Workspace, Error>, args: &Args) -> Outcome<()> {
    let workspace = answer.map_err(|error| Trouble::of_call(&error, args))?;
    let text = |field: &str| workspace.get(field).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
    Found::ok((), format!("the workspace is {:?}, status {:?}", text("name"), text("status")))
}

pub(crate) fn peers(client: &Client, args: &Args) -> Outcome<()> {
    let peers = client.peers().map_err(|error| Trouble::of_call(&error, args))?;
    match peers.len() {
        0 => Found::warning(
            (),
            "the registry lists no peers",
            "siblings, children and the parent are listed: make one on the platform's canvas",
        ),
        1 => Found::ok((), "the registry lists 1 peer"),
        count => Found::ok((), format!("the registry lists {count} peers")),
    }
}
