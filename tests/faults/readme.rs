//! The README's table, from ours.

use std::collections::BTreeSet;
use std::{env, fs, path::Path};

use a2a_blocking::{Client, Delivery, Settings};

use crate::cell::{Answer, CALLS, Call, Cell, Outcome, Row, Wait};
use crate::{run, table};

const BEGIN: &str = "<!-- reliability: begin -->\n";
const END: &str = "<!-- reliability: end -->";
const REWRITE: &str = "A2A_WRITE_README";

/// Holds the README against the table, or with `A2A_WRITE_README` set writes it.
pub fn check() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the README has no place for the table");
    let (found, after) = rest.split_once(END).expect("the README's table has no end");
    let table = render();
    if env::var_os(REWRITE).is_some() {
        fs::write(file, [before, BEGIN, &table, END, after].concat()).unwrap();
        return;
    }
    let command = format!("{REWRITE}=1 cargo test --test faults the_readme_has_the_table");
    assert!(found == table, "the README's table is not what tests/faults says: {command}");
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
    let cells = cells.filter(|(row, call)| run::is_asked(row, *call)).count();
    out + &format!("\n{} faults, {cells} cells.\n", rows.len())
}

/// What the call makes of all of these rows, in a few words.
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
    let told = |(word, delivery): (String, BTreeSet<&str>)| match delivery.is_empty() {
        true => word,
        false => format!("{word}: {}", delivery.into_iter().collect::<Vec<_>>().join(" or ")),
    };
    if all.is_empty() { "–".to_owned() } else { all.into_iter().map(told).collect::<Vec<_>>().join("; or ") }
}

/// What is known of a message that failed.
fn delivery(call: Call, outcome: &Outcome) -> Vec<&'static str> {
    let failed = call == Call::Send && outcome.answer != Answer::Good;
    let told = |delivery: &Delivery| if *delivery == Delivery::NotSent { "not sent" } else { "unknown" };
    outcome.delivery.iter().filter(|_| failed).map(told).collect()
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
        (Call::Poll, Answer::Good) => "rows".to_owned(),
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
