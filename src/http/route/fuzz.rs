#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use super::Route;
use crate::config::PlatformUrl;
use crate::http::pool::config;
use crate::http::transport::fuzz::Recorder;

/// Checks that an accepted platform URL is the address that is contacted, and that it adds nothing to the request.
pub fn url(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let url = match PlatformUrl::parse(text) {
        Ok(url) => url,
        Err(why) => {
            // A refused URL may hold a password, and the error is shown in a terminal.
            assert!(!text.contains('@') || !why.contains(text), "{why}");
            assert!(!why.contains(char::is_control), "{why:?}");
            return;
        }
    };
    let shown = url.to_string();
    assert_eq!(PlatformUrl::parse(&shown).unwrap().to_string(), shown);
    assert!(!shown.contains(|c: char| c.is_control() || c.is_whitespace() || "@?#".contains(c)), "{shown:?}");

    // Split by hand, as a person reads a URL.
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

    let recorder = Recorder::default();
    let agent = recorder.agent(config(&Route::direct().unwrap()).build());
    let path = "/registry/discover/3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    let failed = agent.get(format!("{url}{path}")).header("Authorization", "Bearer t").call().unwrap_err();
    assert!(matches!(failed, ureq::Error::ConnectionFailed), "{failed} {shown:?}");

    let recorded = recorder.recorded();
    assert_eq!(recorded.address, format!("{host}:{}", port.unwrap_or(usual)), "{shown:?}");
    let request = std::str::from_utf8(&recorded.request).unwrap();
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
