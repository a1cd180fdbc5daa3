//! Environment variables that the binary reads itself. The library reads its settings on its own.

use std::env;
use std::path::{Path, PathBuf};

use a2a_blocking::ClientBuilder;

/// The proxy's address, which may have a user and a password.
pub(crate) const PROXY: &str = "A2A_PEER_PROXY";
/// The platform's address. The library reads it.
pub(crate) const PLATFORM: &str = "PLATFORM_URL";
/// A token. The library reads it.
pub(crate) const TOKEN: &str = "MOLECULE_WORKSPACE_TOKEN";
/// A token file. The library reads it.
pub(crate) const TOKEN_FILE: &str = "MOLECULE_WORKSPACE_TOKEN_FILE";
/// The id of the user's own workspace. The library reads it.
pub(crate) const WORKSPACE: &str = "WORKSPACE_ID";

/// Variables that set a proxy for other programs.
///
/// They are ignored: a proxy sees the token unless the platform's address is https, so that the user has to choose it.
const OTHER_PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Returns true where the variable is set and not blank. The library, too, ignores blank variables.
pub(crate) fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.to_string_lossy().trim().is_empty())
}

/// Returns the value of a variable without surrounding space, or `None` where it is not set or blank.
///
/// # Errors
///
/// Fails where the value is not UTF-8.
pub(crate) fn value(name: &str) -> Result<Option<String>, String> {
    match env::var_os(name).filter(|_| is_set(name)).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.trim().to_owned())),
        Some(Err(_)) => Err(format!("{name}: the value is not UTF-8: set it to a URL, or unset it")),
    }
}

/// Returns the path of the token file where `--token-file` does not name one, as the library chooses it.
pub(crate) fn default_token_file() -> PathBuf {
    // With a token it reads no file, and with the other values no error of a variable matters here.
    let builder = ClientBuilder::from_env().platform_url("http://localhost").workspace_id("w").org_id("o").token("");
    let settings = builder.build().ok().map(|client| client.settings().clone());
    settings.and_then(|settings| settings.token_file).unwrap_or_else(|| "/configs/.auth_token".into())
}

/// Returns the first variable that sets a proxy for other programs.
pub(crate) fn ignored_proxy() -> Option<&'static str> {
    OTHER_PROXIES.into_iter().find(|name| is_set(name))
}

/// Returns true where the process runs inside Docker, by the same signs as the library.
pub(crate) fn is_inside_docker() -> bool {
    env::var_os("DOCKER_VERSION").is_some() || Path::new("/.dockerenv").exists()
}

/// Returns the value of `COLUMNS`, which `watch` sets for the commands that it runs.
pub(crate) fn columns() -> Option<usize> {
    env::var("COLUMNS").ok()?.trim().parse().ok()
}

/// Returns true where `TERM` names a terminal that has no cursor to move.
pub(crate) fn is_dumb_terminal() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}
