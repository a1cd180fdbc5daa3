//! The summary of the demo: the fate of every message that the platform has.

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::event::{CallbackOutcome, CallbackRecord};
use super::platform::{DemoPlatform, RequestCounts, WORKSPACES};
use super::senders::MESSAGES_PER_WORKSPACE;
use crate::text::{escape_lines, format_duration, millis};

/// Numbers of messages and calls, by the platform's count and by the callbacks'.
pub(super) struct DemoSummary {
    /// Number of messages that the platform has.
    rows: usize,
    delivered: usize,
    /// Number of calls after which the message is delivered again.
    retried: usize,
    dead_lettered: usize,
    twice: usize,
    /// Number of messages that were not handled, or not even written in time.
    lost: usize,
    /// Number of messages whose prompt does not end with their text.
    garbled: usize,
    /// Number of calls that knew the sender's record.
    known_senders: usize,
    requests: RequestCounts,
    /// Longest call that did not send an answer.
    slowest_callback: Duration,
    took: Duration,
    /// The prompt of the last message whose sender was known.
    last_prompt: Option<String>,
}

impl DemoSummary {
    pub(super) fn new(records: &[CallbackRecord], platform: &DemoPlatform, took: Duration) -> Self {
        let ids: Vec<String> = (0..WORKSPACES).flat_map(|workspace| platform.message_ids(workspace)).collect();
        let count =
            |outcomes: &[CallbackOutcome]| records.iter().filter(|record| outcomes.contains(&record.outcome)).count();
        let handled: HashSet<&str> =
            records.iter().filter(|record| record.is_final()).map(|record| record.message.activity_id()).collect();
        let rows = ids.len();
        let unwritten = (MESSAGES_PER_WORKSPACE * WORKSPACES).saturating_sub(rows);
        let delivered = records.iter().filter(|record| record.outcome.is_delivered()).count();
        let dead_lettered = count(&[CallbackOutcome::GivenUp]);
        let sends = [CallbackOutcome::Answered, CallbackOutcome::Refused];
        let without_answer = records.iter().filter(|record| !sends.contains(&record.outcome));
        let with_sender = || records.iter().filter(|record| record.sender.is_some());
        DemoSummary {
            rows,
            delivered,
            retried: count(&[CallbackOutcome::Failed, CallbackOutcome::Panicked]),
            dead_lettered,
            twice: (delivered + dead_lettered).saturating_sub(handled.len()),
            lost: ids.iter().filter(|id| !handled.contains(id.as_str())).count() + unwritten,
            garbled: records.iter().filter(|record| is_garbled(record)).count(),
            known_senders: with_sender().count(),
            requests: platform.request_counts(),
            slowest_callback: without_answer.map(|record| record.took).max().unwrap_or_default(),
            took,
            last_prompt: with_sender().next_back().map(|record| record.message.envelope().content().to_owned()),
        }
    }

    /// Returns true where no message was lost, delivered twice, or garbled.
    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.twice + self.garbled == 0
    }

    pub(super) fn as_json(&self) -> Value {
        let RequestCounts { lookups, messages, notices, heartbeats } = self.requests;
        json!({ "rows": self.rows, "delivered": self.delivered, "retried": self.retried,
            "dead_lettered": self.dead_lettered, "twice": self.twice, "lost": self.lost, "garbled": self.garbled,
            "gets": lookups, "messages": messages, "notices": notices, "heartbeats": heartbeats,
            "slowest_ms": millis(self.slowest_callback) })
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let DemoSummary { rows, delivered, retried, dead_lettered, twice, lost, known_senders, .. } = self;
        let RequestCounts { lookups, messages, notices, heartbeats } = self.requests;
        let (took, slowest) = (format_duration(self.took), format_duration(self.slowest_callback));
        writeln!(
            out,
            "\n{rows} messages by the platform's own count, in {took}; the registry was down for a third of them"
        )?;
        writeln!(
            out,
            "delivered: {delivered}, retried: {retried}, dead-lettered: {dead_lettered}, twice: {twice}, lost: {lost}"
        )?;
        writeln!(
            out,
            "{known_senders} callbacks knew the sender's record; {lookups} lookups, slowest callback without an answer \
             {slowest}"
        )?;
        writeln!(out, "{messages} answers to peers, {notices} to the human, {heartbeats} heartbeats")?;
        if let Some(prompt) = &self.last_prompt {
            writeln!(out, "an agent's prompt of the last message: {}", escape_lines(&prompt.replace('\n', "  ")))?;
        }
        Ok(())
    }
}

/// Returns true where the message's prompt does not end with its text. No text of the demo looks like a header.
fn is_garbled(record: &CallbackRecord) -> bool {
    let message = &record.message;
    !message.envelope().content().ends_with(&format!("]\n{}", message.text()))
}
