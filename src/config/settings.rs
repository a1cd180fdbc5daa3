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

/// What a client goes by: what was set, and the defaults of what was not. It is what
/// [`Client::settings`](crate::Client::settings) shows, and its [`Debug`](std::fmt::Debug) is fit for a log. Of the token, the proxy and
/// the root certificates nothing is in it.
///
/// The defaults, but for the address and the file:
///
/// ```
/// use std::time::Duration;
/// use a2a_blocking::Client;
///
/// let client = Client::builder().workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100").build()?;
/// let settings = client.settings();
/// assert_eq!((settings.ttl, settings.negative_ttl), (Duration::from_secs(300), settings.ttl));
/// assert_eq!(settings.stale_if_error, Duration::from_secs(3_600));
/// assert_eq!(settings.ttl_spread, 0.1);
/// assert_eq!(settings.lookup_timeout, Duration::from_secs(2));
/// assert_eq!(settings.call_timeout, Duration::from_secs(10));
/// assert_eq!(settings.circuit_threshold, 3);
/// assert_eq!(settings.circuit_backoff, (Duration::from_secs(1), Duration::from_secs(30)));
/// assert_eq!((settings.background_threads, settings.queue), (2, 1_024));
/// assert_eq!(settings.capacity, 10_000);
/// assert_eq!((&settings.org_id, &settings.origin, &settings.token_file), (&None, &None, &None));
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The platform's address, without a slash at its end.
    pub platform_url: String,
    /// The id of our own workspace.
    pub workspace_id: String,
    /// The organisation that requests name.
    pub org_id: Option<String>,
    /// The `Origin` that requests have: over https the platform's own, unless another was set.
    pub origin: Option<String>,
    /// The token's file that was set, whether or not the token comes from it.
    pub token_file: Option<PathBuf>,
    /// How long a record is fresh.
    pub ttl: Duration,
    /// How long an absent peer or a failed lookup is remembered.
    pub negative_ttl: Duration,
    /// How long past its TTL a record still serves while lookups fail.
    pub stale_if_error: Duration,
    /// By how much each record's TTL is shortened at the most, as a fraction of it.
    pub ttl_spread: f64,
    /// The bound of one lookup in all, DNS included.
    pub lookup_timeout: Duration,
    /// The bound of a call that its user waits for (`discover`, `peers`, `workspace`, a poll), as the original's; it cannot
    /// be set. A send has the budget of its policy.
    pub call_timeout: Duration,
    /// How many lookups in a row are not answered before no more are made but probes.
    pub circuit_threshold: u32,
    /// How long after the last unanswered lookup a probe is made, and the longest such wait.
    pub circuit_backoff: (Duration, Duration),
    /// How many threads refresh in the background.
    pub background_threads: usize,
    /// How many peers may wait to be refreshed.
    pub queue: usize,
    /// How many peers the cache holds.
    pub capacity: usize,
}

/// All that a builder was told, checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) settings: Settings,
    pub(crate) platform: PlatformUrl,
    pub(crate) token: TokenSource,
    pub(crate) proxy: Option<ProxyUrl>,
    /// PEM text.
    pub(crate) root_certificates: Option<String>,
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
        let (first, longest) = self.circuit_backoff;
        if first.is_zero() || first > longest {
            let why = "it takes a first wait above zero and not above the longest";
            return Err(Error::config(format!("circuit_backoff: {first:?} and {longest:?}; {why}")));
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
