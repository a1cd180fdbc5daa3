//! Complete answers of status 200 with unexpected bodies.

use std::time::Duration;

use super::{body, head, makes, says, whole, with_field};
use crate::cell::Answer::{Failed, Good};
use crate::cell::ErrorKind::{Malformed, Timeout, TooLarge};
use crate::cell::{Call, Cell, Row, UNKNOWN, error, error_after, good, group, replied, row, unread, unsent};
use crate::peer::{Ending, Fault};

pub fn rows() -> Vec<Row> {
    [not_json(), hostile(), too_large(), encoded()].concat()
}

fn malformed(name: &str, fault: Fault) -> Row {
    // Of the answer to a card only the status counts. A file may be anything.
    let row = row(name, fault, Failed, error(Malformed), unsent(Malformed, 1, UNKNOWN));
    row.but(Call::UpdateCard, good()).but(Call::Download, good())
}

/// Sets the results of the calls that read at most 64 KiB.
fn above_64_kib(row: Row) -> Row {
    row.but(Call::Register, error(TooLarge)).but(Call::UpdateCard, error(TooLarge))
}

fn fine(name: &str, fault: Fault) -> Row {
    row(name, fault, Good, good(), replied())
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn not_json() -> Vec<Row> {
    let is = |name, text: &'static str| malformed(name, body(move |_| text.into()));
    let lists = |row: Row| row.but(Call::Peers, good()).but(Call::Poll, error(Malformed));
    let nothing_listed = lists(is("an empty list", "[]"));
    let objects = |row: Row| {
        [Call::Enrich, Call::Nonblocking, Call::Discover, Call::Workspace]
            .into_iter()
            .fold(row, |row, call| row.but(call, good()))
    };
    [
        group(
            "a body that is empty, cut, or not JSON",
            [
                is("an empty body", ""),
                is("blanks", " \r\n"),
                is("HTML", "<html><h1>Bad gateway</h1></html>"),
                is("NaN", "NaN"),
                // The first of two rows is whole.
                malformed("half a body", body(|good| good.as_bytes()[..good.len() / 2].to_vec()))
                    .but(Call::Poll, error_after(1, Malformed)),
                // All rows came before what is wrong. With none left, an empty list is followed by another.
                malformed("a body and more", body(|good| format!("{good}{good}").into_bytes()))
                    .but(Call::Poll, error_after(2, Malformed)),
                malformed("half a character of UTF-16", body(|good| [&utf16(good)[..], b"}"].concat())),
                // It is a list, and each of its entries is skipped and counted. They come with the next poll.
                malformed("single quotes", body(|good| good.replace('"', "'").into_bytes())).but(Call::Poll, unread()),
                malformed("NULs in place of a body", body(|good| vec![0; good.len()])),
                // A row with such a field is delivered all the same.
                malformed("NaN in a field", body(|good| with_field(good, b"NaN"))).but(Call::Poll, good()),
                above_64_kib(malformed("100,000 brackets", body(|_| vec![b'['; 100_000]))),
                above_64_kib(malformed("40,000 braces", body(|_| b"{\"a\":".repeat(40_000)))),
            ],
        ),
        group(
            "JSON of another type",
            [
                is("null", "null"),
                is("a number", "17"),
                is("a text", "\"yes\""),
                is("a boolean", "true"),
                // An empty list is an empty inbox. The hidden rows come with the next poll.
                nothing_listed.but(Call::Poll, Cell::Pointless("a list without rows is a good answer")),
                objects(is("an empty object", "{}")),
            ],
        ),
    ]
    .concat()
}

/// An unreadable value inside an otherwise good answer. The inbox delivers its rows all the same, because one peer must
/// not hide the rows of others.
fn hostile() -> Vec<Row> {
    let inside =
        |name, value: Vec<u8>| malformed(name, body(move |good| with_field(good, &value))).but(Call::Poll, good());
    // Only this entry is left out of a list. A body with invalid UTF-8 is not read at all.
    let of_an_entry = |name, value: Vec<u8>| inside(name, value).but(Call::Peers, good());
    let deep =
        |open: &str, close: &str, n: usize| [open.repeat(n), "1".to_owned(), close.repeat(n)].concat().into_bytes();
    [
        group(
            "JSON that cannot be read: too deep, lone surrogates, invalid UTF-8, `1e999999`",
            [
                of_an_entry("200 nested lists", deep("[", "]", 200)),
                above_64_kib(of_an_entry("100,000 nested lists", deep("[", "]", 100_000))),
                above_64_kib(of_an_entry("40,000 nested objects", deep("{\"a\":", "}", 40_000))),
                of_an_entry("a lone surrogate", b"\"\\ud800\"".to_vec()),
                of_an_entry("a lone low surrogate", b"\"\\udc00x\"".to_vec()),
                of_an_entry("two high surrogates", b"\"\\ud800\\ud800\"".to_vec()),
                inside("invalid UTF-8", b"\"\xff\xfe\"".to_vec()),
                inside("overlong UTF-8", b"\"\xc0\xaf\"".to_vec()),
                of_an_entry("a number beyond all bounds", b"1e999999".to_vec()),
                of_an_entry("a negative number beyond all bounds", b"-1e999999".to_vec()),
            ],
        ),
        group(
            "unusual but complete",
            [
                fine("keys twice", body(|good| with_field(good, b"1,\"extra\":2,\"id\":\"x\",\"result\":7"))),
                fine("a NUL in a text", body(|good| with_field(good, b"\"a\\u0000b\""))),
                fine("a number of 300 digits", body(|good| with_field(good, "1".repeat(300).as_bytes()))),
                fine("a tiny number", body(|good| with_field(good, b"1e-999999"))),
                fine("100 nested lists", body(move |good| with_field(good, &deep("[", "]", 100)))),
            ],
        ),
    ]
    .concat()
}

fn too_large() -> Vec<Row> {
    let blanks = || Ending::Endless(vec![b' '; 64 * 1024], Duration::ZERO);
    let large = |name, fault| row(name, fault, Failed, error(TooLarge), unsent(TooLarge, 1, UNKNOWN));
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).into_bytes();
    group(
        "a body above the limit",
        [
            large("huge, with a length", says(head("Content-Length: 1000000000000\r\n\r\n"), blanks())),
            // The length alone is enough.
            // A page is read row by row, whatever its length is.
            large("huge by its length, and silent", says(head("Content-Length: 1000000000000\r\n\r\n"), Ending::Hold))
                .but(Call::Poll, error(Timeout))
                .nothing_of_a_page(),
            // The head of a file is enough.
            large("endless, without a length", says(head("\r\n"), blanks())).but(Call::Download, error(Malformed)),
            large(
                "endless chunks",
                says(head("Transfer-Encoding: chunked\r\n\r\n"), Ending::Endless(chunk, Duration::ZERO)),
            ),
        ],
    )
}

fn encoded() -> Vec<Row> {
    let labelled =
        |headers: &'static str, with: fn(&str) -> Vec<u8>| makes(move |good| whole(headers, &with(good)), Ending::Keep);
    let encoded = |name, fault| malformed(name, fault).but(Call::Download, error(Malformed));
    let plain = |good: &str| good.as_bytes().to_vec();
    // Cut off, so that it cannot be read where another crate of the program has `ureq` decode gzip either.
    let gzipped = |_: &str| b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae".to_vec();
    [
        group(
            "an encoding that was not requested",
            [
                encoded("gzip", labelled("Content-Encoding: gzip\r\n", gzipped)),
                malformed("gzip without saying so", labelled("", gzipped)),
                encoded("said to be gzip, and is not", labelled("Content-Encoding: gzip\r\n", plain)),
                encoded("said to be br", labelled("Content-Encoding: br\r\n", plain)),
                encoded("encoded twice", labelled("Content-Encoding: gzip, br\r\n", plain)),
            ],
        ),
        group(
            "unusual but complete",
            [
                fine("encoded as identity", labelled("Content-Encoding: identity\r\n", plain)),
                fine("a body after a BOM", body(|good| [b"\xef\xbb\xbf", good.as_bytes()].concat())),
                fine("UTF-16", body(utf16)),
            ],
        ),
    ]
    .concat()
}
