//! Settings that have been checked, and the checks.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Setting;
use super::proxy::ProxyUrl;
use super::url::PlatformUrl;
use crate::error::Error;
use crate::token::TokenSource;

/// Bounds of a workspace id's length. It stands in a URL and a header.
const WORKSPACE_ID_CHARS: std::ops::RangeInclusive<usize> = 1..=128;
/// The longest organisation id, in bytes. It stands in a header, of which servers take some kilobytes in all.
const MAX_ORG_ID: usize = 1_024;
/// The most threads that refresh in the background. What needs more is no refreshing.
const MAX_THREADS: usize = 64;
/// The longest bound of a lookup. A poller that waits longer than this for a name is not polling.
const MAX_LOOKUP_TIMEOUT: Duration = Duration::from_secs(600);

/// Settings that have been checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) platform: PlatformUrl,
    pub(crate) workspace_id: String,
    pub(crate) org_id: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) token: TokenSource,
    /// The file that was set, whether or not the token comes from it.
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) proxy: Option<ProxyUrl>,
    /// PEM text.
    pub(crate) root_certificates: Option<String>,
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) ttl_spread: f64,
    pub(crate) circuit_threshold: u32,
    pub(crate) circuit_waits: (Duration, Duration),
    pub(crate) background_threads: usize,
    pub(crate) queue: usize,
    pub(crate) lookup_timeout: Duration,
    /// The bound of a call that its user waits for, as the original's.
    pub(crate) call_timeout: Duration,
    /// The usual bound of a send. Each has its own; this is what connections are set up for.
    pub(crate) send_timeout: Duration,
    pub(crate) capacity: usize,
}

impl Settings {
    pub(super) fn check(self) -> Result<Self, Error> {
        if self.ttl.is_zero() {
            return Err(Error::config("ttl: zero would ask the registry at every push; use discover for that"));
        }
        if self.lookup_timeout.is_zero() || self.lookup_timeout > MAX_LOOKUP_TIMEOUT {
            let given = self.lookup_timeout;
            return Err(Error::config(format!("lookup_timeout: {given:?}; it takes more than 0 and at most 600 s")));
        }
        if !(0.0..=0.5).contains(&self.ttl_spread) {
            return Err(Error::config(format!("ttl_spread: {}; it takes a fraction from 0 to 0.5", self.ttl_spread)));
        }
        if self.circuit_threshold == 0 {
            return Err(Error::config("circuit_threshold: zero would never make a lookup; it takes at least 1"));
        }
        let (first, longest) = self.circuit_waits;
        if first.is_zero() || first > longest {
            let why = "it takes a first wait above zero and not above the longest";
            return Err(Error::config(format!("circuit_waits: {first:?} and {longest:?}; {why}")));
        }
        if self.background_threads > MAX_THREADS {
            let given = self.background_threads;
            return Err(Error::config(format!("background_threads: {given}; it takes at most {MAX_THREADS}")));
        }
        if self.queue == 0 {
            return Err(Error::config(
                "queue: zero would refresh nothing; it takes at least 1, or background_threads(0)",
            ));
        }
        if self.capacity == 0 {
            return Err(Error::config("capacity: zero would cache nothing; it takes at least 1"));
        }
        Ok(self)
    }
}

pub(super) fn default_platform() -> Setting {
    let in_docker = env::var_os("DOCKER_VERSION").is_some() || Path::new("/.dockerenv").exists();
    let host = if in_docker { "host.docker.internal" } else { "localhost" };
    Setting { value: Ok(format!("http://{host}:8080")), by: "PLATFORM_URL" }
}

pub(super) fn checked_workspace_id(text: &str) -> Result<String, String> {
    if !WORKSPACE_ID_CHARS.contains(&text.len()) {
        return Err(format!("{} characters long; it takes 1 to 128 of A-Z a-z 0-9 -", text.chars().count()));
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        Some(bad) => Err(format!("{text:?} has {bad:?}; it takes A-Z a-z 0-9 - only")),
        None => Ok(text.to_owned()),
    }
}

pub(super) fn header_value(text: &str) -> Result<String, String> {
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(bad) => Err(format!("{text:?} has {bad:?}; it takes printable ASCII without spaces")),
        None if text.is_empty() => Err("empty; leave it out instead".to_owned()),
        None if text.len() > MAX_ORG_ID => {
            Err(format!("{} characters long; it takes at most {MAX_ORG_ID}", text.len()))
        }
        None => Ok(text.to_owned()),
    }
}

/// In lower case, as browsers send it.
pub(super) fn checked_origin(text: &str) -> Result<String, String> {
    match PlatformUrl::parse(text) {
        Ok(url) if url.has_path() => Err(format!("{text:?} has a path; it takes scheme://host[:port]")),
        Ok(url) => Ok(url.to_string().to_ascii_lowercase()),
        Err(why) => Err(why),
    }
}
