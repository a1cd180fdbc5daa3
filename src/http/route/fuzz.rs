#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::sync::Arc;

use parking_lot::Mutex;
use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use super::Route;
use crate::config::PlatformUrl;
use crate::http::pool::config;

/// Whom the HTTP client would contact, and what it would write.
#[derive(Debug, Clone, Default)]
struct Wiretap(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    address: String,
    request: Vec<u8>,
}

impl Resolver for Wiretap {
    fn resolve(&self, uri: &Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (scheme, authority) = (uri.scheme().unwrap(), uri.authority().unwrap());
        self.0.lock().address = DefaultResolver::host_and_port(scheme, authority).unwrap();
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 1).into());
        Ok(addresses)
    }
}

impl Connector for Wiretap {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, ureq::Error> {
        let secret = details.needs_tls();
        Ok(Some(Wire { tap: self.clone(), buffers: LazyBuffers::new(16 * 1024, 16 * 1024), secret }))
    }
}

#[derive(Debug)]
struct Wire {
    tap: Wiretap,
    buffers: LazyBuffers,
    secret: bool,
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.tap.0.lock().request.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        Err(ureq::Error::ConnectionFailed)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.secret
    }
}

/// A platform URL that is taken is the one that is contacted, and nothing in it is more than an address.
pub fn url(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let url = match PlatformUrl::parse(text) {
        Ok(url) => url,
        Err(why) => {
            // It may hold a password, and a log is read in a terminal.
            assert!(!text.contains('@') || !why.contains(text), "{why}");
            assert!(!why.contains(char::is_control), "{why:?}");
            return;
        }
    };
    let shown = url.to_string();
    assert_eq!(PlatformUrl::parse(&shown).unwrap().to_string(), shown);
    assert!(!shown.contains(|c: char| c.is_control() || c.is_whitespace() || "@?#".contains(c)), "{shown:?}");

    // Read as a person reads it.
    let (scheme, rest) = shown.split_once("://").unwrap();
    let (authority, prefix) = rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, format!("/{p}")));
    let name =
        |authority: &str| authority.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':').map(str::to_owned);
    let host = if authority.ends_with(']') { None } else { name(authority) }.unwrap_or(authority.to_owned());
    let port = authority.strip_prefix(&*host).unwrap().strip_prefix(':').map(|port| port.parse::<u16>().unwrap());
    let usual = if scheme == "https" { 443 } else { 80 };
    assert!(
        text.to_ascii_lowercase().starts_with(&format!("{scheme}://{}", authority.to_ascii_lowercase())),
        "{text:?} {shown:?}"
    );

    let tap = Wiretap::default();
    let agent = Agent::with_parts(config(&Route::direct().unwrap()).build(), tap.clone(), tap.clone());
    let path = "/registry/discover/3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    let failed = agent.get(format!("{url}{path}")).header("Authorization", "Bearer t").call().unwrap_err();
    assert!(matches!(failed, ureq::Error::ConnectionFailed), "{failed} {shown:?}");

    let heard = tap.0.lock();
    assert_eq!(heard.address, format!("{host}:{}", port.unwrap_or(usual)), "{shown:?}");
    let request = std::str::from_utf8(&heard.request).unwrap();
    let mut lines = request.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
    assert_eq!(lines.next().unwrap(), format!("GET {prefix}{path} HTTP/1.1"));
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let all = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect()
    };
    assert_eq!(all("authorization"), ["Bearer t"]);
    let whole = port.map(|port| format!("{host}:{port}"));
    assert!(all("host") == [&*host] || all("host") == [whole.as_deref().unwrap_or(&host)], "{headers:?} {shown:?}");

    let origin = (scheme == "https").then(|| {
        let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
        format!("https://{}{port}", host.to_ascii_lowercase())
    });
    assert_eq!(url.origin(), origin);
}
