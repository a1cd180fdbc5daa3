//! The table: every fault, and what each call has to make of it. Written by hand from the rules below, not from what
//! the code does.
//!
//! - A lookup that brings no usable answer is `Failed` and remembered; only the registry's own no (403, 404, 410 with a
//!   JSON object that has `error`) is `Absent`.
//! - A GET is made once on a fresh connection, and each call has its bound in all: 10 s, of a lookup its timeout.
//! - No connection: `Connect`. A connection that ends before the answer is whole: `Disconnected`. What is no HTTP, or
//!   contradicts itself: `Protocol`. A body that is not what it should be: `Malformed`; one above the cap: `TooLarge`.
//! - A send is tried again, five times in all, where the transport failed (`Connect`, `Disconnected`, `Timeout`) before an
//!   answer other than a 200, and in no other case. Without a connection nothing was sent; once the peer can have read
//!   the whole request, what became of it is not known.
//! - A poll that fails delivers nothing and moves nothing. A row that no JSON reader takes is delivered all the same.

mod body;
mod http;
mod network;
mod own;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::cell::Row;
use crate::peer::{Fault, Then};
pub use status::statuses;

/// All but the statuses.
pub fn table() -> Vec<Row> {
    [network::rows(), http::rows(), body::rows(), own::rows()].concat()
}

/// The row of that name.
pub fn find(name: &str) -> Row {
    table().into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row is called {name:?}"))
}

/// These bytes in place of an answer.
fn says(bytes: impl Into<Vec<u8>>, then: Then) -> Fault {
    let bytes = bytes.into();
    Fault::Answer(Arc::new(move |_, _| bytes.clone()), then)
}

/// An answer made of a good one's body.
fn makes(make: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static, then: Then) -> Fault {
    Fault::Answer(Arc::new(move |good, _| make(good)), then)
}

/// An answer that points to another server.
fn points(make: impl Fn(SocketAddr) -> String + Send + Sync + 'static) -> Fault {
    Fault::Answer(Arc::new(move |_, elsewhere| make(elsewhere).into_bytes()), Then::Keep)
}

/// A whole answer of 200 with this body and its right length, and the connection stays open.
fn body(body: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Fault {
    makes(move |good| whole("", &body(good)), Then::Keep)
}

fn whole(headers: &str, body: &[u8]) -> Vec<u8> {
    [head(&format!("Content-Length: {}\r\n{headers}\r\n", body.len())).as_bytes(), body].concat()
}

fn head(rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}")
}

/// With a field of that value in the first object.
fn with_field(good: &str, value: &[u8]) -> Vec<u8> {
    let (before, after) = good.split_once('{').unwrap_or((good, ""));
    [before.as_bytes(), b"{\"extra\":", value, b",", after.as_bytes()].concat()
}
