//! The process-wide client.
//!
//! A process has one, so the test runs in a child process with an empty environment.

use std::env;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use a2a_blocking::global;

use crate::support::{PEER, RECORD, Reaction, Server, client};

static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            ERRORS.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Runs in a child process.
#[test]
fn child() {
    if env::var_os("A2A_TEST_CHILD").is_none() {
        return;
    }
    log::set_logger(&Capture).unwrap();
    log::set_max_level(log::LevelFilter::Error);

    for _ in 0..3 {
        assert_eq!(global::enrich_peer_metadata(PEER), None);
        assert_eq!(global::enrich_peer_metadata_nonblocking(PEER), None);
        assert_eq!(global::discover_peer(PEER), None);
        assert_eq!(global::agent_card_url_for(PEER), None);
        assert!(global::get_peers().is_empty());
        let why = global::get_peers_with_diagnostic().1.unwrap();
        assert!(why.starts_with("WORKSPACE_ID: not set"), "{why}");
        assert_eq!(global::get_workspace_info()["error"], why.as_str());
        let sent = global::send_a2a_message(PEER, "hi");
        assert_eq!(sent, format!("[A2A_ERROR] {why} [target=/workspaces/{PEER}/a2a]"));
    }
    assert!(global::client().unwrap_err().to_string().starts_with("WORKSPACE_ID: not set"));
    assert_eq!(global::validate_peer_id(&PEER.to_uppercase()).as_deref(), Some(PEER));
    let logged = ERRORS.lock().unwrap().clone();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].starts_with("no A2A client: WORKSPACE_ID: not set"), "{logged:?}");

    let server =
        Server::play([Reaction::reply(200, RECORD), Reaction::reply(500, "boom"), Reaction::reply(200, RECORD)]);
    global::init(client(&server)).unwrap();
    assert_eq!(global::enrich_peer_metadata(PEER).unwrap().name(), Some("ops-agent"));
    assert_eq!(global::enrich_peer_metadata(PEER).unwrap().role(), Some("sre"));
    assert_eq!(global::enrich_peer_metadata_nonblocking(PEER).unwrap().role(), Some("sre"));
    assert_eq!(global::enrich_peer_metadata("nope"), None);
    assert_eq!(global::discover_peer(PEER), None);
    assert!(global::discover_peer(PEER).is_some());
    assert_eq!(server.requests().len(), 3);
    assert_eq!(global::agent_card_url_for(PEER), Some(format!("{}/registry/discover/{PEER}", server.url())));
    assert_eq!(global::agent_card_url_for("nope"), None);

    let other = client(&Server::play([Reaction::Close]));
    assert!(global::init(other).is_err(), "there is one already, and the other is returned");
    assert_eq!(format!("{:?}", global::client().unwrap()), format!("{:?}", client(&server)));
    println!("all of it ran");
}

/// Runs in a child process, with a workspace in its environment.
#[test]
fn child_with_a_workspace() {
    if env::var_os("A2A_TEST_CHILD").is_some() {
        let settings = global::client().unwrap().settings();
        assert_eq!([settings.ttl, settings.negative_ttl, settings.error_ttl], [Duration::from_secs(300); 3]);
        println!("all of it ran");
    }
}

fn run_child(test: &str, workspace_id: &str) {
    let mut child = Command::new(env::current_exe().unwrap());
    for name in ["PLATFORM_URL", "MOLECULE_ORG_ID", "MOLECULE_WORKSPACE_TOKEN", "MOLECULE_WORKSPACE_TOKEN_FILE", "HOME"]
    {
        child.env_remove(name);
    }
    child.args(["--exact", test, "--nocapture"]).env("A2A_TEST_CHILD", "1").env("CONFIGS_DIR", "/nonexistent");
    let output = child.env("WORKSPACE_ID", workspace_id).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all of it ran"), "{text}\n{why}");
}

#[test]
fn functions_degrade_without_a_client_and_work_once_there_is_one() {
    run_child("global::child", " ");
}

/// The client of the environment remembers everything for the Python module's one TTL.
#[test]
fn records_absences_and_failures_have_one_ttl() {
    run_child("global::child_with_a_workspace", "my-team");
}
