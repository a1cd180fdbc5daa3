//! A directory for files that nobody needs afterwards.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::{env, process};

/// Number of names that are tried: some may be taken, also by other users.
const NAMES: usize = 100;

/// A new directory for temporary files, which only this user can use. Dropping it removes it.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Creates a directory whose name begins with `a2a-peer-` and `purpose`.
    ///
    /// # Errors
    ///
    /// The system's directory for temporary files cannot be written.
    pub(crate) fn create(purpose: &str) -> io::Result<Self> {
        let builder = private_dir_builder();
        let mut outcome = Err(ErrorKind::AlreadyExists.into());
        for n in 0..NAMES {
            let path = env::temp_dir().join(format!("a2a-peer-{purpose}-{}-{n}", process::id()));
            outcome = builder.create(&path).map(|()| TempDir(path));
            if !outcome.as_ref().is_err_and(|why| why.kind() == ErrorKind::AlreadyExists) {
                break;
            }
        }
        outcome
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Left to the system's clean-up of temporary files where this fails.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns a builder of directories that only this user can use.
#[cfg(unix)]
fn private_dir_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Returns a builder of directories. The system's directory for temporary files is the user's.
#[cfg(not(unix))]
fn private_dir_builder() -> DirBuilder {
    DirBuilder::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_is_new_and_is_removed() {
        let (one, other) = (TempDir::create("test").unwrap(), TempDir::create("test").unwrap());
        assert_ne!(one.path(), other.path());
        fs::write(one.path().join("file"), "x").unwrap();
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&one.path().metadata().unwrap().permissions()) & 0o777,
            0o700
        );
        let paths = [&one, &other].map(|dir| dir.path().to_owned());
        drop((one, other));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
