//! A proxy's address, and the PEM text of those whom TLS is to trust: settings that are not for showing.

use std::fmt;

use super::url::PlatformUrl;

/// `scheme://[user[:password]@]host[:port]`, checked.
#[derive(Clone)]
pub(crate) struct ProxyUrl(String);

impl ProxyUrl {
    /// Reads a proxy's URL. None of its errors shows a user or password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let takes = "it takes http://[user:password@]host[:port], or https";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("it has no scheme; {takes}"))?;
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        if scheme.contains(['@', ':']) {
            return Err(format!("it is no URL; {takes}"));
        }
        let may_stand = |c: char| c.is_ascii_graphic() && !r#""/\?#[]@<>^`{|}"#.contains(c);
        if user.is_some_and(|user| !user.chars().all(may_stand)) {
            return Err("its user or password has a character that must be percent-encoded".to_owned());
        }
        let shown = PlatformUrl::parse(&format!("{scheme}://{address}"))?.reachable()?;
        if shown.has_path() {
            return Err(format!("\"{shown}\" has a path; {takes}"));
        }
        Ok(ProxyUrl(text.to_owned()))
    }

    /// With its user and password.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl(hidden)")
    }
}

/// A text that a `Debug` tells the length of.
#[derive(Clone)]
pub(super) struct Unshown(pub(super) String);

impl fmt::Debug for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_proxy_is_refused_and_its_password_not_shown() {
        for (text, why) in [
            ("", "no scheme"),
            ("proxy:3128", "no scheme"),
            ("user:hush@proxy:3128", "no scheme"),
            ("user:hush@http://proxy", "no URL"),
            ("socks5://user:hush@proxy:1080", "the scheme socks5; it takes http or https"),
            ("http://user:hush@proxy:99999", "the port \"99999\""),
            ("http://user:hush@proxy/path", "has a path"),
            ("http://user:hush@", "is no URL"),
            ("http://user:hush@proxy?x", "query"),
            ("http://user:hush?x@proxy", "percent-encoded"),
            ("http://user:hush/x@proxy", "percent-encoded"),
            ("http://us er:hush@proxy", "percent-encoded"),
            ("http://user:hush\r\nX-Evil: 1@proxy", "percent-encoded"),
            ("http://user:hush@proxy\r\nX-Evil: 1", "is no URL"),
        ] {
            let error = ProxyUrl::parse(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("hush"), "{text:?}: {error}");
        }
        for good in ["http://proxy", "HTTP://user:p%40ss@proxy:3128", "http://[::1]:3128/"] {
            assert_eq!(ProxyUrl::parse(good).unwrap().expose(), good);
        }
    }

    #[test]
    fn neither_is_shown() {
        let (proxy, pem) = (ProxyUrl::parse("http://user:hush@proxy").unwrap(), Unshown("hush".to_owned()));
        assert_eq!(format!("{proxy:?} {pem:?}"), "ProxyUrl(hidden) 4 bytes");
    }
}
