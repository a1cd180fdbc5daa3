//! A proxy's address, which may hold a password and is not shown.

use std::fmt;

use super::url::PlatformUrl;

/// A proxy's address, `scheme://[user[:password]@]host[:port]`.
#[derive(Clone)]
pub(crate) struct ProxyUrl(String);

impl ProxyUrl {
    /// Parses a proxy's URL.
    ///
    /// # Errors
    ///
    /// A message that says what is wrong with the URL, and what to use instead. It shows no user or password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let advice = "use http://[user:password@]host[:port], or https";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("it has no scheme; {advice}"))?;
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        if scheme.contains(['@', ':']) {
            return Err(format!("it is no URL; {advice}"));
        }
        let is_allowed = |c: char| c.is_ascii_graphic() && !r#""/\?#[]@<>^`{|}"#.contains(c);
        if user.is_some_and(|user| !user.chars().all(is_allowed)) {
            return Err("its user or password has a special character; percent-encode it".to_owned());
        }
        let shown = PlatformUrl::parse(&format!("{scheme}://{address}"))?.reachable()?;
        if shown.has_path() {
            return Err(format!("\"{shown}\" has a path; {advice}"));
        }
        Ok(ProxyUrl(text.to_owned()))
    }

    /// Returns the URL with its user and password.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_proxy_is_refused_and_its_password_not_shown() {
        for (text, why) in [
            ("", "no scheme"),
            ("proxy:3128", "no scheme"),
            ("user:hush@proxy:3128", "no scheme"),
            ("user:hush@http://proxy", "no URL"),
            ("socks5://user:hush@proxy:1080", "the scheme socks5; use http or https"),
            ("http://user:hush@proxy:99999", "the port \"99999\""),
            ("http://user:hush@proxy/path", "has a path"),
            ("http://user:hush@", "is no URL"),
            ("http://user:hush@proxy?x", "query"),
            ("http://user:hush?x@proxy", "percent-encode it"),
            ("http://user:hush/x@proxy", "percent-encode it"),
            ("http://us er:hush@proxy", "percent-encode it"),
            ("http://user:hush\r\nX-Evil: 1@proxy", "percent-encode it"),
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
    fn debug_hides_the_proxy() {
        let proxy = ProxyUrl::parse("http://user:hush@proxy").unwrap();
        assert_eq!(format!("{proxy:?}"), "ProxyUrl(hidden)");
    }
}
