//! A token file for a token that the platform is about to issue.

use std::fs::{self, File, OpenOptions};
use std::io::{Error as IoError, ErrorKind as IoErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// An empty token file. Dropping it removes the file, unless a token was written.
///
/// It is made before the platform is asked for a token, so that a token is not issued in vain where it cannot be kept: the
/// platform issues one only while none lives.
pub(crate) struct ReservedTokenFile {
    path: PathBuf,
    file: Option<File>,
}

impl ReservedTokenFile {
    /// Creates the file, which only its owner may use.
    ///
    /// # Errors
    ///
    /// There is something at this path, or it cannot be created.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(ReservedTokenFile { path: path.to_owned(), file: Some(file) }),
            Err(why) => {
                let path = path.display();
                let advice = match why.kind() {
                    IoErrorKind::AlreadyExists => {
                        "it exists and has no token: remove it, or put the workspace's token there".to_owned()
                    }
                    IoErrorKind::NotFound => format!("{why}: create its directory"),
                    _ => why.to_string(),
                };
                Err(Error::config(format!("the token file {path} cannot be created for a new token: {advice}"))
                    .with_source(why))
            }
        }
    }

    /// Writes the token and syncs it to the disk.
    pub(super) fn write(mut self, token: &str) -> Result<(), Error> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let mut write = || -> Result<(), IoError> {
            file.write_all(format!("{token}\n").as_bytes())?;
            file.sync_all()?;
            // Else a power failure could lose the file's name: open(2) and fsync(2).
            if cfg!(unix) { File::open(parent_dir(&self.path))?.sync_all() } else { Ok(()) }
        };
        write().map_err(|why| {
            let path = self.path.display();
            Error::config(format!(
                "the platform issued a token, but it cannot be written to {path}: {why}. This process has it; make \
                 another on the platform's canvas (Tokens tab)"
            ))
            .with_source(why)
        })
    }
}

fn parent_dir(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Drop for ReservedTokenFile {
    fn drop(&mut self) {
        // Somebody else may have put a token there meanwhile.
        let is_empty = |path: &Path| fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0);
        if self.file.take().is_some() && is_empty(&self.path) {
            // What is left is an empty file, and the next attempt says so.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::Scratch;

    #[test]
    fn reserved_file_is_removed_unless_a_token_was_written() {
        let path = Scratch::with(|dir| dir.join("reserved"));
        let _ = fs::remove_file(&path);
        drop(ReservedTokenFile::create(&path).unwrap());
        assert!(!path.exists());
        let file = ReservedTokenFile::create(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
        let error = ReservedTokenFile::create(&path).err().unwrap().to_string();
        assert!(error.contains("it exists and has no token"), "{error}");
        fs::remove_file(&path).unwrap();
        ReservedTokenFile::create(&path).unwrap().write("s3cret-token").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "s3cret-token\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let missing = path.with_file_name("no-such-directory").join("token");
        let error = ReservedTokenFile::create(&missing).err().unwrap().to_string();
        assert!(error.contains("create its directory"), "{error}");
        fs::remove_file(&path).unwrap();
    }
}
