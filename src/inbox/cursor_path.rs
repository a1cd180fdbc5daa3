//! The path of the cursor file.

use std::path::{Path, PathBuf};

use super::store::disk::{is_same_file, parent_dir, sibling_path};
use crate::config::Settings;
use crate::error::Error;

/// Returns the path of the cursor file: the one that was set, or else one beside the token file.
///
/// # Errors
///
/// None is set, and there is no token file; the default's directory does not exist; or the token file is among the files
/// that the poller writes.
pub(super) fn cursor_path(settings: &Settings, cursor_file: Option<&Path>) -> Result<PathBuf, Error> {
    let Settings { token_file, workspace_id, token_file_setting: setting, .. } = settings;
    let token_file = token_file.as_deref();
    let beside_token_file = || Some(token_file?.with_file_name(format!("inbox-cursor-{workspace_id}.json")));
    let path = cursor_file.map(Path::to_owned).or_else(beside_token_file).ok_or_else(|| {
        Error::config("cursor_file: required, since the client has no token file to put it beside: set it")
    })?;
    if cursor_file.is_none() && !parent_dir(&path).is_dir() {
        let directory = parent_dir(&path).display();
        return Err(Error::config(format!(
            "{setting}: directory {directory}, for the token file and the cursor file, does not exist: create it, set \
             {setting}, or set `cursor_file`"
        )));
    }
    // The poller replaces and removes the files beside the cursor file, too.
    let ours = ["lock", "new", "synced", "acked", "unreadable"].map(|suffix| sibling_path(&path, suffix));
    let is_ours = |token: &Path| ours.iter().chain([&path]).any(|our| is_same_file(token, our));
    if token_file.is_some_and(is_ours) {
        let path = path.display();
        return Err(Error::config(format!(
            "cursor_file: {path}, or a file that would be beside it, is the token file: set another path"
        )));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

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
