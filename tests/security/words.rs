//! Words of others reach log lines and errors as one line, escaped and bounded: those of peers and platforms, the ids of
//! rows, the names in certificates.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::{Mutex, Once};
use std::time::Duration;

use a2a_blocking::{
    Client, Error, InboxPoller, Message, PeerId, PollerBuilder, RetryPolicy, SendOptions, StopReason, Verdict,
    WorkspaceRemoved,
};
use serde_json::{Value, json};

use crate::support::platform::time;
use crate::support::{self, Dir, PEER, Reaction, Request, Server, WORKSPACE, builder};

/// Moves a cursor, reverses text, and ends the line in each of the ways that some viewer knows.
const WORDS: &str =
    "\u{1b}]0;pwn\u{7}\u{1b}[2J\u{9b}31m\u{202e}evil\u{2028}x\u{85}y\u{b}z\u{c}\r\n[ERROR] forged\u{2066}\u{feff}";
const TOKEN: &str = "s3cr3t-tok/en+=";
/// Longest text that is taken for bounded, in bytes.
const LONGEST: usize = 50_000;

/// Lines of the log that are wrong, with the reason. The lines of all tests of this binary are looked at.
static WRONG_LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Number of lines that have words of others in them.
static WITH_WORDS: Mutex<usize> = Mutex::new(0);

struct Watch;

impl log::Log for Watch {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("a2a_blocking")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = record.args().to_string();
            *WITH_WORDS.lock().unwrap() += usize::from(line.contains("forged"));
            let fault = fault(&line, &[]).map(|why| format!("{why}: {line:?}"));
            WRONG_LINES.lock().unwrap().extend(fault);
        }
    }

    fn flush(&self) {}
}

fn watch_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Watch).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// Returns what is wrong with a text that somebody may print or log.
fn fault(text: &str, allowed: &[char]) -> Option<String> {
    let is_raw = |c: char| {
        let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        (c.is_control() || is_bidi) && !allowed.contains(&c)
    };
    match text.chars().find(|c| is_raw(*c)) {
        Some(raw) => Some(format!("it has a raw {raw:?}")),
        None if text.contains("s3cr3t-t") => Some("it has the token".to_owned()),
        None if text.len() > LONGEST => Some(format!("it has {} bytes", text.len())),
        None => None,
    }
}

#[track_caller]
fn assert_safe(what: &str, text: &str, allowed: &[char]) {
    if let Some(why) = fault(text, allowed) {
        panic!("{what}: {why}: {text:?}");
    }
}

/// Checks each text that an error has.
fn check_error(what: &str, error: &Error) {
    assert_safe(what, &error.to_string(), &[]);
    assert_safe(what, &format!("{error:?}"), &[]);
    // The pretty form of `Debug` is several lines, by its nature; and the peer's own lines are kept on request.
    assert_safe(what, &format!("{error:#?}"), &['\n']);
    assert_safe(what, &format!("{error:#}"), &['\n', '\t']);
    assert_safe(what, error.body_snippet().unwrap_or_default(), &[]);
    error.removed().into_iter().for_each(|removed| check_removed(what, removed));
    assert!(!format!("{:?}", error.rpc_data()).contains("s3cr3t-t"), "{what}");
    let mut source = error.source();
    while let Some(cause) = source {
        assert_safe(what, &cause.to_string(), &[]);
        assert_safe(what, &format!("{cause:?}"), &[]);
        source = cause.source();
    }
}

fn check_removed(what: &str, WorkspaceRemoved { id, removed_at, hint, .. }: &WorkspaceRemoved) {
    for text in [id, hint].into_iter().chain(removed_at) {
        assert_safe(what, text, &[]);
    }
}

fn check<T: Debug>(what: &str, outcome: Result<T, Error>) {
    if let Err(error) = outcome {
        check_error(what, &error);
        // Logs it as a warning.
        let _ = Verdict::after(Err::<(), _>(error));
    }
}

fn poller(client: &Client, dir: &Dir) -> PollerBuilder {
    let _earlier = std::fs::remove_file(dir.file("cursor.json"));
    let wait = Duration::from_millis(1);
    let retry = RetryPolicy::new().with_base(wait).with_cap(wait).with_attempts(2);
    let poller = InboxPoller::builder(client.clone()).cursor_file(dir.file("cursor.json")).retry(retry);
    poller.interval(wait).heartbeat(Some(Duration::from_secs(1)))
}

/// Makes every call, and checks each text that comes of it.
fn every_call(what: &str, client: &Client) {
    let dir = Dir::new("words");
    let policy = RetryPolicy::new().with_base(Duration::from_millis(1)).with_attempts(2).honor_retry_after();
    let _ = client.lookup(PEER);
    check(what, client.discover(PEER));
    check(what, client.peers());
    check(what, client.workspace());
    check(what, client.state());
    check(what, client.check_events(Duration::from_secs(2)));
    check(what, client.is_origin_of_canvas());
    check(what, client.send_with(PEER, &Message::from("hi"), &SendOptions::new().retry(policy)));
    check(what, client.notify("hi"));
    check(what, poller(client, &dir).build().unwrap().poll_once(|_| Verdict::Retry));
    let mut panics = poller(client, &dir).on_dead_letter(|_| panic!("at a dead letter")).build().unwrap();
    check(what, panics.poll_once(|_| panic!("in a callback")));
    drop(panics);
    let before = client.stats().inbox.polls;
    let running = poller(client, &dir).spawn(|message| Verdict::after(message.reply("on it"))).unwrap();
    support::eventually("a poll has ended", || client.stats().inbox.polls > before || running.is_finished());
    running.stop();
    if let Some(StopReason::Removed(removed)) = running.reason() {
        check_removed(what, &removed);
    }
}

/// An inbox whose rows have words for their ids, times and names of fields, and entries that are no rows.
fn inbox(words: &str) -> Reaction {
    let deep = (0..130).fold(json!("deep"), |value, _| json!([value]));
    let row = |id: &str, at: Value| {
        json!({ "id": id, "created_at": at, "source_id": PEER, "peer_name": words, "method": words, "summary": words,
            words: words, (format!("deep {words}")): deep })
    };
    let short: String = words.chars().take(60).collect();
    let rows = [
        row(&short, json!(words)),
        row("r-2", json!(time(7))),
        json!({ "noid": words }),
        json!(words),
        row(words, json!(null)),
    ];
    Reaction::reply(200, json!(rows).to_string())
}

/// A platform's reaction to a request. The words are those above, then the token that was sent, then a long text.
type Answer = fn(&Request, words: &str) -> Reaction;

fn answers() -> Vec<(&'static str, Answer)> {
    vec![
        ("well", |request, words| match request.path.split('?').next().unwrap_or_default() {
            path if path.ends_with("/activity") => inbox(words),
            path if path.ends_with("/peers") => {
                Reaction::reply(200, json!([{ "id": words, "name": words }, words]).to_string())
            }
            _ => Reaction::reply(
                200,
                json!({ "id": words, "name": words, "result": { "parts": [{ "text": "x" }] } }).to_string(),
            ),
        }),
        ("a JSON-RPC error", |_, words| {
            let error = json!({ "code": words, "message": words, "data": { words: [words] } });
            Reaction::reply(200, json!({ "error": error }).to_string())
        }),
        ("a JSON-RPC error of objects", |_, words| {
            let error = json!({ "code": { words: words }, "message": { words: words }, "data": words });
            Reaction::reply(400, json!({ "id": words, "error": error }).to_string())
        }),
        ("an agent's error", |_, words| {
            let parts = json!([{ "kind": "text", "text": format!("Agent error: {words}") }]);
            Reaction::reply(200, json!({ "result": { "parts": parts } }).to_string())
        }),
        ("a broken part", |_, words| {
            let parts = json!([{ "kind": "text", "text": [words] }]);
            Reaction::reply(200, json!({ "result": { "parts": parts } }).to_string())
        }),
        ("its own error", |_, words| {
            let error = json!({ "error": words, "restarting": true, "retry_after": 0 });
            Reaction::reply(503, error.to_string()).header("Retry-After", "0")
        }),
        ("an error that is an object", |_, words| {
            Reaction::reply(403, json!({ "error": { words: words } }).to_string())
        }),
        ("a refusal", |_, words| Reaction::reply(401, json!({ "error": words }).to_string())),
        ("a removal", |_, words| {
            Reaction::reply(
                410,
                json!({ "error": "removed", "id": words, "removed_at": words, "hint": words }).to_string(),
            )
        }),
        ("a page", |_, words| Reaction::reply(502, words)),
        ("no JSON", |_, words| Reaction::reply(200, format!("{{\"a\": {words}"))),
        ("JSON of another shape", |_, words| Reaction::reply(200, json!(words).to_string())),
        ("an encoding", |_, words| {
            let encoding: String =
                words.chars().filter(|c| !matches!(c, '\r' | '\n') && !c.is_ascii_control()).take(200).collect();
            Reaction::reply(200, "{}").header("Content-Encoding", &encoding)
        }),
        ("a status line", |_, words| Reaction::raw(&format!("HTTP/1.1 200 {words}\r\n\r\n"))),
        ("a version", |_, words| Reaction::raw(&format!("{words}\r\n\r\n"))),
    ]
}

#[test]
fn words_of_others_reach_no_log_line_or_error_as_they_came() {
    watch_log();
    for (what, answer) in answers() {
        let server = Server::decide(move |_, request| {
            let echo = request.header("authorization").unwrap_or_default();
            answer(request, &format!("{WORDS}{echo}{}", "long ".repeat(2_000)))
        });
        every_call(what, &builder(&server).token(TOKEN).build().unwrap());
    }
    let wrong = WRONG_LINES.lock().unwrap().clone();
    assert!(wrong.is_empty(), "{} lines of the log:\n{}", wrong.len(), wrong.join("\n"));
    assert!(*WITH_WORDS.lock().unwrap() > 50, "nothing was logged");
}

/// The data of an error is the agent's word, and stays as it is but for the token.
#[test]
fn token_is_cut_out_of_the_data_of_a_json_rpc_error() {
    let server = Server::decide(|_, request| {
        let echo = request.header("authorization").unwrap_or_default().to_owned();
        let data = json!({ "sent": echo, "lines": "a\nb", "7": [{ (echo.as_str()): 1.5 }], "escaped": echo.replace('/', "%2F") });
        Reaction::reply(200, json!({ "error": { "code": -1, "message": "no", "data": data } }).to_string())
    });
    let error = builder(&server).token(TOKEN).build().unwrap().send(PEER, "hi").unwrap_err();
    let cut = "Bearer [token]";
    let expected = json!({ "sent": cut, "lines": "a\nb", "7": [{ cut: 1.5 }], "escaped": cut });
    assert_eq!(error.rpc_data(), Some(&expected));
    assert!(error.to_string().contains("no (code=-1); data: {\"7\":[{\"Bearer [token]\":1.5}]"), "{error}");
}

/// A certificate's owner chooses its names. They are in the words of the TLS library.
#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn names_of_a_certificate_are_escaped_and_bounded() {
    use rcgen::{DnType, SanType};

    use crate::tls_server::{Authority, answering, https};

    watch_log();
    let authority = Authority::new();
    let name = |name: String| SanType::DnsName(name.try_into().unwrap());
    let ascii: String = WORDS.chars().filter(char::is_ascii).collect();
    for names in [vec![ascii.clone()], (0..300).map(|n| format!("{n}.{ascii}")).collect()] {
        let config = authority.certify_as("elsewhere.example", |params| {
            params.subject_alt_names.extend(names.iter().cloned().map(name));
            params.distinguished_name.push(DnType::CommonName, WORDS);
        });
        let (server, _) = answering(config, true, |_| Vec::new());
        let client = Client::builder().platform_url(https(&server)).workspace_id(WORKSPACE).token(TOKEN);
        let client = client.root_certificates(authority.pem()).build().unwrap();
        let error = client.workspace().unwrap_err();
        assert_eq!(error.kind(), a2a_blocking::ErrorKind::Tls, "{error}");
        assert!(error.to_string().contains("for another host") || !cfg!(feature = "rustls"), "{error}");
        every_call("a certificate", &client);
    }
    let wrong = WRONG_LINES.lock().unwrap().clone();
    assert!(wrong.is_empty(), "{} lines of the log:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn own_settings_are_quoted_on_one_line() {
    let outcome =
        support::builder(&Server::play([Reaction::Close])).token_file(format!("/nonexistent\n{WORDS}/x")).build();
    check("a token file that does not exist", outcome);
    let missing = format!("/nonexistent\n{WORDS}/cursor.json");
    let client = support::client(&Server::play([Reaction::Close]));
    check("a cursor file", InboxPoller::builder(client).cursor_file(missing).build());
    check("a peer id", PeerId::parse(WORDS));
    check("a long peer id", PeerId::parse(&WORDS.repeat(100_000)));
    let settings = || Client::builder().workspace_id("w");
    check("a url", settings().platform_url(WORDS).build());
    check("a workspace id", settings().workspace_id(WORDS).build());
    check("an origin", settings().origin(Some(WORDS)).build());
    check("an org id", settings().org_id(WORDS).build());
    check("a proxy", settings().proxy(WORDS).build());
}
