//! Whether the platform knows `since_id`, as its answers show.

use super::fetcher::{Page, PageEnd};
use super::position::RowKey;
use crate::wire::Timestamp;

/// Whether the platform lists the rows behind a given one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SinceIdSupport {
    /// No answer has shown it.
    Unknown,
    Known,
    /// It ignores the parameter.
    Ignored,
}

impl SinceIdSupport {
    /// Returns whether a page is an answer to a request for the rows behind `behind`: it is oldest first, and has neither
    /// that row nor an older one.
    ///
    /// A platform that does not know `since_id` ignores it, and lists the newest rows, newest first.
    pub(super) fn shows(&mut self, page: &Page, behind: &RowKey) -> bool {
        let large = if let PageEnd::LargeRow(head) = &page.end { Some(head) } else { None };
        let rows = page.rows.iter().map(|row| (Some(row.id.as_str()), row.at));
        let rows = rows.chain(large.map(|head| (head.id.as_deref(), head.at)));
        let times: Vec<Timestamp> = rows.clone().filter_map(|(_, at)| at).collect();
        let (first, last) = (times.first(), times.last());
        let mut rows = rows.peekable();
        let is_empty = rows.peek().is_none();
        let is_behind = |(id, at): (Option<&str>, Option<Timestamp>)| {
            id != Some(&*behind.id) && at.is_none_or(|at| at >= behind.at)
        };
        if first > last || !rows.all(is_behind) {
            return false;
        }
        // A full page of one time does not show its order. Platforms that know `since_id` number their rows.
        let is_numbered = page.rows.iter().any(|row| row.fields.contains_key("seq"));
        let is_full = matches!(page.end, PageEnd::Full) && !page.rows.is_empty();
        if *self == SinceIdSupport::Unknown && is_full && first == last && !is_numbered {
            return false;
        }
        if is_empty || first < last {
            *self = SinceIdSupport::Known;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::wire::Row;

    fn page(times: &[i64], is_full: bool, is_numbered: bool) -> Page {
        let row = |at: &i64| {
            let fields = if is_numbered { Map::from_iter([("seq".to_owned(), json!(at))]) } else { Map::new() };
            Row { id: at.to_string(), at: Some(Timestamp::from_nanos(at / 10)), bytes: 1, fields }
        };
        let end = if is_full { PageEnd::Full } else { PageEnd::Complete };
        Page { rows: times.iter().map(row).collect(), end, ..Page::default() }
    }

    #[test]
    fn page_shows_whether_the_platform_knows_since_id() {
        use SinceIdSupport::{Known, Unknown};
        let behind = RowKey { at: Timestamp::from_nanos(1), seq: 0, id: "10".into() };
        for (page, shows, support) in [
            (page(&[], false, false), true, Known),
            (page(&[11, 20], true, false), true, Known),
            (page(&[20, 11], true, true), false, Unknown),
            (page(&[10, 20], true, false), false, Unknown),
            (page(&[5, 20], true, false), false, Unknown),
            (page(&[20, 21], true, false), false, Unknown),
            (page(&[20, 21], false, false), true, Unknown),
            (page(&[20, 21], true, true), true, Unknown),
        ] {
            let mut found = Unknown;
            assert_eq!((found.shows(&page, &behind), found), (shows, support), "{page:?}");
        }
    }
}
