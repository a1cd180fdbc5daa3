//! The cursor's file: locked, replaced atomically, synced now and then.
//!
//! It is one small JSON object: `version`, `workspace`, `anchor` and `acked` (ids with their times, the
//! latter's in nanoseconds), `floor`, `tries` by id, and `snapshot`. Where more than some hundreds of rows are acked after the anchor, as when all of a
//! flood have one time, they go into a second file beside it (`….acked`), and the first one holds those that came
//! since: so a row costs the same, however many there are. The second file is written before the first stops
//! listing its rows, and whatever stands in it was acked, so that the two together are right at every moment.

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
use crate::inbox::feed::cursor::{Cursor, RowKey};
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;
use crate::util::text::excerpt;
use crate::wire::Timestamp;
use disk::{Lock, beside, directory, lock, read, write};

const VERSION: u64 = 1;
/// How much work a power failure may cost: what was acked since the last sync comes again.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How many acked rows the first file holds before they go into the second.
const MAX_INLINE: usize = 256;

pub(in crate::inbox) struct CursorFile {
    path: PathBuf,
    workspace: String,
    /// ReorderBuffer for as long as the poller is. `None` where the directory takes no file.
    _lock: Option<Lock>,
    /// The newest row in the second file, while its rows count.
    snapshot: Option<Timestamp>,
    /// When it was last synced, and whether it was replaced since.
    synced: CoarseInstant,
    unsynced: bool,
    failing: bool,
}

impl CursorFile {
    /// Locks the file and reads it.
    ///
    /// # Errors
    ///
    /// A directory that is not there, another poller that has the lock, a file of another workspace.
    pub(in crate::inbox) fn open(path: PathBuf, workspace: &str) -> Result<(Self, Cursor), Error> {
        let shown = path.display();
        if path.file_name().is_none() || !directory(&path).is_dir() {
            return Err(Error::config(format!(
                "cursor_file: {shown} is in no directory that is there; make it, or name another"
            )));
        }
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::config(format!("cursor_file: {shown} is no plain file; name another")));
        }
        let lock = lock(&path)?;
        let file = CursorFile {
            workspace: workspace.to_owned(),
            _lock: lock,
            snapshot: None,
            synced: CoarseInstant::now(),
            unsynced: false,
            failing: false,
            path,
        };
        let cursor = match file.load(&file.path) {
            Ok(cursor) => cursor.unwrap_or_default(),
            Err(Unusable::OtherWorkspace(other)) => {
                let path = file.path.display();
                return Err(Error::config(format!(
                    "cursor_file: {path} is of the workspace {other}, and this is {workspace}; name another"
                )));
            }
            Err(Unusable::Because(why)) => file.without(&why),
        };
        Ok((file, cursor))
    }

    /// What there is to go on from where the cursor is unreadable.
    fn without(&self, why: &str) -> Cursor {
        let copy = self.beside("unreadable");
        let kept = match fs::rename(&self.path, &copy) {
            Ok(()) => format!("kept as {}", copy.display()),
            Err(why) => format!("it cannot be kept: {why}"),
        };
        let synced = self.load(&self.beside("synced")).ok().flatten();
        let from = if synced.is_some() { "where it was last synced" } else { "the backlog" };
        let path = self.path.display();
        log_safe!(error, "inbox: the cursor {path} is unreadable ({why}; {kept}); going on from {from}");
        synced.unwrap_or_default()
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }

    fn load(&self, path: &Path) -> Result<Option<Cursor>, Unusable> {
        let Some(saved) = read(path).map_err(Unusable::Because)? else { return Ok(None) };
        if saved["version"] != VERSION {
            let version = excerpt(&saved["version"].to_string());
            return Err(Unusable::Because(format!("its version is {version}, this release has {VERSION}")));
        }
        match saved["workspace"].as_str() {
            Some(workspace) if workspace == self.workspace => {}
            Some(other) => return Err(Unusable::OtherWorkspace(excerpt(other))),
            None => return Err(Unusable::Because("it names no workspace".to_owned())),
        }
        let bad = |what: &str| Unusable::Because(format!("its {what} is none"));
        let anchor = match &saved["anchor"] {
            Value::Null => None,
            value => Some(anchor(value).ok_or_else(|| bad("anchor"))?),
        };
        let floor = match &saved["floor"] {
            Value::Null => None,
            value => Some(value.as_str().and_then(Timestamp::parse).ok_or_else(|| bad("floor"))?),
        };
        let mut acked = marks(&saved["acked"]).ok_or_else(|| bad("list of acked rows"))?;
        if saved["snapshot"] == true {
            let more = read(&self.beside("acked")).map_err(Unusable::Because)?.ok_or_else(|| bad("second file"))?;
            acked.extend(marks(&more["acked"]).ok_or_else(|| bad("second file"))?);
        }
        let tries = saved["tries"].as_object().into_iter().flatten();
        let tries =
            tries.filter_map(|(id, tries)| Some((Arc::from(id.as_str()), u32::try_from(tries.as_u64()?).ok()?)));
        Ok(Some(Cursor::restore(anchor, floor, acked, tries.collect())))
    }

    /// Saves the cursor if it has changed, and syncs it where asked to or where the last time is a second ago.
    ///
    /// What fails is said once, and tried again each time: delivery goes on without a file.
    pub(in crate::inbox) fn save(&mut self, cursor: &mut Cursor, sync: bool) {
        // What was synced names the second file: that is not replaced, and does not go, without being synced, too.
        let anchor = cursor.anchor.as_ref().map(|anchor| anchor.at);
        let second = cursor.fresh().len() > MAX_INLINE || self.snapshot.is_some_and(|newest| Some(newest) < anchor);
        let due = sync || second || CoarseInstant::now().since(self.synced) >= SYNC_EVERY;
        let behind = cursor.dirty || (due && self.unsynced);
        if !behind {
            return;
        }
        match self.replace(cursor, due) {
            Ok(()) => {
                cursor.dirty = false;
                self.unsynced = !due;
                if due {
                    self.synced = CoarseInstant::now();
                }
                if std::mem::take(&mut self.failing) {
                    log_safe!(warn, "inbox: the cursor {} can be written again", self.path.display());
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path.display();
                    log_safe!(
                        error,
                        "inbox: the cursor {path} cannot be written ({why}): after a restart rows come again"
                    );
                }
            }
        }
    }

    fn replace(&mut self, cursor: &mut Cursor, sync: bool) -> io::Result<()> {
        if cursor.fresh().len() > MAX_INLINE {
            let mut out = b"{\"acked\":".to_vec();
            put_marks(&mut out, cursor.acked())?;
            out.push(b'}');
            write(&self.beside("acked"), &out, sync)?;
            self.snapshot = cursor.acked().last().map(|mark| mark.at);
            cursor.snapshot_taken();
        }
        let anchor = cursor.anchor.as_ref().map(|anchor| anchor.at);
        let outlived = self.snapshot.take_if(|newest| Some(*newest) < anchor).is_some();
        // At each row: no tree of values is built for it.
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
        for (n, (id, tries)) in cursor.all_tries().iter().enumerate() {
            out.extend_from_slice(if n > 0 { b"," } else { b"" });
            serde_json::to_writer(&mut out, &**id)?;
            write!(out, ":{tries}")?;
        }
        write!(out, "}},\"snapshot\":{},\"acked\":", self.snapshot.is_some())?;
        put_marks(&mut out, cursor.fresh().iter())?;
        out.push(b'}');
        write(&self.path, &out, sync)?;
        if sync {
            self.keep();
        }
        if outlived {
            // What is in it is not looked at any has_more: whether it goes is no matter.
            let _ = fs::remove_file(self.beside("acked"));
        }
        Ok(())
    }

    /// Gives what was synced another name. Not all file systems keep the old file until the new one is on the disk: there
    /// a power failure can leave an empty one, and this is what there is then.
    fn keep(&self) {
        let synced = self.beside("synced");
        // Where there are no such links, it has to do without.
        let _ = fs::remove_file(&synced);
        let _ = fs::hard_link(&self.path, &synced);
    }
}

/// Why a saved cursor is of no use.
enum Unusable {
    Because(String),
    OtherWorkspace(String),
}

fn anchor(value: &Value) -> Option<RowKey> {
    Some(RowKey { id: value[0].as_str()?.into(), at: Timestamp::parse(value[1].as_str()?)? })
}

fn put_marks<'a>(out: &mut Vec<u8>, marks: impl Iterator<Item = &'a RowKey>) -> io::Result<()> {
    out.push(b'[');
    for (n, mark) in marks.enumerate() {
        out.extend_from_slice(if n > 0 { b",[" } else { b"[" });
        serde_json::to_writer(&mut *out, &*mark.id)?;
        write!(out, ",{}]", mark.at.nanos())?;
    }
    out.push(b']');
    Ok(())
}

fn marks(value: &Value) -> Option<Vec<RowKey>> {
    let mark =
        |value: &Value| Some(RowKey { id: value[0].as_str()?.into(), at: Timestamp::from_nanos(value[1].as_i64()?) });
    value.as_array()?.iter().map(mark).collect()
}

#[cfg(test)]
mod tests;
