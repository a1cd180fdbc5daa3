//! The place of the cursor file: the path that was set, or the default one.

use std::path::{Path, PathBuf};

use super::store::disk::{create_private_dir, is_same_file, parent_dir, sibling_path};
use crate::config::{CursorDirSource, Settings};
use crate::error::Error;

/// Returns the path of the cursor file: the one that was `set`, or else the default.
///
/// # Errors
///
/// There is no default, its directory does not exist, or the file or one beside it is the token file.
pub(super) fn cursor_path(settings: &Settings, set: Option<&Path>) -> Result<PathBuf, Error> {
    let default_path =
        || Some(settings.cursor_dir.as_ref()?.join(format!("inbox-cursor-{}.json", settings.workspace_id)));
    let path = set.map(Path::to_owned).or_else(default_path).ok_or_else(|| {
        Error::config("cursor_file: required, since the client has no token file to put it beside: set it")
    })?;
    if set.is_none() && missing_home(settings, &path).is_none() && !parent_dir(&path).is_dir() {
        let directory = parent_dir(&path).display();
        let setting = settings.cursor_dir_source.map_or("cursor_file", CursorDirSource::setting);
        return Err(Error::config(format!(
            "{setting}: directory {directory}, for the token file and the cursor file, does not exist: create it, set \
             {setting}, or set `cursor_file`"
        )));
    }
    // The poller replaces and removes the files beside the cursor file, too.
    let ours = ["lock", "new", "synced", "acked", "unreadable"].map(|suffix| sibling_path(&path, suffix));
    let is_ours = |token: &Path| ours.iter().chain([&path]).any(|our| is_same_file(token, our));
    if settings.token_file.as_deref().is_some_and(is_ours) {
        let path = path.display();
        return Err(Error::config(format!(
            "cursor_file: {path}, or a file that would be beside it, is the token file: set another path"
        )));
    }
    Ok(path)
}

/// Creates the directory of a cursor file if it is the default one in the user's home, and does not exist.
///
/// # Errors
///
/// It cannot be created.
pub(super) fn create_home(settings: &Settings, path: &Path) -> Result<(), Error> {
    missing_home(settings, path).map_or(Ok(()), create_private_dir)
}

fn missing_home<'a>(settings: &Settings, path: &'a Path) -> Option<&'a Path> {
    let dir = parent_dir(path);
    let is_home =
        settings.cursor_dir_source == Some(CursorDirSource::Home) && settings.cursor_dir.as_deref() == Some(dir);
    (is_home && !dir.exists()).then_some(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::config::UncheckedSettings;
    use crate::test_util::Scratch;

    #[test]
    fn only_the_default_directory_in_the_home_is_made() {
        let home = Scratch::with(|dir| dir.join("home").join(".molecule-workspace"));
        let mut settings = UncheckedSettings::for_workspace("w").check().unwrap().settings;
        settings.cursor_dir = Some(home.clone());
        settings.cursor_dir_source = Some(CursorDirSource::Configs);
        assert!(cursor_path(&settings, None).unwrap_err().to_string().starts_with("CONFIGS_DIR: directory "));
        settings.cursor_dir_source = Some(CursorDirSource::Home);
        let path = cursor_path(&settings, None).unwrap();
        assert_eq!(path, home.join("inbox-cursor-w.json"));
        create_home(&settings, &home.join("below").join("cursor")).unwrap();
        assert!(!home.exists(), "not for another directory");
        create_home(&settings, &path).unwrap();
        assert!(home.is_dir() && create_home(&settings, &path).is_ok());
        std::fs::remove_dir(&home).unwrap();
    }

    fn path(token_file: Option<&str>, cursor_file: Option<&str>) -> Result<String, String> {
        let builder = Client::builder().workspace_id("w");
        let builder = token_file.into_iter().fold(builder, |builder, file| builder.token_file(file));
        let client = builder.build().unwrap();
        let path = cursor_path(client.settings(), cursor_file.map(Path::new));
        path.map(|path| path.display().to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn cursor_is_where_it_was_set_or_beside_the_token_file() {
        assert_eq!(path(None, Some("/x/cursor")).unwrap(), "/x/cursor");
        assert_eq!(path(Some("/.no-token"), None).unwrap(), "/inbox-cursor-w.json");
        assert!(path(None, None).unwrap_err().starts_with("cursor_file: required"));
        let missing = path(Some("/no-such-directory/token"), None).unwrap_err();
        assert!(missing.contains("/no-such-directory") && missing.contains("does not exist"), "{missing}");
        let token = path(Some("/x/cursor.new"), Some("/x/cursor")).unwrap_err();
        assert!(token.contains("is the token file"), "{token}");
    }
}
