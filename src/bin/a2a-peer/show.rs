//! `enrich`, `discover`, `peers` and `info`: records as a table or as JSON.

use std::io::{self, Write};
use std::time::Instant;

use a2a_blocking::{Client, LookupSource, Peer, PeerId};
use serde_json::json;

use crate::failure::{Failure, exit, note};
use crate::table::Table;
use crate::terminal::width;
use crate::text::{json_line, millis};

pub(crate) fn enrich(client: &Client, peers: &[PeerId], as_json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    let (mut absent, mut failed) = (false, false);
    let table = records();
    if !as_json {
        table.heading(out)?;
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
            row(&table, out, &id.to_string(), peer)?;
        }
        // A row at a time: the next peer may take its two seconds.
        out.flush()?;
        match (peer, source) {
            (Some(_), _) => {}
            (None, LookupSource::Absent) => {
                absent = true;
                note(&format!("{id}: no record: the registry does not know it, or does not show it to this workspace"));
            }
            (None, _) => {
                failed = true;
                note(&format!(
                    "{id}: no record: the registry gave no usable answer; --verbose or `a2a-peer doctor` says why"
                ));
            }
        }
    }
    Ok(match () {
        () if failed => exit::FAILED,
        () if absent => exit::ABSENT,
        () => exit::DONE,
    })
}

pub(crate) fn discover(client: &Client, id: PeerId, as_json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    let start = Instant::now();
    let peer = client.discover(id)?;
    let took = start.elapsed();
    if as_json {
        let line = json!({ "peer": id.to_string(), "record": peer.as_json(), "ms": millis(took) });
        writeln!(out, "{}", json_line(&line))?;
    } else {
        let table = records();
        table.heading(out)?;
        row(&table, out, &id.to_string(), Some(&peer))?;
    }
    Ok(exit::DONE)
}

pub(crate) fn peers(client: &Client, as_json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    let peers = client.peers()?;
    let table = records();
    if !as_json {
        table.heading(out)?;
    }
    for peer in &peers {
        if as_json {
            let id = peer.peer_id().map(|id| id.to_string());
            writeln!(out, "{}", json_line(&json!({ "peer": id, "record": peer.as_json() })))?;
        } else {
            row(&table, out, peer.id().unwrap_or("-"), Some(peer))?;
        }
    }
    Ok(exit::DONE)
}

pub(crate) fn info(client: &Client, as_json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    let start = Instant::now();
    let workspace = client.workspace()?;
    let took = start.elapsed();
    if as_json {
        writeln!(out, "{}", json_line(&json!({ "record": workspace.as_json(), "ms": millis(took) })))?;
        return Ok(exit::DONE);
    }
    // The value has what the terminal leaves it.
    let table = Table::new(&[("FIELD", 20), ("VALUE", width().unwrap_or_default().saturating_sub(22))], &[1, 0]);
    for (field, value) in workspace.as_json() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.row(out, &[field, &value])?;
    }
    Ok(exit::DONE)
}

fn records() -> Table {
    // An id is there to be copied: it gives way last.
    Table::new(&[("ID", 36), ("NAME", 28), ("ROLE", 16), ("STATUS", 10)], &[1, 2, 3, 0])
}

fn row(table: &Table, out: &mut impl Write, id: &str, peer: Option<&Peer>) -> io::Result<()> {
    let field = |field: fn(&Peer) -> Option<&str>| peer.and_then(field).unwrap_or("-");
    table.row(out, &[id, field(Peer::name), field(Peer::role), field(Peer::status)])
}
