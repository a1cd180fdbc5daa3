//! The cursor file: locked, replaced atomically, and synced now and then.
//!
//! It is a JSON object. Ids and times are in pairs; the times of acked rows are in nanoseconds since 1970.
//!
//! ```json
//! {"version": 1, "workspace": "my-team", "anchor": ["r-7", "2026-04-30T12:00:00.000000000Z"], "floor": null,
//!  "tries": {"r-9": 2}, "snapshot": false, "acked": [["r-8", 1777550401000000000]]}
//! ```
//!
//! Files beside it, by their suffixes:
//!
//! | suffix | contents |
//! | --- | --- |
//! | `.lock` | nothing; locked while a poller uses the cursor |
//! | `.new` | the next version of a file, until it is renamed |
//! | `.acked` | a snapshot of the acked rows, once there are more than 256; the cursor file then has `"snapshot": true` and only the rows since |
//! | `.synced` | a hard link to the last synced version |
//! | `.unreadable` | a cursor file that could not be read |
//!
//! So a save costs the same however many rows are acked. The snapshot is written before the cursor file stops listing
//! its rows, and each row in it is acked. The two files together are therefore right at every moment.

pub(in crate::inbox) mod disk;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::error::Error;
use crate::inbox::feed::RowKey;
use crate::inbox::feed::cursor::Cursor;
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;
use crate::util::text::excerpt;
use crate::wire::Timestamp;
use disk::{CursorLock, lock_cursor, parent_dir, read_json, replace_file, sibling_path};

/// Version of the file's format.
const VERSION: u64 = 1;
/// Longest time between two syncs while messages come. After a power failure, what was acked since comes again.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Most acked rows that the cursor file has, beyond which they go into a snapshot.
const MAX_INLINE: usize = 256;

/// The file that a cursor is saved to. It is locked while this exists.
pub(in crate::inbox) struct CursorFile {
    path: PathBuf,
    /// Id of the workspace that the cursor belongs to.
    workspace: String,
    /// `None` where the directory allows no lock file.
    _lock: Option<CursorLock>,
    /// Newest row of the snapshot in the `.acked` file, while the cursor file refers to that. `None` if there is none.
    snapshot_newest: Option<Timestamp>,
    /// When the file was last synced.
    last_sync: CoarseInstant,
    /// True if the file was replaced since, without a sync.
    has_unsynced_write: bool,
    /// True while saving fails, so that only the first failure is logged.
    is_failing: bool,
}

impl CursorFile {
    /// Locks the cursor file at `path` and reads the cursor. It is empty if there is no file yet.
    ///
    /// If the file is unreadable, it is renamed, that is logged, and the last synced version is read, or else the
    /// cursor is empty.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): the directory does not exist, the path is no plain file,
    /// another poller has locked it, or it belongs to another workspace.
    pub(in crate::inbox) fn open(path: PathBuf, workspace: &str) -> Result<(Self, Cursor), Error> {
        let shown = path.display();
        if path.file_name().is_none() || !parent_dir(&path).is_dir() {
            let directory = parent_dir(&path).display();
            return Err(Error::config(format!(
                "cursor_file: {shown}: directory {directory} does not exist: create it, or set another path"
            )));
        }
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::config(format!("cursor_file: {shown} is no plain file: set another path")));
        }
        let lock = lock_cursor(&path)?;
        let file = CursorFile {
            workspace: workspace.to_owned(),
            _lock: lock,
            snapshot_newest: None,
            last_sync: CoarseInstant::now(),
            has_unsynced_write: false,
            is_failing: false,
            path,
        };
        let cursor = match file.load(&file.path) {
            Ok(cursor) => cursor.unwrap_or_default(),
            Err(LoadError::OtherWorkspace(other)) => {
                let path = file.path.display();
                return Err(Error::config(format!(
                    "cursor_file: {path} is of the workspace {other}, and this is {workspace}: set another path"
                )));
            }
            Err(LoadError::Unreadable(why)) => file.recover(&why),
        };
        Ok((file, cursor))
    }

    /// Renames an unreadable cursor file, logs that, and returns the last synced cursor, or else an empty one.
    fn recover(&self, why: &str) -> Cursor {
        let copy = self.sibling("unreadable");
        let kept = match fs::rename(&self.path, &copy) {
            Ok(()) => format!("kept as {}", copy.display()),
            Err(why) => format!("it cannot be kept: {why}"),
        };
        let synced = self.load(&self.sibling("synced")).ok().flatten();
        let from = if synced.is_some() { "where it was last synced" } else { "the backlog" };
        let path = self.path.display();
        log_safe!(error, "inbox: the cursor {path} is unreadable ({why}; {kept}); going on from {from}");
        synced.unwrap_or_default()
    }

    /// Returns the path of the cursor file with `.suffix` appended to its name.
    fn sibling(&self, suffix: &str) -> PathBuf {
        sibling_path(&self.path, suffix)
    }

    /// Reads a cursor from `path`, and its acked rows from the snapshot, too, if it refers to one. `None` if there is
    /// no file.
    fn load(&self, path: &Path) -> Result<Option<Cursor>, LoadError> {
        let Some(saved) = read_json(path).map_err(LoadError::Unreadable)? else { return Ok(None) };
        if saved["version"] != VERSION {
            let version = excerpt(&saved["version"]);
            return Err(LoadError::Unreadable(format!("its version is {version}, this release has {VERSION}")));
        }
        match saved["workspace"].as_str() {
            Some(workspace) if workspace == self.workspace => {}
            Some(other) => return Err(LoadError::OtherWorkspace(excerpt(other))),
            None => return Err(LoadError::Unreadable("it names no workspace".to_owned())),
        }
        let bad = |what: &str| LoadError::Unreadable(format!("its {what} is malformed"));
        let anchor = match &saved["anchor"] {
            Value::Null => None,
            value => Some(parse_anchor(value).ok_or_else(|| bad("anchor"))?),
        };
        let floor = match &saved["floor"] {
            Value::Null => None,
            value => Some(value.as_str().and_then(Timestamp::parse).ok_or_else(|| bad("floor"))?),
        };
        let mut acked = parse_row_keys(&saved["acked"]).ok_or_else(|| bad("list of acked rows"))?;
        if saved["snapshot"] == true {
            let snapshot = read_json(&self.sibling("acked")).map_err(LoadError::Unreadable)?;
            let snapshot = snapshot.and_then(|snapshot| parse_row_keys(&snapshot["acked"]));
            acked.extend(snapshot.ok_or_else(|| bad("snapshot"))?);
        }
        let attempts = saved["tries"].as_object().into_iter().flatten();
        let attempts = attempts
            .filter_map(|(id, attempts)| Some((Arc::from(id.as_str()), u32::try_from(attempts.as_u64()?).ok()?)));
        Ok(Some(Cursor::restore(anchor, floor, acked, attempts.collect())))
    }

    /// Returns whether the last save failed.
    pub(in crate::inbox) fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Writes the cursor file if the cursor is dirty, and clears that. A clean cursor is written only to sync a version
    /// that was not synced.
    ///
    /// The file is synced if `sync` is set, if the last sync was a second ago, and if the snapshot is replaced or
    /// removed with it. A failure is logged once, and the next call tries again: delivery goes on without a file.
    pub(in crate::inbox) fn save(&mut self, cursor: &mut Cursor, sync: bool) {
        // The synced version may refer to the snapshot, which therefore must not be replaced or removed without a sync.
        let anchor = cursor.anchor.as_ref().map(|anchor| anchor.at);
        let replaces_snapshot = cursor.acked_since_snapshot().len() > MAX_INLINE
            || self.snapshot_newest.is_some_and(|newest| Some(newest) < anchor);
        let sync = sync || replaces_snapshot || CoarseInstant::now().since(self.last_sync) >= SYNC_EVERY;
        let is_needed = cursor.dirty || (sync && self.has_unsynced_write);
        if !is_needed {
            return;
        }
        match self.write(cursor, sync) {
            Ok(()) => {
                cursor.dirty = false;
                self.has_unsynced_write = !sync;
                if sync {
                    self.last_sync = CoarseInstant::now();
                }
                if std::mem::take(&mut self.is_failing) {
                    log_safe!(warn, "inbox: the cursor {} can be written again", self.path.display());
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    let path = self.path.display();
                    log_safe!(
                        error,
                        "inbox: the cursor {path} cannot be written ({why}): \
                         messages will be delivered again after a restart"
                    );
                }
            }
        }
    }

    /// Replaces the cursor file, and syncs it if `sync` is set.
    ///
    /// Before that, it writes a snapshot if more than 256 rows were acked since the last one. After it, it removes a
    /// snapshot if all of its rows are before the anchor.
    fn write(&mut self, cursor: &mut Cursor, sync: bool) -> io::Result<()> {
        if cursor.acked_since_snapshot().len() > MAX_INLINE {
            let mut out = b"{\"acked\":".to_vec();
            write_row_keys(&mut out, cursor.acked())?;
            out.push(b'}');
            replace_file(&self.sibling("acked"), &out, sync)?;
            self.snapshot_newest = cursor.acked().last().map(|key| key.at);
            cursor.mark_snapshot();
        }
        let anchor = cursor.anchor.as_ref().map(|anchor| anchor.at);
        let is_snapshot_old = self.snapshot_newest.take_if(|newest| Some(*newest) < anchor).is_some();
        replace_file(&self.path, &self.serialize(cursor)?, sync)?;
        if sync {
            self.link_synced();
        }
        if is_snapshot_old {
            // No file refers to it any more, so that it does no harm where it cannot be removed.
            let _ = fs::remove_file(self.sibling("acked"));
        }
        Ok(())
    }

    /// Returns the contents of the cursor file as JSON. It is written without a tree of values, since this is done for
    /// each message.
    fn serialize(&self, cursor: &mut Cursor) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(512);
        write!(out, "{{\"version\":{VERSION},\"workspace\":")?;
        serde_json::to_writer(&mut out, &self.workspace)?;
        out.extend_from_slice(b",\"anchor\":");
        match &cursor.anchor {
            Some(anchor) => {
                out.push(b'[');
                serde_json::to_writer(&mut out, &*anchor.id)?;
                write!(out, ",\"{}\"]", anchor.at)?;
            }
            None => out.extend_from_slice(b"null"),
        }
        match cursor.floor {
            Some(floor) => write!(out, ",\"floor\":\"{floor}\"")?,
            None => out.extend_from_slice(b",\"floor\":null"),
        }
        out.extend_from_slice(b",\"tries\":{");
        for (n, (id, attempts)) in cursor.attempts().iter().enumerate() {
            out.extend_from_slice(if n > 0 { b"," } else { b"" });
            serde_json::to_writer(&mut out, &**id)?;
            write!(out, ":{attempts}")?;
        }
        write!(out, "}},\"snapshot\":{},\"acked\":", self.snapshot_newest.is_some())?;
        write_row_keys(&mut out, cursor.acked_since_snapshot().iter())?;
        out.push(b'}');
        Ok(out)
    }

    /// Makes `.synced` a hard link to the version that was just synced, in place of the one before. Ignores errors.
    ///
    /// Some file systems do not keep the old file until the new one is on the disk. There a power failure can leave an
    /// empty cursor file, and this name is read instead. A file system without hard links does without.
    fn link_synced(&self) {
        let synced = self.sibling("synced");
        let _ = fs::remove_file(&synced);
        let _ = fs::hard_link(&self.path, &synced);
    }
}

/// Why a cursor file cannot be used.
enum LoadError {
    /// It cannot be read, for this reason.
    Unreadable(String),
    /// It belongs to the workspace of this id.
    OtherWorkspace(String),
}

/// Parses the anchor, `["id", "time"]` with the time in RFC 3339. Returns `None` if it is malformed.
fn parse_anchor(value: &Value) -> Option<RowKey> {
    Some(RowKey { id: value[0].as_str()?.into(), at: Timestamp::parse(value[1].as_str()?)? })
}

/// Parses a list of `["id", nanoseconds]`. Returns `None` if any entry is malformed.
fn parse_row_keys(value: &Value) -> Option<Vec<RowKey>> {
    let key =
        |value: &Value| Some(RowKey { id: value[0].as_str()?.into(), at: Timestamp::from_nanos(value[1].as_i64()?) });
    value.as_array()?.iter().map(key).collect()
}

/// Appends the list that [`parse_row_keys`] reads.
fn write_row_keys<'a>(out: &mut Vec<u8>, keys: impl Iterator<Item = &'a RowKey>) -> io::Result<()> {
    out.push(b'[');
    for (n, key) in keys.enumerate() {
        out.extend_from_slice(if n > 0 { b",[" } else { b"[" });
        serde_json::to_writer(&mut *out, &*key.id)?;
        write!(out, ",{}]", key.at.nanos())?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests;
