//! The cursor file: a snapshot of the cursor, and a journal of what happened since.
//!
//! A save appends a line for each change, in one write. The lines are synced at the end of each page and once a second.
//! A file that has grown is replaced by a snapshot, as is one that this process did not write, and one whose sync failed.
//! So a crash of the process loses nothing, and a power failure what was not synced.
//!
//! ```text
//! 84 c2a3f31b {"key":"00000000000000000000000000000000","version":2,"workspace":"my-team"}
//! 54 6cf3bd41 {"anchor":["r-7","2026-04-30T12:00:00.000000000Z"]}
//! 41 8d3f0c1a {"handled":["r-8",1777550401000000000]}
//! ```
//!
//! `line` has the frame of a line, `record` its JSON. After a power failure the end of the file may be missing, zeroes, or
//! half a line, and good lines may follow that. Reading ends at the first bad line. What follows is reported; the snapshot
//! that the first save writes is without it. Its rows are delivered again.
//!
//! Files beside it, by their suffixes:
//!
//! | suffix | contents |
//! | --- | --- |
//! | `.lock` | nothing; locked while a poller uses the cursor |
//! | `.new` | the next snapshot, until it is renamed |
//! | `.unreadable` | a cursor file that could not be read |
//! | `.check` | bytes that a check writes and removes again |
//! | `.acked`, `.synced` | parts of the cursor of release 0.1, which go once a snapshot is on the disk |

mod check;
pub(in crate::inbox) mod disk;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod journal;
mod line;
mod load;
mod lock;
mod record;
mod version_1;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::inbox::feed::cursor::Cursor;
use crate::inbox::feed::cursor::saved::SavedCursor;
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;
use crate::util::random::fresh_id;
use disk::{check_path, sibling_path};
use journal::Journal;
use load::{LeftBytes, Loaded, load, unusable};
use lock::CursorLock;
use record::LoadError;

/// Longest time between two syncs while messages come. After a power failure, what was acked since comes again.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The file that a cursor is saved to. It is locked while this exists.
pub(in crate::inbox) struct CursorFile {
    path: PathBuf,
    /// Id of the workspace that the cursor belongs to.
    workspace: String,
    /// `None` where the directory allows no lock file.
    lock: Option<CursorLock>,
    /// The file as this process wrote it. `None` where the next save has to write a snapshot.
    journal: Option<Journal>,
    /// When a sync was last tried.
    last_sync: CoarseInstant,
    /// True if something was saved that may not be on the disk.
    has_unsynced_write: bool,
    /// True while saving fails, so that only the first failure is logged.
    is_failing: bool,
    /// Id of the process that may write the file.
    process: u32,
}

impl CursorFile {
    /// Locks the cursor file at `path` and reads the cursor. It is empty if there is no file yet.
    ///
    /// If the file is unreadable, it is renamed, that is logged, and the last synced version of release 0.1 is read, or
    /// else the cursor is empty.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): the directory does not exist, the path is no plain file, another
    /// poller has locked it, it belongs to another workspace, or a newer release wrote it.
    pub(in crate::inbox) fn open(path: PathBuf, workspace: &str) -> Result<(Self, Cursor), Error> {
        check_path(&path)?;
        let lock = CursorLock::take(&path)?;
        let loaded = load(&path, workspace);
        let file = CursorFile {
            workspace: workspace.to_owned(),
            lock,
            journal: None,
            last_sync: CoarseInstant::now(),
            has_unsynced_write: false,
            is_failing: false,
            process: process::id(),
            path,
        };
        let mut saved = match loaded {
            Ok(None) => SavedCursor::default(),
            Ok(Some(Loaded { saved, left })) => {
                left.into_iter().for_each(|left| file.report_left(left));
                saved
            }
            Err(LoadError::Unreadable(why)) => file.recover(&why),
            Err(why) => return Err(unusable(&file.path, workspace, &why)),
        };
        saved.hash_key = saved.hash_key.or_else(|| fresh_id().map(|id| id.as_u128()));
        Ok((file, Cursor::from_saved(saved, disk::boot_id(), CoarseInstant::now())))
    }

    /// Logs that the end of the file was not read.
    fn report_left(&self, left: LeftBytes) {
        let path = self.path.display();
        let count = format!("{} bytes, from byte {} to its end", left.length, left.from);
        log_safe!(
            warn,
            "inbox: {count}, of the cursor {path} were not written whole: messages that they record as handled are \
             delivered again"
        );
    }

    /// Renames an unreadable cursor file, logs that, and returns the last synced cursor of release 0.1, or else an empty
    /// one.
    fn recover(&self, why: &str) -> SavedCursor {
        let copy = sibling_path(&self.path, "unreadable");
        let kept = match fs::rename(&self.path, &copy) {
            Ok(()) => format!("kept as {}", copy.display()),
            Err(why) => format!("it cannot be kept: {why}"),
        };
        let synced = version_1::read_synced(&self.path, &self.workspace);
        let from = if synced.is_some() { "where it was last synced" } else { "the backlog" };
        let path = self.path.display();
        log_safe!(error, "inbox: the cursor {path} is unreadable ({why}; {kept}); going on from {from}");
        synced.unwrap_or_default()
    }

    /// Writes a snapshot, whether or not something changed, to find out whether that is possible.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): it is not.
    pub(in crate::inbox) fn require_writable(&mut self, cursor: &mut Cursor) -> Result<(), Error> {
        self.write_snapshot(cursor).map_err(|why| {
            let path = self.path.display();
            let detail = format!(
                "cursor_file: {path} cannot be written ({why}): each start would deliver the same messages again. Let this \
                 user write its directory, or set another path"
            );
            Error::config(detail).with_source(why)
        })
    }

    /// Returns whether the last save failed.
    pub(in crate::inbox) fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Returns whether this is the process that opened the file. A child by `fork` must not write to its parent's file.
    pub(in crate::inbox) fn is_own_process(&self) -> bool {
        self.process == process::id()
    }

    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal): this is not the process that opened the file.
    pub(in crate::inbox) fn check_process(&self) -> Result<(), Error> {
        if self.is_own_process() {
            return Ok(());
        }
        let (parent, path) = (self.process, self.path.display());
        Err(Error::new(
            ErrorKind::Internal,
            format!(
                "the poller with the cursor {path} belongs to the process {parent}, and not to this child: build another"
            ),
        ))
    }

    /// Writes the changes of the cursor, and clears them. Without changes it only syncs what was not synced.
    ///
    /// The file is synced if `sync` is set, and if the last sync was a second ago. A failure is logged once. The next call
    /// that is to sync tries again: delivery goes on without a file. In a child by `fork` it does nothing.
    pub(in crate::inbox) fn save(&mut self, cursor: &mut Cursor, sync: bool) {
        if !self.is_own_process() {
            return;
        }
        let now = CoarseInstant::now();
        let sync = sync || now.since(self.last_sync) >= SYNC_EVERY;
        let has_something = !cursor.pending.is_empty() || (sync && self.has_unsynced_write);
        if !has_something || (self.is_failing && !sync) {
            return;
        }
        if sync {
            self.last_sync = now;
        }
        match self.write(cursor, sync) {
            Ok(()) => {
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

    /// Appends the changes to the journal, and syncs it if `sync` is set. Writes a snapshot where that is not possible, and
    /// where the journal is long.
    fn write(&mut self, cursor: &mut Cursor, sync: bool) -> io::Result<()> {
        // Somebody may have removed or replaced the file, or its directory.
        if sync && self.journal.as_ref().is_some_and(|journal| !journal.is_at(&self.path)) {
            self.close_journal();
        }
        if self.journal.as_ref().is_some_and(|journal| journal.is_compaction_due(cursor.saved_len(), sync)) {
            match self.write_snapshot(cursor) {
                Err(why) if self.journal.is_some() => self.postpone_compaction(&why),
                written => return written,
            }
        }
        let (Some(journal), Some(changes)) = (&mut self.journal, cursor.pending.get()) else {
            return self.write_snapshot(cursor);
        };
        journal.append(changes)?;
        cursor.pending.clear();
        self.has_unsynced_write = true;
        if sync {
            if journal.sync().is_err() {
                self.close_journal();
                return self.write_snapshot(cursor);
            }
            self.has_unsynced_write = false;
        }
        Ok(())
    }

    /// Replaces the file by a snapshot, which is synced.
    fn write_snapshot(&mut self, cursor: &mut Cursor) -> io::Result<()> {
        if let Some(lock) = &mut self.lock {
            lock.retake()?;
        }
        let saved = cursor.to_saved();
        self.journal = Some(Journal::create(&self.path, &load::header(&self.workspace, &saved), &saved)?);
        cursor.pending.clear();
        self.has_unsynced_write = false;
        self.last_sync = CoarseInstant::now();
        // They are parts of a cursor that is no longer there, and do no harm where they cannot be removed.
        for suffix in ["acked", "synced"] {
            let _ = fs::remove_file(sibling_path(&self.path, suffix));
        }
        Ok(())
    }

    /// Gives the file up that the last save wrote: the next one writes a snapshot.
    fn close_journal(&mut self) {
        self.journal = None;
        self.has_unsynced_write = true;
    }

    /// Goes on with a journal that is long.
    fn postpone_compaction(&mut self, why: &io::Error) {
        let path = self.path.display();
        log_safe!(warn, "inbox: the cursor {path} cannot be compacted ({why}): it grows");
        if let Some(journal) = &mut self.journal {
            journal.postpone_compaction();
        }
    }
}

#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[cfg(unix)]
mod unix_tests;
