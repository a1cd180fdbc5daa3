//! Settings: read from the environment, set by a builder, and checked in one place.
//!
//! Only this module reads environment variables.

mod places;
mod proxy;
mod settings;
mod url;

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::token::TokenSource;
pub(crate) use places::CursorDirSource;
use places::EnvPlaces;
pub(crate) use proxy::ProxyUrl;
pub use settings::Settings;
pub(crate) use settings::{AgentTexts, CheckedSettings};
use settings::{CALL_TIMEOUT, check_org_id, check_origin, check_workspace_id};
pub(crate) use url::PlatformUrl;

/// Settings as they were given, not checked yet. `None` is the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct UncheckedSettings {
    pub(crate) platform_url: Option<NamedText>,
    pub(crate) workspace_id: Option<NamedText>,
    pub(crate) org_id: Option<NamedText>,
    pub(crate) origin: OriginSetting,
    /// Name, description and skills of the agent's card.
    pub(crate) agent: AgentTexts<NamedText>,
    /// A token or a token function. It takes precedence over `token_file`.
    pub(crate) token: Option<TokenSource>,
    /// A token file that a setter named. It takes precedence over `places`.
    pub(crate) token_file: Option<PathBuf>,
    /// The places of the environment. `None` where it is not read.
    pub(crate) places: Option<EnvPlaces>,
    pub(crate) proxy: Option<HiddenText>,
    pub(crate) root_certificates: Option<HiddenText>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) error_ttl: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) ttl_spread: Option<f64>,
    pub(crate) lookup_timeout: Option<Duration>,
    pub(crate) capacity: Option<usize>,
    pub(crate) max_request: Option<usize>,
    pub(crate) max_answer: Option<usize>,
    pub(crate) circuit_threshold: Option<u32>,
    pub(crate) circuit_backoff: Option<(Duration, Duration)>,
    pub(crate) background_threads: Option<usize>,
    pub(crate) queue: Option<usize>,
}

impl UncheckedSettings {
    /// Reads the environment. A variable that is blank counts as not set.
    pub(crate) fn from_env() -> Self {
        UncheckedSettings {
            platform_url: NamedText::from_env("PLATFORM_URL"),
            workspace_id: NamedText::from_env("WORKSPACE_ID"),
            org_id: NamedText::from_env("MOLECULE_ORG_ID"),
            places: Some(EnvPlaces::from_env()),
            agent: AgentTexts {
                name: NamedText::from_env("MOLECULE_AGENT_NAME"),
                description: NamedText::from_env("MOLECULE_AGENT_DESCRIPTION"),
                skills: NamedText::from_env("MOLECULE_AGENT_SKILLS"),
            },
            ..UncheckedSettings::default()
        }
    }

    /// Returns the defaults, for a workspace.
    #[cfg(any(test, a2a_simulation))]
    pub(crate) fn for_workspace(id: &str) -> Self {
        UncheckedSettings { workspace_id: Some(NamedText::new("workspace_id", id)), ..UncheckedSettings::default() }
    }

    /// Checks all values and fills in the defaults.
    ///
    /// # Errors
    ///
    /// The first value that is missing or cannot be used, as [`ErrorKind::Config`](crate::ErrorKind::Config).
    pub(crate) fn check(self) -> Result<CheckedSettings, Error> {
        let platform = self.platform_url.unwrap_or_else(default_platform);
        let platform = platform.check(|text| PlatformUrl::parse(text)?.reachable())?;
        let Some(workspace_id) = self.workspace_id else {
            return Err(Error::config(
                "WORKSPACE_ID: not set; set it in the environment or by ClientBuilder::workspace_id",
            ));
        };
        // Only a hosted platform, which has organisations, asks for it. Elsewhere it can make us the human.
        let is_hosted = self.org_id.is_some();
        let origin = match self.origin {
            OriginSetting::Hosted => platform.origin().filter(|_| is_hosted),
            OriginSetting::Omitted => None,
            OriginSetting::Given(text) => Some(NamedText::new("origin", text).check(check_origin)?),
        };
        let ttl = self.ttl.unwrap_or(Duration::from_secs(300));
        let negative_ttl = self.negative_ttl.unwrap_or(ttl);
        let places = self.places.as_ref();
        let cursor_dir = match &self.token_file {
            Some(file) => file.parent().map(|dir| (dir.to_owned(), CursorDirSource::TokenFile)),
            None => places.map(|places| places.cursor_dir.clone()),
        };
        let (cursor_dir, cursor_dir_source) = cursor_dir.unzip();
        let settings = Settings {
            platform_url: platform.to_string(),
            workspace_id: workspace_id.check(check_workspace_id)?,
            org_id: self.org_id.map(|id| id.check(check_org_id)).transpose()?,
            origin,
            token_file: self.token_file.clone().or_else(|| places?.token_file()),
            cursor_dir,
            cursor_dir_source,
            ttl,
            negative_ttl,
            error_ttl: self.error_ttl.unwrap_or(Duration::from_secs(15)).min(negative_ttl),
            stale_if_error: self.stale_if_error.unwrap_or(Duration::from_secs(3_600)),
            ttl_spread: self.ttl_spread.unwrap_or(0.1),
            lookup_timeout: self.lookup_timeout.unwrap_or(Duration::from_secs(2)),
            call_timeout: CALL_TIMEOUT,
            circuit_threshold: self.circuit_threshold.unwrap_or(3),
            circuit_backoff: self.circuit_backoff.unwrap_or((Duration::from_secs(1), Duration::from_secs(30))),
            background_threads: self.background_threads.unwrap_or(2),
            queue: self.queue.unwrap_or(1_024),
            capacity: self.capacity.unwrap_or(10_000),
            max_request: self.max_request.unwrap_or(1024 * 1024),
            max_answer: self.max_answer.unwrap_or(10_000_000),
        };
        settings.check()?;
        let text = |named: Option<NamedText>| named.map(|named| named.check(|text| Ok(text.to_owned()))).transpose();
        let proxy = self.proxy.map(|HiddenText(url)| NamedText::new("proxy", url).check(ProxyUrl::parse));
        Ok(CheckedSettings {
            settings,
            token: self
                .token
                .or(self.token_file.map(|file| TokenSource::Files(vec![file])))
                .or(self.places.map(|places| places.token()))
                .unwrap_or(TokenSource::None),
            proxy: proxy.transpose()?,
            root_certificates: self.root_certificates.map(|HiddenText(pem)| pem),
            agent: AgentTexts {
                name: text(self.agent.name)?,
                description: text(self.agent.description)?,
                skills: text(self.agent.skills)?,
            },
            platform,
        })
    }
}

/// Returns the platform's address where none is set: on the Docker host inside a container, else on this machine.
fn default_platform() -> NamedText {
    let in_docker = env::var_os("DOCKER_VERSION").is_some() || Path::new("/.dockerenv").exists();
    let host = if in_docker { "host.docker.internal" } else { "localhost" };
    NamedText::new("PLATFORM_URL", format!("http://{host}:8080"))
}

/// A text setting with the name of its variable or setter, which an error begins with.
#[derive(Debug, Clone)]
pub(crate) struct NamedText {
    name: &'static str,
    /// The text, or the reason why a variable has none.
    text: Result<String, &'static str>,
}

impl NamedText {
    pub(crate) fn new(name: &'static str, text: impl Into<String>) -> Self {
        NamedText { name, text: Ok(text.into()) }
    }

    /// Reads a variable. Returns `None` if it is not set or blank: a compose file cannot leave a variable out.
    fn from_env(name: &'static str) -> Option<Self> {
        let text = match env::var_os(name)?.into_string() {
            Ok(text) if text.trim().is_empty() => return None,
            Ok(text) => Ok(text),
            Err(_) => Err("it is not UTF-8; set it to a text"),
        };
        Some(NamedText { name, text })
    }

    /// Parses the trimmed text.
    ///
    /// # Errors
    ///
    /// `parse`'s message after the setting's name.
    fn check<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Error> {
        let named = |message: &str| Error::config(format!("{}: {message}", self.name));
        let text = self.text.as_deref().map_err(|message| named(message))?;
        parse(text.trim()).map_err(|message| named(&message))
    }
}

/// The `Origin` header that requests have.
#[derive(Debug, Clone, Default)]
pub(crate) enum OriginSetting {
    /// The platform URL's own origin over https where an organisation is set, else none.
    #[default]
    Hosted,
    /// No header.
    Omitted,
    /// This value.
    Given(String),
}

/// A text that `Debug` shows only the length of.
#[derive(Clone)]
pub(crate) struct HiddenText(pub(crate) String);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests;
