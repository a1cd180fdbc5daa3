//! What the table is made of: calls, what they answer, and how a cell is written down.

use std::ops::RangeInclusive;

use a2a_blocking::Delivery;
pub use a2a_blocking::ErrorKind;

use crate::peer::Fault;

pub const CALLS: [Call; 7] =
    [Call::Enrich, Call::Nonblocking, Call::Discover, Call::Peers, Call::Workspace, Call::Send, Call::Poll];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Enrich,
    Nonblocking,
    Discover,
    Peers,
    Workspace,
    Send,
    Poll,
}

/// What a call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The record, the list, the reply, the rows.
    Good,
    /// Of a lookup: the registry's own no. An older record is dropped.
    Absent,
    /// Of a lookup: no usable answer. An older record stands in.
    Failed,
    /// Of a lookup that nobody waits for: it was not made, and nothing is remembered.
    Unasked,
    Error(ErrorKind),
}

/// What may come of a cell.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub answer: Answer,
    /// Of a send its attempts; of the others their requests, or where none arrives their connections.
    pub tries: RangeInclusive<u32>,
    /// What is known of the message; for what sends none, that it was not sent.
    pub delivery: &'static [Delivery],
}

#[derive(Debug, Clone)]
pub enum Cell {
    /// One of these: several where the kernel decides what we get to see of the fault.
    Any(Vec<Outcome>),
    /// The fault cannot be made to this call, and why.
    Pointless(&'static str),
}

/// How far a try gets with the peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// No connection.
    Nothing,
    /// A connection on which the peer reads no whole request.
    Connection,
    /// The whole request is read.
    Request,
}

/// Whether a timeout is to end it, and so how short those are that a caller can choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wait {
    /// None: all are long.
    Quick,
    /// Silence ends an attempt of a send, so that there are several.
    Silence,
    /// The budget ends a send.
    Budget,
}

/// A fault, and what each call makes of it.
#[derive(Clone)]
pub struct Row {
    /// The row of the README's table that it belongs to.
    pub group: &'static str,
    pub name: String,
    pub fault: Fault,
    pub reach: Reach,
    pub wait: Wait,
    /// How long the message is that is sent.
    pub upload: usize,
    cells: [Cell; 7],
}

pub const NOT_SENT: &[Delivery] = &[Delivery::NotSent];
pub const UNKNOWN: &[Delivery] = &[Delivery::Unknown];
pub const DELIVERED: &[Delivery] = &[Delivery::Delivered];
pub const ACCEPTED: &[Delivery] = &[Delivery::Accepted];
/// How much of the upload the kernel took is its own affair.
pub const NOT_DELIVERED: &[Delivery] = &[Delivery::NotSent, Delivery::Unknown];

pub fn good() -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Good, tries: 1..=1, delivery: NOT_SENT }])
}

/// A lookup's own answer, by one request.
pub fn lookup(answer: Answer) -> Cell {
    Cell::Any(vec![Outcome { answer, tries: 1..=1, delivery: NOT_SENT }])
}

/// An error by one request.
pub fn error(kind: ErrorKind) -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Error(kind), tries: 1..=1, delivery: NOT_SENT }])
}

/// A send that brings a reply at its first attempt.
pub fn replied() -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Good, tries: 1..=1, delivery: DELIVERED }])
}

/// A send that fails after so many attempts, and what is known of the message then.
pub fn unsent(kind: ErrorKind, attempts: u32, delivery: &'static [Delivery]) -> Cell {
    Cell::Any(vec![Outcome { answer: Answer::Error(kind), tries: attempts..=attempts, delivery }])
}

/// A row of a fault that all lookups, and all other GETs, take alike.
pub fn row(name: impl Into<String>, fault: Fault, looked_up: Answer, asked: Cell, sent: Cell) -> Row {
    let lookup = lookup(looked_up);
    let cells = [lookup.clone(), lookup, asked.clone(), asked.clone(), asked.clone(), sent, asked];
    Row { group: "", name: name.into(), fault, reach: Reach::Request, wait: Wait::Quick, upload: 2, cells }
}

/// The rows under one heading of the README's table.
pub fn group(words: &'static str, rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    rows.into_iter().map(|row| row.under(words)).collect()
}

impl Row {
    /// In that row of the README's table.
    pub fn under(self, group: &'static str) -> Row {
        Row { group, ..self }
    }

    pub fn reach(self, reach: Reach) -> Row {
        Row { reach, ..self }
    }

    pub fn wait(self, wait: Wait) -> Row {
        Row { wait, ..self }
    }

    /// With a large message.
    pub fn upload(self, upload: usize) -> Row {
        Row { upload, ..self }
    }

    /// But for one call.
    pub fn but(mut self, call: Call, cell: Cell) -> Row {
        self.cells[call as usize] = cell;
        self
    }

    /// Of sends alone: the other calls upload nothing.
    pub fn sends_only(mut self) -> Row {
        for call in CALLS.into_iter().filter(|call| *call != Call::Send) {
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
        }
    }
}
