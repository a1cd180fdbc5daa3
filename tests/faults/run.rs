//! Runs cells, and holds what came of each against the table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::ask::{Observed, Site, ask, inbox};
use crate::cell::{Call, Cell, Outcome, Reach, Row, Wait};
use crate::peer::{Counts, Fault, Peer};

/// A peer in this process.
pub struct Here {
    pub peer: Peer,
    /// How many connections and requests there will be at the least.
    made: (usize, usize),
    counts: Option<Counts>,
}

impl Here {
    pub fn new(fault: &Fault) -> Here {
        Here { peer: Peer::new(fault, inbox()), made: (0, 0), counts: None }
    }

    /// For the next cell.
    pub fn set(&mut self, row: &Row, outcomes: &[Outcome]) {
        let least = outcomes.iter().map(|outcome| *outcome.tries.start()).min().unwrap_or(0) as usize;
        self.made = match row.reach {
            Reach::Nothing => (0, 0),
            Reach::Connection => (least, 0),
            Reach::Request => (1, least),
        };
        self.counts = None;
        self.peer.set(&row.fault);
    }

    /// What there was while it was broken for the first time.
    pub fn counts(&self) -> Option<Counts> {
        self.counts
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
        self.counts.get_or_insert(counts);
    }
}

/// The cell, on a peer of this process.
pub fn here(row: &Row, call: Call, site: &mut Here, dir: &Path) -> Result<(), String> {
    let Cell::Any(outcomes) = row.cell(call) else { return Ok(()) };
    site.set(row, outcomes);
    let observed = caught(|| ask(call, row.wait, row.upload, site, dir))?;
    check(row, call, outcomes, &observed, site.counts())
}

/// A panic, whether the crate's or that of an assertion, is told with the cell that it is of.
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

pub fn check(
    row: &Row,
    call: Call,
    outcomes: &[Outcome],
    observed: &Observed,
    counts: Option<Counts>,
) -> Result<(), String> {
    let counts = counts.ok_or("it was never well again")?;
    let Counts { connections, requests, elsewhere } = counts;
    let told =
        |what: &str| Err(format!("{what}: {observed:?}, {counts:?}; the table has {outcomes:?}, {:?}", row.reach));
    let tries = match (observed.attempts, row.reach) {
        (Some(attempts), _) => Some(attempts as usize),
        (None, Reach::Nothing) => None,
        (None, Reach::Connection) => Some(connections),
        (None, Reach::Request) => Some(requests),
    };
    let fits = |outcome: &Outcome| {
        // Where a GET's time is over, a busy machine may not have got to it.
        let none = tries == Some(0) && row.wait != Wait::Quick;
        let as_told = |tries| u32::try_from(tries).is_ok_and(|tries| outcome.tries.contains(&tries));
        let by_tries = none || tries.is_none_or(as_told);
        let by_delivery = outcome.delivery.iter().any(|delivery| format!("{delivery:?}") == observed.delivery);
        format!("{:?}", outcome.answer) == observed.answer && by_tries && by_delivery
    };
    if !outcomes.iter().any(fits) {
        return told("another outcome");
    }
    let tries = tries.unwrap_or(0);
    let reached = match row.reach {
        Reach::Nothing => (connections, requests) == (0, 0),
        Reach::Connection => (connections, requests) == (tries, 0),
        // A message has a connection of its own at each attempt.
        Reach::Request if call == Call::Send => (connections, requests) == (tries, tries),
        Reach::Request => connections <= requests || row.wait != Wait::Quick,
    };
    if !reached || elsewhere > 0 {
        return told("it asked otherwise");
    }
    Ok(())
}

/// How many cells of the table say something.
pub fn is_asked(row: &Row, call: Call) -> bool {
    matches!(row.cell(call), Cell::Any(_))
}
