//! Splits a JSON list into the texts of its entries while it arrives.
//!
//! Only strings and nesting are looked at: an entry's text is parsed by its reader. So an entry that cannot be parsed does
//! not hide those behind it.

use std::ops::ControlFlow;

use crate::wire::json::ValuePosition;

/// Splits a list that arrives in pieces. Holds at most one entry's text.
pub(crate) struct EntryScanner {
    state: ScanState,
    /// Text of the entry that is not complete.
    entry: Vec<u8>,
    /// Longest entry, in bytes.
    max_entry: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum ScanState {
    /// Before the list.
    Start,
    /// Before the first entry, or the end of an empty list.
    First,
    /// After a comma.
    Next,
    /// In an entry, at this place.
    Entry(ValuePosition),
    /// After a list or an object as an entry.
    Closed,
    /// After the list.
    End,
}

/// Reason for which a list cannot be split any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanError {
    /// The text is no list.
    NotAList,
    /// An entry is longer than the scanner takes. Its first bytes are in [`EntryScanner::partial`].
    EntryTooLong,
    /// Between two entries stands what is neither a comma nor the list's end, or something follows the list.
    Broken,
}

impl EntryScanner {
    /// Makes a scanner for one list whose entries have at most `max_entry` bytes.
    pub(crate) fn new(max_entry: usize) -> Self {
        EntryScanner { state: ScanState::Start, entry: Vec::new(), max_entry }
    }

    /// Takes the list's next bytes, and calls `visit` with the text of each entry that they complete, until it breaks.
    ///
    /// # Errors
    ///
    /// The list cannot be split any further. Entries before that were visited.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ScanError> {
        while let Some(&byte) = bytes.first() {
            if let ScanState::Entry(position) = self.state {
                let (length, position) = position.advance(bytes);
                let room = self.max_entry.saturating_sub(self.entry.len());
                self.entry.extend_from_slice(&bytes[..length.min(room)]);
                if length > room {
                    return Err(ScanError::EntryTooLong);
                }
                bytes = &bytes[length..];
                self.state = position.map_or(ScanState::Closed, ScanState::Entry);
                if position.is_none() {
                    let flow = visit(&self.entry);
                    self.entry.clear();
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
                continue;
            }
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                self.state = self.enter(byte)?;
                // The first byte of an entry belongs to it.
                if matches!(self.state, ScanState::Entry(_)) {
                    continue;
                }
            }
            bytes = &bytes[1..];
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the state after a byte outside entries that is not blank.
    fn enter(&self, byte: u8) -> Result<ScanState, ScanError> {
        match (self.state, byte) {
            (ScanState::Start, b'[') => Ok(ScanState::First),
            (ScanState::Start, _) => Err(ScanError::NotAList),
            (ScanState::First | ScanState::Closed, b']') => Ok(ScanState::End),
            (ScanState::Closed, b',') => Ok(ScanState::Next),
            (ScanState::Next | ScanState::First, byte) if !matches!(byte, b',' | b']' | b'}' | b':') => {
                Ok(ScanState::Entry(ValuePosition::START))
            }
            _ => Err(ScanError::Broken),
        }
    }

    /// Returns whether the whole list was taken.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == ScanState::End
    }

    /// Returns the start of the entry that is not complete. Empty between entries.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `text` in pieces of `size` bytes. Returns the entries, and how it ended.
    fn split(text: &str, size: usize, max_entry: usize) -> (Vec<String>, Result<bool, ScanError>) {
        let (mut scanner, mut entries) = (EntryScanner::new(max_entry), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            let outcome = scanner.push(piece, |entry| {
                entries.push(String::from_utf8_lossy(entry).trim().to_owned());
                ControlFlow::Continue(())
            });
            if let Err(why) = outcome {
                return (entries, Err(why));
            }
        }
        (entries, Ok(scanner.is_complete()))
    }

    #[test]
    fn entries_are_the_same_however_the_list_is_cut() {
        for (text, expected, end) in [
            ("[]", vec![], Ok(true)),
            (" \n[ ] ", vec![], Ok(true)),
            ("[{}]", vec!["{}"], Ok(true)),
            (
                r#"[{"a":"]},{\"\\"},{"b":[[],{}]} , 7,"x,]" ,null]"#,
                vec![r#"{"a":"]},{\"\\"}"#, r#"{"b":[[],{}]}"#, "7", r#""x,]""#, "null"],
                Ok(true),
            ),
            (r#"[{"a":1},{"b":"#, vec![r#"{"a":1}"#], Ok(false)),
            ("[{}}", vec!["{}"], Err(ScanError::Broken)),
            ("[{}{}]", vec!["{}"], Err(ScanError::Broken)),
            ("[,]", vec![], Err(ScanError::Broken)),
            ("[{},]", vec!["{}"], Err(ScanError::Broken)),
            ("[{}] x", vec!["{}"], Err(ScanError::Broken)),
            ("{}", vec![], Err(ScanError::NotAList)),
            ("<html>", vec![], Err(ScanError::NotAList)),
            ("", vec![], Ok(false)),
        ] {
            for size in [1, 2, 3, 7, 1_000] {
                assert_eq!(split(text, size, 100), (expected.iter().map(ToString::to_string).collect(), end), "{text}");
            }
        }
    }

    #[test]
    fn deep_entry_is_one_entry() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(split(&format!("[{deep},1]"), 4_096, 100_000), (vec![deep, "1".to_owned()], Ok(true)));
    }

    #[test]
    fn entry_above_the_bound_ends_the_list_and_leaves_its_start() {
        for size in [1, 5, 1_000] {
            let (entries, end) = split(r#"[{"a":1},{"id":"long enough"},{}]"#, size, 8);
            assert_eq!((entries, end), (vec![r#"{"a":1}"#.to_owned()], Err(ScanError::EntryTooLong)));
        }
        let mut scanner = EntryScanner::new(8);
        let outcome = scanner.push(br#"[{"id":"long"}]"#, |_| ControlFlow::Continue(()));
        assert_eq!((outcome, scanner.partial()), (Err(ScanError::EntryTooLong), &br#"{"id":"l"#[..]));
        assert_eq!(split(r#"[{"a":12}]"#, 4, 8).1, Ok(true), "of exactly that length");
    }

    #[test]
    fn visitor_can_end_the_list() {
        let mut scanner = EntryScanner::new(100);
        let mut seen = 0;
        let outcome = scanner.push(b"[{},{},{}]", |_| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((outcome, seen), (Ok(ControlFlow::Break(())), 2));
    }
}
