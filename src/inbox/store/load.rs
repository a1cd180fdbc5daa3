//! Reading a cursor file: the lines of a journal, or the format of release 0.1.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Value, json};

use super::disk::open_plain;
use super::line::LineReader;
use super::record::{self, LoadError, hex, hex_from_json};
use super::version_1;
use crate::error::Error;
use crate::inbox::feed::cursor::saved::SavedCursor;
use crate::util::text::excerpt;
use crate::wire::{CALL_MEMORY, MemoryBudget, parse_json};

/// Version of the format.
const VERSION: u64 = 2;
/// Largest file that is read, in bytes: twice a snapshot of 100,000 rows with the longest ids, each byte of those escaped.
const MAX_BYTES: u64 = 320 * 1024 * 1024;

/// A cursor file that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) saved: SavedCursor,
    /// The part of the file that was not read. `None` if it was read to its end.
    pub(super) left: Option<LeftBytes>,
}

/// The end of a cursor file, from the first bad line on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LeftBytes {
    /// Position of its first byte.
    pub(super) from: u64,
    /// Its length.
    pub(super) length: u64,
}

/// Returns the first line of a file.
pub(super) fn header(workspace: &str, saved: &SavedCursor) -> Vec<u8> {
    let key = saved.hash_key.map(hex);
    json!({ "version": VERSION, "workspace": workspace, "key": key }).to_string().into_bytes()
}

/// Reads the cursor file at `path`. Returns `None` if there is none.
pub(super) fn load(path: &Path, workspace: &str) -> Result<Option<Loaded>, LoadError> {
    let unreadable = |why: io::Error| LoadError::Unreadable(why.to_string());
    let file = match open_plain(path, File::options().read(true)) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(unreadable(why)),
    };
    let length = file.metadata().map_err(unreadable)?.len();
    let mut text = BufReader::new(file);
    // A line begins with a digit.
    if text.fill_buf().map_err(unreadable)?.first().is_some_and(u8::is_ascii_digit) {
        let (saved, good) = read_lines(text, workspace)?;
        let left = (good < length).then(|| LeftBytes { from: good, length: length - good });
        return Ok(Some(Loaded { saved, left }));
    }
    Ok(Some(Loaded { saved: version_1::parse(text, path, workspace)?, left: None }))
}

/// Reads lines up to the first bad one. Returns what they say, and their length in bytes.
fn read_lines(text: impl Read, workspace: &str) -> Result<(SavedCursor, u64), LoadError> {
    let unreadable = |why: io::Error| LoadError::Unreadable(why.to_string());
    let mut lines = LineReader::new(text.take(MAX_BYTES));
    let first = lines.next().map_err(unreadable)?;
    let first = first.ok_or_else(|| LoadError::Unreadable("its first line is damaged".to_owned()))?;
    let mut saved = SavedCursor { hash_key: parse_header(&parse(first)?, workspace)?, ..SavedCursor::default() };
    while let Some(line) = lines.next().map_err(unreadable)? {
        saved.apply(record::from_json(&parse(line)?)?);
    }
    Ok((saved, lines.good()))
}

/// Checks the first line, and returns the hash key.
fn parse_header(header: &Value, workspace: &str) -> Result<Option<u128>, LoadError> {
    if header["version"] != VERSION {
        return Err(LoadError::OtherRelease(format!("version {}", excerpt(&header["version"]))));
    }
    match (header["workspace"].as_str(), &header["key"]) {
        (Some(found), _) if found != workspace => Err(LoadError::OtherWorkspace(excerpt(found))),
        (Some(_), Value::Null) => Ok(None),
        (Some(_), key) if hex_from_json(key).is_some() => Ok(hex_from_json(key)),
        _ => Err(LoadError::OtherRelease(format!("the first line {}", excerpt(header)))),
    }
}

/// Parses the JSON of a good line.
fn parse(line: &[u8]) -> Result<Value, LoadError> {
    let budget = &mut MemoryBudget::new(line.len(), CALL_MEMORY);
    parse_json(line, budget)
        .map_err(|_| LoadError::OtherRelease(format!("the line {}", excerpt(String::from_utf8_lossy(line)))))
}

/// Returns the error for a file that is kept as it is.
pub(super) fn unusable(path: &Path, workspace: &str, why: &LoadError) -> Error {
    let path = path.display();
    Error::config(match why {
        LoadError::OtherWorkspace(other) => {
            format!("cursor_file: {path} is of the workspace {other}, and this is {workspace}: set another path")
        }
        LoadError::OtherRelease(what) => format!(
            "cursor_file: {path} was written by another release, as it has {what}: use that release, or remove the \
             file to start from the backlog"
        ),
        LoadError::Unreadable(why) => format!(
            "cursor_file: {path} is unreadable ({why}): a poller would keep it as {path}.unreadable and go on from an older \
             one, or from the backlog. Restore it, or remove it"
        ),
    })
}
