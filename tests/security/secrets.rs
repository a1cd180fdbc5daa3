//! No output of a process contains the token: whatever is called, whoever answers, and whatever the log level.
//!
//! A child process makes every call against good and bad servers. It prints the complete log of this crate, the HTTP
//! client and the TLS library. It shows every public value, and each callback panics once. The test searches the output
//! for every form of the token.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use std::{env, fs};

use a2a_blocking::{
    AgentCard, CancelToken, Client, ClientBuilder, Error, InboxPoller, Message, NewRequest, RequestAction, RetryPolicy,
    SendOptions, Verdict, global,
};
use serde_json::json;

use crate::search::{TOKEN, dumped, found};
use crate::support::platform::{Platform, SECOND};
use crate::support::{Dir, PEER, RECORD, Reaction, Server, WORKSPACE};
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::tls_server;

/// True while a peer returns the token. The HTTP client's log shows what it receives, as the crate's docs warn. Then
/// only this crate's log is checked.
static ECHOED: AtomicBool = AtomicBool::new(false);

/// Cases without a connection.
const UNREACHABLE: [&str; 3] = ["no listener", "no such proxy", "a proxy with a password"];

struct Everything;

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if !ECHOED.load(SeqCst) || record.target().starts_with("a2a_blocking") {
            println!("{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Prints a value in each debug format.
fn show<T: Debug>(what: &str, value: T) {
    println!("{what}: {value:?} {value:#?}");
}

fn show_outcome<T: Debug>(what: &str, outcome: Result<T, Error>) {
    show(what, &outcome);
    let Err(error) = outcome else { return };
    println!("{error} {error:#} {:?} {:?} {:?}", error.body_snippet(), error.removed(), error.rpc_data());
    let mut source = error.source();
    while let Some(cause) = source {
        println!("because of {cause} {cause:?} {cause:#?}");
        source = cause.source();
    }
}

fn short_waits() -> RetryPolicy {
    let wait = Duration::from_millis(1);
    RetryPolicy::new()
        .with_base(wait)
        .with_cap(wait)
        .with_attempts(2)
        .with_silence(Duration::from_millis(200))
        .honor_retry_after()
}

/// Makes every call of a client of that platform.
fn every_call(what: &str, builder: ClientBuilder, dir: &Dir) {
    println!("== {what}");
    let builder = builder.workspace_id(WORKSPACE).lookup_timeout(Duration::from_millis(200)).ttl_spread(0.0);
    show("builder", &builder);
    let client = match builder.build() {
        Ok(client) => client,
        Err(error) => return show_outcome("build", Err::<(), _>(error)),
    };
    show("client", &client);
    show("enrich", client.enrich(PEER));
    client.forget(PEER);
    show("lookup", client.lookup(PEER));
    show("enrich_nonblocking", client.enrich_nonblocking("deadbeef-0000-4000-8000-000000000404"));
    show("wait_until_idle", client.wait_until_idle(Duration::from_millis(60)));
    show("peer_name", client.peer_name(PEER));
    show_outcome("discover", client.discover(PEER));
    show_outcome("discover, of nobody", client.discover(TOKEN_OF_NOBODY));
    show_outcome("peers", client.peers());
    show_outcome("workspace", client.workspace());
    show_outcome("state", client.state());
    show_outcome("register", client.register(&AgentCard::new("me")));
    show_outcome("update_card", client.update_card(&AgentCard::new("me")));
    show_outcome("heartbeat", client.heartbeat());
    show_outcome("check_events", client.check_events(Duration::from_secs(2)));
    show_outcome("is_origin_of_canvas", client.is_origin_of_canvas());
    show_outcome("discover_url", client.discover_url(PEER));
    show_outcome("requests", client.requests());
    show_outcome("request_details", client.request_details("r"));
    show_outcome("instructions", client.instructions());
    show_outcome("delegations", client.delegations());
    show_outcome("open_file", client.open_file(format!("platform-pending:{WORKSPACE}/f")));
    show_outcome("open_file, elsewhere", client.open_file("https://x.test/f"));
    let file = client.open_file(format!("platform-pending:{WORKSPACE}/f")).unwrap();
    show_outcome("write_to", file.timeout(Duration::from_secs(2)).write_to(Vec::new()));
    // Without a connection this call retries for 15 s.
    if !UNREACHABLE.contains(&what) {
        show_outcome("notify", client.notify("done"));
        show_outcome("request", client.request(&NewRequest::task("x")));
        show_outcome("respond", client.respond("r", RequestAction::Done));
        show_outcome("delegate", client.delegate(PEER, "x"));
        show_outcome("upload", client.upload("n", "text/plain", std::io::Cursor::new("content")));
    }
    show("settings", client.settings());

    let message = Message::new().text("hi").data(json!({"a": 1})).file_bytes("f", "text/plain", b"f").context_id("c");
    show("message", &message);
    let cancel = CancelToken::new();
    let options = SendOptions::new().retry(short_waits()).cancel(&cancel).on_progress(|at| show("progress", at));
    show("options", (&options, &cancel));
    show_outcome("send_with", client.send_with(PEER, &message, &options));
    let plain = SendOptions::new().retry(short_waits());
    show_outcome("a large send", client.send_with(PEER, &Message::from("x".repeat(400_000)), &plain));
    let panics = SendOptions::new().retry(short_waits()).on_progress(|_| panic!("in a progress callback"));
    show_outcome("a send whose progress callback panics", client.send_with(PEER, &message, &panics));
    cancel.cancel();
    show_outcome("a cancelled send", client.send_with(PEER, &message, &options));

    let cursor = dir.file("cursor.json");
    let _earlier = fs::remove_file(&cursor);
    let poller = InboxPoller::builder(client.clone()).cursor_file(&cursor).interval(Duration::from_millis(5));
    let poller = poller.retry(short_waits()).heartbeat(Some(Duration::from_secs(1)));
    let poller = poller.on_dead_letter(|message| panic!("at a dead letter {message:?}"));
    show("poller", &poller);
    let calls = AtomicUsize::new(0);
    let handle = poller.spawn(move |message| {
        show("push", (message, message.sender(), message.row(), message.attachments()));
        show("notification", message.envelope());
        assert!(calls.fetch_add(1, SeqCst) > 1, "in a callback at {message:?}");
        show_outcome("reply", message.reply("on it"));
        Verdict::Ack
    });
    if let Ok(handle) = &handle {
        thread::sleep(Duration::from_millis(150));
        show("handle", handle);
        handle.stop();
        show("reason", handle.join());
    }
    show("stats", client.stats());
    println!("{}", client.stats());
    client.clear();
    show("client", &client);
}

fn answer_all(client: Client, dir: &Dir) {
    let mut poller = InboxPoller::builder(client).cursor_file(dir.file("answered.json")).build().unwrap();
    let polled = poller.poll_once(|message| {
        show_outcome("reply", message.reply("on it"));
        Verdict::Ack
    });
    show_outcome("polled", polled);
}

const TOKEN_OF_NOBODY: &str = "../../no/peer?id=\r\n";

/// Starts a platform that works.
fn good(platform: &Platform) -> Server {
    let platform = platform.clone();
    Server::decide(move |_, request| {
        assert!(
            request.header("authorization").is_some_and(|value| value == format!("Bearer {TOKEN}")),
            "another token"
        );
        match request.path.as_str() {
            path if path.ends_with("/peers") => Reaction::reply(200, format!("[{RECORD},7]")),
            path if path == format!("/workspaces/{WORKSPACE}") => Reaction::reply(200, r#"{"id":"w","name":"me"}"#),
            path if path.ends_with("/state") => Reaction::reply(200, r#"{"status":"online"}"#),
            "/registry/register" => Reaction::reply(200, r#"{"status":"registered","delivery_mode":"poll"}"#),
            _ => platform.answer(request),
        }
    })
}

/// Starts platforms that fail in different ways.
fn bad() -> Vec<(&'static str, Server)> {
    let status = |status, body: &str| Server::play([Reaction::reply(status, body)]);
    let redirect = Reaction::reply(307, "").header("Location", "http://127.0.0.1:9/elsewhere?token=1");
    let trickle = Reaction::Trickle { head: b"HTTP".to_vec(), slow: vec![b'/'; 12], pause: Duration::from_millis(40) };
    let early = |_, mut stream: std::net::TcpStream| {
        let _ = stream.peek(&mut [0]);
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 413 X\r\nContent-Length: 3\r\n\r\nbig");
    };
    // Longer than the timeouts of lookups and sends here, and shorter than that of a call.
    let silence = |_, stream: std::net::TcpStream| {
        thread::sleep(Duration::from_millis(500));
        drop(stream);
    };
    vec![
        ("a 401", status(401, r#"{"error":"bad token"}"#)),
        ("a 403", status(403, "")),
        ("a 404", status(404, r#"{"error":"nobody"}"#)),
        ("a 410", status(410, r#"{"error":"removed","id":"w","removed_at":"t","hint":"gone"}"#)),
        ("a 500", status(500, "<html>")),
        ("a 503", Server::play([Reaction::reply(503, r#"{"error":"e","waking":true}"#).header("Retry-After", "0")])),
        ("no JSON", status(200, "hello")),
        ("an RPC error", status(200, r#"{"error":{"code":-1,"message":"no"}}"#)),
        ("a redirect", Server::play([redirect])),
        ("a close", Server::play([Reaction::Close])),
        ("a reset", Server::play([Reaction::Reset(b"HTTP/1.1 200 OK\r\n".to_vec())])),
        ("no HTTP", Server::play([Reaction::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n")])),
        ("half a body", Server::play([Reaction::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")])),
        ("silence", Server::raw(silence)),
        ("a trickle", Server::play([trickle])),
        ("an early answer", Server::raw(early)),
    ]
}

/// Starts platforms that return the token, each in another place.
fn echoes() -> Vec<(&'static str, Server)> {
    type Echo = fn(&str) -> Reaction;
    let acts: [(&str, Echo); 6] = [
        ("a body", |token| Reaction::reply(500, format!("you sent {token}"))),
        ("an error of the platform's", |token| {
            Reaction::reply(403, json!({"error": format!("you sent {token}")}).to_string())
        }),
        ("a removal", |token| {
            Reaction::reply(410, json!({"error": "removed", "id": token, "hint": token}).to_string())
        }),
        ("a header", |token| Reaction::reply(200, "{}").header("Content-Encoding", token)),
        ("a status line", |token| Reaction::raw(&format!("HTTP/1.1 {token}\r\n\r\n"))),
        ("a hint", |token| {
            Reaction::reply(503, json!({"error": token, "restarting": true, "retry_after": 0}).to_string())
        }),
    ];
    let server =
        |echo: Echo| Server::decide(move |_, request| echo(request.header("authorization").unwrap_or_default()));
    // Where a record is requested any object is one. Its data is shown as received.
    let agent = Server::decide(|_, request| match (request.method.as_str(), request.header("authorization")) {
        ("POST", Some(token)) => {
            Reaction::reply(200, json!({ "error": { "code": 1, "message": token, "data": token } }).to_string())
        }
        _ => Reaction::reply(404, "{}"),
    });
    acts.map(|(what, echo)| (what, server(echo))).into_iter().chain([("an error of an agent's", agent)]).collect()
}

/// Produces the output that the test searches, in a child process.
#[test]
fn child() {
    let Some(file) = env::var_os("A2A_TEST_TOKEN_FILE").map(PathBuf::from) else { return };
    log::set_logger(&Everything).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let (dir, platform) = (Dir::new("secrets"), Platform::new());
    for n in 1..4 {
        platform.add(n * SECOND, PEER, "disk is full");
    }
    // The reply to a human uses another endpoint.
    platform.add_row(4 * SECOND, json!({ "method": "message/send", "source_id": null, "summary": "how is it?" }));
    let at = |server: &Server| Client::builder().platform_url(server.url());

    let server = good(&platform);
    every_call("a good platform, the token from a file", at(&server).token_file(&file), &dir);
    every_call("a good platform, the token given", at(&server).token(TOKEN), &dir);
    every_call("a good platform, the token from a function", at(&server).token_fn(|| Some(TOKEN.to_owned())), &dir);
    assert_eq!(server.connections().min(1), 1);
    answer_all(at(&server).token(TOKEN).workspace_id(WORKSPACE).build().unwrap(), &dir);
    let state = platform.state();
    assert!(state.notices.iter().any(|notice| notice == "on it"), "no message was a human's");
    drop(state);
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    every_call("no listener", Client::builder().platform_url(&nobody).token(TOKEN), &dir);
    every_call("no such proxy", at(&server).token(TOKEN).proxy(&nobody), &dir);
    // A proxy's password is a secret, too.
    let password: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let auth_proxy = Server::play([Reaction::raw("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")]);
    for proxy in [&nobody, &auth_proxy.url()] {
        let proxy = proxy.replace("http://", &format!("http://me:{password}@"));
        every_call("a proxy with a password", at(&server).token(TOKEN).proxy(proxy), &dir);
    }
    let proxied = auth_proxy.requests();
    assert!(proxied.iter().all(|request| request.header("proxy-authorization").is_some()) && !proxied.is_empty());
    for (what, server) in bad() {
        every_call(what, at(&server).token_file(&file), &dir);
    }
    ECHOED.store(true, SeqCst);
    for (what, server) in echoes() {
        every_call(what, at(&server).token_file(&file), &dir);
    }
    ECHOED.store(false, SeqCst);

    every_call("a token of two lines", at(&server).token(format!("{TOKEN}\n{TOKEN}")), &dir);
    every_call("a token that is no ASCII", at(&server).token_fn(|| Some(format!("{TOKEN}\u{e9}"))), &dir);
    every_call("a token function that panics", at(&server).token_fn(|| panic!("in a token function")), &dir);
    let later = AtomicUsize::new(0);
    let panics = move || if later.fetch_add(1, SeqCst) == 0 { Some(TOKEN.to_owned()) } else { panic!("later") };
    every_call("a token function that panics later", at(&bad()[0].1).token_fn(panics), &dir);
    every_call("a token for an id", at(&server).token(TOKEN).org_id("a b"), &dir);
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    over_tls(&file, &dir);

    global::init(at(&server).workspace_id(WORKSPACE).token(TOKEN).build().unwrap()).unwrap();
    show(
        "global",
        (global::enrich_peer_metadata(PEER), global::discover_peer(PEER), global::get_peers_with_diagnostic()),
    );
    show("global", (global::send_a2a_message(PEER, "hi"), global::get_workspace_info(), global::client()));
    println!("== the end");
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn over_tls(file: &std::path::Path, dir: &Dir) {
    let authority = tls_server::Authority::new();
    let answer = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{RECORD}", RECORD.len()).into_bytes();
    for (what, config) in
        [("a good certificate", authority.certify()), ("a bad certificate", tls_server::self_signed())]
    {
        let answer = answer.clone();
        let (server, seen) = tls_server::answering(config, true, move |_| answer.clone());
        let builder = Client::builder().platform_url(tls_server::https(&server)).root_certificates(authority.pem());
        every_call(what, builder.token_file(file), dir);
        assert_eq!(seen.text().contains(TOKEN), what == "a good certificate");
    }
}

/// The binary, with the most detailed log. It takes the token from a file, because other users can read its arguments.
#[cfg(feature = "cli")]
#[test]
fn binary_never_prints_the_token_and_takes_it_from_no_argument() {
    let dir = Dir::new("secrets-binary");
    let (file, cursor, platform) = (dir.file("token"), dir.file("cursor.json"), Platform::new());
    fs::write(&file, TOKEN).unwrap();
    platform.add(SECOND, PEER, "disk is full");
    let run_binary = |url: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_a2a-peer"));
        command.args(["--platform", url, "--workspace", WORKSPACE, "--token-file"]).arg(&file).args(arguments);
        let output = command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let (bytes, plain) = dumped(&text);
        assert!(
            [&text, &bytes, &plain].iter().all(|text| found(text).is_none()),
            "the output of {arguments:?} contains it"
        );
        text
    };
    let cursor = cursor.to_str().unwrap();
    let servers = [
        good(&platform),
        Server::play([Reaction::reply(401, r#"{"error":"bad token"}"#)]),
        Server::play([Reaction::Close]),
    ];
    for server in servers {
        for arguments in [
            &["enrich", "-v", PEER][..],
            &["discover", "--verbose", PEER],
            &["peers"],
            &["info", "--json"],
            &["send", PEER, "hi", "--attempts", "1"],
            &["poll", "--once", "--cursor", cursor, "--reply-with", "on it"],
            &["doctor", "--json"],
        ] {
            let text = run_binary(&server.url(), arguments);
            assert!(text.contains("DEBUG ureq::run") || text.contains("TRACE"), "{arguments:?}: nothing was logged");
        }
        assert!(server.connections() > 5);
    }
    let help = run_binary("http://localhost", &["--help"]);
    assert!(help.contains("--token-file") && !help.contains("--token ") && !help.contains("--token="), "{help}");
    for given in [&format!("--token={TOKEN}")[..], &format!("--auth={TOKEN}")] {
        run_binary("http://localhost", &[given, "peers"]);
    }
}

#[test]
fn no_output_of_a_process_contains_the_token() {
    let dir = Dir::new("secrets-token");
    let file = dir.file("token");
    fs::write(&file, TOKEN).unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .args(["--exact", "secrets::child", "--nocapture"])
        .env("A2A_TEST_TOKEN_FILE", &file)
        .env("RUST_BACKTRACE", "full");
    let output = child.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let (bytes, plain) = dumped(&text);
    for (what, searched) in [("output", &text), ("dump", &bytes), ("dump's text", &plain)] {
        // The message does not contain the text, because a failing test must not print it either.
        assert!(found(searched).is_none(), "the token, or a piece of it, is in the {what}");
    }
    let last: Vec<&str> = text.lines().rev().take(40).collect();
    assert!(output.status.success() && text.contains("== the end"), "{last:#?}");

    // The log did contain what was searched.
    assert!(bytes.contains("authorization: Bearer ") && plain.contains("authorization:.Bearer."), "nothing was dumped");
    for target in ["DEBUG ureq::run", "TRACE ureq_proto::util", "DEBUG a2a_blocking::", "WARN a2a_blocking::token"] {
        assert!(text.contains(target), "no log of {target}");
    }
    if cfg!(feature = "rustls") {
        assert!(text.contains("rustls::"), "no log of the TLS library's");
    }
    assert!(text.contains("[token]"), "no echo was cut out");
    for panic in ["in a progress callback", "in a callback at InboxMessage", "at a dead letter", "in a token function"]
    {
        assert!(text.contains(panic), "no panic {panic}");
    }
}
