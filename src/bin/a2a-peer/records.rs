//! `enrich`, `discover`, `peers` and `info`: records as a table or as JSON.

use std::io::{self, Write};
use std::time::Instant;

use a2a_blocking::{Client, ErrorKind, LookupSource, Peer, PeerId};
use serde_json::json;

use crate::exit::{CommandFailure, ExitStatus};
use crate::table::Table;
use crate::terminal::{note, width};
use crate::text::{json_line, millis};

/// Width of the column of field names in `info`.
const FIELD_WIDTH: usize = 20;

/// Looks up each peer as a poller's callback does, and prints its record.
pub(crate) fn enrich(
    client: &Client,
    peers: &[PeerId],
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let mut exit = ExitStatus::Done;
    let table = record_table();
    if !as_json {
        table.print_heading(out)?;
    }
    for id in peers {
        let start = Instant::now();
        let lookup = client.lookup(*id);
        let took = start.elapsed();
        let (peer, source) = (lookup.peer.as_ref(), lookup.source);
        if as_json {
            let record = peer.map(Peer::as_json);
            let line =
                json!({ "peer": id.to_string(), "record": record, "source": source.as_str(), "ms": millis(took) });
            writeln!(out, "{}", json_line(&line))?;
        } else {
            print_record(&table, out, &id.to_string(), peer)?;
        }
        // The next lookup can take 2 s.
        out.flush()?;
        if peer.is_none() {
            let (status, reason) = match source {
                LookupSource::Absent => {
                    (ExitStatus::Absent, "the registry does not know it, or does not show it to this workspace")
                }
                _ => {
                    (ExitStatus::Failed, "the registry gave no usable answer: --verbose or `a2a-peer doctor` shows why")
                }
            };
            note(&format!("{id}: no record: {reason}"));
            // A failed lookup outweighs an absent peer: nothing is known of its peer.
            exit = if exit == ExitStatus::Failed { exit } else { status };
        }
    }
    Ok(exit)
}

/// Looks up one peer without the cache, and prints its record.
pub(crate) fn discover(
    client: &Client,
    id: PeerId,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let start = Instant::now();
    let peer = client.discover(id)?;
    let took = start.elapsed();
    if as_json {
        let line = json!({ "peer": id.to_string(), "record": peer.as_json(), "ms": millis(took) });
        writeln!(out, "{}", json_line(&line))?;
    } else {
        let table = record_table();
        table.print_heading(out)?;
        print_record(&table, out, &id.to_string(), Some(&peer))?;
    }
    Ok(ExitStatus::Done)
}

/// Prints the peers that the registry lists for this workspace.
pub(crate) fn peers(client: &Client, as_json: bool, out: &mut impl Write) -> Result<ExitStatus, CommandFailure> {
    let peers = client.peers()?;
    let table = record_table();
    if !as_json {
        table.print_heading(out)?;
    }
    for peer in &peers {
        if as_json {
            let id = peer.peer_id().map(|id| id.to_string());
            writeln!(out, "{}", json_line(&json!({ "peer": id, "record": peer.as_json() })))?;
        } else {
            print_record(&table, out, peer.id().unwrap_or("-"), Some(peer))?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Prints the platform's record of this workspace, one field per line. Fails then if the platform refuses the token.
pub(crate) fn info(client: &Client, as_json: bool, out: &mut impl Write) -> Result<ExitStatus, CommandFailure> {
    print_workspace(client, as_json, out)?;
    out.flush()?;
    // The platform shows the record to anybody. The state proves the token.
    match client.state() {
        Err(error) if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Removed) => Err(error.into()),
        // An older platform does not know the state, and the record is what was asked for.
        _ => Ok(ExitStatus::Done),
    }
}

fn print_workspace(client: &Client, as_json: bool, out: &mut impl Write) -> Result<(), CommandFailure> {
    let start = Instant::now();
    let workspace = client.workspace()?;
    let took = start.elapsed();
    if as_json {
        writeln!(out, "{}", json_line(&json!({ "record": workspace.as_json(), "ms": millis(took) })))?;
        return Ok(());
    }
    // The value gets the rest of the terminal's width, after the name and a gap of two.
    let value_width = width().unwrap_or_default().saturating_sub(FIELD_WIDTH + 2);
    let table = Table::new(&[("FIELD", FIELD_WIDTH), ("VALUE", value_width)], &[1, 0]);
    for (field, value) in workspace.as_json() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.print_row(out, &[field, &value])?;
    }
    Ok(())
}

fn record_table() -> Table {
    // The id is narrowed last, because users copy it.
    Table::new(&[("ID", 36), ("NAME", 28), ("ROLE", 16), ("STATUS", 10)], &[1, 2, 3, 0])
}

fn print_record(table: &Table, out: &mut impl Write, id: &str, peer: Option<&Peer>) -> io::Result<()> {
    let field = |field: fn(&Peer) -> Option<&str>| peer.and_then(field).unwrap_or("-");
    table.print_row(out, &[id, field(Peer::name), field(Peer::role), field(Peer::status)])
}
