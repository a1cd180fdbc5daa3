//! `enrich`, `discover`, `peers` and `info`: records as a table or as JSON.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, Error, Peer, PeerId, Source};
use serde_json::{Value, json};

use crate::Failure;
use crate::text::{json_line, millis, printable};

const WIDTH: usize = 28;

pub(crate) fn enrich(
    client: &Client,
    peers: &[PeerId],
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let mut all = true;
    if !as_json {
        heading(out)?;
    }
    for id in peers {
        let start = Instant::now();
        let lookup = client.lookup(*id);
        let took = start.elapsed();
        all &= lookup.peer.is_some();
        if as_json {
            writeln!(out, "{}", json_line(&line(*id, lookup.peer.as_ref(), took)))?;
        } else {
            row(out, &id.to_string(), lookup.peer.as_ref())?;
        }
        // A row at a time: the next peer may take its two seconds.
        out.flush()?;
        if lookup.peer.is_none() {
            note(*id, lookup.source);
        }
    }
    Ok(ExitCode::from(u8::from(!all)))
}

pub(crate) fn discover(client: &Client, id: PeerId, as_json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let result = client.discover(id);
    let took = start.elapsed();
    match (&result, as_json) {
        (_, true) => {
            let mut line = line(id, result.as_ref().ok(), took);
            if let Err(error) = &result {
                line["error"] = explain(error);
            }
            writeln!(out, "{}", json_line(&line))?;
        }
        (Ok(peer), false) => {
            heading(out)?;
            row(out, &id.to_string(), Some(peer))?;
        }
        (Err(_), false) => {}
    }
    result?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn peers(client: &Client, as_json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let peers = client.peers()?;
    if !as_json {
        heading(out)?;
    }
    for peer in &peers {
        if as_json {
            let id = peer.peer_id().map(|id| id.to_string());
            writeln!(out, "{}", json_line(&json!({ "peer": id, "record": peer.as_json() })))?;
        } else {
            row(out, peer.id().unwrap_or("-"), Some(peer))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn info(client: &Client, as_json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let workspace = client.workspace()?;
    if as_json {
        writeln!(out, "{}", json_line(&json!(workspace.as_json())))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (field, value) in workspace.as_json() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{:20}  {}", printable(field, 20), printable(&value, 200))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(id: PeerId, peer: Option<&Peer>, took: Duration) -> Value {
    json!({ "peer": id.to_string(), "record": peer.map(Peer::as_json), "ms": millis(took) })
}

fn explain(error: &Error) -> Value {
    json!({ "kind": format!("{:?}", error.kind()), "status": error.status(), "message": error.to_string() })
}

fn heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:36}  {:WIDTH$}  {:16}  STATUS", "ID", "NAME", "ROLE")
}

fn row(out: &mut impl Write, id: &str, peer: Option<&Peer>) -> io::Result<()> {
    let id = printable(id, 36);
    let cell = |field: fn(&Peer) -> Option<&str>, width| printable(peer.and_then(field).unwrap_or("-"), width);
    let (name, role, status) = (cell(Peer::name, WIDTH), cell(Peer::role, 16), cell(Peer::status, 16));
    writeln!(out, "{id:36}  {name:WIDTH$}  {role:16}  {status}")
}

fn note(id: PeerId, source: Source) {
    let why = match source {
        Source::Absent => "the registry does not know it, or does not show it to this workspace",
        _ => "the registry gave no usable answer; --verbose says why",
    };
    let _ = writeln!(io::stderr(), "a2a-peer: {id}: no record: {why}");
}
