//! The options that every command takes: which platform to talk to, and as which workspace.

use std::fs::{self, Metadata};
use std::path::PathBuf;

use a2a_blocking::{Client, ClientBuilder, Error};
use clap::ValueHint;

use crate::environment;
use crate::exit::CommandFailure;
use crate::help;
use crate::proxy;

/// The platform, the workspace and its token, and the way to reach the platform.
#[derive(clap::Args)]
#[command(next_help_heading = help::GLOBAL)]
pub(crate) struct ConnectionArgs {
    /// Address of the platform, http(s)://host[:port][/prefix] [default: $PLATFORM_URL, else http://localhost:8080]
    ///
    /// Inside Docker the default is http://host.docker.internal:8080.
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    platform: Option<String>,

    /// Id of your own workspace, 1 to 128 of A-Z a-z 0-9 - [default: $WORKSPACE_ID]
    #[arg(long, global = true, value_name = "ID", value_hint = ValueHint::Other)]
    workspace: Option<String>,

    /// File with the bearer token on one line [default: $MOLECULE_WORKSPACE_TOKEN_FILE, else .auth_token]
    ///
    /// .auth_token is looked for in $CONFIGS_DIR (or /configs, if that exists), then in ~/.molecule-workspace. The token
    /// itself can be in $MOLECULE_WORKSPACE_TOKEN. The default file may be missing: then no token is sent. A file that the
    /// option names must have a token.
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,

    /// File with the certificates (PEM) of the only authorities to trust [default: those of the build]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    ca_file: Option<PathBuf>,

    /// HTTP proxy, http(s)://host[:port] [default: $A2A_PEER_PROXY, else none]
    ///
    /// A user and a password are allowed in A2A_PEER_PROXY only, because other users can read the arguments of a
    /// process. HTTPS_PROXY and similar variables are not used.
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    proxy: Option<String>,
}

impl ConnectionArgs {
    /// Returns the client of the command.
    ///
    /// # Errors
    ///
    /// Fails where a setting is wrong, also where `--token-file` names a file without a token. The default file may be
    /// missing.
    pub(crate) fn client(&self) -> Result<Client, CommandFailure> {
        let client = self.build(self.builder())?;
        if let Some(path) = &self.token_file {
            let (why, next) = match self.token_file_state() {
                TokenFileState::Present(_) => return Ok(client),
                TokenFileState::Missing | TokenFileState::NoDirectory(_) => {
                    ("does not exist", "name the file with the token: --token-file PATH")
                }
                TokenFileState::Blank => ("is empty", "write the token there on one line"),
            };
            return Err(CommandFailure::TokenFile(format!("the token file {} {why}", path.display()), next));
        }
        Ok(client)
    }

    /// Returns the client of `register`, for which the token file may be missing: the platform may issue a token.
    ///
    /// # Errors
    ///
    /// Fails where a setting is wrong.
    pub(crate) fn client_to_register(&self) -> Result<Client, CommandFailure> {
        self.build(self.builder())
    }

    /// Returns a client that reads no token file and sends no token.
    pub(crate) fn client_without_token(&self) -> Result<Client, CommandFailure> {
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

    fn build(&self, mut builder: ClientBuilder) -> Result<Client, CommandFailure> {
        if self.workspace.is_none() && !environment::is_set(environment::WORKSPACE) {
            return Err(CommandFailure::Usage(format!(
                "{}: not set: give --workspace ID or set it to your workspace's id, which the platform's canvas shows",
                environment::WORKSPACE
            )));
        }
        if let Some(url) = proxy::url(self.proxy.as_deref())? {
            builder = builder.proxy(url);
        }
        let Some(path) = &self.ca_file else { return Ok(builder.build()?) };
        let pem = fs::read_to_string(path).map_err(|error| {
            CommandFailure::Usage(format!("--ca-file: cannot read {}: {error}: name a PEM file", path.display()))
        })?;
        Ok(builder.root_certificates(pem).build()?)
    }

    /// Returns the name of the option or variable that sets the platform's address, or `the default`.
    pub(crate) fn platform_source(&self) -> &'static str {
        match self.platform {
            Some(_) => "--platform",
            None if environment::is_set(environment::PLATFORM) => environment::PLATFORM,
            None => "the default",
        }
    }

    /// Returns the name of the option or variable that sets the workspace's id.
    pub(crate) fn workspace_source(&self) -> &'static str {
        if self.workspace.is_some() { "--workspace" } else { environment::WORKSPACE }
    }

    /// Returns the name of the option or variable that sets the proxy, or `None` where there is no proxy.
    pub(crate) fn proxy_source(&self) -> Option<&'static str> {
        proxy::source(self.proxy.as_deref())
    }

    /// Returns the proxy's address without its user and password. For use after a client was built with it.
    pub(crate) fn proxy_address(&self) -> Option<String> {
        proxy::url(self.proxy.as_deref()).ok().flatten().map(|url| proxy::without_user(&url))
    }

    /// Returns the name of the option or variable that sets the token file.
    pub(crate) fn token_file_source(&self) -> &'static str {
        match self.token_file {
            Some(_) => "--token-file",
            None if environment::is_set(environment::TOKEN_FILE) => environment::TOKEN_FILE,
            None => "CONFIGS_DIR",
        }
    }

    /// Returns true where the token is from a variable, and no file is read.
    pub(crate) fn has_token_variable(&self) -> bool {
        self.token_file.is_none() && environment::is_set(environment::TOKEN)
    }

    /// Returns the path where the library looks for the token.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.token_file.clone().unwrap_or_else(environment::default_token_file)
    }

    /// Returns what is at [`token_file`](Self::token_file). The library reads the token itself.
    pub(crate) fn token_file_state(&self) -> TokenFileState {
        let path = self.token_file();
        match fs::metadata(&path) {
            Err(_) => match path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() && !dir.exists() => {
                    TokenFileState::NoDirectory(dir.to_owned())
                }
                _ => TokenFileState::Missing,
            },
            Ok(file) if file.is_file() && fs::read(&path).is_ok_and(|text| text.trim_ascii().is_empty()) => {
                TokenFileState::Blank
            }
            Ok(file) => TokenFileState::Present(file),
        }
    }

    /// Fails where one of the options is given. `demo` ignores them, which would mislead.
    pub(crate) fn require_unset(&self) -> Result<(), CommandFailure> {
        let has_text = [&self.platform, &self.workspace, &self.proxy].into_iter().any(Option::is_some);
        if !has_text && self.token_file.is_none() && self.ca_file.is_none() {
            return Ok(());
        }
        let why = "demo has its own platform: leave out --platform, --workspace, --token-file, --ca-file and --proxy";
        Err(CommandFailure::Usage(why.to_owned()))
    }

    /// Returns the text of the library's error about a setting, with the name of the option in place of the setter's.
    pub(crate) fn setting_error(&self, error: &Error) -> String {
        let text = error.to_string();
        if let Some(why) = text.strip_prefix("proxy: ") {
            return proxy::refusal(self.proxy.as_deref(), why);
        }
        for (setter, option) in OPTION_OF_SETTER {
            if let Some(why) = text.strip_prefix(&format!("{setter}: ")) {
                return format!("{option}: {why}");
            }
        }
        OPTION_OF_SETTER
            .iter()
            .fold(text, |text, (setter, option)| text.replace(&format!("`{setter}`"), &format!("`{option}`")))
    }
}

/// The library's setters, and the options that call them.
const OPTION_OF_SETTER: [(&str, &str); 4] = [
    ("platform_url", "--platform"),
    ("workspace_id", "--workspace"),
    ("cursor_file", "--cursor"),
    ("root_certificates", "--ca-file"),
];

/// The state of the token file.
pub(crate) enum TokenFileState {
    Missing,
    /// Its directory, which does not exist. A cursor file would be there, too.
    NoDirectory(PathBuf),
    /// Empty, or only space.
    Blank,
    /// A file with content, or something that is not a file.
    Present(Metadata),
}
