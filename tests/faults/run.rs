//! Runs cells and compares the results with the table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Value, json};

use crate::calls::{AFTER, FILE_PATH, Observed, Site, TOKEN, card, inbox, run_call};
use crate::cell::{Answer, Call, Cell, Outcome, Reach, Row, Wait};
use crate::peer::{Counts, Fault, Peer};
use crate::support::{PEER, Request, WORKSPACE};

/// A platform in this process.
pub struct Here {
    pub peer: Peer,
    /// Least number of connections and requests to expect.
    made: (usize, usize),
    counts: Option<Counts>,
    sent: Vec<Request>,
}

impl Here {
    pub fn new(fault: &Fault) -> Here {
        Here { peer: Peer::new(fault, inbox()), made: (0, 0), counts: None, sent: Vec::new() }
    }

    /// Prepares the next cell.
    pub fn set(&mut self, row: &Row, call: Call, outcomes: &[Outcome]) {
        let least = outcomes.iter().map(|outcome| *outcome.tries.start()).min().unwrap_or(0) as usize;
        self.made = match row.reach {
            Reach::Nothing => (0, 0),
            Reach::Connection => (least, 0),
            Reach::Request => (1, least),
        };
        self.counts = None;
        self.peer.set(&row.fault, call.asks_before());
    }

    /// Returns the counts of the first fault.
    pub fn counts(&self) -> Option<Counts> {
        self.counts
    }

    /// Returns the requests of the first fault.
    pub fn sent(&self) -> &[Request] {
        &self.sent
    }
}

impl Site for Here {
    fn url(&self) -> String {
        format!("http://{}", self.peer.address())
    }

    fn begins_well(&self) -> bool {
        self.peer.begins_well()
    }

    fn break_down(&mut self) {
        self.peer.break_down();
    }

    fn heal(&mut self) {
        let made = if self.counts.is_none() { self.made } else { (0, 0) };
        let counts = self.peer.heal(made);
        if self.counts.is_none() {
            self.counts = Some(counts);
            self.sent = self.peer.sent();
        }
    }
}

/// Runs the cell on a platform in this process.
pub fn here(row: &Row, call: Call, site: &mut Here, dir: &Path) -> Result<(), String> {
    let Cell::Any(outcomes) = row.cell(call) else { return Ok(()) };
    site.set(row, call, outcomes);
    let observed = caught(|| run_call(call, row.wait, row.upload, site, dir))?;
    check(row, call, outcomes, &observed, site)
}

/// Checks that the call sent what belongs to it, and ended as one of the outcomes says.
pub fn check(row: &Row, call: Call, outcomes: &[Outcome], observed: &Observed, site: &Here) -> Result<(), String> {
    let counts = site.counts().ok_or("it was never repaired")?;
    let (sent, counts) = match site.sent() {
        // After a 401, a call asks whether the platform removed our workspace.
        // A file that was fetched is acknowledged.
        [sent @ .., last]
            if (is_question(call, last) && observed.answer.contains("Unauthorized"))
                || (is_ack(call, last) && observed.answer == "Good") =>
        {
            let (connections, requests) = (counts.connections, counts.requests.saturating_sub(1));
            (sent, Counts { connections: connections.min(requests), requests, ..counts })
        }
        sent => (sent, counts),
    };
    check_requests(call, row.upload, sent)?;
    check_outcome(row, call, outcomes, observed, counts)
}

fn is_question(call: Call, request: &Request) -> bool {
    let asks = !matches!(call, Call::Enrich | Call::Nonblocking | Call::Workspace);
    asks && request.method == "GET" && request.path == format!("/workspaces/{WORKSPACE}")
}

fn is_ack(call: Call, request: &Request) -> bool {
    call == Call::Download && request.method == "POST" && request.path == format!("{FILE_PATH}/ack")
}

/// Checks that each request belongs to the call and has our headers. A message must be the same at each attempt.
fn check_requests(call: Call, upload: usize, sent: &[Request]) -> Result<(), String> {
    for request in sent {
        let Request { method, path, body, .. } = request;
        let expected = match call {
            Call::Enrich | Call::Nonblocking | Call::Discover => format!("GET /registry/discover/{PEER}"),
            Call::Peers => format!("GET /registry/{WORKSPACE}/peers"),
            Call::Workspace => format!("GET /workspaces/{WORKSPACE}"),
            Call::Poll => format!("GET /workspaces/{WORKSPACE}/activity"),
            Call::Send => format!("POST /workspaces/{PEER}/a2a"),
            Call::Register => "POST /registry/register".to_owned(),
            Call::UpdateCard => "POST /registry/update-card".to_owned(),
            Call::Download => format!("GET {FILE_PATH}/content"),
        };
        let path = path.split('?').next().unwrap_or_default();
        let bearer = format!("Bearer {TOKEN}");
        let is_ours = request.header("authorization") == Some(&bearer) && request.header("origin").is_none();
        let is_whole = match call {
            Call::Send => is_message(body, upload),
            Call::Register => is_card(body, "id", upload),
            Call::UpdateCard => is_card(body, "workspace_id", upload),
            _ => body.is_empty(),
        };
        let same = sent[0].body == *body;
        if format!("{method} {path}") != expected || !is_ours || !same || !is_whole {
            return Err(format!("it sent {request:?}, expected {expected}"));
        }
    }
    Ok(())
}

/// Returns whether a body is the complete message.
fn is_message(body: &[u8], upload: usize) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
    let message = &body["params"]["message"];
    let is_id = |id: &Value| id.as_str().is_some_and(|id| uuid::Uuid::parse_str(id).is_ok());
    let is_text = message["parts"] == json!([{ "kind": "text", "text": "x".repeat(upload) }]);
    body["method"] == "message/send" && is_id(&body["id"]) && is_id(&message["messageId"]) && is_text
}

/// Returns whether a body is the complete card of our workspace, which `field` names.
fn is_card(body: &[u8], field: &str, upload: usize) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
    body[field] == WORKSPACE && body["agent_card"] == Value::from(card(upload).as_json().clone())
}

/// Turns a panic, of the crate or of an assertion, into an error.
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

fn check_outcome(
    row: &Row,
    call: Call,
    outcomes: &[Outcome],
    observed: &Observed,
    counts: Counts,
) -> Result<(), String> {
    let Counts { connections, requests, elsewhere } = counts;
    let mismatch =
        |what: &str| Err(format!("{what}: {observed:?}, {counts:?}; the table has {outcomes:?}, {:?}", row.reach));
    let tries = match (observed.attempts, row.reach) {
        (Some(attempts), _) => Some(attempts as usize),
        (None, Reach::Nothing) => None,
        (None, Reach::Connection) => Some(connections),
        (None, Reach::Request) => Some(requests),
    };
    let fits = |outcome: &Outcome| {
        // Where a GET request has timed out, a busy machine may not have handled it.
        let none = tries == Some(0) && row.wait != Wait::Quick;
        // A poll that lists something new looks for late rows, too.
        let is_good_poll = call == Call::Poll && matches!(outcome.answer, Answer::Good);
        let is_listed = |tries| {
            let is_in = |tries| outcome.tries.contains(&tries) || (is_good_poll && tries > *outcome.tries.end());
            u32::try_from(tries).is_ok_and(is_in)
        };
        let by_tries = none || tries.is_none_or(is_listed);
        let by_delivery = outcome.delivery.iter().any(|delivery| format!("{delivery:?}") == observed.delivery);
        let is_good = matches!(outcome.answer, Answer::Good);
        let rows = outcome.rows.unwrap_or(if is_good { AFTER as usize } else { 0 });
        let by_rows = call != Call::Poll || rows == observed.rows;
        format!("{:?}", outcome.answer) == observed.answer && by_tries && by_delivery && by_rows
    };
    if !outcomes.iter().any(fits) {
        return mismatch("another result");
    }
    let tries = tries.unwrap_or(0);
    let reached = match row.reach {
        Reach::Nothing => (connections, requests) == (0, 0),
        Reach::Connection => (connections, requests) == (tries, 0),
        // Each attempt of a message uses a new connection.
        Reach::Request if call == Call::Send => (connections, requests) == (tries, tries),
        Reach::Request => connections <= requests || row.wait != Wait::Quick,
    };
    if !reached || elsewhere > 0 {
        return mismatch("other connections or requests");
    }
    Ok(())
}

/// Returns whether the call is made for this row.
pub fn is_run(row: &Row, call: Call) -> bool {
    matches!(row.cell(call), Cell::Any(_))
}
