//! File operations for the cursor file: open a plain file only, and replace one whole.
//!
//! Others may write the directory, as in `/tmp`: nothing here follows a link that they made, waits for a pipe, or writes to
//! a file that was there before.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Returns the directory that a file is in: `.` for a bare file name.
pub(in crate::inbox) fn parent_dir(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path of the file with `.suffix` appended to its name.
pub(in crate::inbox) fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Returns whether two paths name the same file, even by different directories or through links.
pub(in crate::inbox) fn is_same_file(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// Creates a directory that only its owner can use.
///
/// # Errors
///
/// It cannot be created.
pub(in crate::inbox) fn create_private_dir(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|why| {
        let path = path.display();
        Error::config(format!("CONFIGS_DIR: the default directory {path} cannot be created: {why}: set CONFIGS_DIR"))
            .with_source(why)
    })
}

/// Checks that a cursor file can be at `path`.
///
/// # Errors
///
/// [`ErrorKind::Config`](crate::ErrorKind::Config): the directory does not exist, or there is something that is no plain
/// file, as a link or a pipe.
pub(super) fn check_path(path: &Path) -> Result<(), Error> {
    let shown = path.display();
    if path.file_name().is_none() || !parent_dir(path).is_dir() {
        let directory = parent_dir(path).display();
        return Err(Error::config(format!(
            "cursor_file: {shown}: directory {directory} does not exist: create it, or set another path"
        )));
    }
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Error::config(format!("cursor_file: {shown} is no plain file: set another path")));
    }
    Ok(())
}

/// Identity of a file: it tells whether a path still names a file that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    /// Device, or zero on systems that do not say.
    device: u64,
    /// Inode, or zero on systems that do not say.
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    pub(super) fn of(file: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        FileId { device: file.dev(), inode: file.ino() }
    }

    #[cfg(not(unix))]
    pub(super) fn of(_file: &Metadata) -> Self {
        FileId { device: 0, inode: 0 }
    }

    /// Returns whether `path` itself, and not what it links to, is this file.
    pub(super) fn is_at(self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| FileId::of(&found) == self)
    }
}

/// Opens a file that must be a plain one. Follows no link, and does not wait, as for the writer of a pipe.
///
/// # Errors
///
/// Also one of the kind `InvalidInput` where it is no plain file.
pub(super) fn open_plain(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let no_plain_file = || io::Error::new(IoKind::InvalidInput, "it is no plain file");
    // Where the flags below do not exist, and so that a link has the same error as a pipe.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(no_plain_file());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits() as i32).mode(0o600);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_plain_file()) }
}

/// Replaces a file atomically, also across a power failure: a reader sees all of the old contents or all of the new ones.
///
/// Calls `write` with a new file, `.new` beside it. Waits until the contents are on the disk, renames the file, and waits
/// until the new name is on the disk. On Unix only its owner may read it. Returns it open for more writes at its end.
///
/// # Errors
///
/// The file is then as it was, or new: only the last wait may have failed.
pub(super) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<File> {
    let new = sibling_path(path, "new");
    match fs::remove_file(&new) {
        Err(why) if why.kind() != IoKind::NotFound => return Err(why),
        _ => {}
    }
    let mut options = File::options();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&new)?;
    let mut out = BufWriter::with_capacity(64 * 1024, &file);
    let written = write(&mut out).and_then(|()| out.flush()).and_then(|()| file.sync_all());
    // It must not write again what failed.
    drop(out.into_parts());
    if let Err(why) = written.and_then(|()| fs::rename(&new, path)) {
        // Half a file would only keep a full disk full.
        let _ = fs::remove_file(&new);
        return Err(why);
    }
    sync_parent_dir(path)?;
    Ok(file)
}

/// Syncs the directory that a file is in, so that a rename in it survives a power failure.
#[cfg(unix)]
fn sync_parent_dir(path: &Path) -> io::Result<()> {
    match File::open(parent_dir(path))?.sync_all() {
        // The file system has no way to sync a directory: fsync(2).
        Err(why) if why.kind() == IoKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Does nothing: other systems have no way to sync a directory.
#[cfg(not(unix))]
fn sync_parent_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the random id of the system's boot. `None` where the system has none: Linux has it.
///
/// <https://man7.org/linux/man-pages/man4/random.4.html>
pub(in crate::inbox) fn boot_id() -> Option<u128> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&id.trim().replace('-', ""), 16).ok()
}
