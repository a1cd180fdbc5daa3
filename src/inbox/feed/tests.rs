//! The seams of the feed: a whole poller on a feed in memory, over minutes that take no time.

use std::time::Duration;

use super::cursor::saved::{Anchor, SavedCursor};
use super::fetcher::Fetched;
use super::memory::{Fate, Got, LATE, MemoryFeed, MemoryPoller, RowKind, StoredRow};
use super::{PageNews, RowState, SinceIdSupport};
use crate::error::{Error, ErrorKind};
use crate::platform::RowsToList;
use crate::util::clock::CoarseInstant;
use crate::wire::RowHead;
use serde_json::Map;

/// All rows are to be delivered.
const BACKLOG: Duration = Duration::from_secs(7 * 24 * 3_600);
const BOOT: Option<u128> = Some(1);

/// A poller, its platform, and what was delivered.
pub(super) struct Scene {
    pub(super) platform: MemoryFeed,
    poller: MemoryPoller,
    now: CoarseInstant,
    got: Vec<String>,
}

impl Scene {
    /// Begins with these rows, which are delivered.
    pub(super) fn begin(rows: impl IntoIterator<Item = StoredRow>) -> Self {
        let now = CoarseInstant::START.plus(Duration::from_secs(1_000));
        let poller = MemoryPoller::start(SavedCursor::default(), BACKLOG, BOOT, now);
        let mut scene = Scene { platform: MemoryFeed::of(rows), poller, now, got: Vec::new() };
        scene.poll();
        scene
    }

    /// Polls, and returns what was delivered: a row that was stepped over with a `!`.
    pub(super) fn poll(&mut self) -> Vec<String> {
        self.poll_with(&mut |_| Fate::Handled)
    }

    fn poll_with(&mut self, fate: &mut dyn FnMut(&str) -> Fate) -> Vec<String> {
        let mut got = Vec::new();
        self.poller.poll(&mut self.platform, self.now, &mut |row| match row {
            Got::Row(id) => {
                let fate = fate(&id);
                if fate == Fate::Handled {
                    got.push(id.to_string());
                }
                fate
            }
            Got::Large(id) => {
                got.push(format!("{id}!"));
                Fate::Handled
            }
        });
        self.got.extend(got.clone());
        got
    }

    /// Lets time pass in polls of five seconds. Returns what they delivered.
    pub(super) fn pass(&mut self, seconds: u64) -> Vec<String> {
        let mut got = Vec::new();
        for _ in 0..seconds.div_ceil(5) {
            self.now = self.now.plus(Duration::from_secs(5));
            got.extend(self.poll());
        }
        got
    }

    /// Lets the time pass after which everything is settled.
    pub(super) fn settle(&mut self) -> Vec<String> {
        self.pass(LATE.as_secs() + 15)
    }

    /// Begins a new process, with what is saved.
    pub(super) fn restart(&mut self) {
        self.poller = MemoryPoller::start(self.poller.saved.clone(), BACKLOG, BOOT, self.now);
    }

    pub(super) fn anchor(&self) -> Option<(&'static str, String)> {
        let kind = match self.poller.cursor.anchor()? {
            Anchor::Behind(_) => "behind",
            Anchor::Open(_) => "open",
            Anchor::Pruned(_) => "pruned",
        };
        self.poller.cursor.anchor().map(|anchor| (kind, anchor.row().id.to_string()))
    }

    /// Asserts that everything is settled, with the anchor at `id`, and that a restart delivers nothing.
    pub(super) fn assert_settled(&mut self, id: &str) {
        assert_eq!(self.anchor(), Some(("behind", id.to_owned())));
        assert!(self.poller.cursor.window.is_empty(), "{:?}", self.poller.cursor.window);
        assert_eq!(self.poller.feed.since_id, SinceIdSupport::Known);
        self.restart();
        assert_eq!(self.settle(), [""; 0], "after a restart");
    }
}

pub(super) fn row(micros: u64, seq: i64, id: &str) -> StoredRow {
    StoredRow::new(micros, seq, id)
}

#[test]
fn rows_are_delivered_once_and_in_order() {
    let mut scene = Scene::begin((0..9).map(|n| row(n, n as i64, &n.to_string())));
    assert_eq!(scene.got, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(scene.anchor(), Some(("open", "0".to_owned())));
    scene.platform.commit(row(20, 20, "9"));
    assert_eq!(scene.poll(), ["9"]);
    assert_eq!(scene.settle(), [""; 0]);
    scene.assert_settled("9");
}

#[test]
fn late_row_is_found_until_the_rows_behind_it_are_settled() {
    let mut scene = Scene::begin([row(0, 1, "a")]);
    scene.settle();
    scene.platform.commit(row(100, 9, "z"));
    assert_eq!(scene.poll(), ["z"]);
    for n in 0..12 {
        scene.platform.commit(row(50 + n, n as i64, &format!("late {n}")));
        assert_eq!(scene.pass(5).len() + scene.pass(5).len(), usize::from(n < 6), "{n}");
    }
    assert_eq!(scene.anchor(), Some(("behind", "z".to_owned())));
}

#[test]
fn late_row_before_the_first_one_of_an_empty_inbox_is_found() {
    let mut scene = Scene::begin([]);
    assert_eq!((scene.anchor(), scene.pass(300)), (None, vec![]));
    scene.platform.commit(row(100, 9, "first"));
    assert_eq!(scene.poll(), ["first"]);
    assert_eq!(scene.anchor(), Some(("open", "first".to_owned())));
    scene.platform.commit(row(50, 3, "earlier"));
    scene.platform.commit(row(40, 4, "large").large());
    scene.platform.commit(row(100, 2, "of its time"));
    let mut got = scene.pass(10);
    got.sort();
    assert_eq!(got, ["earlier", "large!", "of its time"]);
    assert_eq!(scene.anchor(), Some(("open", "large".to_owned())));
    scene.restart();
    scene.platform.commit(row(30, 1, "oldest"));
    assert_eq!(scene.pass(10), ["oldest"]);
    assert_eq!(scene.settle(), [""; 0]);
    scene.assert_settled("first");
}

/// The large row is the second of four that have one time.
#[test]
fn rows_of_one_microsecond_beside_a_large_one_are_found() {
    for restarts in [false, true] {
        let mut scene = Scene::begin([row(0, 1, "a")]);
        scene.settle();
        scene.platform.commit(row(100, 20, "large").large());
        scene.platform.commit(row(100, 30, "higher"));
        assert_eq!(scene.poll(), ["large!", "higher"]);
        if restarts {
            scene.restart();
        }
        scene.platform.commit(row(100, 10, "lower"));
        scene.platform.commit(row(100, 25, "between").large());
        scene.platform.commit(row(100, 40, "highest"));
        let mut got = scene.settle();
        got.sort();
        assert_eq!(got, ["between!", "highest", "lower"]);
        scene.assert_settled("highest");
    }
}

#[test]
fn large_row_is_reported_once_though_a_row_of_its_time_is_settled_first() {
    let mut scene = Scene::begin([row(0, 1, "a")]);
    scene.settle();
    scene.platform.commit(row(100, 10, "lower"));
    assert_eq!(scene.poll(), ["lower"]);
    scene.pass(40);
    scene.platform.commit(row(100, 20, "large").large());
    assert_eq!(scene.pass(10), ["large!"]);
    assert_eq!(scene.settle(), [""; 0]);
    scene.platform.commit(row(200, 30, "next"));
    assert_eq!(scene.settle(), ["next"]);
    scene.assert_settled("next");
}

#[test]
fn large_row_is_the_anchor() {
    let mut scene = Scene::begin([row(0, 1, "a"), row(50, 10, "large").large()]);
    assert_eq!(scene.got, ["a", "large!"]);
    scene.settle();
    scene.assert_settled_at_large_row("large");
    scene.platform.commit(row(50, 11, "of its time"));
    scene.platform.commit(row(60, 12, "next"));
    assert_eq!(scene.poll(), ["of its time", "next"]);
    assert_eq!(scene.settle(), [""; 0]);
    scene.assert_settled("next");
}

impl Scene {
    /// Asserts that the anchor is a row that was stepped over, before and after a restart.
    fn assert_settled_at_large_row(&mut self, id: &str) {
        for _ in 0..2 {
            assert_eq!(self.anchor(), Some(("behind", id.to_owned())));
            assert!(self.poller.cursor.large_rows().contains(id), "it is not read again");
            self.restart();
            assert_eq!(self.settle(), [""; 0]);
        }
    }
}

#[test]
fn late_large_row_is_stepped_over() {
    let mut scene = Scene::begin([row(0, 1, "a")]);
    scene.settle();
    scene.platform.commit(row(100, 5, "z"));
    scene.poll();
    scene.platform.commit(row(50, 6, "large").large());
    scene.platform.commit(row(51, 7, "behind it"));
    scene.platform.commit(row(52, 8, "small"));
    assert_eq!(scene.pass(10), ["large!", "behind it", "small"]);
    scene.restart();
    assert_eq!(scene.settle(), [""; 0]);
    scene.assert_settled("z");
}

#[test]
fn head_of_a_large_row_is_asked_for_where_its_id_does_not_come() {
    let hidden = |row: StoredRow| StoredRow { kind: RowKind::LateId, ..row.large() };
    let mut scene = Scene::begin([row(0, 1, "a"), hidden(row(1, 2, "b")), row(2, 3, "c"), hidden(row(3, 4, "d"))]);
    assert_eq!(scene.got, ["a", "b!", "c", "d!"]);
    scene.platform.commit(hidden(row(2, 9, "e")));
    assert_eq!(scene.pass(10), ["e!"]);
    assert_eq!(scene.settle(), [""; 0]);
}

/// The first listing begins at the oldest row of the backlog, whichever it is.
#[test]
fn backlog_begins_with_a_large_row() {
    for kind in [RowKind::Message, RowKind::LateId] {
        let large = |row: StoredRow| StoredRow { kind, ..row.large() };
        let scene = Scene::begin([large(row(0, 1, "a")), row(1, 2, "b"), large(row(1, 3, "c")), row(2, 4, "d")]);
        let mut got = scene.got;
        got.sort();
        assert_eq!(got, ["a!", "b", "c!", "d"], "{kind:?}");
    }
}

#[test]
fn row_that_is_not_handled_holds_the_anchor_and_comes_again() {
    let mut scene = Scene::begin([row(0, 1, "a")]);
    scene.settle();
    for n in 1..9 {
        scene.platform.commit(row(10 * n, n as i64, &n.to_string()));
    }
    for _ in 0..30 {
        scene.poll_with(&mut |id| if id == "5" { Fate::Stopped } else { Fate::Handled });
        scene.now = scene.now.plus(Duration::from_secs(5));
    }
    assert_eq!(scene.got, ["a", "1", "2", "3", "4"]);
    assert!(scene.poller.cursor.anchor().is_some_and(|anchor| anchor.row().seq < 5));
    assert_eq!(scene.poller.cursor.window.state("5"), Some(RowState::Listed));
    assert_eq!(scene.poll(), ["5", "6", "7", "8"]);
    scene.settle();
    scene.assert_settled("8");
}

#[test]
fn first_start_skips_what_is_older_than_the_backlog() {
    let platform = || MemoryFeed::of((0..20).map(|n| row(1_000_000 * n, n as i64, &n.to_string())));
    for (backlog, first, anchor) in [(5, 15, "14"), (1, 19, "18"), (1_000, 0, "0")] {
        let now = CoarseInstant::START.plus(Duration::from_secs(1_000));
        let mut poller = MemoryPoller::start(SavedCursor::default(), Duration::from_secs(backlog), BOOT, now);
        let mut platform = platform();
        platform.now = Some(row(19_999_999, 0, "").key.at);
        for page_size in [1, 3, 500] {
            poller.page_size = page_size;
            let mut got = Vec::new();
            poller.poll(&mut platform, now, &mut |row| {
                got.push(row);
                Fate::Handled
            });
            let expected = if page_size == 1 { 20 - first } else { 0 };
            assert_eq!(got.len(), expected, "{backlog}");
        }
        assert_eq!(&*poller.cursor.anchor().unwrap().row().id, anchor);
    }
}

/// Half of the rows are listed by the look back itself.
#[test]
fn platform_that_lists_by_time_delivers_each_row_once() {
    let mut scene = Scene::begin([]);
    scene.platform.is_old = true;
    for n in 0..40 {
        scene.platform.commit(row(n / 3, 0, &n.to_string()));
        if n % 7 == 0 {
            scene.pass(5);
        }
        scene.poller.page_size = 4 + n as usize % 3;
    }
    scene.pass(5);
    let sorted = || (0..40).map(|n| n.to_string());
    assert_eq!((scene.got.len(), sorted().all(|id| scene.got.contains(&id))), (40, true), "{:?}", scene.got);
    assert_eq!(scene.poller.feed.since_id, SinceIdSupport::Ignored);
    assert_eq!(scene.settle(), [""; 0]);
    scene.restart();
    assert_eq!(scene.settle(), [""; 0], "after a restart");
}

/// It was given up, and must not hold up the others again at each visit of the tail.
#[test]
fn row_that_was_given_up_as_too_slow_may_be_as_slow_again() {
    let mut scene = Scene::begin([StoredRow::new(0, 1, "a")]);
    scene.platform.commit(StoredRow::new(5, 2, "slow").large());
    assert_eq!(scene.poll(), ["slow!"]);
    scene.now = scene.now.plus(Duration::from_secs(15));
    let MemoryPoller { feed, cursor, .. } = &mut scene.poller;
    let mut stalled = 0;
    for _ in 0..20 {
        let request = feed.next_request(cursor, scene.now);
        let fetched = match &request.rows {
            RowsToList::After { before: Some(_), .. } if request.limit == Some(1) => {
                stalled += 1;
                let head = RowHead { id: Some("slow".to_owned()), at: None, fields: Map::new() };
                Fetched::Stalled(head, Error::new(ErrorKind::Timeout, "its body does not come"))
            }
            _ => scene.platform.answer(&request, 500, cursor.large_rows()),
        };
        if let Ok(PageNews::NothingMore) =
            feed.take(fetched, &request, cursor, scene.now).map_err(|error| panic!("{error}"))
        {
            break;
        }
    }
    assert_eq!(stalled, 1);
}
