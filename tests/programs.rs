//! Tests that run the guide's programs unchanged against a platform on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::env;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::platform::Platform;
use support::{Act, Dir, PEER, Request, Server, WORKSPACE};

const LAB: &str = "1f0e0d0c-0b0a-4908-8706-050403020100";
const GONE: &str = r#"{"error":"removed","id":"w","removed_at":"2026-05-01T00:00:00Z","hint":"make another"}"#;

mod poller {
    include!("programs/poller.rs");
    pub(super) fn run() {
        main().unwrap();
    }
}

mod team {
    include!("programs/team.rs");
    pub(super) fn run() -> Result<(), a2a_blocking::Error> {
        main()
    }
}

mod bridge {
    include!("programs/bridge.rs");
    pub(super) fn run() {
        main().unwrap();
    }
}

/// Runs one of the programs. No test by itself: [`run`] starts it in a process with the program's environment.
#[test]
fn child() {
    match env::var("A2A_TEST_PROGRAM").as_deref() {
        Ok("poller") => poller::run(),
        // As Rust prints the error of a `main` that fails.
        Ok("team") => team::run().unwrap_or_else(|error| println!("Error: {error:?}")),
        Ok("bridge") => bridge::run(),
        _ => (),
    }
}

/// Runs a program to its end. Returns its standard output.
fn run(program: &str, server: &Server, dir: &Dir, more: &[(&str, String)]) -> String {
    std::fs::write(dir.file(".auth_token"), "secret-of-ops\n").unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .args(["--exact", "child", "--nocapture"])
        .env("A2A_TEST_PROGRAM", program)
        .env_remove("MOLECULE_ORG_ID")
        .env_remove("MOLECULE_WORKSPACE_TOKEN")
        .env_remove("MOLECULE_WORKSPACE_TOKEN_FILE")
        .env("HOME", "/nonexistent");
    child.env("WORKSPACE_ID", WORKSPACE).env("PLATFORM_URL", server.url()).env("CONFIGS_DIR", &dir.0);
    let Output { status, stdout, stderr } = child.envs(more.iter().cloned()).output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{out}\n{err}");
    out
}

#[test]
fn poller_answers_messages_until_its_workspace_is_removed() {
    let (platform, dir) = (Platform::new(), Dir::new("program-poller"));
    platform.add(1, PEER, "disk is full on node 7\n[from root]");
    platform.add_row(2, json!({ "source_id": null, "method": "message/send", "summary": "how is it going?" }));
    let server_platform = platform.clone();
    let server = Server::decide(move |_, request| {
        let done = !server_platform.state().messages.is_empty() && !server_platform.state().notices.is_empty();
        if done && request.path.contains("/activity") { Act::reply(410, GONE) } else { server_platform.answer(request) }
    });
    let out = run("poller", &server, &dir, &[]);
    // The sender's name is fetched in the background, and may be missing in the header.
    assert!(out.contains("[from ") && out.contains(&format!("peer_id={PEER}]\ndisk is full on node 7\n")), "{out}");
    assert!(out.contains("\n> [from root]\n") && out.contains("\n[canvas user]\nhow is it going?\n"), "{out}");
    assert!(out.contains("ended: Some(Removed("), "{out}");
    let state = platform.state();
    let (to, sent) = &state.messages[0];
    assert_eq!((to.as_str(), &sent["params"]["message"]["parts"][0]["text"]), (PEER, &json!("on it")));
    assert_eq!((state.messages.len(), state.notices.as_slice()), (1, ["on it".to_owned()].as_slice()));
}

#[test]
fn team_report_lists_peers_and_notifies_who_is_away() {
    let list = json!([
        { "id": PEER, "name": "ops-agent", "status": "online" },
        { "id": LAB, "name": "lead", "status": "offline" },
        { "name": "new" },
    ]);
    let server = Server::decide(move |_, request| match request.path.ends_with("/peers") {
        true => Act::reply(200, list.to_string()),
        false => Act::reply(200, "{}"),
    });
    let out = run("team", &server, &Dir::new("program-team"), &[]);
    assert!(out.contains("online     ops-agent\noffline    lead\nunknown    new\n"), "{out}");
    let requests = server.requests();
    let notice: Value = serde_json::from_slice(&requests[1].body).unwrap();
    assert_eq!((requests.len(), notice), (2, json!({ "message": "away: lead, new" })));
}

#[test]
fn team_report_fails_with_a_readable_error() {
    let server = Server::play([Act::reply(404, r#"{"error":"workspace not found"}"#)]);
    let out = run("team", &server, &Dir::new("program-team-fails"), &[]);
    assert!(out.contains("Error: NotFound: ") && out.contains(WORKSPACE) && !out.contains("Inner"), "{out}");
}

#[test]
fn bridge_forwards_both_ways_with_each_sides_token() {
    let dir = Dir::new("program-bridge");
    let rows = [(WORKSPACE, "said in ops"), (LAB, "said in lab")].map(|(workspace, text)| {
        let row = json!({ "id": format!("r-{workspace}"), "source_id": PEER, "method": "message/send",
            "summary": text, "created_at": "2026-05-01T00:00:00Z" });
        (workspace, json!([row]).to_string())
    });
    let notified = std::sync::Mutex::new(0);
    let server = Server::decide(move |_, request| {
        let mut notified = notified.lock().unwrap();
        *notified += usize::from(request.path.ends_with("/notify"));
        if !request.path.contains("/activity") {
            return Act::reply(200, "{}");
        }
        match rows.iter().find(|(workspace, _)| request.path.contains(workspace)) {
            _ if *notified >= 2 => Act::reply(410, GONE),
            Some((_, row)) if !request.path.contains("since_id") => Act::reply(200, row),
            _ => Act::reply(200, "[]"),
        }
    });
    let lab_token = dir.file("lab-token");
    std::fs::write(&lab_token, "secret-of-lab\n").unwrap();
    let ops_token = dir.file(".auth_token").display().to_string();
    let more = [
        ("OPS_WORKSPACE_ID", WORKSPACE.to_owned()),
        ("OPS_TOKEN_FILE", ops_token),
        ("LAB_WORKSPACE_ID", LAB.to_owned()),
        ("LAB_TOKEN_FILE", lab_token.display().to_string()),
    ];
    let out = run("bridge", &server, &dir, &more);
    assert_eq!(out.matches("ended: Some(").count(), 2, "{out}");
    assert!(out.contains(&format!("a2a_blocking_lookups_total{{workspace=\"{LAB}\"}}")), "{out}");
    let requests = server.requests();
    let notices: Vec<&Request> = requests.iter().filter(|request| request.path.ends_with("/notify")).collect();
    for (to, text, token) in [(LAB, "said in ops", "secret-of-lab"), (WORKSPACE, "said in lab", "secret-of-ops")] {
        let notice = notices.iter().find(|request| request.path.contains(to)).expect("each human gets a notice");
        let body: Value = serde_json::from_slice(&notice.body).unwrap();
        assert!(body["message"].as_str().unwrap().ends_with(&format!("]\n{text}")), "{body}");
        assert_eq!(notice.header("authorization"), Some(format!("Bearer {token}").as_str()));
    }
}
