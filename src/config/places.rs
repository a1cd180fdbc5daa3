//! The places of the token and the cursor, by the environment.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::token::TokenSource;

/// Name of the token file in its folder, as the platform's own programs have it.
const TOKEN_FILE: &str = ".auth_token";
/// Folder of a workspace's files in the containers of the platform.
const CONTAINER_DIR: &str = "/configs";
/// Folder of a workspace's files in the user's home, outside of containers.
const HOME_DIR: &str = ".molecule-workspace";

/// The token's source and the cursor's folder, by the environment.
#[derive(Debug, Clone)]
pub(crate) struct EnvPlaces {
    /// A token in a variable, or the file that a variable names.
    named: Option<TokenSource>,
    /// The file that a variable names.
    named_file: Option<PathBuf>,
    /// The usual folders, the preferred one first. The first is the cursor's.
    folders: Vec<PathBuf>,
    /// The first of them, and where it is from.
    pub(super) cursor_dir: (PathBuf, CursorDirSource),
}

/// The source of the folder of a poller's default cursor file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CursorDirSource {
    /// The token file, which a setter named.
    TokenFile,
    /// `CONFIGS_DIR`, or else the folder of a container.
    Configs,
    /// The user's home. The folder is made where it does not exist.
    Home,
}

impl EnvPlaces {
    /// Reads the environment. A variable that is blank counts as not set.
    pub(super) fn from_env() -> Self {
        EnvPlaces::find(variable, Path::new(CONTAINER_DIR).is_dir())
    }

    /// Finds the places by the variables that `get` returns, and whether the container's folder exists.
    fn find(get: impl Fn(&str) -> Option<OsString>, is_container: bool) -> Self {
        let home = get("HOME").or_else(|| get("USERPROFILE")).map(|home| Path::new(&home).join(HOME_DIR));
        let configs = match get("CONFIGS_DIR") {
            Some(configs) => Some(PathBuf::from(configs)),
            // Where there is no home to use instead, an error that names the folder says more than none.
            None => (is_container || home.is_none()).then(|| CONTAINER_DIR.into()),
        };
        let named_file = get("MOLECULE_WORKSPACE_TOKEN_FILE").map(PathBuf::from);
        let named = match get("MOLECULE_WORKSPACE_TOKEN") {
            Some(token) => Some(TokenSource::Variable(token.to_string_lossy().into_owned())),
            None => named_file.clone().map(|file| TokenSource::Files(vec![file])),
        };
        let cursor_dir = match (&configs, &home) {
            (None, Some(home)) => (home.clone(), CursorDirSource::Home),
            (configs, _) => (configs.clone().unwrap_or_else(|| CONTAINER_DIR.into()), CursorDirSource::Configs),
        };
        EnvPlaces { named, named_file, folders: configs.into_iter().chain(home).collect(), cursor_dir }
    }

    /// Returns the source of the token: a variable, the file that one names, or the files in the usual folders.
    pub(super) fn token(&self) -> TokenSource {
        self.named.clone().unwrap_or_else(|| TokenSource::Files(self.files()))
    }

    /// Returns the file that has the token, or would have it: the first that exists, or else the first.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        let files = self.files();
        self.named_file.clone().or_else(|| files.iter().find(|file| file.exists()).or(files.first()).cloned())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.join(TOKEN_FILE)).collect()
    }
}

impl CursorDirSource {
    /// Returns the name of the setting, for errors.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            CursorDirSource::TokenFile => "token_file",
            CursorDirSource::Configs | CursorDirSource::Home => "CONFIGS_DIR",
        }
    }
}

/// Returns the value of a variable, or `None` where it is not set or blank.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.to_string_lossy().trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)], is_container: bool) -> EnvPlaces {
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        EnvPlaces::find(get, is_container)
    }

    /// Returns the source of the token, and the folder of the cursor.
    fn found(variables: &[(&str, &str)], is_container: bool) -> (String, (PathBuf, CursorDirSource)) {
        let places = places(variables, is_container);
        (format!("{:?}", places.token()), places.cursor_dir)
    }

    #[test]
    fn token_is_looked_for_in_the_variables_first_and_then_in_the_folders() {
        let (token, file) = (("MOLECULE_WORKSPACE_TOKEN", "hush"), ("MOLECULE_WORKSPACE_TOKEN_FILE", "/run/token"));
        let (configs, home) = (("CONFIGS_DIR", "/c"), ("HOME", "/h"));
        let files = |files: &[&str]| format!("Files({files:?})");
        let (in_c, in_h) = ("/c/.auth_token", "/h/.molecule-workspace/.auth_token");
        for (variables, source) in [
            (&[token, file, configs, home][..], "Variable(hidden)".to_owned()),
            (&[file, configs, home], files(&["/run/token"])),
            (&[configs, home], files(&[in_c, in_h])),
            (&[configs], files(&[in_c])),
            (&[home], files(&[in_h])),
            (&[], files(&["/configs/.auth_token"])),
        ] {
            assert_eq!(found(variables, false).0, source);
        }
        assert_eq!(found(&[home], true).0, files(&["/configs/.auth_token", in_h]));
        assert_eq!(found(&[configs, home], true).0, files(&[in_c, in_h]), "CONFIGS_DIR takes the container's place");
        assert_eq!(found(&[("USERPROFILE", "/h")], false).0, files(&[in_h]));
    }

    #[test]
    fn cursor_is_never_in_the_folder_of_a_token_file_that_a_variable_names() {
        let file = ("MOLECULE_WORKSPACE_TOKEN_FILE", "/run/secrets/token");
        let configs = |path: &str| (path.into(), CursorDirSource::Configs);
        let home = ("/h/.molecule-workspace".into(), CursorDirSource::Home);
        for named in [&[][..], &[file], &[("MOLECULE_WORKSPACE_TOKEN", "hush")]] {
            let with =
                |more: &[(&'static str, &'static str)], is_container| found(&[named, more].concat(), is_container).1;
            assert_eq!(with(&[("CONFIGS_DIR", "/c"), ("HOME", "/h")], true), configs("/c"));
            assert_eq!(with(&[("HOME", "/h")], false), home);
            assert_eq!(with(&[("HOME", "/h")], true), configs("/configs"));
            assert_eq!(with(&[], false), configs("/configs"));
        }
    }

    #[test]
    fn token_file_is_the_named_one_or_the_first_that_exists() {
        let manifest = env!("CARGO_MANIFEST_DIR");
        let file = |variables: &[(&str, &str)]| places(variables, false).token_file();
        assert_eq!(file(&[("MOLECULE_WORKSPACE_TOKEN_FILE", "/t"), ("HOME", manifest)]), Some("/t".into()));
        assert_eq!(file(&[("CONFIGS_DIR", "/nonexistent"), ("HOME", "/h")]), Some("/nonexistent/.auth_token".into()));
    }
}
