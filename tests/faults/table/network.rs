//! Connections that fail, are silent, break or trickle.

use std::time::Duration;

use super::{head, makes, says};
use crate::cell::Answer::{Failed, Good};
use crate::cell::ErrorKind::{Connect, Disconnected, Malformed, Status, Timeout};
use crate::cell::{
    Call, NOT_DELIVERED, NOT_SENT, Reach, Row, UNKNOWN, Wait, error, error_after, good, group, replied, row, unsent,
};
use crate::peer::{Ending, Fault};

const SLOW: Duration = Duration::from_millis(20);

pub fn rows() -> Vec<Row> {
    [without_a_connection(), silent(), broken(), without_a_length(), trickling(), early()].concat()
}

fn without_a_connection() -> Vec<Row> {
    let refused = row("refuses", Fault::Refuse, Failed, error(Connect), unsent(Connect, 5, NOT_SENT));
    // Connecting may take 30 s, so the budget ends the send first.
    let full = row("backlog full", Fault::FullBacklog, Failed, error(Timeout), unsent(Timeout, 1, NOT_SENT));
    [
        group("refuses connections", [refused.reach(Reach::Nothing)]),
        group("neither takes nor refuses them", [full.reach(Reach::Nothing).wait(Wait::Budget)]),
    ]
    .concat()
}

fn silent() -> Vec<Row> {
    let silent =
        |name, fault| row(name, fault, Failed, error(Timeout), unsent(Timeout, 5, UNKNOWN)).wait(Wait::Silence);
    let part = "HTTP/1.1 200 OK\r\nContent-Le";
    let upload = row(
        "never reads a large upload",
        Fault::OnAccept(Ending::Hold),
        Failed,
        error(Timeout),
        unsent(Timeout, 1, NOT_DELIVERED),
    );
    group(
        "accepts and says nothing, or no more",
        [
            silent("accepts and reads nothing", Fault::OnAccept(Ending::Hold))
                .reach(Reach::Connection)
                .nothing_of_a_page(),
            silent("reads and says nothing", says("", Ending::Hold)).nothing_of_a_page(),
            silent("stops inside the headers", says(part, Ending::Hold)).nothing_of_a_page(),
            silent("stops after the headers", says(head("Content-Length: 9\r\n\r\n"), Ending::Hold))
                .nothing_of_a_page(),
            silent("stops after a 100", says("HTTP/1.1 100 Continue\r\n\r\n", Ending::Hold)).nothing_of_a_page(),
            silent("a body shorter than its length", says(head("Content-Length: 99\r\n\r\n{}"), Ending::Hold)),
            upload.reach(Reach::Connection).wait(Wait::Budget).upload(1_000_000).uploads_only(),
        ],
    )
}

/// Each row once with a close of the connection and once with a reset.
fn broken() -> Vec<Row> {
    let broken = |name: &str, fault, reach, delivery| {
        row(name, fault, Failed, error(Disconnected), unsent(Disconnected, 5, delivery)).reach(reach)
    };
    let mut rows = Vec::new();
    for (how, then) in [("closes", Ending::Close), ("resets", Ending::Reset)] {
        let on_accept = Fault::OnAccept(then.clone());
        rows.push(broken(&format!("{how} at once"), on_accept, Reach::Connection, NOT_DELIVERED));
        for (place, bytes) in [
            ("before the headers", String::new()),
            ("inside the status line", "HTTP/1.1 20".to_owned()),
            ("inside the headers", "HTTP/1.1 200 OK\r\nContent-Le".to_owned()),
            ("after a 103", "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned()),
            ("after the headers, a length to come", head("Content-Length: 99\r\n\r\n")),
            ("after the headers, chunks to come", head("Transfer-Encoding: chunked\r\n\r\n")),
            ("inside a body with a length", head("Content-Length: 99\r\n\r\n{\"id\"")),
            ("inside the first entry of a list", head("Content-Length: 99\r\n\r\n[{\"id\"")),
            ("inside a chunk's size", head("Transfer-Encoding: chunked\r\n\r\nf")),
            ("inside a chunk", head("Transfer-Encoding: chunked\r\n\r\nff\r\n{\"id\"")),
            ("between two chunks", head("Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")),
        ] {
            let name = format!("{how} {place}");
            rows.push(broken(&name, says(bytes, then.clone()), Reach::Request, UNKNOWN));
        }
        let half = |good: &str| {
            [head(&format!("Content-Length: {}\r\n\r\n", good.len())).as_bytes(), first_half(good)].concat()
        };
        // The first of two rows is whole.
        let half = broken(&format!("{how} half way through a body"), makes(half, then), Reach::Request, UNKNOWN);
        rows.push(half.but(Call::Poll, error_after(1, Disconnected)));
    }
    // The last chunk marks the end of the body: nothing is missing.
    let last = |good: &str| {
        head(&format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n0\r\n", good.len())).into_bytes()
    };
    let mut rows = group("closes or resets before the answer is whole", rows);
    let whole = row("closes inside the end of the chunks", makes(last, Ending::Close), Good, good(), replied());
    rows.extend(group("unusual but complete", [whole]));
    rows
}

fn first_half(body: &str) -> &[u8] {
    &body.as_bytes()[..body.len() / 2]
}

/// Without a length the body ends with the connection. Only the JSON shows whether it is complete.
fn without_a_length() -> Vec<Row> {
    let half = |good: &str| [head("\r\n").as_bytes(), first_half(good)].concat();
    let truncated = |name, fault| {
        row(name, fault, Failed, error(Malformed), unsent(Malformed, 1, UNKNOWN)).but(Call::UpdateCard, good())
    };
    let closes = [
        // The first of two rows is whole.
        truncated("closes inside a body without a length", makes(half, Ending::Close))
            .but(Call::Poll, error_after(1, Malformed)),
        truncated("closes after the headers, without a length", says(head("\r\n"), Ending::Close)),
    ];
    // A reset does not end a body.
    let reset = |name, fault| {
        let row = row(name, fault, Failed, error(Disconnected), unsent(Disconnected, 5, UNKNOWN));
        // Its head is enough.
        row.but(Call::Download, error(Malformed))
    };
    let resets = [
        reset("resets inside a body without a length", makes(half, Ending::Reset))
            .but(Call::Poll, error_after(1, Disconnected)),
        reset("resets after the headers, without a length", says(head("\r\n"), Ending::Reset)),
    ];
    [group("closes inside a body without a length", closes), group("resets inside a body without a length", resets)]
        .concat()
}

fn trickling() -> Vec<Row> {
    let slow = |name, start: String, again: &str, pause| {
        let fault = says(start, Ending::Endless(again.into(), pause));
        row(name, fault, Failed, error(Timeout), unsent(Timeout, 1, UNKNOWN)).wait(Wait::Budget)
    };
    let chunked = head("Transfer-Encoding: chunked\r\n\r\n");
    let fast = Duration::from_millis(5);
    [
        group(
            "trickles",
            [
                slow("trickles headers", "HTTP/1.1 200 OK\r\nX-Slow: ".to_owned(), "x", SLOW).nothing_of_a_page(),
                slow("trickles a body with a length", head("Content-Length: 60000\r\n\r\n"), " ", SLOW),
                slow("trickles a body without a length", head("\r\n"), " ", SLOW).but(Call::Download, error(Malformed)),
                slow("trickles chunks", chunked.clone(), "1\r\n \r\n", SLOW),
                slow("trickles a chunk's extension", format!("{chunked}1;"), "x", SLOW).nothing_of_a_page(),
                slow("trickles trailers", format!("{chunked}0\r\nX: "), "x", SLOW).nothing_of_a_page(),
            ],
        ),
        group(
            "a storm of 1xx without an answer",
            [
                slow("100 for ever", String::new(), &"HTTP/1.1 100 Continue\r\n\r\n".repeat(20), fast)
                    .nothing_of_a_page(),
                slow("103 for ever", String::new(), &"HTTP/1.1 103 X\r\nLink: <x>\r\n\r\n".repeat(20), fast)
                    .nothing_of_a_page(),
            ],
        ),
    ]
    .concat()
}

/// Answers that come before the request is read.
fn early() -> Vec<Row> {
    let refusal = "HTTP/1.1 413 X\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large";
    let early = |name, bytes: &str, then, sent| {
        let row = row(name, Fault::Early(bytes.into(), then), Failed, error(Status), sent);
        row.reach(Reach::Connection).upload(1_000_000).uploads_only()
    };
    // It is a reply to a message, and no registration.
    let is_reply = |row: Row| row.but(Call::Register, error(Malformed)).but(Call::UpdateCard, good());
    let reply = r#"{"result":{"parts":[{"kind":"text","text":"thanks"}]}}"#;
    let reply = head(&format!("Connection: close\r\nContent-Length: {}\r\n\r\n{reply}", reply.len()));
    // The writes fail, and the answer is read all the same.
    let refused = || unsent(Status, 1, NOT_SENT);
    [
        group(
            "answers before the upload is read",
            [
                early("an early 413, and the rest is read", refusal, Ending::Drain, unsent(Status, 1, NOT_SENT)),
                is_reply(early("an early reply, and the rest is read", &reply, Ending::Drain, replied())),
            ],
        ),
        group(
            "answers before the upload is read, and closes",
            [
                early("an early 413 and a close", refusal, Ending::Close, refused()),
                early("an early 413 and a reset", refusal, Ending::Reset, refused()),
                // The platform would not reply without the message.
                is_reply(early("an early reply and a close", &reply, Ending::Close, replied())),
                is_reply(early("an early reply and a reset", &reply, Ending::Reset, replied())),
            ],
        ),
    ]
    .concat()
}
