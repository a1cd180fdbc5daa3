//! Tests of `doctor`: each step that can fail, on real sockets.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failures::refused_port;
use crate::schema::documents;
use crate::support::{Act, Dir, PEER, RECORD, Server, WORKSPACE};
use crate::{CliOutput, command_line, decode, run};

pub const STEPS: [&str; 15] = [
    "settings",
    "token",
    "cursor",
    "dns",
    "tcp",
    "tls",
    "http",
    "organisation",
    "workspace",
    "authorisation",
    "registration",
    "state",
    "peers",
    "inbox",
    "events",
];

/// Returns a platform that answers `peers` to a request for the peers, and `own` to all others. Its inbox is empty.
fn platform(own: Act, peers: Act) -> Server {
    platform_with_inbox(own, peers, Act::reply(200, "[]"))
}

fn platform_with_inbox(own: Act, peers: Act, inbox: Act) -> Server {
    Server::decide(move |_, request| match &request.path {
        path if path.ends_with("/peers") => peers.clone(),
        path if path.contains("/activity?") => inbox.clone(),
        path if path.ends_with("/events/stream") => Act::reply(200, ": ping\n\n"),
        _ => own.clone(),
    })
}

/// Returns a platform on which every step passes.
fn healthy() -> Server {
    platform(Act::reply(200, r#"{"id":"w","name":"mine","status":"online"}"#), Act::reply(200, format!("[{RECORD}]")))
}

/// Writes a token file that only its owner can read. Returns its path.
pub fn token(dir: &Dir, text: &str) -> String {
    let path = dir.file("token");
    std::fs::write(&path, text).unwrap();
    mode(&path, 0o600);
    path.to_str().unwrap().to_owned()
}

fn mode(path: &std::path::Path, mode: u32) {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    #[cfg(not(unix))]
    let _ = (path, mode);
}

/// Runs `doctor`. Returns the exit status, and the JSON document of each step by its name.
pub fn run_doctor(url: &str, token: &str, rest: &[&str]) -> (i32, BTreeMap<String, Value>) {
    let args = ["--platform", url, "--workspace", WORKSPACE, "--token-file", token, "--json", "doctor"];
    let CliOutput { code, out, err } = run(&[&args[..], rest].concat());
    assert_eq!(err, "");
    assert!(!out.contains("hush"), "{out}");
    (code.unwrap(), by_name(&out))
}

/// Returns the JSON document of each step by its name.
pub fn by_name(out: &str) -> BTreeMap<String, Value> {
    let steps = documents("doctor", out);
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, STEPS);
    steps.into_iter().map(|step| (step["step"].as_str().unwrap().to_owned(), step)).collect()
}

/// Asserts that `step` fails with this exit status, kind and advice, and that later steps are skipped.
pub fn assert_step_fails(url: &str, token: &str, rest: &[&str], step: &str, exit: i32, kind: &str, advice: &str) {
    let (code, steps) = run_doctor(url, token, rest);
    let failed = &steps[step];
    assert_eq!((&failed["status"], code), (&"failed".into(), exit), "{failed}");
    assert_eq!((&failed["error"]["exit"], &failed["error"]["kind"]), (&exit.into(), &kind.into()), "{failed}");
    assert!(failed["next"].as_str().unwrap().contains(advice), "{failed}");
    assert_eq!(failed["next"], failed["error"]["next"]);
    let at = STEPS.iter().position(|name| *name == step).unwrap();
    for before in &STEPS[..at] {
        assert_ne!(steps[*before]["status"], "failed");
    }
    for after in &STEPS[at + 1..] {
        assert_eq!((&steps[*after]["status"], &steps[*after]["ms"]), (&"skipped".into(), &0.0.into()), "{after}");
    }
}

#[test]
fn every_step_passes_on_a_healthy_platform() {
    let (server, dir) = (healthy(), Dir::new("doctor-fine"));
    let token = token(&dir, "hush-hush\n");
    let (code, steps) = run_doctor(&server.url(), &token, &[]);
    assert_eq!(code, 0);
    for (name, step) in &steps {
        assert_eq!(step["status"], if name == "tls" { "skipped" } else { "ok" }, "{step}");
        assert!(step["ms"].as_f64().unwrap() >= 0.0 && step["next"].is_null(), "{step}");
    }
    assert_eq!(steps["workspace"]["detail"], r#"the workspace is "mine""#);
    assert_eq!(steps["registration"]["detail"], r#""mine" is in poll mode: messages wait to be polled"#);
    assert_eq!(steps["state"]["detail"], r#"the status is "online""#);
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.method == "GET" && request.header("authorization").is_some()));

    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "--token-file", &token, "doctor"];
    let CliOutput { code, out, err } = run(&args);
    assert_eq!((code, err.as_str(), out.lines().count()), (Some(0), "", 15), "{out}");
    assert!(out.starts_with("ok       settings "), "{out}");
    assert!(out.contains("the registry lists 1 peer\n") && !out.contains("hush"), "{out}");
}

#[test]
fn missing_or_wrong_settings_fail_the_first_step() {
    let CliOutput { code, out, .. } = run(&["doctor"]);
    assert_eq!(code, Some(2));
    assert!(out.starts_with("failed   settings") && out.contains("give --workspace ID"), "{out}");
    assert_eq!(out.matches("skipped").count(), 14, "{out}");
    let CliOutput { code, out, .. } = run(&["--workspace", "w", "--platform", "localhost:8080", "doctor", "--json"]);
    let steps = documents("doctor", &out);
    assert_eq!((code, &steps[0]["error"]["kind"]), (Some(2), &"config".into()));
    assert!(steps[0]["detail"].as_str().unwrap().starts_with("--platform: "), "{out}");
}

/// Asserts that the step `token` warns, that the exit status is 0, and that the advice does not repeat the reason.
fn assert_token_warning(code: i32, steps: &BTreeMap<String, Value>, why: &str, advice: &str) {
    let step = &steps["token"];
    assert_eq!((code, &step["status"]), (0, &"warning".into()), "{step}");
    assert!(step["detail"].as_str().unwrap().contains(why), "{step}");
    let next = step["next"].as_str().unwrap();
    assert!(next.contains(advice) && !next.contains(why), "{step}");
}

#[test]
fn token_file_that_is_open_or_unreadable_is_reported() {
    let (server, dir) = (healthy(), Dir::new("doctor-token"));
    let path = token(&dir, "hush");
    if cfg!(unix) {
        mode(path.as_ref(), 0o644);
        let (code, steps) = run_doctor(&server.url(), &path, &[]);
        assert_token_warning(code, &steps, "has the mode 0644", &format!("chmod 600 {path}"));
    }
    assert_step_fails(&server.url(), dir.0.to_str().unwrap(), &[], "token", 2, "config", "--token-file PATH");
}

/// The default file may be missing. A file that the user names is a mistake where it has no token.
#[test]
fn token_file_without_a_token_is_a_warning_or_an_error_if_it_is_named() {
    let (server, dir) = (healthy(), Dir::new("doctor-no-token"));
    let default = dir.file(".auth_token");
    for (text, why, advice) in [(None, "does not exist", "--token-file PATH"), (Some(" \n"), "is empty", "one line")] {
        if let Some(text) = text {
            std::fs::write(&default, text).unwrap();
        }
        let url = server.url();
        let args = ["--platform", &url, "--workspace", WORKSPACE, "--json", "doctor"];
        let output = decode(command_line(&args).env("CONFIGS_DIR", &dir.0).output().unwrap());
        assert_token_warning(output.code.unwrap(), &by_name(&output.out), why, advice);

        let (code, steps) = run_doctor(&url, default.to_str().unwrap(), &[]);
        let step = &steps["token"];
        assert_eq!((code, &step["status"], &step["error"]["kind"]), (2, &"failed".into(), &"usage".into()), "{step}");
        let detail = step["detail"].as_str().unwrap();
        assert_eq!(detail, format!("the token file {} {why}", default.display()));
        assert!(!step["next"].is_null(), "{step}");
    }
}

/// Returns the step `token` of a run with this `CONFIGS_DIR`, and the exit status.
fn token_step(url: &str, configs: &std::path::Path) -> (Option<i32>, Value) {
    let args = ["--platform", url, "--workspace", WORKSPACE, "--json", "doctor"];
    let CliOutput { code, out, .. } = decode(command_line(&args).env("CONFIGS_DIR", configs).output().unwrap());
    (code, by_name(&out).remove("token").unwrap())
}

#[test]
fn directory_of_the_default_token_file_is_reported_if_there_is_none() {
    let (server, dir) = (healthy(), Dir::new("doctor-directory"));
    let missing = dir.file("missing");
    let (code, step) = token_step(&server.url(), &missing);
    assert_eq!((code, &step["status"]), (Some(0), &"warning".into()), "{step}");
    assert_eq!(step["detail"], format!("no token: directory {} does not exist", missing.display()));
    assert!(step["next"].as_str().unwrap().starts_with("create it, or set CONFIGS_DIR"), "{step}");
}

#[cfg(unix)]
#[test]
fn configs_dir_that_names_a_file_is_reported_as_that() {
    let (server, dir) = (healthy(), Dir::new("doctor-file"));
    let file = token(&dir, "hush");
    let (code, step) = token_step(&server.url(), file.as_ref());
    assert_eq!((code, &step["status"]), (Some(2), &"failed".into()), "{step}");
    assert!(step["detail"].as_str().unwrap().contains(&format!("{file} is not a directory")), "{step}");
    assert!(step["next"].as_str().unwrap().starts_with("CONFIGS_DIR names a file"), "{step}");
}

/// The advice is about what the file has: it can be read.
#[test]
fn token_file_with_other_content_gets_advice_about_its_content() {
    let (server, dir) = (healthy(), Dir::new("doctor-content"));
    let utf16: Vec<u8> = "\u{feff}hush".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = dir.file("token");
    for (content, advice) in [
        (utf16, "Set-Content -Encoding ascii"),
        (vec![b'a'; 20_000], "the file has the token alone"),
        (vec![0x80; 20], "the file has the token alone"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_step_fails(&server.url(), path.to_str().unwrap(), &[], "token", 2, "config", advice);
    }
}

/// The step names the mistake, and does not show the token.
#[test]
fn mistake_in_the_token_file_fails_the_token_step() {
    let (server, dir) = (healthy(), Dir::new("doctor-mistake"));
    let default = dir.file(".auth_token");
    for (text, why) in [
        ("Bearer hush", "begins with `Bearer`"),
        ("\"hush\"", "is in quotes"),
        ("{\"token\": \"hush\"}", "is JSON"),
        ("\u{feff}hush", "begins with a byte order mark"),
        ("hush\0", "has a NUL"),
    ] {
        let path = token(&dir, text);
        assert_step_fails(&server.url(), &path, &[], "token", 2, "config", "the file has the token alone");
        std::fs::write(&default, text).unwrap();
        let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "--json", "doctor"];
        let output = decode(command_line(&args).env("CONFIGS_DIR", &dir.0).output().unwrap());
        let step = &by_name(&output.out)["token"];
        assert!(step["detail"].as_str().unwrap().contains(why), "{step}");
        assert!(output.code == Some(2) && !output.out.contains("hush"), "{}", output.out);
    }
    assert_eq!(server.requests().len(), 0);
}

/// Opening the pipe would block until somebody writes to it.
#[cfg(unix)]
#[test]
fn named_pipe_is_refused_as_token_file() {
    let (server, dir) = (healthy(), Dir::new("doctor-pipe"));
    let pipe = dir.file("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_step_fails(&server.url(), pipe.to_str().unwrap(), &[], "token", 2, "config", "--token-file PATH");
}

#[test]
fn unknown_host_fails_the_dns_step() {
    let dir = Dir::new("doctor-dns");
    let token = token(&dir, "hush");
    // Without a network the resolver can time out. That fails this step, too.
    let (code, steps) = run_doctor("http://nobody.invalid:8080", &token, &[]);
    assert_eq!((code, &steps["dns"]["status"], &steps["tcp"]["status"]), (5, &"failed".into(), &"skipped".into()));
    assert!(steps["dns"]["next"].as_str().unwrap().contains("--platform"), "{steps:?}");
}

#[test]
fn refused_connection_fails_the_tcp_step() {
    let dir = Dir::new("doctor-tcp");
    let (_socket, url) = refused_port();
    let token = token(&dir, "hush");
    assert_step_fails(&url, &token, &[], "tcp", 5, "connect", "check that the platform is up");
}

#[test]
fn silent_port_fails_the_http_step() {
    let (server, dir) = (Server::play([Act::Hang]), Dir::new("doctor-silent"));
    let token = token(&dir, "hush");
    assert_step_fails(
        &server.url(),
        &token,
        &["--timeout", "2"],
        "http",
        5,
        "timeout",
        "check that the platform listens there",
    );
}

#[test]
fn other_protocol_fails_the_http_step() {
    let (server, dir) = (Server::play([Act::raw("SSH-2.0-x\r\n")]), Dir::new("doctor-ssh"));
    let token = token(&dir, "hush");
    assert_step_fails(&server.url(), &token, &[], "http", 5, "protocol", "check the platform's port");
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn untrusted_certificate_fails_and_gets_no_token() {
    use crate::tls::{Authority, answering, https};

    let authority = Authority::new();
    let (server, seen) = answering(authority.certify(), true, |_| {
        let body = r#"{"id":"w","name":"mine","status":"online"}"#;
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let dir = Dir::new("doctor-tls");
    let token = token(&dir, "hush");
    assert_step_fails(&https(&server), &token, &[], "tls", 5, "tls", "--ca-file PATH names others");
    assert_eq!(seen.text(), "");

    let ca = dir.file("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (_, steps) = run_doctor(&https(&server), &token, &["--ca-file", ca.to_str().unwrap()]);
    assert_eq!((&steps["tls"]["status"], &steps["registration"]["status"]), (&"ok".into(), &"ok".into()), "{steps:?}");

    let (code, steps) = run_doctor(&https(&server), &token, &["--ca-file", &token]);
    assert_eq!((code, &steps["settings"]["status"]), (2, &"failed".into()));
    assert!(steps["settings"].to_string().contains("--ca-file: it holds no certificate"), "{steps:?}");
    let (code, steps) = run_doctor(&https(&server), &token, &["--ca-file", "/nonexistent/ca.pem"]);
    assert_eq!((code, &steps["settings"]["status"]), (2, &"failed".into()));
    assert!(steps["settings"].to_string().contains("--ca-file: cannot read /nonexistent/ca.pem"), "{steps:?}");
}

#[test]
fn refusal_fails_the_step_that_it_concerns() {
    let dir = Dir::new("doctor-no");
    let token = token(&dir, "hush");
    let removed = r#"{"error":"removed","id":"w","removed_at":"2026-05-01T00:00:00Z","hint":"make another"}"#;
    for (own, step, exit, kind, advice) in [
        (Act::reply(401, "{}"), "authorisation", 6, "unauthorized", "the token came from"),
        (Act::reply(403, ""), "organisation", 6, "unauthorized", "MOLECULE_ORG_ID"),
        (
            Act::reply(404, r#"{"error":"workspace not found"}"#),
            "workspace",
            4,
            "not_found",
            "check the workspace's id",
        ),
        (Act::reply(410, removed), "workspace", 7, "removed", "create a workspace and a token"),
        (Act::reply(200, "<html>"), "http", 1, "malformed", "check that this is an A2A platform"),
        (Act::reply(503, "{}").header("Retry-After", "7"), "http", 1, "status", "try again in 7 s"),
    ] {
        let server = platform(own, Act::reply(200, "[]"));
        assert_step_fails(&server.url(), &token, &[], step, exit, kind, advice);
    }
    let own = || Act::reply(200, r#"{"name":"mine"}"#);
    let server = platform(own(), Act::reply(404, r#"{"error":"no"}"#));
    assert_step_fails(&server.url(), &token, &[], "peers", 4, "not_found", "check the workspace's id");

    let server = platform(own(), Act::reply(200, "[]"));
    let (code, steps) = run_doctor(&server.url(), &token, &[]);
    assert_eq!((code, &steps["peers"]["status"]), (0, &"warning".into()));
    assert!(steps["peers"]["next"].as_str().unwrap().contains("create a sibling"), "{steps:?}");
}

/// The platform shows the workspace and its peers whatever the token is.
#[test]
fn wrong_token_fails_the_step_of_the_inbox() {
    let (own, peers) =
        (Act::reply(200, r#"{"name":"mine","status":"online"}"#), Act::reply(200, format!("[{RECORD}]")));
    let refused = Act::reply(401, r#"{"error":"invalid workspace auth token"}"#);
    let (server, dir) = (platform_with_inbox(own.clone(), peers.clone(), refused), Dir::new("doctor-wrong"));
    let token = token(&dir, "hush");
    assert_step_fails(&server.url(), &token, &[], "inbox", 6, "unauthorized", "the token came from");

    // The messages that it lists stay unhandled, and are not shown.
    let rows = format!(r#"[{{"id":"r-1","source_id":"{PEER}","summary":"disk is full"}}]"#);
    let server = platform_with_inbox(own, peers, Act::reply(200, rows));
    let (code, steps) = run_doctor(&server.url(), &token, &[]);
    assert_eq!((code, &steps["inbox"]["status"]), (0, &"ok".into()), "{steps:?}");
    assert!(!steps["inbox"].to_string().contains("disk") && server.requests().iter().all(|r| r.method == "GET"));
}

#[test]
fn workspace_that_awaits_its_agent_is_a_warning() {
    let own = Act::reply(200, r#"{"name":"mine","status":"awaiting_agent"}"#);
    let (server, dir) = (platform(own, Act::reply(200, format!("[{RECORD}]"))), Dir::new("doctor-awaiting"));
    let token = token(&dir, "hush");
    let (code, steps) = run_doctor(&server.url(), &token, &[]);
    let step = &steps["registration"];
    assert_eq!((code, &step["status"], &steps["peers"]["status"]), (0, &"warning".into(), &"ok".into()), "{step}");
    assert!(step["detail"].as_str().unwrap().starts_with(r#""mine" is not registered: senders get 503"#), "{step}");
    assert!(step["next"].as_str().unwrap().contains("start the workspace's agent"), "{step}");
}

/// The name and the status come from a hostile platform.
#[test]
fn hostile_name_is_escaped() {
    let own = Act::reply(200, r#"{"name":"\u001b[2J\u202e","status":"\u009b31m"}"#);
    let (server, dir) = (platform(own, Act::reply(200, "[]")), Dir::new("doctor-hostile"));
    let token = token(&dir, "hush");
    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "--token-file", &token, "doctor"];
    let out = run(&args).out;
    assert!(out.contains(r"\u{1b}[2J") && !out.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{out}");
}
