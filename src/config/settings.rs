//! [`Settings`], and the checks of single values.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::places::CursorDirSource;
use super::proxy::ProxyUrl;
use super::url::PlatformUrl;
use crate::error::Error;
use crate::token::TokenSource;

/// Timeout of a call that its user waits for, as in the Python module `a2a_client`.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Length of a workspace id in bytes. It is part of URLs and a header.
const WORKSPACE_ID_LENGTH: RangeInclusive<usize> = 1..=128;
/// Maximum length of an organisation id in bytes. It is sent in a header, and servers accept some kilobytes of headers.
const MAX_ORG_ID: usize = 1_024;
/// Maximum number of background threads. Refreshing needs no more.
const MAX_THREADS: usize = 64;
/// Range of `max_request`, in bytes. The platform's relay takes no more.
const MAX_REQUEST: RangeInclusive<usize> = 4_096..=16 * 1024 * 1024;
/// Range of `max_answer`, in bytes. The platform's relay passes on no more.
const MAX_ANSWER: RangeInclusive<usize> = 65_536..=64 * 1024 * 1024;
/// Maximum of `lookup_timeout`. A poller that waits longer for a name no longer polls.
const MAX_LOOKUP_TIMEOUT: Duration = Duration::from_secs(600);

/// The settings of a client: the values that were set, and the defaults of the others.
///
/// [`Client::settings`](crate::Client::settings) returns them. Their [`Debug`](std::fmt::Debug) output is fit for a log:
/// the token, the proxy and the root certificates are not among them.
///
/// The defaults, except for the address and the token file:
///
/// ```
/// use std::time::Duration;
/// use a2a_blocking::Client;
///
/// let client = Client::builder().workspace_id("0f0e0d0c-0b0a-4908-8706-050403020100").build()?;
/// let settings = client.settings();
/// assert_eq!((settings.ttl, settings.negative_ttl), (Duration::from_secs(300), settings.ttl));
/// assert_eq!(settings.error_ttl, Duration::from_secs(15));
/// assert_eq!(settings.stale_if_error, Duration::from_secs(3_600));
/// assert_eq!(settings.ttl_spread, 0.1);
/// assert_eq!(settings.lookup_timeout, Duration::from_secs(2));
/// assert_eq!(settings.call_timeout, Duration::from_secs(10));
/// assert_eq!(settings.circuit_threshold, 3);
/// assert_eq!(settings.circuit_backoff, (Duration::from_secs(1), Duration::from_secs(30)));
/// assert_eq!((settings.background_threads, settings.queue), (2, 1_024));
/// assert_eq!(settings.capacity, 10_000);
/// assert_eq!((settings.max_request, settings.max_answer), (1_048_576, 10_000_000));
/// assert_eq!((&settings.org_id, &settings.origin), (&None, &None));
/// assert_eq!((&settings.token_file, &settings.cursor_dir), (&None, &None));
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The platform's address, without a slash at its end.
    pub platform_url: String,
    /// The id of the client's own workspace.
    pub workspace_id: String,
    /// The organisation that requests are sent for.
    pub org_id: Option<String>,
    /// The `Origin` header of requests. Over https it is the platform's own where an organisation is set, unless another
    /// was set.
    pub origin: Option<String>,
    /// The token file that was set, even where the token comes from elsewhere. Of the files in the folders of the
    /// environment it is the first that exists, or else the first.
    pub token_file: Option<PathBuf>,
    /// The folder of a poller's default cursor file: that of a token file that a setter named, or else that of the
    /// environment. `None` for a client with neither.
    pub cursor_dir: Option<PathBuf>,
    /// The source of `cursor_dir`, for errors.
    pub(crate) cursor_dir_source: Option<CursorDirSource>,
    /// Time for which a record is fresh.
    pub ttl: Duration,
    /// Time for which an absent peer is cached.
    pub negative_ttl: Duration,
    /// Time for which a failed lookup is cached. Not above `negative_ttl`.
    pub error_ttl: Duration,
    /// Time past its TTL for which a record is served while lookups fail.
    pub stale_if_error: Duration,
    /// Largest part of a TTL by which it is shortened, from 0 to 0.5.
    pub ttl_spread: f64,
    /// Timeout of one lookup, DNS included.
    pub lookup_timeout: Duration,
    /// Timeout of a call that its user waits for: `discover`, `peers`, `workspace`, a poll.
    ///
    /// It cannot be set, and is that of the Python module `a2a_client`. A send has the budget of its retry policy.
    pub call_timeout: Duration,
    /// Number of unanswered lookups in a row after which only probes are made.
    pub circuit_threshold: u32,
    /// Time from the last unanswered lookup to the first probe, and the longest time between two probes.
    pub circuit_backoff: (Duration, Duration),
    /// Number of threads that refresh records in the background.
    pub background_threads: usize,
    /// Number of peers that may wait to be refreshed.
    pub queue: usize,
    /// Number of peers that the cache holds.
    pub capacity: usize,
    /// Largest request with a message, a notice or a task that is sent, in bytes. A file that is uploaded has its own limit.
    pub max_request: usize,
    /// Largest answer to a message, list or record of our own workspace that is read, in bytes.
    pub max_answer: usize,
}

/// All settings, checked, with those that [`Settings`] does not show.
#[derive(Debug)]
pub(crate) struct CheckedSettings {
    pub(crate) settings: Settings,
    pub(crate) platform: PlatformUrl,
    pub(crate) token: TokenSource,
    pub(crate) proxy: Option<ProxyUrl>,
    /// PEM text.
    pub(crate) root_certificates: Option<String>,
    pub(crate) agent: AgentTexts<String>,
}

/// The texts that an agent's card is made of.
#[derive(Debug, Clone)]
pub(crate) struct AgentTexts<T> {
    pub(crate) name: Option<T>,
    pub(crate) description: Option<T>,
    /// Names, with commas between.
    pub(crate) skills: Option<T>,
}

impl<T> Default for AgentTexts<T> {
    fn default() -> Self {
        AgentTexts { name: None, description: None, skills: None }
    }
}

impl Settings {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// The first one that is out of its range.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.ttl.is_zero() {
            return Err(Error::config(
                "ttl: zero would ask the registry for each message; set a longer one, or call discover",
            ));
        }
        if self.lookup_timeout.is_zero() || self.lookup_timeout > MAX_LOOKUP_TIMEOUT {
            let given = self.lookup_timeout;
            return Err(Error::config(format!("lookup_timeout: {given:?}; use more than 0 and at most 600 s")));
        }
        if !(0.0..=0.5).contains(&self.ttl_spread) {
            return Err(Error::config(format!("ttl_spread: {}; use a fraction from 0 to 0.5", self.ttl_spread)));
        }
        if self.circuit_threshold == 0 {
            return Err(Error::config("circuit_threshold: zero would allow no lookup; use at least 1"));
        }
        let (first, longest) = self.circuit_backoff;
        if first.is_zero() || first > longest {
            let advice = "use a first backoff above zero and not above the longest";
            return Err(Error::config(format!("circuit_backoff: {first:?} and {longest:?}; {advice}")));
        }
        if self.background_threads > MAX_THREADS {
            let given = self.background_threads;
            return Err(Error::config(format!("background_threads: {given}; use at most {MAX_THREADS}")));
        }
        if self.queue == 0 {
            return Err(Error::config("queue: zero would refresh nothing; use at least 1, or background_threads(0)"));
        }
        for (name, bytes, range) in
            [("max_request", self.max_request, MAX_REQUEST), ("max_answer", self.max_answer, MAX_ANSWER)]
        {
            if !range.contains(&bytes) {
                let (least, most) = (range.start(), range.end());
                return Err(Error::config(format!("{name}: {bytes} bytes; use {least} to {most}")));
            }
        }
        if self.capacity == 0 {
            return Err(Error::config("capacity: zero would cache nothing; use at least 1"));
        }
        Ok(())
    }
}

/// # Errors
///
/// A message that says what is wrong with the id, and what to use instead.
pub(super) fn check_workspace_id(text: &str) -> Result<String, String> {
    if !WORKSPACE_ID_LENGTH.contains(&text.len()) {
        return Err(format!("{} characters long; use 1 to 128 of A-Z a-z 0-9 -", text.chars().count()));
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        Some(bad) => Err(format!("{text:?} has {bad:?}; use A-Z a-z 0-9 - only")),
        None => Ok(text.to_owned()),
    }
}

/// Checks that the id can be a header's value.
///
/// # Errors
///
/// A message that says what is wrong with the id, and what to use instead.
pub(super) fn check_org_id(text: &str) -> Result<String, String> {
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(bad) => Err(format!("{text:?} has {bad:?}; use printable ASCII without spaces")),
        None if text.is_empty() => Err("empty; leave it out instead".to_owned()),
        None if text.len() > MAX_ORG_ID => Err(format!("{} characters long; use at most {MAX_ORG_ID}", text.len())),
        None => Ok(text.to_owned()),
    }
}

/// Checks an origin. Returns it in lower case, as browsers send it.
///
/// # Errors
///
/// A message that says what is wrong with the origin, and what to use instead.
pub(super) fn check_origin(text: &str) -> Result<String, String> {
    match PlatformUrl::parse(text) {
        Ok(url) if url.has_path() => Err(format!("{text:?} has a path; use scheme://host[:port]")),
        Ok(url) => Ok(url.to_string().to_ascii_lowercase()),
        Err(message) => Err(message),
    }
}
