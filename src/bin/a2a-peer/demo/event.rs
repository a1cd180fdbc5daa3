//! The events of the demo, and how a callback's call is printed.

use std::io::{self, Write};
use std::time::Duration;

use a2a_blocking::{InboxMessage, Peer};
use serde_json::json;

use crate::table::Table;
use crate::text::{format_duration, json_line, millis};

/// An event, in the order in which the main thread prints it.
pub(super) enum DemoEvent {
    /// A callback has returned, or a message went to the dead letters.
    Handled(CallbackRecord),
    /// The registry answers again.
    RegistryUp,
    /// The registry stops answering.
    RegistryDown,
    /// Ctrl-C.
    Interrupted,
}

/// One call of a callback.
pub(super) struct CallbackRecord {
    /// Number of the workspace, from zero.
    pub(super) workspace: usize,
    pub(super) workspace_id: String,
    /// Time since the start of the demo.
    pub(super) at: Duration,
    pub(super) message: InboxMessage,
    /// The sender's record, if it was known without waiting.
    pub(super) sender: Option<Peer>,
    pub(super) outcome: CallbackOutcome,
    pub(super) took: Duration,
}

/// The outcome of one call of a callback.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum CallbackOutcome {
    Acked,
    Answered,
    /// The answer was refused for good, because its recipient is gone. The message is acked.
    Refused,
    Failed,
    Panicked,
    /// Every delivery attempt failed: the message went to the dead letters.
    GivenUp,
}

impl CallbackOutcome {
    /// Returns true where the message counts as delivered.
    pub(super) fn is_delivered(self) -> bool {
        matches!(self, CallbackOutcome::Acked | CallbackOutcome::Answered | CallbackOutcome::Refused)
    }

    fn as_str(self) -> &'static str {
        match self {
            CallbackOutcome::Acked => "acked",
            CallbackOutcome::Answered => "answered",
            CallbackOutcome::Refused => "refused",
            CallbackOutcome::Failed => "failed",
            CallbackOutcome::Panicked => "panicked",
            CallbackOutcome::GivenUp => "given up",
        }
    }
}

impl CallbackRecord {
    /// Returns true where the message is not delivered again.
    pub(super) fn is_final(&self) -> bool {
        self.outcome.is_delivered() || self.outcome == CallbackOutcome::GivenUp
    }

    /// Returns the columns of the table that [`print_row`](Self::print_row) fills.
    pub(super) fn table() -> Table {
        Table::new(
            &[("     AT", 7), ("INBOX", 5), ("FROM", 24), ("TEXT", 26), ("DONE", 10), ("TOOK", 7)],
            &[3, 2, 4, 5, 1, 0],
        )
    }

    pub(super) fn print_row(&self, table: &Table, out: &mut impl Write) -> io::Result<()> {
        let from = match (&self.sender, self.message.peer()) {
            (Some(peer), _) => format!("{} ({})", peer.name().unwrap_or("?"), peer.role().unwrap_or("?")),
            (None, Some(id)) => format!("unknown ({}…)", &id.to_string()[..8]),
            (None, None) => "the human".to_owned(),
        };
        let (at, took) = (format!("{:>7}", format_duration(self.at)), format_duration(self.took));
        let workspace = self.workspace.to_string();
        table.print_row(out, &[&at, &workspace, &from, self.message.text(), self.outcome.as_str(), &took])
    }

    pub(super) fn print_json(&self, out: &mut impl Write) -> io::Result<()> {
        let message = &self.message;
        let (id, kind, record) =
            (message.activity_id(), message.kind().as_str(), self.sender.as_ref().map(Peer::as_json));
        let line = json!({ "workspace": self.workspace_id, "id": id, "kind": kind, "text": message.text(),
            "record": record, "delivery_attempt": message.delivery_attempt(), "done": self.outcome.as_str(),
            "ms": millis(self.took) });
        writeln!(out, "{}", json_line(&line))
    }
}
