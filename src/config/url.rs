//! The platform's address. It is checked once, so that no request goes elsewhere.

use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;

/// A platform's address, `scheme://host[:port][/prefix]`, without a slash at its end.
#[derive(Debug, Clone)]
pub(crate) struct PlatformUrl {
    base: String,
    https: bool,
    host: String,
    port: Option<u16>,
}

impl PlatformUrl {
    /// Parses a platform URL.
    ///
    /// It is stricter than the HTTP client, which takes a port above 65,535 for port 80, a user for Basic credentials,
    /// and a query for the start of the path.
    ///
    /// # Errors
    ///
    /// A message that says what is wrong with the URL, and what to use instead. A URL that may hold a password is not shown.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // The text is not shown where it may hold a password.
        if text.contains('@') {
            return Err("it names a user; leave it out and set a token".to_owned());
        }
        let refuse = |message: &str| format!("{text:?} {message}");
        if text.contains(['?', '#']) {
            return Err("it has a query or a fragment; use scheme://host[:port][/prefix]".to_owned());
        }
        let uri: Uri =
            text.parse().map_err(|why| refuse(&format!("is no URL ({why}); use for example http://localhost:8080")))?;
        // The parser accepts any character in a path, and the client would send it as it is.
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(refuse(&format!("has {c:?}; percent-encode it")));
        }
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(refuse(&format!("has the scheme {other}; use http or https"))),
            None => return Err(refuse("has no scheme; use for example http://localhost:8080")),
        };
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(refuse("has no host; use for example http://localhost:8080"));
        };
        let host = authority.host();
        if !is_host(host) {
            return Err(refuse(&format!("has the host {host:?}; use a name, an IPv4 address, or [an IPv6 address]")));
        }
        let port = match authority.as_str().strip_prefix(host).map(|port| (port, port.strip_prefix(':'))) {
            Some(("", _)) => None,
            Some((_, Some(digits))) => match digits.parse::<u16>() {
                Ok(port) if port != 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
                _ => return Err(refuse(&format!("has the port {digits:?}; use 1 to 65535"))),
            },
            _ => {
                return Err(refuse("has something between its host and its port; use scheme://host[:port][/prefix]"));
            }
        };
        let scheme = if https { "https" } else { "http" };
        let prefix = uri.path().trim_end_matches('/');
        let base = format!("{scheme}://{authority}{prefix}");
        Ok(PlatformUrl { base, https, host: authority.host().to_ascii_lowercase(), port })
    }

    /// Returns the URL, if this build can reach it.
    ///
    /// # Errors
    ///
    /// An https URL in a build without TLS.
    pub(super) fn reachable(self) -> Result<Self, String> {
        if self.https && !cfg!(any(feature = "rustls", feature = "native-tls")) {
            let message = "is https, and a2a-blocking was built without TLS: turn on its feature rustls or native-tls";
            return Err(format!("{self} {message}"));
        }
        Ok(self)
    }

    pub(super) fn has_path(&self) -> bool {
        self.base.matches('/').count() > 2
    }

    /// Returns the `Origin` header that a gateway of a hosted platform may require, or `None` over http.
    ///
    /// It is in lower case, without a default port or a path: RFC 6454, section 6.2,
    /// <https://www.rfc-editor.org/rfc/rfc6454#section-6.2>.
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
    fn prefix_and_trailing_slash_are_accepted() {
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
    fn ambiguous_urls_are_refused() {
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
    fn password_is_refused_and_not_shown() {
        let error = PlatformUrl::parse("http://user:hush@h").unwrap_err();
        assert!(error.contains("user") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn origin_is_sent_over_https_only() {
        let origin = |text| PlatformUrl::parse(text).unwrap().origin();
        assert_eq!(origin("https://Plat.Example:443/api").as_deref(), Some("https://plat.example"));
        assert_eq!(origin("https://h:8443").as_deref(), Some("https://h:8443"));
        assert_eq!(origin("http://h"), None);
    }
}
