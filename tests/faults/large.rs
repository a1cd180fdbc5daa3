//! The largest answer that each call reads, made of what is slow to look at. The call ends within its budget all the same.
//!
//! A fault of this kind is work after the answer is there: in a text that an error shows, in the search for the token in
//! it, or in a line that nobody logs. So the tokens begin with a run of the letter that the answers are made of.

use std::fmt::Write;
use std::io::Cursor;
use std::iter::repeat_n;
use std::time::Duration;

use a2a_blocking::{
    Client, Error, ErrorKind, InboxPoller, LookupSource, Message, NewRequest, Queued, Reply, RequestAction,
    RetryPolicy, SendOptions, Verdict,
};

use crate::calls::{card, timed};
use crate::cell::Call::{self, Discover, Download, Enrich, Peers, Poll, Register, Send, UpdateCard, Workspace};
use crate::late;
use crate::run::caught;
use crate::support::{Dir, PEER, Reaction, Server, WORKSPACE, client};

/// Budget of each call. An answer of 32 MiB takes a second or two in an unoptimised build.
const BUDGET: Duration = Duration::from_secs(8);
/// Letter that answers and tokens are made of.
const LETTER: &str = "a";
const ALL: &[Call] = &[Enrich, Discover, Peers, Workspace, Send, Poll, Register, UpdateCard, Download];

/// A kind of large answer.
struct Large {
    name: &'static str,
    calls: &'static [Call],
    status: u16,
    header: Option<&'static str>,
    /// Makes a body of at most so many bytes.
    body: fn(usize) -> Vec<u8>,
    /// Expected kind of error. `None` for a result.
    kind: fn(Call) -> Option<ErrorKind>,
}

fn large(name: &'static str, calls: &'static [Call], status: u16, body: fn(usize) -> Vec<u8>) -> Large {
    Large { name, calls, status, header: None, body, kind: |_| Some(ErrorKind::Status) }
}

impl Large {
    fn with_header(self, name: &'static str) -> Large {
        Large { header: Some(name), ..self }
    }

    fn is(self, kind: fn(Call) -> Option<ErrorKind>) -> Large {
        Large { kind, ..self }
    }
}

/// Number of bytes that the call reads of an answer with this status.
fn limit(call: Call, status: u16) -> usize {
    match call {
        Poll if status != 200 => 64 * 1024,
        Enrich | Discover | Call::Nonblocking => 256 * 1024,
        Peers | Workspace | Send => 10_000_000,
        Poll => 32 * 1024 * 1024,
        Register | UpdateCard | Download => 64 * 1024,
    }
}

/// Tokens of one letter, and one that begins with a run of it. The longest has as many bytes as a token may have.
fn tokens() -> [String; 3] {
    [LETTER.repeat(48), LETTER.repeat(48) + "-and-more", LETTER.repeat(16 * 1024)]
}

/// Fills what `around` leaves of the size.
fn filled(size: usize, around: (&str, &str), unit: &str) -> Vec<u8> {
    let (before, after) = around;
    let room = size - before.len() - after.len();
    let units = unit.repeat(room / unit.len());
    [before, &units, after].concat().into_bytes()
}

/// A JSON-RPC error around a text.
fn rpc(size: usize, before: &str, after: &str) -> Vec<u8> {
    let before = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{{before}"#);
    filled(size, (&before, &format!("{after}}}}}")), LETTER)
}

fn plain_answers() -> Vec<Large> {
    vec![
        large("letters of the token", ALL, 500, |size| filled(size, ("", ""), LETTER)),
        large("escaped letters of the token", ALL, 500, |size| filled(size, ("", ""), r"\u0061")),
        large("letters of the token as a URL has them", ALL, 502, |size| filled(size, ("", ""), "%61")),
        large("backslashes", ALL, 502, |size| filled(size, ("", ""), r"\")),
        large("bytes that are no UTF-8", ALL, 503, |size| vec![0xff; size]),
        large("an error object", ALL, 403, |size| filled(size, (r#"{"error":""#, r#""}"#), LETTER)).is(
            |call| match call {
                // An object above 256 KiB is none of the platform's own.
                Enrich | Discover => Some(ErrorKind::NotFound),
                // Nothing is beside it: the agent's.
                Send => Some(ErrorKind::Agent),
                _ => Some(ErrorKind::Unauthorized),
            },
        ),
        large("an error of lists", ALL, 410, |size| filled(size, (r#"{"error":[0"#, "]}"), ",[]")).is(
            |call| match call {
                Workspace => Some(ErrorKind::Removed),
                // It takes more memory than an answer may take.
                Send => Some(ErrorKind::TooLarge),
                _ => Some(ErrorKind::Status),
            },
        ),
        large("a long encoding", ALL, 200, |_| b"{}".to_vec()).with_header("Content-Encoding").is(malformed),
        large("a long wait", ALL, 503, |_| b"{}".to_vec()).with_header("Retry-After"),
        large("a long header", ALL, 500, |_| b"{}".to_vec()).with_header("X-Long"),
        large("a good body that is no object or list", ALL, 200, |size| filled(size, ("\"", "\""), LETTER))
            .is(malformed_unless_file),
        large("half of a body", ALL, 200, |size| filled(size, ("[\"", ""), LETTER)).is(malformed_unless_file),
    ]
}

fn malformed(call: Call) -> Option<ErrorKind> {
    // Of the answer to a card only the status counts.
    (call != UpdateCard).then_some(ErrorKind::Malformed)
}

/// A file may have any body.
fn malformed_unless_file(call: Call) -> Option<ErrorKind> {
    malformed(call).filter(|_| call != Download)
}

fn answers_to_a_message() -> Vec<Large> {
    let answer = |name, body| large(name, &[Send], 200, body);
    let rpc_error = |name, body| answer(name, body).is(|_| Some(ErrorKind::Rpc));
    let good = |name, body| answer(name, body).is(|_| None);
    vec![
        rpc_error("an error's message", |size| rpc(size, r#""code":-1,"message":""#, "\"")),
        rpc_error("an error's message that is not JSON", |size| rpc(size, r#""message":{"a":["#, r#"]}"#))
            .is(malformed),
        rpc_error("an error's message in a list", |size| rpc(size, r#""message":[""#, "\"]")),
        rpc_error("an error's code", |size| rpc(size, r#""code":""#, "\"")),
        rpc_error("an error's data", |size| rpc(size, r#""data":""#, "\"")),
        rpc_error("an error's data of one name", |size| rpc(size, r#""data":{""#, "\":1}")),
        rpc_error("an error's deep data", |size| {
            rpc(size, &format!(r#""data":{}""#, "[".repeat(100)), &format!("\"{}", "]".repeat(100)))
        }),
        rpc_error("an error's wide data", |size| filled(size, (r#"{"error":{"code":7,"data":[0"#, "]}}"), ",1234567")),
        good("a good reply's id", |size| {
            filled(size, (r#"{"id":""#, r#"","result":{"parts":[{"kind":"text","text":"yes"}]}}"#), LETTER)
        }),
        good("a good reply's id that is a list", |size| {
            filled(size, (r#"{"id":[0"#, r#"],"result":{"parts":[{"kind":"text","text":"yes"}]}}"#), ",1234567")
        }),
        good("a good reply's text", |size| {
            filled(size, (r#"{"result":{"parts":[{"kind":"text","text":""#, "\"}]}}"), LETTER)
        }),
        answer("an agent's error", |size| {
            filled(size, (r#"{"result":{"parts":[{"kind":"text","text":"Agent error: "#, "\"}]}}"), LETTER)
        })
        .is(|_| Some(ErrorKind::Agent)),
        answer("a part whose text is a list", |size| {
            filled(size, (r#"{"result":{"parts":[{"kind":"text","text":[""#, "\"]}]}}"), LETTER)
        })
        .is(malformed),
        answer("no result and no error", |size| filled(size, (r#"{"x":""#, "\"}"), LETTER)).is(malformed),
    ]
}

fn lists() -> Vec<Large> {
    let peers = |name, body| large(name, &[Peers], 200, body).is(|_| None);
    let page = |name, body| large(name, &[Poll], 200, body).is(|_| None);
    vec![
        // A shorter entry would take more memory than a list may take.
        peers("a list of peers", |size| {
            list(size, |n| format!(r#"{{"id":"{n:08x}-0000-4000-8000-000000000000","name":"{}"}}"#, LETTER.repeat(64)))
        }),
        peers("a list of one peer", |size| {
            list(size, |_| format!(r#"{{"id":"{PEER}","name":"{}"}}"#, LETTER.repeat(64)))
        }),
        peers("a list of one large peer", |size| {
            filled(size, (&format!(r#"[{{"id":"{PEER}","name":""#), "\"}]"), LETTER)
        }),
        peers("a list of entries that are none", |size| filled(size, ("[0", "]"), ",1234567")),
        page("rows of a megabyte", |size| {
            let text = LETTER.repeat(1_000_000);
            let part = format!(r#"{{"kind":"text","text":"{text}"}}"#);
            list(size, |n| {
                let body = format!(r#"{{"params":{{"message":{{"parts":[{part}]}}}}}}"#);
                format!(r#"{{"id":"{n}","source_id":"{PEER}","method":"{text}","request_body":{body}}}"#)
            })
        }),
        page("rows without an id", |size| {
            let text = LETTER.repeat(1_000_000);
            list(size, |_| format!(r#"{{"id":"{text}","summary":"x"}}"#))
        }),
        page("rows whose fields cannot be read", |size| {
            let (name, deep) = (LETTER.repeat(300_000), "[".repeat(130) + &"]".repeat(130));
            let fields: String = (0..10).fold(String::new(), |mut fields, n| {
                let _ = write!(fields, r#","{n}{name}":{deep}"#);
                fields
            });
            filled(size, ("[", &format!(r#"{{"id":"{}"{fields}}}]"#, LETTER.repeat(2_000_000))), " ")
        }),
        page("a page of entries that are none", |_| filled(500_000, ("[0", "]"), ",1234567")),
    ]
}

/// A call that the table does not have: its name, the number of bytes that it reads, and the largest answer that it takes.
/// Without an answer it reads only the status.
type Further = (&'static str, fn(&Client) -> Result<(), Error>, usize, Option<fn(usize) -> Vec<u8>>);

const FURTHER: [Further; 13] = [
    ("requests", |client| client.requests().map(drop), 10_000_000, Some(entries)),
    ("delegations", |client| client.delegations().map(drop), 10_000_000, Some(entries)),
    (
        "request_details",
        |client| client.request_details("r").map(drop),
        10_000_000,
        Some(|size| filled(size, (r#"{"request":{"id":"r"},"messages":[{"body":""#, "\"}]}"), LETTER)),
    ),
    (
        "instructions",
        |client| client.instructions().map(drop),
        10_000_000,
        Some(|size| filled(size, (r#"{"instructions":""#, "\"}"), LETTER)),
    ),
    (
        "request",
        |client| client.request(&NewRequest::task("x")).map(drop),
        64 * 1024,
        Some(|size| filled(size, (r#"{"request_id":""#, "\"}"), LETTER)),
    ),
    (
        "delegate",
        |client| client.delegate(PEER, "x").map(drop),
        64 * 1024,
        Some(|size| filled(size, (r#"{"delegation_id":"d","status":""#, "\"}"), LETTER)),
    ),
    (
        "upload",
        |client| client.upload("n", "a/b", Cursor::new("x")).map(drop),
        64 * 1024,
        Some(|size| filled(size, (r#"{"files":[{"uri":"u","name":""#, "\"}]}"), LETTER)),
    ),
    (
        "state",
        |client| client.state().map(drop),
        10_000_000,
        Some(|size| filled(size, (r#"{"status":""#, "\"}"), LETTER)),
    ),
    (
        "queued",
        |client| client.queued(&queued()).map(drop),
        10_000_000,
        Some(|size| filled(size, (r#"{"status":"completed","response_body":{"result":{"x":""#, "\"}}}"), LETTER)),
    ),
    (
        "wait_queued",
        |client| client.wait_queued(&queued(), BUDGET).map(drop),
        10_000_000,
        Some(|size| filled(size, (r#"{"status":"failed","last_error":""#, "\"}"), LETTER)),
    ),
    ("heartbeat", Client::heartbeat, 64 * 1024, None),
    ("respond", |client| client.respond("r", RequestAction::Done), 64 * 1024, None),
    ("notify", |client| client.notify("x"), 64 * 1024, None),
];

/// Returns a message that a platform has queued.
fn queued() -> Queued {
    let answer = format!(r#"{{"queued":true,"queue_id":"{PEER}","queue_depth":1,"message":"later"}}"#);
    match client(&Server::play([Reaction::reply(202, answer)])).send(PEER, "x") {
        Ok(Reply::Queued(queued)) => queued,
        other => panic!("{other:?}"),
    }
}

/// Requests as the platform lists them, with a short title.
fn entries(size: usize) -> Vec<u8> {
    let fields = format!(
        r#""kind":"task","requester_type":"agent","requester_id":"{PEER}","org_id":"{PEER}","recipient_type":"agent","recipient_id":"{WORKSPACE}","title":"{LETTER}","detail":null,"status":"pending","responder_type":null,"responder_id":null,"priority":null,"created_at":"2026-11-29T15:47:28.759723Z","updated_at":"2026-11-29T15:47:28.759723Z","responded_at":null"#
    );
    list(size, |n| format!(r#"{{"id":"{n:08x}-e23a-45fe-8aa0-e3f0f448b4b5",{fields}}}"#))
}

/// Makes each call that the table does not have with its large answers.
pub fn check_further() {
    late::watch();
    for (n, (name, call, size, good)) in FURTHER.into_iter().enumerate() {
        let token = &tokens()[n % 3];
        let text = filled(size, ("\"", "\""), LETTER);
        let answers = [
            (500, filled(size, ("", ""), LETTER), Some(ErrorKind::Status)),
            (400, filled(size, (r#"{"error":""#, r#""}"#), LETTER), Some(ErrorKind::Status)),
            (200, vec![b' '; size + 1], Some(ErrorKind::TooLarge)),
            (200, text, good.map(|_| ErrorKind::Malformed)),
            (200, good.map_or_else(Vec::new, |body| body(size)), None),
        ];
        for (status, body, expected) in answers {
            let server = Server::play([Reaction::reply(status, body)]);
            let client = Client::builder().platform_url(server.url()).workspace_id(WORKSPACE).token(token);
            let client = client.build().unwrap();
            let error = timed(BUDGET, || call(&client)).err();
            assert_eq!(error.as_ref().map(Error::kind), expected, "{name} {status}: {error:?}");
            let shown = format!("{error:?} {error:#?}");
            assert!(shown.len() < 100_000 && !shown.contains(token), "{name} {status}: {shown}");
        }
    }
}

/// Makes a list of as many entries as fit.
fn list(size: usize, entry: impl Fn(usize) -> String) -> Vec<u8> {
    let (mut out, mut n) = (vec![b'['], 0);
    loop {
        let next = entry(n);
        if out.len() + next.len() + 2 > size {
            break;
        }
        out.extend(repeat_n(b',', usize::from(n > 0)));
        out.extend(next.into_bytes());
        n += 1;
    }
    out.push(b']');
    out
}

/// Makes each call with each of its large answers.
pub fn check() {
    late::watch();
    let (tokens, mut wrong) = (tokens(), Vec::new());
    let answers = plain_answers().into_iter().chain(answers_to_a_message()).chain(lists());
    for (n, large) in answers.enumerate() {
        // The first answer is made with each token, each other one with one of them.
        let chosen = if n == 0 { &tokens[..] } else { &tokens[n % tokens.len()..=n % tokens.len()] };
        for (call, token) in large.calls.iter().flat_map(|call| chosen.iter().map(move |token| (*call, token))) {
            let outcome = caught(|| check_one(&large, call, token));
            let title = format!("{}, {}, a token of {} bytes", call.name(), large.name, token.len());
            wrong.extend(outcome.err().map(|why| format!("{title}: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{} calls with large answers:\n{}", wrong.len(), wrong.join("\n"));
}

fn check_one(large: &Large, call: Call, token: &str) {
    let limit = limit(call, large.status);
    let body = (large.body)(limit);
    assert!(body.len() <= limit, "{} bytes", body.len());
    let mut answer = Reaction::reply(large.status, body);
    if let Some(name) = large.header {
        let unit = if name == "Retry-After" { "9" } else { LETTER };
        answer = answer.header(name, &unit.repeat(60_000));
    }
    let server = Server::decide(move |_, request| match request.method.as_str() {
        // The questions before it posts.
        "GET" if call.asks_before() => Reaction::reply(200, "{}"),
        _ => answer.clone(),
    });
    let builder = Client::builder().platform_url(server.url()).workspace_id(WORKSPACE).ttl_spread(0.0);
    let client = builder.token(token).lookup_timeout(BUDGET).build().unwrap();
    let dir = Dir::new("large");
    let mut poller =
        InboxPoller::builder(client.clone()).ack(false).cursor_file(dir.file("cursor.json")).build().unwrap();
    let expected = (large.kind)(call);
    // A poll is three requests here: for one row, for the page, and for the broadcasts.
    let bound = if call == Poll { BUDGET * 3 } else { BUDGET };
    let outcome = timed(bound, || match call {
        Enrich | Call::Nonblocking => {
            let source = client.lookup(PEER).source;
            let is_absent = expected == Some(ErrorKind::NotFound);
            assert_eq!(source, if is_absent { LookupSource::Absent } else { LookupSource::Failed });
            None
        }
        Discover => client.discover(PEER).err(),
        Peers => client.peers().err(),
        Workspace => client.workspace().err(),
        Send => {
            let policy = RetryPolicy::new().with_attempts(1).with_budget(BUDGET);
            client.send_with(PEER, &Message::from("hi"), &SendOptions::new().retry(policy)).err()
        }
        Poll => poller.poll_once(|_| Verdict::Ack).err(),
        Register => client.register(&card(2)).err(),
        UpdateCard => client.update_card(&card(2)).err(),
        Download => crate::calls::download(&client).err(),
    });
    if call != Enrich {
        assert_eq!(outcome.as_ref().map(Error::kind), expected, "{outcome:?}");
    }
    let Some(error) = outcome else { return };
    let shown = format!("{error} {error:?} {error:#?} {:?}", error.rpc_data());
    assert!(shown.len() < 100_000 && !shown.contains(token), "{shown}");
    assert_eq!(error.rpc_data(), None, "so much data is not kept");
}
