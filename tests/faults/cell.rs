//! The parts of the table: calls, their results, and cells.

use std::ops::RangeInclusive;

use a2a_blocking::Delivery;
pub use a2a_blocking::ErrorKind;

use crate::peer::Fault;

pub const CALLS: [Call; 10] = [
    Call::Enrich,
    Call::Nonblocking,
    Call::Discover,
    Call::Peers,
    Call::Workspace,
    Call::Send,
    Call::Poll,
    Call::Register,
    Call::UpdateCard,
    Call::Download,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Enrich,
    Nonblocking,
    Discover,
    Peers,
    Workspace,
    Send,
    Poll,
    Register,
    UpdateCard,
    /// A file, with its acknowledgement.
    Download,
}

/// Result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The expected result: a record, a list, a reply, rows, or a whole file.
    Good,
    /// A lookup that the registry answered with "no such peer". An older record is dropped.
    Absent,
    /// A lookup without a usable answer. An older record is returned instead.
    Failed,
    /// A background lookup that was not made. Nothing is remembered.
    Unasked,
    Error(ErrorKind),
}

/// One result that a cell allows.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub answer: Answer,
    /// Number of attempts of a send. For other calls the number of requests, or of connections where no request
    /// arrives.
    pub tries: RangeInclusive<u32>,
    /// Delivery that is reported. `NotSent` for a call that sends no message.
    pub delivery: &'static [Delivery],
    /// Rows that a poll delivers during the fault. `None` is all of them where it is good, and none where it fails.
    pub rows: Option<usize>,
}

#[derive(Debug, Clone)]
pub enum Cell {
    /// One of these results. There are several where the kernel decides how much of the fault the client sees.
    Any(Vec<Outcome>),
    /// The fault cannot happen to this call. Contains the reason.
    Pointless(&'static str),
}

/// Furthest point that an attempt reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// No connection.
    Nothing,
    /// A connection on which the peer reads no whole request.
    Connection,
    /// The whole request is read.
    Request,
}

/// The timeout that ends the call. The test sets those that it can choose to short values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wait {
    /// No timeout. All of them are long.
    Quick,
    /// The silence timeout ends an attempt of a send, so there are several attempts.
    Silence,
    /// The budget ends a send.
    Budget,
}

/// A fault, and the result of each call.
#[derive(Clone)]
pub struct Row {
    /// Heading in the README's table.
    pub group: &'static str,
    pub name: String,
    pub fault: Fault,
    pub reach: Reach,
    pub wait: Wait,
    /// Length of the message's text, or of the description on the card, in bytes.
    pub upload: usize,
    cells: [Cell; 10],
}

pub const NOT_SENT: &[Delivery] = &[Delivery::NotSent];
pub const UNKNOWN: &[Delivery] = &[Delivery::Unknown];
pub const DELIVERED: &[Delivery] = &[Delivery::Delivered];
pub const ACCEPTED: &[Delivery] = &[Delivery::Accepted];
/// The kernel decides how much of the upload it takes.
pub const NOT_DELIVERED: &[Delivery] = &[Delivery::NotSent, Delivery::Unknown];

pub fn good() -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Good, tries: 1..=1, delivery: NOT_SENT, rows: None }])
}

/// A lookup with this result, by one request.
pub fn lookup(answer: Answer) -> Cell {
    Cell::Any(vec![Outcome { answer, tries: 1..=1, delivery: NOT_SENT, rows: None }])
}

/// An error by one request.
pub fn error(kind: ErrorKind) -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Error(kind), tries: 1..=1, delivery: NOT_SENT, rows: None }])
}

/// A poll that delivers so many rows, and fails with its next request.
pub fn error_after(rows: usize, kind: ErrorKind) -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Error(kind), tries: 2..=2, delivery: NOT_SENT, rows: Some(rows) }])
}

/// A poll that counts entries which it cannot read, and delivers none.
pub fn unread() -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Good, tries: 1..=1, delivery: NOT_SENT, rows: Some(0) }])
}

/// A send that gets a reply at its first attempt.
pub fn replied() -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Good, tries: 1..=1, delivery: DELIVERED, rows: None }])
}

/// A send that fails after this number of attempts.
pub fn unsent(kind: ErrorKind, attempts: u32, delivery: &'static [Delivery]) -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Error(kind), tries: attempts..=attempts, delivery, rows: None }])
}

/// A row in which all lookups have one result, and all other calls but sends another one.
pub fn row(name: impl Into<String>, fault: Fault, looked_up: Answer, get: Cell, send: Cell) -> Row {
    let lookup = lookup(looked_up);
    let others = [get.clone(), get.clone(), get.clone(), get.clone()];
    let [poll, register, update_card, download] = others;
    let cells = [lookup.clone(), lookup, get.clone(), get.clone(), get, send, poll, register, update_card, download];
    Row { group: "", name: name.into(), fault, reach: Reach::Request, wait: Wait::Quick, upload: 2, cells }
}

/// Puts the rows under one heading of the README's table.
pub fn group(words: &'static str, rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    rows.into_iter().map(|row| row.under(words)).collect()
}

impl Row {
    /// Sets the heading in the README's table.
    pub fn under(self, group: &'static str) -> Row {
        Row { group, ..self }
    }

    pub fn reach(self, reach: Reach) -> Row {
        Row { reach, ..self }
    }

    pub fn wait(self, wait: Wait) -> Row {
        Row { wait, ..self }
    }

    /// Sets the length of the message's text, or of the description on the card, in bytes.
    pub fn upload(self, upload: usize) -> Row {
        Row { upload, ..self }
    }

    /// Replaces the cell of one call.
    pub fn but(mut self, call: Call, cell: Cell) -> Row {
        self.cells[call as usize] = cell;
        self
    }

    /// Says that nothing of a page comes. The poll asks for one row, to see whether only the page is slow, and then fails.
    pub fn nothing_of_a_page(mut self) -> Row {
        if let Cell::Any(outcomes) = &mut self.cells[Call::Poll as usize] {
            outcomes.iter_mut().for_each(|outcome| outcome.tries = 2..=2);
        }
        self
    }

    /// Leaves only the calls that upload something.
    pub fn uploads_only(mut self) -> Row {
        for call in CALLS.into_iter().filter(|call| *call != Call::Send && !call.asks_before()) {
            self.cells[call as usize] = Cell::Pointless("it uploads nothing");
        }
        self
    }

    pub fn cell(&self, call: Call) -> &Cell {
        &self.cells[call as usize]
    }
}

impl Call {
    pub fn name(self) -> &'static str {
        match self {
            Call::Enrich => "enrich",
            Call::Nonblocking => "enrich_nonblocking",
            Call::Discover => "discover",
            Call::Peers => "peers",
            Call::Workspace => "workspace",
            Call::Send => "send",
            Call::Poll => "poll_once",
            Call::Register => "register",
            Call::UpdateCard => "update_card",
            Call::Download => "write_to",
        }
    }

    /// Returns whether the call asks the platform about our workspace before it posts. The fault is that of the POST.
    pub fn asks_before(self) -> bool {
        matches!(self, Call::Register | Call::UpdateCard)
    }
}
