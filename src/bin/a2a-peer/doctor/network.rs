//! The steps of `doctor` on the way to the platform: settings, DNS, TCP and TLS.
//!
//! Behind a proxy, names and connections are the proxy's. Only the proxy sees what lies beyond it.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use a2a_blocking::{Client, ErrorKind};
use http::Uri;

use super::step::{Finding, StepResult, StepStatus};
use crate::advice;
use crate::args::Args;
use crate::exit::ExitStatus;
use crate::report::ErrorReport;

/// Fraction of a step's limit that connecting may take, so that it can report before the limit.
const CONNECT_SHARE: f64 = 0.9;

/// The host and port of a URL, and its scheme.
#[derive(Clone)]
struct Endpoint {
    host: String,
    port: u16,
    is_https: bool,
}

impl Endpoint {
    fn parse(url: &str) -> Result<Self, ErrorReport> {
        let uri: Uri = url.parse().map_err(|error| ErrorReport::internal(format!("{url}: {error}")))?;
        let is_https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Endpoint { host, port, is_https })
    }
}

/// The platform, and the proxy in front of it.
#[derive(Clone)]
pub(super) struct NetworkRoute {
    platform: Endpoint,
    proxy: Option<Endpoint>,
}

impl NetworkRoute {
    /// Returns the endpoint to connect to, and the label before its name in a report.
    fn first_hop(&self) -> (&Endpoint, &'static str) {
        self.proxy.as_ref().map_or((&self.platform, ""), |proxy| (proxy, "the proxy "))
    }
}

/// Checks the settings. Returns a client that sends no token, and the route to the platform.
pub(super) fn settings(args: &Args) -> StepResult<(Client, NetworkRoute)> {
    let connection = &args.connection;
    let client = connection.client_without_token().map_err(|failure| ErrorReport::of_failure(&failure, args))?;
    let (url, proxy) = (client.platform_url().to_owned(), connection.proxy_address());
    let (platform, workspace) = (connection.platform_source(), connection.workspace_source());
    let mut detail = format!("the platform is {url} (from {platform}), the workspace's id is from {workspace}");
    if let (Some(address), Some(source)) = (&proxy, connection.proxy_source()) {
        detail += &format!(", the proxy is {address} (from {source})");
    }
    let proxy = proxy.map(|address| Endpoint::parse(&address)).transpose()?;
    Finding::ok((client, NetworkRoute { platform: Endpoint::parse(&url)?, proxy }), detail)
}

/// Resolves the name of the first hop.
pub(super) fn dns(route: &NetworkRoute, args: &Args) -> StepResult<Vec<SocketAddr>> {
    let (Endpoint { host, port, .. }, label) = route.first_hop();
    if let Ok(address) = host.parse::<IpAddr>() {
        let detail = format!("{label}{host} is an address: no name to resolve");
        return Finding::ok(vec![SocketAddr::new(address, *port)], detail);
    }
    let resolved = (host.as_str(), *port).to_socket_addrs();
    let addresses: Vec<SocketAddr> =
        resolved.map_err(|error| unreachable_report(format!("{label}{host} has no address: {error}"), args))?.collect();
    if addresses.is_empty() {
        return Err(unreachable_report(format!("{label}{host} has no address: the answer is empty"), args));
    }
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    Finding::ok(addresses, format!("{label}{host} is {}", list.join(", ")))
}

/// Connects to the first address that accepts a connection.
pub(super) fn tcp(addresses: &[SocketAddr], limit: Duration, args: &Args) -> StepResult<()> {
    let mut errors = Vec::new();
    let label = args.connection.proxy_source().map_or("", |_| "the proxy ");
    // An address that drops packets must leave the others their time.
    let share = limit.mul_f64(CONNECT_SHARE) / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    for address in addresses {
        match TcpStream::connect_timeout(address, share) {
            Ok(_) => return Finding::ok((), format!("{label}{address} accepts connections")),
            Err(error) => errors.push(format!("{address}: {error}")),
        }
    }
    Err(unreachable_report(format!("{label}{}", errors.join("; ")), args))
}

fn unreachable_report(message: String, args: &Args) -> ErrorReport {
    let next = advice::connect(&args.connection, &message);
    ErrorReport { next: Some(next), ..ErrorReport::new(ExitStatus::Unreachable, ErrorKind::Connect.as_str(), message) }
}

/// Checks the certificates with a request that has no token: an untrusted server must not see it.
pub(super) fn tls(client: &Client, route: &NetworkRoute, args: &Args) -> StepResult<()> {
    let NetworkRoute { platform, proxy } = route;
    let is_encrypted = platform.is_https || proxy.as_ref().is_some_and(|proxy| proxy.is_https);
    if is_encrypted {
        match client.workspace() {
            Err(error) if error.status().is_none() => return Err(ErrorReport::of_call(&error, args)),
            _ => {}
        }
    }
    let status = if is_encrypted { StepStatus::Ok } else { StepStatus::Skipped };
    Ok(Finding { value: (), status, detail: describe_encryption(route), next: None })
}

/// Returns which parts of the route are encrypted, in words.
fn describe_encryption(route: &NetworkRoute) -> String {
    let NetworkRoute { platform, proxy } = route;
    let host = &platform.host;
    match proxy {
        None if platform.is_https => format!("the certificate is valid for {host}"),
        None => "the address is http: nothing is encrypted".to_owned(),
        Some(proxy) if platform.is_https && proxy.is_https => {
            format!("the certificate is valid for {host}, and the proxy's for {}", proxy.host)
        }
        Some(_) if platform.is_https => format!("the certificate is valid for {host}, through the proxy"),
        Some(proxy) if proxy.is_https => format!(
            "the certificate is valid for the proxy {}, which sees the token: the platform's address is http",
            proxy.host
        ),
        Some(_) => "the address is http: nothing is encrypted, and the proxy sees the token".to_owned(),
    }
}
