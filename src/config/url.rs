//! The platform's address, checked once so that nothing later can be sent elsewhere.

use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;

/// `scheme://host[:port][/prefix]`, without a slash at its end.
#[derive(Debug, Clone)]
pub(crate) struct PlatformUrl {
    base: String,
    https: bool,
    host: String,
    port: Option<u16>,
}

impl PlatformUrl {
    /// Reads a platform URL. What is refused here would otherwise be taken for something else: a port
    /// above 65,535 for port 80, a user for Basic credentials, a query for the start of the path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // The text is not shown where it may hold a password.
        if text.contains('@') {
            return Err("it names a user; the platform takes a token instead".to_owned());
        }
        let bad = |why: &str| format!("{text:?} {why}");
        if text.contains(['?', '#']) {
            return Err("it has a query or a fragment; it takes scheme://host[:port][/prefix]".to_owned());
        }
        let uri: Uri =
            text.parse().map_err(|why| bad(&format!("is no URL ({why}); for example http://localhost:8080")))?;
        // A path may have any of them, and they would be sent as they are.
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(bad(&format!("has {c:?}; percent-encode it")));
        }
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(bad(&format!("has the scheme {other}; it takes http or https"))),
            None => return Err(bad("has no scheme; for example http://localhost:8080")),
        };
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(bad("has no host; for example http://localhost:8080"));
        };
        let host = authority.host();
        if !is_host(host) {
            return Err(bad(&format!("has the host {host:?}; it takes a name, an IPv4 address, or [an IPv6 address]")));
        }
        let port = match authority.as_str().strip_prefix(host).map(|port| (port, port.strip_prefix(':'))) {
            Some(("", _)) => None,
            Some((_, Some(digits))) => match digits.parse::<u16>() {
                Ok(port) if port != 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
                _ => return Err(bad(&format!("has the port {digits:?}; it takes 1 to 65535"))),
            },
            _ => {
                return Err(bad("has something between its host and its port; it takes scheme://host[:port][/prefix]"));
            }
        };
        let scheme = if https { "https" } else { "http" };
        let prefix = uri.path().trim_end_matches('/');
        let base = format!("{scheme}://{authority}{prefix}");
        Ok(PlatformUrl { base, https, host: authority.host().to_ascii_lowercase(), port })
    }

    /// This URL, unless this build cannot reach it.
    pub(super) fn reachable(self) -> Result<Self, String> {
        if self.https && !cfg!(any(feature = "rustls", feature = "native-tls")) {
            let why = "is https, and a2a-blocking was built without TLS: turn on its feature rustls or native-tls";
            return Err(format!("{self} {why}"));
        }
        Ok(self)
    }

    pub(super) fn has_path(&self) -> bool {
        self.base.matches('/').count() > 2
    }

    /// The `Origin` that the hosted edge asks for: over https only, lower case, no default port, no path.
    pub(crate) fn origin(&self) -> Option<String> {
        let port = self.port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
        self.https.then(|| format!("https://{}{port}", self.host))
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    }
}

impl fmt::Display for PlatformUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_and_a_prefix_work() {
        for (text, base) in [
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://localhost:8080///", "http://localhost:8080"),
            ("HTTP://h/api/v1/", "http://h/api/v1"),
            ("http://[::1]:99", "http://[::1]:99"),
        ] {
            assert_eq!(PlatformUrl::parse(text).unwrap().to_string(), base);
        }
    }

    #[test]
    fn what_would_be_taken_for_something_else_is_refused() {
        for (text, why) in [
            ("", "no URL"),
            ("localhost", "no scheme"),
            ("localhost:8080", "no scheme"),
            ("/api", "no scheme"),
            ("http://", "no URL"),
            ("http://:8080", "no host"),
            ("ftp://h", "scheme ftp"),
            ("socks5://h:1", "scheme socks5"),
            ("file:///etc/passwd", "no URL"),
            ("file://h/etc/passwd", "scheme file"),
            ("http://h:99999", "port \"99999\""),
            ("http://h:0", "port \"0\""),
            ("http://h:", "port \"\""),
            ("http://[::1]evil:80", "between its host and its port"),
            ("http://[::1]8080", "between its host and its port"),
            ("http://[::ffff:127.0.0.1]x:99999", "between its host and its port"),
            ("http://[]:80", "host \"[]\""),
            ("http://[::1", "no URL"),
            ("http://h;a", "host \"h;a\""),
            ("http://*", "host \"*\""),
            ("http://h,i:80", "host \"h,i\""),
            ("http://h:+80", "port \"+80\""),
            ("http://h:8o", "port \"8o\""),
            ("http://h/?a=1", "query"),
            ("http://h#x", "fragment"),
            ("http://h h", "no URL"),
            ("http://h\r\nX-Evil: 1", "no URL"),
            ("http://bücher.example", "no URL"),
            ("http://h/bücher", "'ü'; percent-encode it"),
            ("http://h/a\u{85}b", "'\\u{85}'; percent-encode it"),
        ] {
            let error = PlatformUrl::parse(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_shown() {
        let error = PlatformUrl::parse("http://user:hush@h").unwrap_err();
        assert!(error.contains("user") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn the_origin_is_sent_over_https_only() {
        let origin = |text| PlatformUrl::parse(text).unwrap().origin();
        assert_eq!(origin("https://Plat.Example:443/api").as_deref(), Some("https://plat.example"));
        assert_eq!(origin("https://h:8443").as_deref(), Some("https://h:8443"));
        assert_eq!(origin("http://h"), None);
    }
}
