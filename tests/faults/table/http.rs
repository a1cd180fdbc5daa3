//! Answers that are malformed HTTP, or no HTTP.

use std::net::SocketAddr;

use super::{head, makes, points, says};
use crate::cell::Answer::{Failed, Good};
use crate::cell::ErrorKind::{Malformed, Protocol, Status};
use crate::cell::{Call, NOT_SENT, Row, UNKNOWN, error, error_after, good, group, replied, row, unsent};
use crate::peer::{Ending, Fault};

pub fn rows() -> Vec<Row> {
    [lengths(), headers(), not_http(), informational(), redirects()].concat()
}

fn protocol(name: &str, fault: Fault) -> Row {
    row(name, fault, Failed, error(Protocol), unsent(Protocol, 1, UNKNOWN))
}

fn fine(name: &str, fault: Fault) -> Row {
    row(name, fault, Good, good(), replied())
}

fn lengths() -> Vec<Row> {
    let headed = |headers: &'static str| {
        makes(move |good| head(&format!("{headers}\r\n\r\n{good}")).into_bytes(), Ending::Close)
    };
    let chunk = |size: &'static str| {
        makes(
            move |good| head(&format!("Transfer-Encoding: chunked\r\n\r\n{size}\r\n{good}\r\n0\r\n\r\n")).into_bytes(),
            Ending::Close,
        )
    };
    let cut = |good: &str| head(&format!("Content-Length: {}\r\n\r\n{good}", good.len() / 2)).into_bytes();
    let twice = |good: &str| {
        let n = good.len();
        head(&format!("Content-Length: {n}\r\nContent-Length: {n}\r\n\r\n{good}")).into_bytes()
    };
    let both = |good: &str| {
        let n = good.len();
        let headers = format!("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{n:x}\r\n{good}\r\n0\r\n\r\n");
        head(&headers).into_bytes()
    };
    [
        group(
            "lengths that contradict each other, or are invalid",
            [
                protocol("two lengths", headed("Content-Length: 7\r\nContent-Length: 8")),
                protocol("two lengths in one", headed("Content-Length: 7, 8")),
                protocol("a negative length", headed("Content-Length: -1")),
                protocol("a length in words", headed("Content-Length: many")),
                protocol("an empty length", headed("Content-Length:")),
                protocol("a length beyond 64 bits", headed("Content-Length: 99999999999999999999")),
                protocol("a chunk of no size", chunk("zz")),
                protocol("a chunk of a negative size", chunk("-1")),
                protocol("a chunk beyond 64 bits", chunk("fffffffffffffffff")),
            ],
        ),
        group(
            "a length that is too short",
            [row(
                "a length too short",
                makes(cut, Ending::Keep),
                Failed,
                error(Malformed),
                unsent(Malformed, 1, UNKNOWN),
            )
            // The first of two rows is whole.
            .but(Call::Poll, error_after(1, Malformed))
            // Nobody can see that something of it is missing.
            .but(Call::UpdateCard, good())
            .but(Call::Download, good())],
        ),
        // RFC 9112, section 6.3, has a recipient accept these.
        group(
            "unusual but complete",
            [
                fine("the same length twice", makes(twice, Ending::Close)),
                fine("a length beside chunks", makes(both, Ending::Close)),
                without_length(fine("no length, and a close", headed("X: y"))),
                without_length(fine(
                    "HTTP/1.0",
                    makes(|good| format!("HTTP/1.0 200 OK\r\n\r\n{good}").into_bytes(), Ending::Close),
                )),
            ],
        ),
    ]
    .concat()
}

/// The end of a file's body could be that of a broken connection.
fn without_length(row: Row) -> Row {
    row.but(Call::Download, error(Malformed))
}

fn headers() -> Vec<Row> {
    let many = |n| (0..n).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let with = |headers: String| {
        makes(
            move |good| head(&format!("{headers}Content-Length: {}\r\n\r\n{good}", good.len())).into_bytes(),
            Ending::Keep,
        )
    };
    let endless = Ending::Endless(vec![b'x'; 4096], std::time::Duration::from_millis(1));
    [
        group(
            "more than 64 KiB of headers, or more than 100",
            [
                protocol("65 KiB in one header", with(format!("X-Big: {}\r\n", "x".repeat(65 * 1024)))),
                protocol(
                    "65 KiB in 90 headers",
                    with((0..90).map(|n| format!("X-{n}: {}\r\n", "x".repeat(740))).collect()),
                ),
                protocol("a header without end", says("HTTP/1.1 200 OK\r\nX-Big: ", endless)),
                protocol("200 headers", with(many(200))),
            ],
        ),
        group(
            "unusual but complete",
            [
                fine("90 headers", with(many(90))),
                fine("a header of 50 KiB", with(format!("X: {}\r\n", "x".repeat(50 * 1024)))),
            ],
        ),
    ]
    .concat()
}

fn not_http() -> Vec<Row> {
    let says = |name, bytes: &[u8]| protocol(name, says(bytes, Ending::Close));
    group(
        "does not speak HTTP/1",
        [
            protocol("HTTP/0.9", makes(|good| good.as_bytes().to_vec(), Ending::Close)),
            says("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
            says("HTTP/2 settings", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80"),
            says("HTTP/2 in words", b"HTTP/2 200 OK\r\n\r\n"),
            says("HTTP/9.9", b"HTTP/9.9 200 OK\r\n\r\n"),
            says("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
            says("a TLS alert", b"\x15\x03\x03\0\x02\x02\x28"),
            says("garbage", b"\xde\xad\xbe\xef\r\n\r\n"),
            says("NULs", &[0; 4096]),
            says("a NUL in a header", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}"),
            says("a header without a colon", b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
            says("a status of letters", b"HTTP/1.1 abc OK\r\n\r\n"),
            says("status 000", b"HTTP/1.1 000 OK\r\n\r\n"),
            says("status 99", b"HTTP/1.1 99 OK\r\n\r\n"),
            says("status 1000", b"HTTP/1.1 1000 OK\r\n\r\n"),
        ],
    )
}

fn informational() -> Vec<Row> {
    let before = |what: &'static str| {
        makes(
            move |good| {
                [what.repeat(200).as_bytes(), head(&format!("Content-Length: {}\r\n\r\n{good}", good.len())).as_bytes()]
                    .concat()
            },
            Ending::Keep,
        )
    };
    [
        group(
            "unusual but complete",
            [
                fine("200 times 100, then the answer", before("HTTP/1.1 100 Continue\r\n\r\n")),
                fine("200 times 103, then the answer", before("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")),
            ],
        ),
        // The HTTP client accepts no header with a 100.
        group(
            "does not speak HTTP/1",
            [protocol("a 100 with headers", before("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"))],
        ),
    ]
    .concat()
}

fn redirects() -> Vec<Row> {
    let redirect = |name: String, make: Box<dyn Fn(SocketAddr) -> String + Send + Sync>| {
        row(name, points(make), Failed, error(Status), unsent(Status, 1, NOT_SENT))
    };
    let mut rows = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        let to = |location: &'static str| {
            move |at: SocketAddr| {
                let location = location.replace("HERE", &at.to_string());
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n")
            }
        };
        for (where_to, location) in [
            ("itself", ""),
            ("itself by another path", "/elsewhere"),
            ("another host", "http://HERE/"),
            ("another host without a scheme", "//HERE/"),
            ("another scheme", "https://HERE/"),
            ("a file", "file:///etc/passwd"),
            ("nonsense", "http://[::"),
        ] {
            rows.push(redirect(format!("{status} to {where_to}"), Box::new(to(location))));
        }
    }
    let nowhere = |_: SocketAddr| "HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n".to_owned();
    rows.push(redirect("302 to nowhere".to_owned(), Box::new(nowhere)));
    group("redirects: to itself, another host, `file:`", rows)
}
