//! The cursor's file: locked, replaced atomically, synced now and then.
//!
//! It is one small JSON object: `version`, `workspace`, `anchor` and `acked` (ids with their times, the
//! latter's in nanoseconds), `floor`, `tries` by id, and `snapshot`. Where more than some hundreds of rows are acked after the anchor, as when all of a
//! flood have one time, they go into a second file beside it (`….acked`), and the first one holds those that came
//! since: so a row costs the same, however many there are. The second file is written before the first stops
//! listing its rows, and whatever stands in it was acked, so that the two together are right at every moment.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs4::fs_std::FileExt;
use serde_json::{Map, Value, json};

use super::cursor::{Cursor, Mark};
use crate::clock::Tick;
use crate::error::Error;
use crate::wire::Moment;

const VERSION: u64 = 1;
/// How much work a power failure may cost: what was acked since the last sync comes again.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How many acked rows the first file holds before they go into the second.
const MAX_INLINE: usize = 256;
/// The largest file that is read, in bytes: a million acked rows.
const MAX_BYTES: u64 = 128 * 1024 * 1024;

pub(super) struct CursorFile {
    path: PathBuf,
    workspace: String,
    /// Held for as long as the poller is. `None` where the directory takes no file.
    _lock: Option<File>,
    /// The newest row in the second file, while its rows count.
    snapshot: Option<Moment>,
    /// When it was last synced, and whether it was replaced since.
    synced: Tick,
    unsynced: bool,
    failing: bool,
}

impl CursorFile {
    /// Locks the file and reads it.
    ///
    /// # Errors
    ///
    /// A directory that is not there, another poller that has the lock, a file of another workspace.
    pub(super) fn open(path: PathBuf, workspace: &str) -> Result<(Self, Cursor), Error> {
        let shown = path.display();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.file_name().is_none() || !parent.is_dir() {
            return Err(Error::config(format!(
                "cursor_file: {shown} is in no directory that is there; make it, or name another"
            )));
        }
        let lock = lock(&path)?;
        let mut file = CursorFile {
            workspace: workspace.to_owned(),
            _lock: lock,
            snapshot: None,
            synced: Tick::now(),
            unsynced: false,
            failing: false,
            path,
        };
        let cursor = match file.load() {
            Ok(cursor) => cursor.unwrap_or_default(),
            Err(Unusable::OtherWorkspace(other)) => {
                let path = file.path.display();
                return Err(Error::config(format!(
                    "cursor_file: {path} is of the workspace {other}, and this is {workspace}; name another"
                )));
            }
            Err(Unusable::Because(why)) => {
                let copy = file.beside("unreadable");
                let kept = match fs::rename(&file.path, &copy) {
                    Ok(()) => format!("kept as {}", copy.display()),
                    Err(why) => format!("it cannot be kept: {why}"),
                };
                let path = file.path.display();
                say!(error, "inbox: the cursor {path} is unreadable ({why}; {kept}); going on from the backlog");
                Cursor::default()
            }
        };
        Ok((file, cursor))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }

    fn load(&mut self) -> Result<Option<Cursor>, Unusable> {
        let Some(saved) = read(&self.path)? else { return Ok(None) };
        if saved["version"] != VERSION {
            return Err(Unusable::Because(format!("its version is {}, this release has {VERSION}", saved["version"])));
        }
        match saved["workspace"].as_str() {
            Some(workspace) if workspace == self.workspace => {}
            Some(other) => return Err(Unusable::OtherWorkspace(other.chars().take(128).collect())),
            None => return Err(Unusable::Because("it names no workspace".to_owned())),
        }
        let bad = |what: &str| Unusable::Because(format!("its {what} is none"));
        let anchor = match &saved["anchor"] {
            Value::Null => None,
            value => Some(anchor(value).ok_or_else(|| bad("anchor"))?),
        };
        let floor = match &saved["floor"] {
            Value::Null => None,
            value => Some(value.as_str().and_then(Moment::parse).ok_or_else(|| bad("floor"))?),
        };
        let mut acked = marks(&saved["acked"]).ok_or_else(|| bad("list of acked rows"))?;
        if saved["snapshot"] == true {
            let more = read(&self.beside("acked"))?.ok_or_else(|| bad("second file"))?;
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
    pub(super) fn save(&mut self, cursor: &mut Cursor, sync: bool) {
        let due = sync || Tick::now().since(self.synced) >= SYNC_EVERY;
        let behind = cursor.dirty || (due && self.unsynced);
        if !behind {
            return;
        }
        match self.replace(cursor, due) {
            Ok(()) => {
                cursor.dirty = false;
                self.unsynced = !due;
                if due {
                    self.synced = Tick::now();
                }
                if std::mem::take(&mut self.failing) {
                    say!(warn, "inbox: the cursor {} can be written again", self.path.display());
                }
            }
            Err(why) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path.display();
                    say!(error, "inbox: the cursor {path} cannot be written ({why}): after a restart rows come again");
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
        let mut head = Map::new();
        head.insert("version".to_owned(), VERSION.into());
        head.insert("workspace".to_owned(), self.workspace.as_str().into());
        let anchor = cursor.anchor.as_ref().map(|anchor| json!([&*anchor.id, anchor.at.to_string()]));
        head.insert("anchor".to_owned(), anchor.into());
        head.insert("floor".to_owned(), cursor.floor.map(|floor| floor.to_string()).into());
        let tries = cursor.all_tries().iter().map(|(id, tries)| (id.to_string(), Value::from(*tries)));
        head.insert("tries".to_owned(), Value::Object(tries.collect()));
        head.insert("snapshot".to_owned(), self.snapshot.is_some().into());
        let mut out = serde_json::to_vec(&head)?;
        // Only these can be many, and they are written at each row.
        out.pop();
        out.extend_from_slice(b",\"acked\":");
        put_marks(&mut out, cursor.fresh().iter())?;
        out.push(b'}');
        write(&self.path, &out, sync)?;
        if outlived {
            // What is in it is not looked at any more: whether it goes is no matter.
            let _ = fs::remove_file(self.beside("acked"));
        }
        Ok(())
    }
}

/// Why a saved cursor is of no use.
enum Unusable {
    Because(String),
    OtherWorkspace(String),
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// The lock on a file beside, since the cursor's own is replaced. It goes with the process.
fn lock(path: &Path) -> Result<Option<File>, Error> {
    let name = beside(path, "lock");
    let failed = |why: io::Error| {
        say!(error, "inbox: {} cannot be locked ({why}): two pollers might run", name.display());
        Ok(None)
    };
    let file = match File::options().create(true).write(true).truncate(false).open(&name) {
        Ok(file) => file,
        Err(why) => return failed(why),
    };
    match FileExt::try_lock_exclusive(&file) {
        Ok(true) => Ok(Some(file)),
        Ok(false) => {
            let path = path.display();
            Err(Error::config(format!("cursor_file: another poller has {path}; one workspace takes one poller")))
        }
        Err(why) => failed(why),
    }
}

fn read(path: &Path) -> Result<Option<Value>, Unusable> {
    let failed = |why: io::Error| Unusable::Because(why.to_string());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == IoKind::NotFound => return Ok(None),
        Err(why) => return Err(failed(why)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text).map(Some).map_err(|why| Unusable::Because(format!("it is not JSON: {why}")))
}

/// Puts a new file in the place of the old one: whoever reads sees all of the one or all of the other.
fn write(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let new = beside(path, "new");
    let mut options = File::options();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_data()?;
    }
    drop(file);
    fs::rename(&new, path)?;
    if sync {
        sync_directory(path)?;
    }
    Ok(())
}

/// So that the new name outlasts a power failure, too.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn anchor(value: &Value) -> Option<Mark> {
    Some(Mark { id: value[0].as_str()?.into(), at: Moment::parse(value[1].as_str()?)? })
}

fn put_marks<'a>(out: &mut Vec<u8>, marks: impl Iterator<Item = &'a Mark>) -> io::Result<()> {
    out.push(b'[');
    for (n, mark) in marks.enumerate() {
        out.extend_from_slice(if n > 0 { b",[" } else { b"[" });
        serde_json::to_writer(&mut *out, &*mark.id)?;
        write!(out, ",{}]", mark.at.nanos())?;
    }
    out.push(b']');
    Ok(())
}

fn marks(value: &Value) -> Option<Vec<Mark>> {
    let mark = |value: &Value| Some(Mark { id: value[0].as_str()?.into(), at: Moment::from_nanos(value[1].as_i64()?) });
    value.as_array()?.iter().map(mark).collect()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
