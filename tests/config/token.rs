//! The token: its sources, its rotation, and that no output shows it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use a2a_blocking::{Client, ErrorKind, LookupSource};
use once_cell::sync::Lazy;

use crate::support::{PEER, RECORD, Reaction, Server, builder};

/// Returns a path for this process and test.
fn path(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

/// Starts a registry that accepts one token.
fn registry(token: &'static str) -> Server {
    Server::decide(move |_, request| match request.header("authorization") {
        Some(value) if value == format!("Bearer {token}") => Reaction::reply(200, RECORD),
        _ => Reaction::reply(401, r#"{"error":"missing or bad token"}"#),
    })
}

fn sent(server: &Server) -> Vec<Option<String>> {
    server.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect()
}

#[test]
fn token_setter_precedes_the_file_and_is_trimmed() {
    let file = path("before");
    fs::write(&file, "from-the-file\n").unwrap();
    let server = registry("given");
    let client = builder(&server).token(" given\n").token_file(&file).build().unwrap();
    assert!(client.enrich(PEER).is_some());
    let server = registry("from-the-file");
    let client = builder(&server).token_file(&file).build().unwrap();
    assert!(client.enrich(PEER).is_some());
}

#[test]
fn without_a_token_no_header_is_sent() {
    let blank = path("blank");
    fs::write(&blank, " \n").unwrap();
    for file in [path("never written"), blank] {
        let server = Server::play([Reaction::reply(200, RECORD)]);
        assert!(builder(&server).token_file(file).build().unwrap().enrich(PEER).is_some());
        assert_eq!(sent(&server), [None]);
    }
}

#[test]
fn rotated_token_is_read_after_a_401_and_kept() {
    let file = path("rotated");
    fs::write(&file, "old\n").unwrap();
    let server = registry("new");
    let client = builder(&server).token_file(&file).build().unwrap();
    fs::write(&file, "new\n").unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    client.forget(PEER);
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    let bearer = |token| Some(format!("Bearer {token}"));
    assert_eq!(sent(&server), [bearer("old"), bearer("new"), bearer("new")]);
}

/// Many threads see the rotation at the same moment. None of them must fail with the old token's 401.
#[test]
fn rotation_is_seen_by_all_threads_that_meet_it_at_once() {
    const THREADS: usize = 48;
    let file = path("met by many");
    fs::write(&file, "old\n").unwrap();
    let all_refused = Barrier::new(THREADS);
    let server = Server::decide(move |_, request| match request.header("authorization") {
        Some("Bearer new") => Reaction::reply(200, RECORD),
        _ => {
            all_refused.wait();
            Reaction::reply(401, r#"{"error":"missing or bad token"}"#)
        }
    });
    let client = builder(&server).token_file(&file).build().unwrap();
    fs::write(&file, "new\n").unwrap();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| client.discover(PEER).map(|_| ()))).collect();
        for call in calls {
            assert_eq!(call.join().unwrap().map_err(|error| error.to_string()), Ok(()));
        }
    });
}

/// Connections are pooled, but each request has its own client's token.
#[test]
fn clients_that_share_a_thread_send_their_own_tokens() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let client = |token: &str| builder(&server).token(token).build().unwrap();
    let clients = [client("one"), client("another-one"), builder(&server).build().unwrap()];
    for _ in 0..5 {
        for client in &clients {
            client.discover(PEER).unwrap();
        }
    }
    let tokens = [Some("Bearer one".to_owned()), Some("Bearer another-one".to_owned()), None];
    assert_eq!(sent(&server), (0..5).flat_map(|_| tokens.clone()).collect::<Vec<_>>());
    assert_eq!(server.connections(), clients.len());
}

#[test]
fn a_401_with_an_unchanged_token_is_not_retried() {
    let server = registry("another");
    let client = builder(&server).token("mine").build().unwrap();
    let lookup = client.lookup(PEER);
    assert_eq!((lookup.source, client.lookup(PEER).from_cache), (LookupSource::Failed, true));
    assert_eq!(server.requests().len(), 1);
    let error = client.discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
    assert!(error.to_string().ends_with("; the token was refused"), "{error}");
    let none = builder(&server).build().unwrap().discover(PEER).unwrap_err();
    assert!(none.to_string().ends_with("; no token was sent: give one, or a token file"), "{none}");
}

#[test]
fn token_that_changes_at_every_401_is_retried_once() {
    let server = registry("never");
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let client =
        builder(&server).token_fn(move || Some(format!("token-{}", counted.fetch_add(1, SeqCst)))).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert_eq!((server.requests().len(), calls.load(SeqCst)), (2, 2));
}

#[test]
fn unreadable_token_file_keeps_the_old_token() {
    let file = path("unreadable");
    fs::write(&file, "old\n").unwrap();
    let server = Server::play([Reaction::reply(401, "{}"), Reaction::reply(200, RECORD)]);
    let client = builder(&server).token_file(&file).build().unwrap();
    fs::write(&file, b"half\xffway").unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    client.forget(PEER);
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    assert_eq!(sent(&server), vec![Some("Bearer old".to_owned()); 2]);
}

#[test]
fn token_that_is_no_header_value_is_refused_at_build() {
    let refused = |builder: a2a_blocking::ClientBuilder, names: &str| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(names), "{error}");
        assert!(!format!("{error:?} {error}").contains("hush"), "{error:?}");
    };
    let base = || Client::builder().workspace_id("w");
    refused(base().token("hush\r\nX-Evil: 1"), "ClientBuilder::token ");
    refused(base().token_fn(|| Some("hush\u{e9}".into())), "ClientBuilder::token_fn ");
    refused(base().token_fn(|| panic!("hush")), "ClientBuilder::token_fn panicked");
    let contents: [(&str, &[u8]); 3] =
        [("two lines", b"hush\nhush"), ("long", &[b'x'; 16 * 1024 + 1]), ("bytes", &[0xff])];
    for (name, bytes) in contents {
        let file = path(name);
        fs::write(&file, bytes).unwrap();
        refused(base().token_file(&file), &file.display().to_string());
    }
    refused(base().token("hush".repeat(5_000)), "ClientBuilder::token is longer than 16384 bytes");
    refused(base().token_file(env!("CARGO_TARGET_TMPDIR")), env!("CARGO_TARGET_TMPDIR"));
}

/// Texts that people put where the token belongs, and what the error says of each. The word `hush` stands for
/// the token.
const MISTAKES: &[(&str, &str)] = &[
    ("Bearer hush", "begins with `Bearer`: leave this word out"),
    ("bearer\thush", "begins with `Bearer`"),
    ("BEARER: hush", "begins with `Bearer`"),
    ("Authorization: Bearer hush", "is a whole header"),
    ("authorization:hush", "is a whole header"),
    ("Basic hush", "has white space in it"),
    ("hush hush", "has white space in it"),
    ("hush\thush", "has white space in it"),
    ("# the token\nhush", "has more than one line"),
    ("\"hush\"", "is in quotes: leave them out"),
    ("'hush'", "is in quotes"),
    ("`hush`", "is in quotes"),
    ("hush\"", "is in quotes"),
    ("\u{201c}hush\u{201d}", "is in quotes"),
    ("\u{ab}hush\u{bb}", "is in quotes"),
    ("{\"token\": \"hush\"}", "is JSON: give only the value of the token"),
    ("{\n  \"token\": \"hush\"\n}\n", "is JSON"),
    ("[\"hush\"]", "is JSON"),
    ("\u{feff}hush\n", "begins with a byte order mark (BOM)"),
    ("\u{feff}", "begins with a byte order mark (BOM)"),
    ("hush\0", "has a NUL, as a text in UTF-16 does"),
    ("h\0u\0s\0h\0", "has a NUL"),
    ("aHVzaGh1c2hodXNoaHVzaA\nhush+/hush==\n", "is broken into lines: join them"),
    ("aHVz\r\nhush\r\naHVz\r\n", "is broken into lines"),
    ("-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----", "is PEM, a key or a certificate"),
    ("export A2A_TOKEN=hush", "is the assignment of a variable: give only its value"),
    ("A2A_URL=hush\nA2A_TOKEN=hush\n", "has more than one line"),
    ("TOKEN=hush", "is the assignment of a variable"),
    ("export TOKEN=\"hush\"", "is the assignment of a variable"),
    ("token = hush", "is the assignment of a variable"),
    ("<hush>", "is a placeholder: put the token in its place"),
    ("${hush}", "is a placeholder"),
    ("$HUSH", "is a placeholder"),
    ("{{ hush }}", "is a placeholder"),
    ("%HUSH%", "is a placeholder"),
    ("your-token-here", "is a placeholder"),
    ("<!DOCTYPE html>\n<p>hush", "is a web page"),
    ("https://hush.example/hush", "is a URL"),
    ("null", "is a word for nothing, such as `null`"),
    ("undefined", "is a word for nothing"),
    ("None", "is a word for nothing"),
    ("hush\\n", "ends in a backslash and `n`"),
    ("hush\u{a0}hush", "character 5 is not printable ASCII"),
    ("hush\u{200b}", "character 5 is not printable ASCII"),
    ("\u{1b}[0mhush", "character 1 is not printable ASCII"),
];

/// A platform for development may have such a word for a token, and others tokens with signs in them.
#[test]
fn word_that_may_be_a_token_is_accepted() {
    for word in ["changeme", "change-me", "REPLACE_ME", "v1=abc", "session=eyJ.x.y", "dGVzdA==.abc", "$2y$abc", "-x"] {
        Client::builder().workspace_id("w").token(word).build().unwrap();
    }
}

#[test]
fn what_is_no_token_is_refused_from_every_source() {
    let file = path("mistakes");
    for (text, why) in MISTAKES {
        fs::write(&file, text).unwrap();
        let base = || Client::builder().workspace_id("w");
        let function = {
            let text = text.to_string();
            move || Some(text.clone())
        };
        for (builder, source) in [
            (base().token(*text), "ClientBuilder::token".to_owned()),
            (base().token_fn(function), "ClientBuilder::token_fn".to_owned()),
            (base().token_file(&file), file.display().to_string()),
        ] {
            let error = builder.build().map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = error.to_string();
            let rest = shown.strip_prefix(&format!("the token from {source} ")).unwrap_or_else(|| panic!("{shown}"));
            assert!(rest.contains(why), "{text:?}: {shown}");
            assert!(!format!("{error:?} {error}").to_lowercase().contains("hush"), "{error:?}");
        }
    }
}

/// A file in another encoding is no text at all.
#[test]
fn token_file_in_utf_16_is_refused_by_name() {
    let utf_16 = |units: &mut dyn Iterator<Item = [u8; 2]>| units.flatten().collect::<Vec<u8>>();
    let text = "\u{feff}hush-hush\r\n";
    let contents = [
        (utf_16(&mut text.encode_utf16().map(u16::to_le_bytes)), "it is UTF-16: save it as plain text"),
        (utf_16(&mut text.encode_utf16().map(u16::to_be_bytes)), "it is UTF-16"),
        (b"hush\xe9".to_vec(), "it is no text in UTF-8: is it the right file?"),
    ];
    for (name, (bytes, why)) in contents.into_iter().enumerate() {
        let file = path(&format!("encoding {name}"));
        fs::write(&file, bytes).unwrap();
        let error = Client::builder().workspace_id("w").token_file(&file).build().unwrap_err();
        let shown = format!("the token file {} cannot be read: {why}", file.display());
        assert!(error.to_string().starts_with(&shown), "{error}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

/// Tokens by the syntax of bearer tokens, and others that platforms use.
#[test]
fn usual_tokens_are_sent() {
    for token in [
        "mt_5f8a1c2d3e4b5a69788796a5b4c3d2e1f0",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "a+b/c-d_e~f.g==",
        "12|abcdef",
        "user:pass",
        "A=",
        "bearer-of-news",
        "nullable",
        "exported",
        "ghp_a!b*c'd\"e",
    ] {
        let server = registry("any");
        builder(&server).token(token).build().unwrap().lookup(PEER);
        assert_eq!(sent(&server), [Some(format!("Bearer {token}"))]);
    }
}

/// The file is being rewritten, by a program that makes a mistake.
#[test]
fn mistake_in_a_rotation_keeps_the_old_token_and_is_logged() {
    capture_log();
    let file = path("rotated by mistake");
    fs::write(&file, "quiet-old\n").unwrap();
    let server = registry("quiet-new");
    let client = builder(&server).token_file(&file).build().unwrap();
    fs::write(&file, "Bearer quiet-new\n").unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    let log = LOG.lock().unwrap().clone();
    let shown = format!("the token from {} begins with `Bearer`", file.display());
    assert!(log.contains(&shown) && !log.contains("quiet-"), "{log}");
}

/// The status counts even if the body is truncated or too large.
#[test]
fn a_401_without_a_complete_body_rereads_the_token() {
    let head = "HTTP/1.1 401 X\r\nContent-Length: 50\r\n\r\n{";
    for refused in [Reaction::raw(head), Reaction::Reset(head.into()), Reaction::reply(401, vec![b' '; 300_000])] {
        let file = path("broken body");
        fs::write(&file, "old").unwrap();
        let server = Server::play([refused, Reaction::reply(200, RECORD)]);
        let client = builder(&server).token_file(&file).build().unwrap();
        fs::write(&file, "new").unwrap();
        assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
        assert_eq!(sent(&server), ["old", "new"].map(|token| Some(format!("Bearer {token}"))));
    }
}

/// Opening a pipe blocks until somebody writes to it, and it could not be read a second time.
#[cfg(unix)]
#[test]
fn token_file_that_is_no_regular_file_is_refused_at_once() {
    let pipe = path("pipe");
    let _earlier = fs::remove_file(&pipe);
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let link = path("link to the pipe");
    let _earlier = fs::remove_file(&link);
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    for file in [pipe.as_path(), &link, std::path::Path::new("/dev/null"), std::path::Path::new("/dev/zero")] {
        let error = Client::builder().workspace_id("w").token_file(file).build().unwrap_err();
        let text = format!("the token file {} cannot be read: it is no regular file", file.display());
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Config, text));
    }
    // The file became a pipe after the client was built: the old token stays.
    let file = path("became a pipe");
    let _earlier = fs::remove_file(&file);
    fs::write(&file, "old").unwrap();
    let server = registry("new");
    let client = builder(&server).token_file(&file).build().unwrap();
    fs::rename(&pipe, &file).unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert_eq!(sent(&server), [Some("Bearer old".to_owned())]);
}

/// A link is judged by its target. Each path is reported once, and the token is used all the same.
#[cfg(unix)]
#[test]
fn token_file_that_others_may_read_is_logged_once() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let (open, closed) = (path("open to others"), path("closed to others"));
    for (file, mode) in [(&open, 0o644), (&closed, 0o600)] {
        fs::write(file, "hush-hush").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }
    let links = [path("link to the open"), path("link to the closed")];
    for (link, target) in links.iter().zip([&open, &closed]) {
        let _earlier = fs::remove_file(link);
        symlink(target, link).unwrap();
    }
    capture_log();
    for _ in 0..3 {
        for file in [&open, &closed, &links[0], &links[1]] {
            let server = registry("hush-hush");
            assert!(builder(&server).token_file(file).build().unwrap().enrich(PEER).is_some());
        }
    }
    let log = LOG.lock().unwrap().clone();
    let reported = |file: &PathBuf| {
        let shown = file.display();
        let line = format!(
            "WARN a2a_blocking::token::file others may use the token file {shown} (mode 0644): chmod 600 {shown}\n"
        );
        (log.matches(&line).count(), log.contains(&format!("file {shown} (mode")))
    };
    assert_eq!([&open, &links[0]].map(reported), [(1, true), (1, true)], "{log}");
    assert_eq!([&closed, &links[1]].map(reported), [(0, false), (0, false)], "{log}");
    assert!(!log.contains("hush-hush"), "{log}");
}

/// The function panics at its second call, in the middle of a lookup.
#[test]
fn panic_of_the_token_function_fails_the_lookup() {
    let server = registry("never");
    let calls = AtomicUsize::new(0);
    let token = move || if calls.fetch_add(1, SeqCst) == 0 { Some("first".to_owned()) } else { panic!("hush") };
    let client = builder(&server).token_fn(token).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert!(client.lookup(PEER).from_cache);
}

#[test]
fn redirect_is_not_followed_and_does_not_leak_the_token() {
    let elsewhere = Server::play([Reaction::reply(200, RECORD)]);
    for status in [301, 302, 303, 307, 308] {
        let server = Server::play([Reaction::reply(status, "").header("Location", &elsewhere.url())]);
        let error = builder(&server).token("hush").build().unwrap().discover(PEER).unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(status)));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn error_masks_a_token_that_the_encoding_header_echoes() {
    let server = Server::play([Reaction::reply(200, RECORD).header("Content-Encoding", "Bearer quux-99")]);
    let error = builder(&server).token("quux-99").build().unwrap().discover(PEER).unwrap_err();
    assert!(error.to_string().ends_with("has the encoding Bearer [token], which was not asked for"), "{error}");
    let fine = Server::play([Reaction::reply(200, RECORD).header("Content-Encoding", "Identity")]);
    assert!(builder(&fine).build().unwrap().discover(PEER).is_ok());
}

static LOG: Lazy<Mutex<String>> = Lazy::new(Mutex::default);

struct Capture;

/// Keeps the log of the whole process.
fn capture_log() {
    // Another test may have set it already.
    let _ = log::set_logger(&Capture);
    log::set_max_level(log::LevelFilter::Trace);
}

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // ureq's protocol crate dumps every byte that is sent. The crate's docs warn of that.
        if record.target() == "ureq_proto::util" && record.level() == log::Level::Trace {
            return;
        }
        *LOG.lock().unwrap() += &format!("{} {} {}\n", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

/// The platform echoes what it is sent. This crate and its HTTP client log all but the dump of the bytes.
#[test]
fn token_is_in_no_log_error_or_debug_output() {
    capture_log();
    let secret = "xyzzy/plugh-0451==";
    let server = Server::decide(|n, request| {
        let echo = request.header("authorization").unwrap_or("none");
        match n % 4 {
            0 => Reaction::reply(
                500,
                format!(r#"{{"you sent": "{}"}}"#, echo.replace('/', r"\/").replace('=', r"\u003d")),
            ),
            1 => Reaction::reply(404, format!(r#"{{"error":"you sent {echo}"}}"#)),
            2 => Reaction::reply(200, format!("<html>{echo}")),
            _ => Reaction::raw(&format!("HTTP/1.1 {echo}\r\n\r\n")),
        }
    });
    let builder = builder(&server).token(secret);
    let mut shown = format!("{builder:?}");
    let client = builder.build().unwrap();
    for n in 0..8 {
        client.enrich(format!("{n:08x}-0000-4000-8000-000000000000"));
        let error = client.discover(PEER).unwrap_err();
        shown += &format!("{error} {error:?} {client:?} {:?}", error.body_snippet());
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            shown += &format!("{cause} {cause:?}");
            source = cause.source();
        }
    }
    assert!(
        server.requests().iter().all(|request| request.header("authorization") == Some(&format!("Bearer {secret}")))
    );
    let log = LOG.lock().unwrap().clone();
    assert!(log.contains("DEBUG a2a_blocking") && log.contains(" ureq"), "nothing was captured:\n{log}");
    assert!(shown.contains("[token]"));
    for text in [&log, &shown] {
        assert!(!text.contains(secret) && !text.contains("plugh"), "{text}");
    }
}
