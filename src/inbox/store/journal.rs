//! The cursor file while a poller writes it: a snapshot of the cursor, and a journal of what happened since.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::disk::{FileId, replace_file};
use super::line::write_line;
use super::record;
use crate::inbox::feed::cursor::saved::{CursorChange, SavedCursor};

/// Shortest file that is compacted, in bytes.
const MIN_COMPACTION: u64 = 64 * 1024;
/// The same for a file of which at most half is still needed, as after the anchor has moved.
const MIN_HALF_COMPACTION: u64 = 4 * 1024;

/// A cursor file that is open for more lines. It was written by this process from its first byte on.
pub(super) struct Journal {
    file: File,
    id: FileId,
    /// Number of good lines.
    lines: usize,
    /// Their length in bytes.
    length: u64,
    /// Length in bytes from which the file is compacted.
    compact_at: u64,
    /// The same for a save that is synced, once half of the lines are no longer needed.
    compact_half_at: u64,
    /// True if half a line may follow the good ones.
    is_torn: bool,
}

impl Journal {
    /// Replaces the file at `path` by a snapshot, a `header` line and `saved`. Both are on the disk when this returns.
    pub(super) fn create(path: &Path, header: &[u8], saved: &SavedCursor) -> io::Result<Self> {
        let (mut lines, mut length) = (0, 0);
        let file = replace_file(path, |out| {
            let mut line = Vec::new();
            let mut write = |json: &[u8]| {
                line.clear();
                write_line(&mut line, json);
                lines += 1;
                length += line.len() as u64;
                out.write_all(&line)
            };
            write(header)?;
            saved.changes().try_for_each(|change| write(&record::to_json(&change)))
        })?;
        let id = FileId::of(&file.metadata()?);
        Ok(Journal {
            file,
            id,
            lines,
            length,
            compact_at: MIN_COMPACTION.max(2 * length),
            compact_half_at: MIN_HALF_COMPACTION,
            is_torn: false,
        })
    }

    /// Appends changes, a line each, in one write.
    ///
    /// # Errors
    ///
    /// The file is then cut back, so that the lines can be appended again. Where that fails, too, the next append tries it.
    pub(super) fn append(&mut self, changes: &[CursorChange]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::with_capacity(128 * changes.len());
        changes.iter().for_each(|change| write_line(&mut lines, &record::to_json(change)));
        if self.is_torn {
            self.cut_back()?;
        }
        if let Err(why) = self.file.write_all(&lines) {
            self.is_torn = true;
            let _ = self.cut_back();
            return Err(why);
        }
        self.length += lines.len() as u64;
        self.lines += changes.len();
        Ok(())
    }

    /// Cuts the file behind its last good line, and writes there next.
    fn cut_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.is_torn = false;
        Ok(())
    }

    /// Waits until all lines are on the disk.
    ///
    /// # Errors
    ///
    /// Nothing more may be appended: the system may have dropped lines that it failed to write, and say no more of them
    /// (fsync(2)).
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Returns whether the file is still the one at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.id.is_at(path)
    }

    /// Returns whether the file is to be replaced by a snapshot, which has `needed` lines: it has at least 64 KiB and twice
    /// the length of the last one, or, at a save that is synced, 4 KiB and twice as many lines.
    pub(super) fn is_compaction_due(&self, needed: usize, sync: bool) -> bool {
        self.length >= self.compact_at || sync && self.length >= self.compact_half_at && self.lines >= 2 * needed
    }

    /// Puts the next compaction off until the file is twice as long, because one failed.
    pub(super) fn postpone_compaction(&mut self) {
        self.compact_at = 2 * self.length;
        self.compact_half_at = self.compact_at;
    }
}
