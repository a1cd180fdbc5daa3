//! The way to the platform, as `doctor` tries it: its settings, names, connections and certificates. Behind a proxy the
//! names and connections are the proxy's; what lies beyond it, it alone sees.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use a2a_blocking::{Client, ErrorKind};
use http::Uri;

use crate::advice::connect;
use crate::args::Args;
use crate::failure::{Trouble, exit};
use crate::probe::{Found, Outcome, Status};

/// A host and port, and whether TLS is spoken there.
#[derive(Clone)]
pub(crate) struct Place {
    host: String,
    port: u16,
    https: bool,
}

/// Where the platform is, and the proxy that is gone through.
#[derive(Clone)]
pub(crate) struct Route {
    platform: Place,
    proxy: Option<Place>,
}

impl Place {
    fn of(url: &str) -> Result<Self, Trouble> {
        let uri: Uri = url.parse().map_err(|why| Trouble::internal(format!("{url}: {why}")))?;
        let https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        Ok(Place { host, port, https })
    }
}

impl Route {
    /// What is connected to, and what it is called before its name.
    fn first(&self) -> (&Place, &'static str) {
        self.proxy.as_ref().map_or((&self.platform, ""), |proxy| (proxy, "the proxy "))
    }
}

/// A client without the token, and where it connects to.
pub(crate) fn settings(args: &Args) -> Outcome<(Client, Route)> {
    let setup = &args.setup;
    let client = setup.client_without_token().map_err(|failure| Trouble::of(&failure, args))?;
    let (url, address) = (client.platform_url().to_owned(), setup.proxy_shown());
    let (platform, workspace) = (setup.platform_from(), setup.workspace_from());
    let mut detail = format!("the platform is {url} (from {platform}), the workspace's id from {workspace}");
    if let (Some(address), Some(from)) = (&address, setup.proxy_from()) {
        detail += &format!(", the proxy is {address} (from {from})");
    }
    let proxy = address.map(|address| Place::of(&address)).transpose()?;
    Found::ok((client, Route { platform: Place::of(&url)?, proxy }), detail)
}

pub(crate) fn dns(route: &Route, args: &Args) -> Outcome<Vec<SocketAddr>> {
    let (Place { host, port, .. }, whose) = route.first();
    if let Ok(address) = host.parse::<IpAddr>() {
        let detail = format!("{whose}{host} is an address: no name to look up");
        return Found::ok(vec![SocketAddr::new(address, *port)], detail);
    }
    let found = (host.as_str(), *port).to_socket_addrs();
    let addresses: Vec<SocketAddr> =
        found.map_err(|why| unconnected(format!("{whose}{host} has no address: {why}"), args))?.collect();
    if addresses.is_empty() {
        return Err(unconnected(format!("{whose}{host} has no address: the answer is empty"), args));
    }
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    Found::ok(addresses, format!("{whose}{host} is {}", list.join(", ")))
}

/// The first address that takes a connection.
pub(crate) fn tcp(addresses: &[SocketAddr], limit: Duration, args: &Args) -> Outcome<()> {
    let mut why = Vec::new();
    let whose = args.setup.proxy_from().map_or("", |_| "the proxy ");
    // One that swallows packets leaves the others their time, and us ours to say so.
    let share = limit.mul_f64(0.9) / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    for address in addresses {
        match TcpStream::connect_timeout(address, share) {
            Ok(_) => return Found::ok((), format!("{whose}{address} takes connections")),
            Err(error) => why.push(format!("{address}: {error}")),
        }
    }
    Err(unconnected(format!("{whose}{}", why.join("; ")), args))
}

fn unconnected(message: String, args: &Args) -> Trouble {
    let next = connect(&args.setup, &message);
    Trouble { next: Some(next), ..Trouble::new(exit::UNREACHABLE, ErrorKind::Connect.as_str(), message) }
}

/// A request without the token: a certificate that is bad, the platform's or the proxy's, must not see it.
pub(crate) fn tls(client: &Client, route: &Route, args: &Args) -> Outcome<()> {
    let Route { platform, proxy } = route;
    let encrypted = platform.https || proxy.as_ref().is_some_and(|proxy| proxy.https);
    if encrypted {
        match client.workspace() {
            Err(error) if error.status().is_none() => return Err(Trouble::of_call(&error, args)),
            _ => {}
        }
    }
    let good = "the certificate is good for";
    let (host, plain) = (&platform.host, "the address is http: nothing is encrypted");
    let detail = match proxy {
        None if platform.https => format!("{good} {host}"),
        None => plain.to_owned(),
        Some(proxy) if platform.https && proxy.https => format!("{good} {host}, and the proxy's for {}", proxy.host),
        Some(_) if platform.https => format!("{good} {host}, through the proxy"),
        Some(proxy) if proxy.https => {
            format!("{good} the proxy {}, which sees the token: the platform's address is http", proxy.host)
        }
        Some(_) => format!("{plain}, and the proxy, too, sees the token"),
    };
    let status = if encrypted { Status::Ok } else { Status::Skipped };
    Ok(Found { value: (), status, detail, next: None })
}
