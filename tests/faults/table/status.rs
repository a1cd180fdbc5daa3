//! Every status from 100 to 599, with a platform error and without a body.

use super::says;
use crate::cell::Answer::{Absent, Error, Failed, Good};
use crate::cell::ErrorKind::{self, Agent, Disconnected, Malformed, Platform, Removed, Status, Unauthorized};
use crate::cell::{ACCEPTED, Call, Cell, DELIVERED, NOT_SENT, Outcome, Row, UNKNOWN, error, good, row, unsent};
use crate::peer::Ending;

pub fn statuses() -> Vec<Row> {
    let rows = (100..=599).flat_map(|status| [with(status, true), with(status, false)]);
    rows.chain([removed()]).collect()
}

/// The platform's answer for a removed workspace. For a peer it means absent.
fn removed() -> Row {
    let body = r#"{"error":"removed","id":"w","removed_at":"2026-05-01T00:00:00Z","hint":"make another"}"#;
    let text = format!("HTTP/1.1 410 X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    row("410 removed", says(text, Ending::Keep), Absent, error(Removed), unsent(Platform, 1, UNKNOWN))
        .but(Call::Discover, error(ErrorKind::NotFound))
        .but(Call::Register, error(Status))
        .but(Call::UpdateCard, error(Status))
        .under("410 `removed`")
}

fn with(status: u16, words: bool) -> Row {
    let body = if words { r#"{"error":"said no"}"# } else { "" };
    let name = format!("{status} {}", if words { "with a platform error" } else { "without a body" });
    // By RFC 9110 these have no body, whatever their length header says.
    let text = match status {
        100..200 | 204 | 304 => format!("HTTP/1.1 {status} X\r\n\r\n"),
        _ => format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    };
    // After a 1xx the answer follows, except after a 101.
    let then = if status < 200 { Ending::Close } else { Ending::Keep };
    let words = words && !matches!(status, 100..200 | 204 | 304);
    if status < 200 && status != 101 {
        let row = row(name, says(text, then), Failed, error(Disconnected), unsent(Disconnected, 5, UNKNOWN));
        return row.under("only a 1xx");
    }
    let is_no = words && matches!(status, 403 | 404 | 410);
    let found = status == 200 && words;
    let looked_up = if found {
        Good
    } else if is_no {
        Absent
    } else {
        Failed
    };
    let row = row(name, says(text, then), looked_up, error(Status), sent(status, words))
        .but(Call::Discover, if found { good() } else { error(discovered(status, is_no)) })
        .but(Call::Peers, error(listed(status)))
        .but(Call::Workspace, if found { good() } else { error(ours(status)) })
        .but(Call::Poll, polled(status))
        .but(Call::Register, error(posted(status)))
        .but(Call::UpdateCard, if status == 200 { good() } else { error(posted(status)) })
        .but(Call::Download, downloaded(status, words));
    row.under(heading(status, words))
}

fn heading(status: u16, words: bool) -> &'static str {
    match (status, words) {
        (200, true) => "200 with an error in it",
        (200, false) => "a body that is empty, cut, or not JSON",
        (202, false) => "202 without a body",
        (100..300, _) => "any other 2xx, and 101",
        (300..400, _) => "any other 3xx",
        (401, _) => "401",
        (403, true) => "403 with a platform error",
        (404, true) => "404 with a platform error",
        (410, true) => "410 with an error that is not `removed`",
        (403, false) => "403 without a body",
        (404, false) => "404 without a body",
        (410, false) => "410 without a body",
        (400..500, true) => "any other 4xx with a platform error",
        (400..500, false) => "any other 4xx without a body",
        (511, false) => "511 without a body",
        _ => "any other 5xx",
    }
}

fn discovered(status: u16, is_no: bool) -> ErrorKind {
    match status {
        200 => Malformed,
        401 => Unauthorized,
        _ if is_no => ErrorKind::NotFound,
        _ => Status,
    }
}

fn listed(status: u16) -> ErrorKind {
    match status {
        200 => Malformed,
        401 | 403 => Unauthorized,
        404 => ErrorKind::NotFound,
        _ => Status,
    }
}

fn ours(status: u16) -> ErrorKind {
    match status {
        200 => Malformed,
        401 | 403 => Unauthorized,
        404 => ErrorKind::NotFound,
        410 => Removed,
        _ => Status,
    }
}

/// A removed workspace was found out before.
fn posted(status: u16) -> ErrorKind {
    match status {
        200 => Malformed,
        401 | 403 => Unauthorized,
        _ => Status,
    }
}

fn polled(status: u16) -> Cell {
    match status {
        200 => error(Malformed),
        401 | 403 => error(Unauthorized),
        // The cursor's row is gone, so the poller looks back by time. The answer is 410 again.
        410 => Cell::Any(vec![Outcome { answer: Error(Status), tries: 2..=2, delivery: NOT_SENT, rows: None }]),
        _ => error(Status),
    }
}

/// The body of a 200 is a file, whatever it says.
fn downloaded(status: u16, words: bool) -> Cell {
    match status {
        200 => good(),
        401 | 403 => error(Unauthorized),
        404 | 410 if words => error(ErrorKind::NotFound),
        _ => error(Status),
    }
}

/// An error that is a text without anything beside it is the agent's, which has the message. A bare status may be.
fn sent(status: u16, words: bool) -> Cell {
    let refused_before =
        matches!(status, 300..=399 | 401..=405 | 407 | 411 | 413..=415 | 417 | 421 | 425 | 426 | 429 | 431);
    // A network's login page answers 511, without the platform's words.
    let refused_before = refused_before || (status == 511 && !words);
    let delivery = if refused_before { NOT_SENT } else { UNKNOWN };
    let kind = match status {
        // The message was accepted for later delivery.
        202 if !words => {
            return Cell::Any(vec![Outcome { answer: Good, tries: 1..=1, delivery: ACCEPTED, rows: None }]);
        }
        _ if words => return unsent(Agent, 1, DELIVERED),
        401 => Unauthorized,
        200..300 => Malformed,
        _ => Status,
    };
    unsent(kind, 1, delivery)
}
