//! `delegate`, `requests`, `respond`, `notify` and `instructions`: what passes between agents and people beside messages.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use a2a_blocking::{Client, DelegatedTask, Notice, PeerId, RequestAction};
use serde_json::json;

use crate::exit::{CommandFailure, ExitStatus};
use crate::table::Table;
use crate::terminal::note;
use crate::text::{cell, escape_lines, json_line, millis};

/// The requests that are listed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestFilter {
    /// Those put to this workspace that wait for it.
    Pending,
    /// Those put to this workspace.
    Inbox,
    /// Those that this workspace made.
    Sent,
}

/// The action of `respond`, as the command line takes it.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum ResponseArg {
    /// The task is done
    Done,
    /// The approval is given
    Approved,
    /// The task or the approval is refused
    Rejected,
}

impl ResponseArg {
    fn action(self) -> RequestAction {
        match self {
            ResponseArg::Done => RequestAction::Done,
            ResponseArg::Approved => RequestAction::Approved,
            ResponseArg::Rejected => RequestAction::Rejected,
        }
    }
}

/// Gives a task to a peer, and prints the delegation's id.
pub(crate) fn delegate(
    client: &Client,
    peer: PeerId,
    task: DelegatedTask,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let start = Instant::now();
    let receipt = client.delegate(peer, task).map_err(CommandFailure::Send)?;
    let took = start.elapsed();
    if receipt.is_repeat {
        note("the platform knows the key: nothing new was delegated");
    }
    let id = receipt.delegation_id;
    let unprinted = |error| CommandFailure::Unprinted(error, ExitStatus::Done, "delegated");
    if as_json {
        let line = json!({ "peer": peer.to_string(), "delegation_id": id, "status": receipt.status,
            "is_repeat": receipt.is_repeat, "ms": millis(took) });
        writeln!(out, "{}", json_line(&line))
    } else {
        writeln!(out, "{}", cell(&id, None))
    }
    .and_then(|()| out.flush())
    .map_err(unprinted)?;
    Ok(ExitStatus::Done)
}

/// Prints tasks and approvals, the newest first.
pub(crate) fn requests(
    client: &Client,
    filter: RequestFilter,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let listed = match filter {
        RequestFilter::Pending => client.pending_requests()?,
        RequestFilter::Inbox => client.request_inbox()?,
        RequestFilter::Sent => client.requests()?,
    };
    // The id is narrowed last, because users copy it.
    let table = Table::new(&[("ID", 36), ("KIND", 8), ("STATUS", 14), ("TITLE", 40)], &[3, 2, 1, 0]);
    if !as_json {
        table.print_heading(out)?;
    }
    for request in &listed {
        if as_json {
            writeln!(out, "{}", json_line(&json!({ "request": request.as_json() })))?;
        } else {
            let cells = [request.kind(), request.status(), request.title()].map(|text| text.unwrap_or("-"));
            table.print_row(out, &[request.id(), cells[0], cells[1], cells[2]])?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Responds to a task or an approval. Prints nothing but with `--json`.
pub(crate) fn respond(
    client: &Client,
    id: &str,
    response: ResponseArg,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let (start, action) = (Instant::now(), response.action());
    client.respond(id, action).map_err(CommandFailure::Send)?;
    if as_json {
        let line = json!({ "request": id, "action": action.as_str(), "ms": millis(start.elapsed()) });
        writeln!(out, "{}", json_line(&line))?;
    }
    Ok(ExitStatus::Done)
}

/// Uploads the files and shows them with a text to the human on the canvas. Prints nothing but with `--json`.
pub(crate) fn notify(
    client: &Client,
    text: &str,
    attachments: &[PathBuf],
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let start = Instant::now();
    // Nothing is uploaded where a file is missing.
    let files: Vec<_> = attachments.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
    let mut notice = Notice::new(text);
    for (path, file) in attachments.iter().zip(files) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        notice = notice.attach(&client.upload(name, media_type(path), file)?);
    }
    client.notify(notice).map_err(CommandFailure::Send)?;
    if as_json {
        let line = json!({ "text": text, "files": attachments.len(), "ms": millis(start.elapsed()) });
        writeln!(out, "{}", json_line(&line))?;
    }
    Ok(ExitStatus::Done)
}

fn open(path: &Path) -> Result<File, CommandFailure> {
    let refused = |why: String| CommandFailure::Usage(format!("--attach: {} {why}", path.display()));
    let file = File::open(path).map_err(|error| refused(format!("cannot be opened: {error}")))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(refused("is no plain file: name one".to_owned())),
        Err(error) => Err(refused(format!("cannot be read: {error}"))),
    }
}

/// Returns the media type of a file by its extension. The canvas decides by it how to show the file.
fn media_type(path: &Path) -> &'static str {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("txt" | "log") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("json") => "application/json",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Prints the platform's rules for agents. They are empty where it has none.
pub(crate) fn instructions(client: &Client, as_json: bool, out: &mut impl Write) -> Result<ExitStatus, CommandFailure> {
    let start = Instant::now();
    let text = client.instructions()?;
    if as_json {
        let line = json!({ "instructions": text, "ms": millis(start.elapsed()) });
        writeln!(out, "{}", json_line(&line))?;
    } else if !text.is_empty() {
        // A pipe or a file gets the text unchanged.
        let text = if io::stdout().is_terminal() { escape_lines(&text) } else { text };
        writeln!(out, "{text}")?;
    }
    Ok(ExitStatus::Done)
}
