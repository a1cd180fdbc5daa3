//! Whom to talk to, as whom: the options that each command takes, and the variables behind them.

use std::env;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use a2a_blocking::{Client, ClientBuilder, Error};
use clap::ValueHint;

use crate::failure::Failure;
use crate::help;
use crate::proxy;

#[derive(clap::Args)]
#[command(next_help_heading = help::GLOBAL)]
pub(crate) struct Setup {
    /// The platform's address, http(s)://host[:port][/prefix] [default: $PLATFORM_URL, else port 8080 of
    /// localhost, or inside Docker of host.docker.internal]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    platform: Option<String>,

    /// The id of your own workspace, 1 to 128 of A-Z a-z 0-9 - [default: $WORKSPACE_ID]
    #[arg(long, global = true, value_name = "ID", value_hint = ValueHint::Other)]
    workspace: Option<String>,

    /// A file with the bearer token on one line [default: .auth_token in $CONFIGS_DIR, else in /configs]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,

    /// A file with the certificates (PEM) of the authorities that the platform's may be signed by, and no others
    /// [default: those of the build]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    ca_file: Option<PathBuf>,

    /// An HTTP proxy to go through, http(s)://host[:port]; one with a user and password goes into A2A_PEER_PROXY, since
    /// others may read the arguments [default: $A2A_PEER_PROXY, else none; HTTPS_PROXY and its like are not used]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    proxy: Option<String>,
}

impl Setup {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.build(self.builder())
    }

    /// One that has no token and reads no file: what it asks for shows nobody who we are.
    pub(crate) fn client_without_token(&self) -> Result<Client, Failure> {
        self.build(self.builder().token(""))
    }

    fn builder(&self) -> ClientBuilder {
        let mut builder = ClientBuilder::from_env();
        if let Some(url) = &self.platform {
            builder = builder.platform_url(url);
        }
        if let Some(id) = &self.workspace {
            builder = builder.workspace_id(id);
        }
        if let Some(path) = &self.token_file {
            builder = builder.token_file(path);
        }
        builder
    }

    fn build(&self, mut builder: ClientBuilder) -> Result<Client, Failure> {
        if self.workspace_from() == "nowhere" {
            let what = "the id of your own workspace, which the platform's canvas shows";
            return Err(Failure::Usage(format!("WORKSPACE_ID: not set; give --workspace ID or set it: {what}")));
        }
        if let Some(url) = proxy::url(self.proxy.as_deref())? {
            builder = builder.proxy(url);
        }
        let Some(path) = &self.ca_file else { return Ok(builder.build()?) };
        let pem = fs::read_to_string(path)
            .map_err(|why| Failure::Usage(format!("--ca-file: {} cannot be read: {why}", path.display())))?;
        Ok(builder.root_certificates(pem).build()?)
    }

    /// What the platform's address comes from.
    pub(crate) fn platform_from(&self) -> &'static str {
        match self.platform {
            Some(_) => "--platform",
            None if is_set("PLATFORM_URL") => "PLATFORM_URL",
            None => "the default",
        }
    }

    /// What our own id comes from.
    pub(crate) fn workspace_from(&self) -> &'static str {
        match self.workspace {
            Some(_) => "--workspace",
            None if is_set("WORKSPACE_ID") => "WORKSPACE_ID",
            None => "nowhere",
        }
    }

    /// What the proxy's address comes from; `None` where there is to be no proxy.
    pub(crate) fn proxy_from(&self) -> Option<&'static str> {
        proxy::from(self.proxy.as_deref())
    }

    /// The proxy's address, without its user and password. Only after the client has been built is it one.
    pub(crate) fn proxy_shown(&self) -> Option<String> {
        proxy::url(self.proxy.as_deref()).ok().flatten().map(|url| proxy::without_user(&url))
    }

    /// Where the token is looked for, as the library does.
    pub(crate) fn token_file(&self) -> PathBuf {
        let configs = || env::var_os("CONFIGS_DIR").filter(|_| is_set("CONFIGS_DIR")).unwrap_or("/configs".into());
        self.token_file.clone().unwrap_or_else(|| Path::new(&configs()).join(".auth_token"))
    }

    /// What is there. It is the library that reads it.
    pub(crate) fn token_state(&self) -> TokenState {
        let path = self.token_file();
        match fs::metadata(&path) {
            Err(_) => TokenState::Missing,
            Ok(file) if file.is_file() && fs::read(&path).is_ok_and(|text| text.trim_ascii().is_empty()) => {
                TokenState::Blank
            }
            Ok(file) => TokenState::There(file),
        }
    }

    /// The demo brings a platform of its own: an address that it ignored would mislead.
    pub(crate) fn refuse(&self) -> Result<(), Failure> {
        let texts = [&self.platform, &self.workspace, &self.proxy].into_iter().any(Option::is_some);
        if !texts && self.token_file.is_none() && self.ca_file.is_none() {
            return Ok(());
        }
        let why =
            "demo brings its own platform: leave out --platform, --workspace, --token-file, --ca-file and --proxy";
        Err(Failure::Usage(why.to_owned()))
    }
}

/// What stands where the token is looked for.
pub(crate) enum TokenState {
    Missing,
    Blank,
    There(Metadata),
}

/// A blank variable counts as not set, as in the library.
pub(crate) fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.to_string_lossy().trim().is_empty())
}

/// The library's words on a setting, with the option's name in place of the setter's.
pub(crate) fn in_our_words(error: &Error, setup: &Setup) -> String {
    let text = error.to_string();
    if let Some(why) = text.strip_prefix("proxy: ") {
        return proxy::in_our_words(setup.proxy.as_deref(), why);
    }
    let options = [
        ("platform_url: ", "--platform: "),
        ("workspace_id: ", "--workspace: "),
        ("cursor_file: ", "--cursor: "),
        ("root_certificates: ", "--ca-file: "),
    ];
    for (setter, option) in options {
        if let Some(why) = text.strip_prefix(setter) {
            return format!("{option}{why}");
        }
    }
    text
}
