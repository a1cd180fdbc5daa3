//! The address of the HTTP proxy: `--proxy`, or `A2A_PEER_PROXY` where it has a password.
//!
//! Other users of a machine can read a process's arguments, as `ps` shows them. The option therefore refuses a user
//! and a password.

use crate::environment;
use crate::exit::CommandFailure;

const OPTION: &str = "--proxy";

/// Returns the name of the option or variable that sets the proxy, or `None` where there is no proxy.
pub(crate) fn source(option: Option<&str>) -> Option<&'static str> {
    option.map(|_| OPTION).or_else(|| environment::is_set(environment::PROXY).then_some(environment::PROXY))
}

/// Returns the proxy's address, which may have a password.
///
/// # Errors
///
/// Fails where the option names a user, or where the variable is not UTF-8.
pub(crate) fn url(option: Option<&str>) -> Result<Option<String>, CommandFailure> {
    match option {
        // `%` too: a user may be percent-encoded, and no other part of the address is.
        Some(url) if url.contains(['@', '%']) => Err(CommandFailure::Usage(format!(
            "{OPTION}: the address names a user or a password, and others can read the arguments of a process: leave out \
             {OPTION} and set {}",
            environment::PROXY
        ))),
        Some(url) => Ok(Some(url.trim().to_owned())),
        None => environment::value(environment::PROXY).map_err(CommandFailure::Usage),
    }
}

/// Returns an address that the library has accepted, without its user and password.
pub(crate) fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, address)| address)),
        None => String::new(),
    }
}

/// Returns the text for an address that the library refuses: `why` with the name of the option or variable.
pub(crate) fn refusal(option: Option<&str>, why: &str) -> String {
    match source(option) {
        // The library quotes the part that is wrong, which can be a password.
        Some(environment::PROXY) if why.contains('"') => {
            format!("{}: not a proxy's address: set it to http(s)://[user:password@]host[:port]", environment::PROXY)
        }
        other => format!("{}: {why}", other.unwrap_or(OPTION)),
    }
}

/// Returns a further sentence for an error of the connection where a proxy is set for other programs only.
///
/// Empty where there is no such proxy.
pub(crate) fn ignored_proxy_hint() -> String {
    environment::ignored_proxy().map_or_else(String::new, |name| {
        format!(
            ". {name} is set, but not used here: to use a proxy, give {OPTION} URL, or set {} if it has a password",
            environment::PROXY
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_address_has_no_user() {
        for (url, shown) in [
            ("http://me:hush@proxy:3128", "http://proxy:3128"),
            ("https://me:hu@sh@[::1]:3128/", "https://[::1]:3128/"),
            ("http://proxy", "http://proxy"),
            ("hush", ""),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }
}
