//! A page of the feed that is read while it arrives, row by row.
//!
//! A row may have any size, and a connection may break: the rows before that are kept.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::row::created_at;
use super::scan::{EntryScanner, ScanError};
use super::{ActivityRows, MAX_ENTRIES, MAX_ID, PageBuilder, activity};
use crate::wire::Timestamp;
use crate::wire::json::{MemoryBudget, each_field, is_wide, parse_json};
use crate::wire::record::{BodyError, CALL_MEMORY};

/// Bytes of a row that is not whole of which the fields are read. The ones before its body have some hundred.
const HEAD: usize = 64 * 1024;
/// Bytes that may stand between the rows of a page.
const MAX_BETWEEN: usize = 64 * 1024 * 1024;
/// Bytes that are read of a text that is no list: where its connection breaks as well, that is the reason.
const MAX_BEHIND: usize = 64 * 1024;
/// Bytes by which the encoding of a text is told.
const ENCODING_BYTES: usize = 4;

/// The ids of rows that are known to be too large.
pub(crate) type LargeRows = Arc<HashSet<Arc<str>>>;

/// A page under construction.
pub(crate) struct IncomingPage {
    text: IncomingText,
    scanner: EntryScanner,
    rows: PageBuilder,
    /// Bytes of the texts of `rows`.
    bytes: usize,
    /// Bytes of the whole text so far, with what stands between the rows.
    read: usize,
    /// Largest text of a row, and of a page's rows, in bytes.
    max_bytes: usize,
    known_large: LargeRows,
    end: Option<IncomingEnd>,
    /// Bytes that came after `end`.
    behind: usize,
}

/// The text so far.
enum IncomingText {
    /// Too little of it to tell its encoding.
    Start(Vec<u8>),
    /// It is UTF-8, and goes to the scanner.
    Utf8,
    /// It is UTF-16 or UTF-32, as no known platform writes it. It is kept as a whole.
    Wide(Vec<u8>),
}

/// How a page ended.
#[derive(Debug)]
pub(crate) enum IncomingEnd {
    /// The whole list was read.
    Complete,
    /// The rows take the memory of a page, and there may be more.
    Full,
    /// The next row is larger than a row may be.
    LargeRow(RowHead),
    /// The text stopped or broke after the rows. The head of the next row is there as far as it came.
    Broken(BodyError, Option<RowHead>),
}

/// What is known of a row whose text is not there as a whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowHead {
    /// Its id, if it came before the large fields.
    pub(crate) id: Option<String>,
    pub(crate) at: Option<Timestamp>,
    /// The fields that came whole. A large one is not among them.
    pub(crate) fields: Map<String, Value>,
}

impl IncomingPage {
    /// Begins a page whose rows, and each of them, may have `max_bytes` bytes of JSON. It ends at the head of a row of
    /// `known_large`.
    pub(crate) fn new(max_bytes: usize, known_large: LargeRows) -> Self {
        IncomingPage {
            text: IncomingText::Start(Vec::new()),
            scanner: EntryScanner::new(max_bytes),
            rows: PageBuilder::new(0),
            bytes: 0,
            read: 0,
            max_bytes,
            known_large,
            end: None,
            behind: 0,
        }
    }

    /// Takes the next bytes. Breaks where no more are wanted.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let flow = if self.end.is_none() { self.take(bytes) } else { ControlFlow::Break(()) };
        // An answer that is no list has to come whole, as that of any other call.
        let is_no_list = matches!(self.end, Some(IncomingEnd::Broken(..))) && self.rows.entries == 0;
        if flow.is_continue() || !is_no_list {
            return flow;
        }
        self.behind += bytes.len();
        if self.behind <= MAX_BEHIND { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.read = self.read.saturating_add(bytes.len());
        match &mut self.text {
            IncomingText::Utf8 => return self.scan(bytes),
            IncomingText::Start(start) | IncomingText::Wide(start) => {
                start.extend_from_slice(bytes);
                if start.len() > self.max_bytes {
                    self.end =
                        Some(IncomingEnd::Broken(BodyError::too_large("a list in UTF-16 that is too large"), None));
                    return ControlFlow::Break(());
                }
            }
        }
        match &mut self.text {
            IncomingText::Start(start) if start.len() >= ENCODING_BYTES => {
                let start = std::mem::take(start);
                self.begin(start)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    /// Decides on the encoding by the text's start.
    fn begin(&mut self, start: Vec<u8>) -> ControlFlow<()> {
        if is_wide(&start) {
            self.text = IncomingText::Wide(start);
            return ControlFlow::Continue(());
        }
        self.text = IncomingText::Utf8;
        self.scan(start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start))
    }

    /// Adds the rows that `bytes` complete.
    fn scan(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let (rows, size, max) = (&mut self.rows, &mut self.bytes, self.max_bytes);
        let scanned = self.scanner.push(bytes, |entry| {
            *size += entry.len();
            rows.add_incoming(entry);
            let has_room =
                *size < max && rows.rows.bytes < max.saturating_add(CALL_MEMORY) && rows.entries < MAX_ENTRIES;
            if has_room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.end = match scanned {
            Ok(ControlFlow::Continue(())) => match self.known_large_row() {
                None if self.read <= self.max_bytes.saturating_mul(2).saturating_add(MAX_BETWEEN) => {
                    return ControlFlow::Continue(());
                }
                // The rows, and one more, have less. The rest is white space.
                None => Some(IncomingEnd::Broken(BodyError::too_large("a list that is mostly white space"), None)),
                Some(head) => Some(IncomingEnd::LargeRow(head)),
            },
            Ok(ControlFlow::Break(())) => Some(IncomingEnd::Full),
            Err(ScanError::EntryTooLong) => Some(IncomingEnd::LargeRow(RowHead::read(self.scanner.partial()))),
            Err(why) => Some(IncomingEnd::Broken(broken(why), None)),
        };
        ControlFlow::Break(())
    }

    /// Returns the head of the incomplete row, if it is one that is known to be too large.
    fn known_large_row(&self) -> Option<RowHead> {
        let partial = self.scanner.partial();
        let is_looked_at = !self.known_large.is_empty() && partial.len() >= HEAD;
        let head = is_looked_at.then(|| RowHead::read(partial))?;
        head.id.as_deref().is_some_and(|id| self.known_large.contains(id)).then_some(head)
    }

    /// Ends the page, and says how it ended. The rows before its end are there in any case.
    pub(crate) fn finish(mut self) -> (ActivityRows, IncomingEnd) {
        if let IncomingText::Start(start) = &mut self.text {
            let start = std::mem::take(start);
            let _ = self.begin(start);
        }
        if let (IncomingText::Wide(text), None) = (&self.text, &self.end) {
            return match activity(text) {
                Ok(rows) => (rows, IncomingEnd::Complete),
                Err(why) => (ActivityRows::default(), IncomingEnd::Broken(why, None)),
            };
        }
        let end = self.end.unwrap_or_else(|| {
            if self.scanner.is_complete() {
                return IncomingEnd::Complete;
            }
            let partial = self.scanner.partial();
            let head = (!partial.is_empty()).then(|| RowHead::read(partial));
            IncomingEnd::Broken(BodyError::malformed("a list that is not whole"), head)
        });
        (self.rows.rows, end)
    }
}

impl RowHead {
    /// Reads the fields that are whole in the first bytes of a row.
    fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&text[..text.len().min(HEAD)]);
        let (mut fields, mut budget) = (Map::new(), MemoryBudget::new(text.len(), 0));
        // It is not whole, so that this says no.
        let _ = each_field(&text, |name, value| {
            // One that cannot be read does not hide those behind it.
            let value = parse_json(value.as_bytes(), &mut budget);
            value.map_or(true, |value| fields.insert(name, value).is_none())
        });
        let id = fields.get("id").and_then(Value::as_str).filter(|id| !id.trim().is_empty() && id.len() <= MAX_ID);
        RowHead { id: id.map(str::to_owned), at: created_at(&fields).and_then(Timestamp::parse), fields }
    }
}

/// Returns the error for a text that cannot be split into rows any further.
fn broken(why: ScanError) -> BodyError {
    BodyError::malformed(match why {
        ScanError::NotAList => "no JSON list, where a list of rows was expected",
        ScanError::EntryTooLong | ScanError::Broken => "a list that is not JSON",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `text` in pieces of `size` bytes. Returns the ids of the rows, and the end.
    fn read(text: &[u8], size: usize, max_bytes: usize) -> (Vec<String>, IncomingEnd) {
        let mut page = IncomingPage::new(max_bytes, LargeRows::default());
        for piece in text.chunks(size) {
            if page.push(piece).is_break() {
                break;
            }
        }
        let (rows, end) = page.finish();
        (rows.rows.into_iter().map(|row| row.id).collect(), end)
    }

    const SIZES: [usize; 4] = [1, 3, 50, 100_000];

    #[test]
    fn page_is_the_same_in_pieces_and_in_every_encoding() {
        let text = r#"[{"id":"a","created_at":"2026-05-01T00:00:00Z"}, 7 ,{"id":"é"}]"#;
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for text in [text.as_bytes(), &[b"\xef\xbb\xbf", text.as_bytes()].concat(), &utf16] {
            for size in SIZES {
                let (ids, end) = read(text, size, 1_000);
                assert_eq!(ids, ["a", "é"]);
                assert!(matches!(end, IncomingEnd::Complete), "{end:?}");
            }
        }
        assert!(matches!(read(b"[]", 1, 10), (ids, IncomingEnd::Complete) if ids.is_empty()));
    }

    #[test]
    fn large_row_leaves_the_rows_before_it_and_its_own_head() {
        let large = format!(
            r#"{{"created_at":"2026-05-01T00:00:00Z","id":"big","peer_name":"x","request_body":"{}"}}"#,
            "<".repeat(500)
        );
        let text = format!(r#"[{{"id":"a"}},{large},{{"id":"b"}}]"#);
        for size in SIZES {
            let (ids, end) = read(text.as_bytes(), size, 300);
            let IncomingEnd::LargeRow(head) = end else { panic!("{end:?}") };
            assert_eq!(
                (ids, head.id.as_deref(), head.fields["peer_name"].as_str()),
                (vec!["a".to_owned()], Some("big"), Some("x"))
            );
            assert_eq!(head.at, Timestamp::parse("2026-05-01T00:00:00Z"));
        }
        let late = format!(r#"[{{"attachments":["{}"],"id":"big"}}]"#, "<".repeat(500));
        assert!(matches!(read(late.as_bytes(), 64, 300).1, IncomingEnd::LargeRow(RowHead { id: None, .. })));
    }

    #[test]
    fn page_ends_once_its_rows_take_its_memory() {
        let row = format!(r#"{{"id":"a","x":"{}"}}"#, "x".repeat(100));
        let text = format!("[{}]", vec![row; 20].join(","));
        let (ids, end) = read(text.as_bytes(), 1_000, 500);
        assert!(matches!(end, IncomingEnd::Full) && ids.len() == 5, "{end:?} {}", ids.len());
    }

    #[test]
    fn white_space_between_rows_is_not_read_for_ever() {
        let mut page = IncomingPage::new(1_000, LargeRows::default());
        let blanks = vec![b' '; 1024 * 1024];
        let mut pieces = std::iter::once(br#"[{"id":"a"},"#.as_slice()).chain(std::iter::repeat(blanks.as_slice()));
        let count = pieces.by_ref().take(1_000).take_while(|piece| page.push(piece).is_continue()).count();
        let (rows, end) = page.finish();
        assert!((60..70).contains(&count), "{count}");
        assert_eq!(rows.rows.len(), 1);
        assert!(matches!(end, IncomingEnd::Broken(..)), "{end:?}");
    }

    #[test]
    fn what_came_before_the_text_broke_is_kept() {
        for (text, ids, head) in [
            (r#"[{"id":"a"},{"id":"b","x":"#, vec!["a"], Some("b")),
            (r#"[{"id":"a"},"#, vec!["a"], None),
            (r#"[{"id":"a"}}"#, vec!["a"], None),
            ("{}", vec![], None),
            ("", vec![], None),
        ] {
            for size in SIZES {
                let (found, end) = read(text.as_bytes(), size, 300);
                let IncomingEnd::Broken(_, found_head) = end else { panic!("{end:?}") };
                assert_eq!(
                    (found, found_head.and_then(|head| head.id)),
                    (ids.iter().map(ToString::to_string).collect(), head.map(str::to_owned))
                );
            }
        }
    }

    #[test]
    fn text_without_rows_that_is_no_list_is_read_on_for_64_kib() {
        for start in [r#"{"error":"#, "<html>", "[}", "[,"] {
            let mut page = IncomingPage::new(1_000_000, LargeRows::default());
            assert!(page.push(start.as_bytes()).is_continue(), "{start}");
            let pieces = std::iter::repeat_n([b'x'; 1024], 1_000);
            let count = pieces.take_while(|piece| page.push(piece).is_continue()).count();
            assert!((60..=64).contains(&count), "{count}");
            assert!(matches!(page.finish(), (rows, IncomingEnd::Broken(..)) if rows.rows.is_empty()));
        }
        let mut page = IncomingPage::new(1_000_000, LargeRows::default());
        assert!(page.push(br#"[{"id":"a"}}"#).is_break() && page.push(b"x").is_break(), "behind a row");
    }

    #[test]
    fn field_that_is_no_json_hides_neither_its_row_nor_the_id_behind_it() {
        let row = r#"{"x":NaN,"id":"a","y":-Infinity,"summary":"s"}"#;
        let mut page = IncomingPage::new(1_000, LargeRows::default());
        assert!(page.push(format!("[{row}]").as_bytes()).is_continue());
        let (rows, end) = page.finish();
        assert!(matches!(end, IncomingEnd::Complete), "{end:?}");
        assert_eq!((rows.rows[0].id.as_str(), rows.malformed.count, rows.unreadable.count), ("a", 0, 2));
        assert_eq!(rows.rows[0].fields["summary"], "s");
        let large = format!(r#"[{{"x":NaN,"id":"big","request_body":"{}"}}]"#, "<".repeat(500));
        let (_, end) = read(large.as_bytes(), 64, 300);
        assert!(matches!(&end, IncomingEnd::LargeRow(RowHead { id: Some(id), .. }) if id == "big"), "{end:?}");
    }

    #[test]
    fn row_that_cannot_be_parsed_does_not_end_the_page() {
        let deep = "[".repeat(9_000) + &"]".repeat(9_000);
        let text = format!(r#"[{{"id":"a","metadata":{deep}}},{{"id":}},{{"id":"b"}}]"#);
        let (ids, end) = read(text.as_bytes(), 999, 100_000);
        assert!(matches!(end, IncomingEnd::Complete) && ids == ["a", "b"], "{ids:?} {end:?}");
    }
}
