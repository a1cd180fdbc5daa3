//! The proxy that is gone through: the option's, or the variable's, which may have a password. Everybody may read a
//! process's arguments.

use std::env;

use crate::failure::Failure;
use crate::setup::is_set;

const OPTION: &str = "--proxy";
const VARIABLE: &str = "A2A_PEER_PROXY";

/// By which other programs are told of a proxy. They are not used: a token would go where nobody here has sent it.
const OF_OTHERS: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// What the proxy's address comes from; `None` where there is to be no proxy.
pub(crate) fn from(option: Option<&str>) -> Option<&'static str> {
    option.map(|_| OPTION).or_else(|| is_set(VARIABLE).then_some(VARIABLE))
}

/// Its address, which may have a password.
pub(crate) fn url(option: Option<&str>) -> Result<Option<String>, Failure> {
    match option {
        // A user may also stand there percent-encoded, as nothing else may.
        Some(url) if url.contains(['@', '%']) => Err(Failure::Usage(format!(
            "{OPTION}: it names a user or a password, and others may read the arguments of a process; set {VARIABLE} to it, \
             and leave {OPTION} out"
        ))),
        Some(url) => Ok(Some(url.trim().to_owned())),
        None => match env::var_os(VARIABLE).filter(|_| is_set(VARIABLE)).map(|value| value.into_string()) {
            None => Ok(None),
            Some(Ok(url)) => Ok(Some(url.trim().to_owned())),
            Some(Err(_)) => Err(Failure::Usage(format!("{VARIABLE}: it is not UTF-8"))),
        },
    }
}

/// What may be shown of an address that the library takes: it has no user by then.
pub(crate) fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, address)| address)),
        None => String::new(),
    }
}

/// The library's words on an address that it does not take, with what it comes from in place of the setter's name.
pub(crate) fn in_our_words(option: Option<&str>, why: &str) -> String {
    match from(option) {
        // What it quotes of a variable might be a password in the wrong place.
        Some(VARIABLE) if why.contains('"') => {
            format!("{VARIABLE}: it is no proxy's address; it takes http://[user:password@]host[:port], or https")
        }
        other => format!("{}: {why}", other.unwrap_or(OPTION)),
    }
}

/// What is said besides where nothing connects, no proxy was asked for, and others would go through one.
pub(crate) fn unused() -> String {
    let other = OF_OTHERS.iter().find(|name| is_set(name));
    other.map_or_else(String::new, |name| {
        format!(
            ". {name} is set, but not used here: {OPTION} URL goes through a proxy ({VARIABLE}, if it has a password)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_is_shown() {
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
