//! The account of a storm: what became of each row.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use a2a_blocking::testing::LedgerEntry;

use super::senders::Sent;

/// The lines that the children wrote, in the order of writing.
pub struct Journal {
    entries: Vec<JournalEntry>,
    /// Messages that were delivered or given up.
    messages: HashSet<String>,
    /// Their rows.
    rows: HashSet<String>,
}

struct JournalEntry {
    is_dead: bool,
    row: String,
    message: String,
    at: u64,
}

impl Journal {
    pub fn read(dir: &Path) -> Journal {
        let text = fs::read_to_string(dir.join("journal")).unwrap_or_default();
        let entries: Vec<JournalEntry> = text.lines().filter_map(JournalEntry::parse).collect();
        let messages = entries.iter().map(|entry| entry.message.clone()).collect();
        let rows = entries.iter().map(|entry| entry.row.clone()).collect();
        Journal { entries, messages, rows }
    }

    /// Returns whether a row was delivered or given up.
    fn has_row(&self, row: &str) -> bool {
        self.rows.contains(row)
    }

    /// Returns whether each row is accounted for, itself or by its message.
    pub fn has_all(&self, rows: &[LedgerEntry]) -> bool {
        let has_message = |row: &LedgerEntry| row.message_id.as_ref().is_some_and(|id| self.messages.contains(id));
        rows.iter().all(|row| self.has_row(&row.row_id) || has_message(row))
    }
}

impl JournalEntry {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, row, message, at] = words[..] else { return None };
        let at = at.parse().ok()?;
        Some(JournalEntry { is_dead: what == "dead", row: row.to_owned(), message: message.to_owned(), at })
    }
}

/// Times of a storm.
#[derive(Debug)]
pub struct Times {
    /// When messages had to wait because of a fault, in microseconds since 1970.
    pub disturbed: Vec<(u64, u64)>,
    /// How long the poller went on after the removal. `None` if it did not end by it.
    pub removed_in: Option<Duration>,
    pub took: Duration,
    /// Bytes that the poller read, as a multiple of those that listing each row once takes.
    pub bytes: f64,
}

/// The outcome of a storm.
#[derive(Debug)]
pub struct Account {
    pub rows: usize,
    pub messages: usize,
    pub delivered: usize,
    pub dead_lettered: usize,
    /// Rows whose message was delivered as another row.
    pub twins: usize,
    /// Rows that are accounted for by nothing.
    pub lost: Vec<String>,
    /// Deliveries of a message beyond the first.
    pub repeats: usize,
    /// Deliveries of one message as two rows.
    pub twice: Vec<String>,
    pub kills: usize,
    /// Waits of messages that came while nothing was wrong.
    pub undisturbed: Waits,
    /// Waits of the others.
    pub disturbed: Waits,
    pub times: Times,
}

/// Times from the commit of rows to the callback.
#[derive(Debug, Default)]
pub struct Waits {
    pub count: usize,
    pub median: Duration,
    pub p99: Duration,
    pub longest: Duration,
}

impl Waits {
    fn new(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let wait = |permille: usize| {
            let at = (micros.len() * permille / 1_000).min(micros.len().saturating_sub(1));
            Duration::from_micros(micros.get(at).copied().unwrap_or_default())
        };
        Waits { count: micros.len(), median: wait(500), p99: wait(990), longest: wait(1_000) }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waits { count, median, p99, longest } = self;
        write!(f, "{count} messages, median {median:.1?}, 99 % {p99:.1?}, longest {longest:.1?}")
    }
}

impl Account {
    pub fn new(rows: &[LedgerEntry], sent: &[Sent], journal: &Journal, kills: usize, times: Times) -> Account {
        let (mut twins, mut lost) = (0, Vec::new());
        for row in rows {
            let message = row.message_id.as_deref().unwrap_or_default();
            if !journal.has_row(&row.row_id) {
                match journal.messages.contains(message) {
                    true => twins += 1,
                    false => lost.push(format!("{} {message}", row.row_id)),
                }
            }
        }
        // The same row again is a repetition after a kill. The same message in another row is none.
        let (mut first, mut repeats, mut twice) = (HashMap::new(), 0, Vec::new());
        // Of a row with a field that cannot be read, the message is not known.
        for entry in journal.entries.iter().filter(|entry| !entry.is_dead) {
            let message = if entry.message == "-" { &entry.row } else { &entry.message };
            match first.insert(message, &entry.row) {
                Some(row) if *row == entry.row => repeats += 1,
                Some(row) => twice.push(format!("{message} {row} {}", entry.row)),
                None => {}
            }
        }
        let accepted: HashMap<&str, u64> = sent.iter().map(|sent| (sent.message_id.as_str(), sent.at)).collect();
        let mut seen = HashSet::new();
        let (mut undisturbed, mut disturbed) = (Vec::new(), Vec::new());
        for entry in journal.entries.iter().filter(|entry| seen.insert(&entry.message)) {
            if let Some(at) = accepted.get(entry.message.as_str()) {
                let is_disturbed = times.disturbed.iter().any(|(from, to)| (*from..=*to).contains(at));
                let waits = if is_disturbed { &mut disturbed } else { &mut undisturbed };
                waits.push(entry.at.saturating_sub(*at));
            }
        }
        let dead = journal.entries.iter().filter(|entry| entry.is_dead).map(|entry| &entry.row);
        Account {
            rows: rows.len(),
            messages: sent.len(),
            delivered: first.len(),
            dead_lettered: dead.collect::<HashSet<_>>().len(),
            twins,
            lost,
            repeats,
            twice,
            kills,
            undisturbed: Waits::new(undisturbed),
            disturbed: Waits::new(disturbed),
            times,
        }
    }

    /// Returns whether nothing was lost, and nothing was repeated but once by a kill.
    pub fn is_clean(&self) -> bool {
        let is_accounted = self.delivered + self.dead_lettered + self.twins >= self.rows;
        self.lost.is_empty()
            && self.twice.is_empty()
            && self.repeats <= self.kills
            && is_accounted
            && self.times.removed_in.is_some()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { rows, messages, delivered, dead_lettered, twins, lost, repeats, twice, kills, .. } = self;
        writeln!(f, "{rows} rows of {messages} messages, {kills} kills, in {:.0?}", self.times.took)?;
        writeln!(f, "delivered {delivered}, given up {dead_lettered}, rows of a message that was delivered {twins}")?;
        writeln!(f, "lost {}, repeated {repeats}, as two rows {}", lost.len(), twice.len())?;
        writeln!(
            f,
            "from the sender's answer to the callback: {}; during faults {}",
            self.undisturbed, self.disturbed
        )?;
        writeln!(f, "bytes: {:.2} times those of listing each row once", self.times.bytes)?;
        write!(f, "the poller ended {:.1?} after the removal", self.times.removed_in)?;
        let shown = lost.iter().chain(twice).take(20);
        shown.into_iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
