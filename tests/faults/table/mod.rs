//! The table: every fault, and the result of each call.
//!
//! It is written by hand from these rules, not from what the code does:
//!
//! - A lookup without a usable answer is `Failed` and remembered. Only the registry's own no is `Absent`: a 403, 404 or
//!   410 with a JSON object that has `error`.
//! - A GET is made once, on a fresh connection. A call ends within 10 s, a lookup within its timeout.
//! - No connection: `Connect`. A connection that ends before the answer is complete: `Disconnected`. Not HTTP, or
//!   contradictory: `Protocol`. An unexpected body: `Malformed`. A body above the limit: `TooLarge`.
//! - A send is tried five times where the transport failed (`Connect`, `Disconnected`, `Timeout`) before an answer
//!   other than a 200, and in no other case. Without a connection nothing was sent. Once the platform can have read the
//!   complete request, its delivery is unknown.
//! - `register` and `update_card` post once, after questions that the platform answers. What is posted is not tried again.
//!   Of the answer to a card only the status counts.
//! - A file may have any body. One that does not say where it ends is `Malformed` by its head, because a part could not be
//!   told from the whole. It is acknowledged once it is whole, and never before.
//! - A poll delivers the rows that came whole, in order, and never again, whatever broke behind them. One that fails before
//!   any of them leaves the cursor as it was. A row that no JSON reader accepts is delivered all the same, and an entry
//!   that is no row is counted.
//! - A poll that gets nothing of a page asks for one row, to see whether only the page is slow: two requests, and a timeout
//!   where neither is answered.

mod body;
mod http;
mod network;
mod own;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::cell::Row;
use crate::peer::{Ending, Fault};
pub use status::statuses;

/// Returns all rows except those of the statuses.
pub fn table() -> Vec<Row> {
    [network::rows(), http::rows(), body::rows(), own::rows()].concat()
}

/// Returns the row of that name.
pub fn find(name: &str) -> Row {
    table().into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row is called {name:?}"))
}

/// A fault that sends these bytes instead of an answer.
fn says(bytes: impl Into<Vec<u8>>, ending: Ending) -> Fault {
    let bytes = bytes.into();
    Fault::Answer(Arc::new(move |_, _| bytes.clone()), ending)
}

/// A fault that sends an answer made from a good body.
fn makes(make: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static, ending: Ending) -> Fault {
    Fault::Answer(Arc::new(move |good, _| make(good)), ending)
}

/// A fault that sends an answer that points to another server.
fn points(make: impl Fn(SocketAddr) -> String + Send + Sync + 'static) -> Fault {
    Fault::Answer(Arc::new(move |_, elsewhere| make(elsewhere).into_bytes()), Ending::Keep)
}

/// A fault that sends a complete answer of status 200 with this body, and keeps the connection open.
fn body(body: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Fault {
    makes(move |good| whole("", &body(good)), Ending::Keep)
}

fn whole(headers: &str, body: &[u8]) -> Vec<u8> {
    [head(&format!("Content-Length: {}\r\n{headers}\r\n", body.len())).as_bytes(), body].concat()
}

fn head(rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}")
}

/// Inserts a field of that value into the first object.
fn with_field(good: &str, value: &[u8]) -> Vec<u8> {
    let (before, after) = good.split_once('{').unwrap_or((good, ""));
    [before.as_bytes(), b"{\"extra\":", value, b",", after.as_bytes()].concat()
}
