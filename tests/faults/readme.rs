//! The table in `tests/faults/README.md`, generated from the one in [`table`].

use std::collections::BTreeSet;
use std::{env, fs, path::Path};

use a2a_blocking::{Client, Delivery, ErrorKind, Settings};

use crate::calls::POLL_BOUND;
use crate::cell::{Answer, CALLS, Call, Cell, Outcome, Row, Wait};
use crate::{run, table};

const BEGIN: &str = "<!-- faults: begin -->\n";
const END: &str = "<!-- faults: end -->";
const REWRITE: &str = "A2A_WRITE";

/// Compares the README with the table. With `A2A_WRITE` set, writes the README instead.
pub fn check() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/README.md");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("tests/faults/README.md has no place for the table");
    let (found, after) = rest.split_once(END).expect("the table of tests/faults/README.md has no end");
    let table = render();
    if env::var_os(REWRITE).is_some() {
        fs::write(file, [before, BEGIN, &table, END, after].concat()).unwrap();
        return;
    }
    let command = format!("{REWRITE}=1 cargo test --test faults readme_has_the_table");
    assert!(found == table, "tests/faults/README.md is out of date; to rewrite it: {command}");
}

fn render() -> String {
    let rows = [table::table(), table::statuses()].concat();
    let mut headings: Vec<&str> = Vec::new();
    for row in &rows {
        if !headings.contains(&row.group) {
            headings.push(row.group);
        }
    }
    let mut out = format!("| | {} |\n", CALLS.map(|call| format!("`{}`", call.name())).join(" | "));
    out += &format!("| --- |{}\n", " --- |".repeat(CALLS.len()));
    for heading in headings {
        let under = rows.iter().filter(|row| row.group == heading);
        let cells = CALLS.map(|call| words(under.clone(), call));
        out += &format!("| {heading} | {} |\n", cells.join(" | "));
    }
    let cells = rows.iter().flat_map(|row| CALLS.map(|call| (row, call)));
    let cells = cells.filter(|(row, call)| run::is_run(row, *call)).count();
    out + &format!("\n{} faults, {cells} cells.\n", rows.len())
}

/// Describes the results of a call for all of these rows in a few words.
fn words<'a>(rows: impl Iterator<Item = &'a Row>, call: Call) -> String {
    let mut all: Vec<(String, BTreeSet<&str>)> = Vec::new();
    for row in rows {
        let Cell::Any(outcomes) = row.cell(call) else { continue };
        for outcome in outcomes {
            let word = word(call, row.wait, outcome);
            let at = all.iter().position(|(other, _)| *other == word).unwrap_or(all.len());
            if at == all.len() {
                all.push((word, BTreeSet::new()));
            }
            all[at].1.extend(delivery(call, outcome));
        }
    }
    let described = |(word, delivery): (String, BTreeSet<&str>)| match delivery.is_empty() {
        true => word,
        false => format!("{word}: {}", delivery.into_iter().collect::<Vec<_>>().join(" or ")),
    };
    if all.is_empty() { "–".to_owned() } else { all.into_iter().map(described).collect::<Vec<_>>().join("; or ") }
}

/// Returns what is known of the delivery of a message that failed.
fn delivery(call: Call, outcome: &Outcome) -> Vec<&'static str> {
    let failed = call == Call::Send && outcome.answer != Answer::Good;
    let words = |delivery: &Delivery| match delivery {
        Delivery::NotSent => "not sent",
        Delivery::Delivered => "delivered",
        _ => "unknown",
    };
    outcome.delivery.iter().filter(|_| failed).map(words).collect()
}

fn word(call: Call, wait: Wait, outcome: &Outcome) -> String {
    let waits = wait != Wait::Quick;
    let client = Client::builder().workspace_id("w").build().unwrap();
    let Settings { lookup_timeout, call_timeout, .. } = client.settings();
    match (call, outcome.answer) {
        (Call::Enrich | Call::Nonblocking, Answer::Good) => "record".to_owned(),
        (Call::Enrich | Call::Nonblocking, Answer::Absent) => "`None`".to_owned(),
        (Call::Enrich, Answer::Failed) if waits => format!("older or `None`, at {} s", lookup_timeout.as_secs()),
        (Call::Enrich | Call::Nonblocking, _) => "older or `None`".to_owned(),
        (Call::Send, Answer::Good) if outcome.delivery.contains(&Delivery::Accepted) => "queued".to_owned(),
        (Call::Send, Answer::Good) => "reply".to_owned(),
        (Call::Peers, Answer::Good) => "list".to_owned(),
        (Call::Poll, Answer::Good) if outcome.rows == Some(0) => "no rows".to_owned(),
        (Call::Poll, Answer::Good) => "rows".to_owned(),
        (Call::Poll, Answer::Error(kind)) if outcome.rows.is_some() => format!("rows, then `{kind:?}`"),
        (Call::Poll, Answer::Error(kind)) if waits => format!("`{kind:?}` within {} s", POLL_BOUND.as_secs()),
        (Call::Register | Call::UpdateCard, Answer::Good) => "done".to_owned(),
        (Call::Download, Answer::Good) => "file".to_owned(),
        // It is refused by its head.
        (Call::Download, Answer::Error(ErrorKind::Malformed)) => "`Malformed`".to_owned(),
        (_, Answer::Good) => "record".to_owned(),
        (Call::Send, Answer::Error(kind)) => {
            let tries = match (outcome.tries.start(), outcome.tries.end()) {
                (1, 1) => String::new(),
                (from, to) if from == to => format!(" {to}×"),
                (from, to) => format!(" {from}–{to}×"),
            };
            let budget = if wait == Wait::Budget { " at the budget" } else { "" };
            format!("`{kind:?}`{tries}{budget}")
        }
        (_, Answer::Error(kind)) if waits => format!("`{kind:?}` at {} s", call_timeout.as_secs()),
        (_, Answer::Error(kind)) => format!("`{kind:?}`"),
        (_, answer) => format!("{answer:?}"),
    }
}
