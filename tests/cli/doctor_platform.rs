//! Tests of `doctor` and `info` on the embedded platform: what is wrong with the user's workspace, and what to do.
//!
//! A relay before the platform records each request. None may be anything but a GET.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use serde_json::Value;

use crate::doctor::{STEPS, by_name, token};
use crate::support::{Act, Dir, Request, Server};
use crate::{CliOutput, command_line, decode};

const ORGANISATION: &str = "0e0e0e0e-1111-4222-8333-444455556666";

/// Passes a request on to the platform, with these headers. Returns the answer: of the event stream its beginning.
fn forward(platform: &str, request: &Request, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut stream = TcpStream::connect(platform.trim_start_matches("http://")).unwrap();
    let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", request.method, request.path);
    let own = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let kept = own.filter(|(name, _)| *name != "connection" && !headers.iter().any(|(changed, _)| changed == name));
    for (name, value) in kept.chain(headers.iter().copied()) {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(&[head.as_bytes(), b"\r\n", &request.body].concat()).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let count = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..count]);
        if count == 0 || answer.windows(6).any(|window| window == b": ping") {
            return answer;
        }
    }
}

/// A platform with one workspace, `ops`, and a relay before it.
struct Scene {
    platform: Platform,
    ops: WorkspaceHandle,
    relay: Server,
    dir: Dir,
}

impl Scene {
    fn new(name: &str, workspace: impl FnOnce(&Platform) -> WorkspaceHandle) -> Scene {
        Scene::with(name, workspace, |_| None)
    }

    /// `instead` answers a request in the platform's place.
    fn with(
        name: &str,
        workspace: impl FnOnce(&Platform) -> WorkspaceHandle,
        instead: impl Fn(&str) -> Option<Act> + Send + Sync + 'static,
    ) -> Scene {
        let platform = Platform::start().unwrap();
        let ops = workspace(&platform);
        let _peer = platform.workspace("dev");
        let url = platform.url();
        let relay = Server::decide(move |_, request| {
            instead(&request.path).unwrap_or_else(|| Act::Raw(forward(&url, request, &[])))
        });
        Scene { platform, ops, relay, dir: Dir::new(name) }
    }

    /// Runs a command as the workspace of this id. Asserts that it only reads.
    fn run(&self, id: &str, token_text: &str, command: &[&str], more: &[(&str, &str)]) -> CliOutput {
        let path = token(&self.dir, token_text);
        let args = ["--platform", &self.relay.url(), "--workspace", id, "--token-file", &path, "--json"];
        let before = self.platform.ledger().len();
        let mut process = command_line(&[&args[..], command].concat());
        let output = decode(process.envs(more.iter().copied()).output().unwrap());
        let requests = self.relay.requests();
        assert!(!requests.is_empty() && requests.iter().all(|request| request.method == "GET"), "{requests:?}");
        assert_eq!((self.platform.sent().len(), self.platform.ledger().len()), (0, before));
        assert!(!output.out.contains(token_text) && !output.err.contains(token_text), "{}", output.out);
        output
    }

    /// Runs `doctor` as the workspace. Returns its exit status and its steps.
    fn doctor(&self, more: &[(&str, &str)]) -> (i32, BTreeMap<String, Value>) {
        let own = self.ops.token().unwrap_or("none-any-more".to_owned());
        self.doctor_as(self.ops.id(), &own, more)
    }

    fn doctor_as(&self, id: &str, token_text: &str, more: &[(&str, &str)]) -> (i32, BTreeMap<String, Value>) {
        let output = self.run(id, token_text, &["doctor"], more);
        assert_eq!(output.err, "");
        (output.code.unwrap(), by_name(&output.out))
    }
}

/// Asserts that one step fails with this exit status and kind and with this advice, and that those after it are skipped.
fn assert_fails((code, steps): (i32, BTreeMap<String, Value>), step: &str, exit: i32, kind: &str, advice: &str) {
    let failed = &steps[step];
    assert_eq!((&failed["status"], code), (&"failed".into(), exit), "{steps:#?}");
    assert_eq!(failed["error"]["kind"], kind, "{failed}");
    assert!(failed["next"].as_str().unwrap().contains(advice), "{failed}");
    let at = STEPS.iter().position(|name| *name == step).unwrap();
    assert!(STEPS[..at].iter().all(|before| steps[*before]["status"] != "failed"), "{steps:#?}");
    assert!(STEPS[at + 1..].iter().all(|after| steps[*after]["status"] == "skipped"), "{steps:#?}");
}

/// Asserts that one step warns with this detail and advice, and that the others pass.
fn assert_warns((code, steps): (i32, BTreeMap<String, Value>), step: &str, detail: &str, advice: &str) {
    let warned = &steps[step];
    assert_eq!((&warned["status"], code), (&"warning".into(), 0), "{steps:#?}");
    assert!(warned["detail"].as_str().unwrap().contains(detail), "{warned}");
    assert!(warned["next"].as_str().unwrap().contains(advice), "{warned}");
    let others = steps.iter().filter(|(name, _)| *name != step && *name != "tls");
    assert!(others.into_iter().all(|(_, other)| other["status"] == "ok"), "{steps:#?}");
}

#[test]
fn every_step_passes_for_a_registered_poller() {
    let scene = Scene::new("platform-fine", |platform| platform.workspace("ops"));
    let (code, steps) = scene.doctor(&[]);
    assert_eq!(code, 0);
    for (name, step) in &steps {
        assert_eq!(step["status"], if name == "tls" { "skipped" } else { "ok" }, "{step}");
    }
    let detail = |step: &str| steps[step]["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail("organisation"), "the platform accepts no organisation and no Origin");
    assert_eq!(detail("registration"), r#""ops" is in poll mode: messages wait to be polled"#);
    assert_eq!(detail("state"), r#"the status is "online""#);
    assert!(detail("cursor").ends_with(&format!("inbox-cursor-{}.json", scene.ops.id())), "{steps:#?}");
    assert_eq!(scene.dir.0.read_dir().unwrap().count(), 1, "only the token is there");
}

#[test]
fn removed_workspace_fails_the_workspace_step() {
    let scene = Scene::new("platform-removed", |platform| platform.workspace("ops"));
    scene.ops.remove();
    assert_fails(scene.doctor(&[]), "workspace", 7, "removed", "create a workspace and a token");
}

#[test]
fn purged_or_mistyped_workspace_fails_the_workspace_step() {
    let scene = Scene::new("platform-purged", |platform| platform.workspace("ops"));
    let own = scene.ops.token().unwrap();
    let mistyped = "0f0e0d0c-0b0a-4908-8706-050403020100";
    assert_fails(scene.doctor_as(mistyped, &own, &[]), "workspace", 4, "not_found", "check the workspace's id");
    assert_fails(scene.doctor_as("my-team", &own, &[]), "workspace", 1, "status", "check the workspace's id");
    scene.ops.purge();
    assert_fails(scene.doctor(&[]), "workspace", 4, "not_found", "Do not register it");
}

/// Everything else answers 200, whatever the token is.
#[test]
fn refused_token_fails_the_authorisation_step() {
    let scene = Scene::new("platform-token", |platform| platform.workspace("ops"));
    let others = scene.platform.workspace("dev").token().unwrap();
    for wrong in ["mistaken-token", others.as_str()] {
        let answer = scene.doctor_as(scene.ops.id(), wrong, &[]);
        assert_fails(answer, "authorisation", 6, "unauthorized", "the token came from");
    }
    let old = scene.ops.token().unwrap();
    scene.ops.rotate_token();
    assert_fails(scene.doctor_as(scene.ops.id(), &old, &[]), "authorisation", 6, "unauthorized", "newest token");
}

#[test]
fn workspace_of_a_push_agent_is_a_warning() {
    let url = "http://127.0.0.1:9/agent";
    let scene = Scene::new("platform-push", |platform| platform.push_agent("ops", url));
    assert_warns(scene.doctor(&[]), "registration", url, "give this one a workspace of its own");
}

#[test]
fn unregistered_workspace_is_a_warning() {
    let scene = Scene::new("platform-unregistered", |platform| platform.unregistered("ops"));
    let detail = r#""ops" is not registered: senders get 503"#;
    assert_warns(scene.doctor(&[]), "registration", detail, "start the workspace's agent");
    // As an agent that sends heartbeats and never registered.
    scene.ops.set_status("online");
    assert_warns(scene.doctor(&[]), "registration", "in push mode without a URL", "start the workspace's agent");
}

#[test]
fn agent_that_is_gone_is_a_warning() {
    let scene = Scene::new("platform-gone", |platform| platform.workspace("ops"));
    scene.ops.set_status("awaiting_agent");
    assert_warns(scene.doctor(&[]), "registration", "no heartbeat for 180 s", "bring the workspace online");
}

#[test]
fn paused_or_hibernated_workspace_is_a_warning() {
    let scene = Scene::new("platform-paused", |platform| platform.workspace("ops"));
    scene.ops.pause();
    assert_warns(scene.doctor(&[]), "state", r#"the status is "paused""#, "resume the workspace");
    scene.ops.hibernate();
    assert_warns(scene.doctor(&[]), "state", r#"the status is "hibernated""#, "resume the workspace");
    scene.ops.set_status("failed");
    assert_warns(scene.doctor(&[]), "state", r#"the status is "failed""#, "start the workspace's agent");
}

#[test]
fn missing_or_wrong_organisation_fails_the_organisation_step() {
    let scene = Scene::new("platform-organisation", |platform| {
        platform.tenant(Some(ORGANISATION));
        platform.workspace("ops")
    });
    let advice = "set MOLECULE_ORG_ID to the organisation's id";
    assert_fails(scene.doctor(&[]), "organisation", 1, "status", advice);
    for wrong in ["0e0e0e0e-0000-4000-8000-000000000000", &ORGANISATION.to_uppercase()] {
        let answer = scene.doctor(&[("MOLECULE_ORG_ID", wrong)]);
        assert_fails(answer, "organisation", 4, "not_found", advice);
    }
    let (code, steps) = scene.doctor(&[("MOLECULE_ORG_ID", ORGANISATION)]);
    assert_eq!((code, &steps["events"]["status"]), (0, &"ok".into()), "{steps:#?}");
    let detail = "the platform accepts the organisation of MOLECULE_ORG_ID and no Origin";
    assert_eq!(steps["organisation"]["detail"], detail);
}

/// The `Origin` is sent over https, with an organisation.
#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn origin_that_is_refused_or_taken_for_the_canvas_is_reported() {
    use crate::tls::{Authority, answering, https};

    let scene = Scene::new("platform-origin", |platform| {
        platform.tenant(Some(ORGANISATION));
        platform.workspace("ops")
    });
    let (authority, ca) = (Authority::new(), scene.dir.file("ca.pem"));
    std::fs::write(&ca, authority.pem()).unwrap();
    let token = token(&scene.dir, &scene.ops.token().unwrap());
    let run = |changes: &'static [(&str, &str)]| {
        let url = scene.platform.url();
        let (server, seen) = answering(authority.certify(), true, move |request| forward(&url, &request, changes));
        let (url, ca) = (https(&server), ca.to_str().unwrap());
        let args = ["--platform", &url, "--workspace", scene.ops.id(), "--token-file", &token, "--ca-file", ca];
        let mut process = command_line(&[&args[..], &["--json", "doctor"]].concat());
        let output = decode(process.env("MOLECULE_ORG_ID", ORGANISATION).output().unwrap());
        assert!(!seen.text().contains("POST "), "{}", seen.text());
        (output.code.unwrap(), by_name(&output.out))
    };
    // A proxy that passes its own name on as the host.
    let strange = run(&[("host", "platform.internal")]);
    assert_fails(strange, "organisation", 6, "unauthorized", "refuses the Origin");

    let (code, steps) = run(&[]);
    let detail = steps["organisation"]["detail"].as_str().unwrap().to_owned();
    assert!(code == 0 && detail.contains("and the Origin https://localhost:"), "{steps:#?}");
    assert_eq!(steps["organisation"]["status"], "ok");

    scene.platform.combined(true);
    let (code, steps) = run(&[]);
    let step = &steps["organisation"];
    assert_eq!((code, &step["status"]), (0, &"warning".into()), "{step}");
    assert!(step["detail"].as_str().unwrap().ends_with("messages from here are stamped as a human's"), "{step}");
    assert!(step["next"].as_str().unwrap().contains("origin(None)"), "{step}");
    assert_eq!((scene.platform.sent().len(), scene.platform.ledger().len()), (0, 0));
}

/// It is not on the way to the platform, so the other steps run.
#[test]
fn cursor_that_cannot_be_used_fails_the_cursor_step_alone() {
    let scene = Scene::new("platform-cursor", |platform| platform.workspace("ops"));
    let lock = scene.dir.file(&format!("inbox-cursor-{}.json.lock", scene.ops.id()));
    std::fs::create_dir(&lock).unwrap();
    let (code, steps) = scene.doctor(&[]);
    let step = &steps["cursor"];
    assert_eq!((code, &step["status"], &step["error"]["kind"]), (2, &"failed".into(), &"config".into()), "{step}");
    assert!(step["detail"].as_str().unwrap().contains(".lock cannot be locked"), "{step}");
    assert!(step["next"].as_str().unwrap().contains("set CONFIGS_DIR"), "{step}");
    assert_eq!(steps["events"]["status"], "ok");
}

/// Nobody can make a file there, root included. The file has the name of the process, which is no token of the platform.
#[cfg(target_os = "linux")]
#[test]
fn cursor_whose_directory_cannot_be_written_decides_the_exit_status() {
    let scene = Scene::new("platform-readonly", |platform| platform.workspace("ops"));
    let url = scene.relay.url();
    let args = ["--platform", &url, "--workspace", scene.ops.id(), "--token-file", "/proc/self/comm", "--json"];
    let output = decode(command_line(&[&args[..], &["doctor"]].concat()).output().unwrap());
    let steps = by_name(&output.out);
    assert!(steps["cursor"]["detail"].as_str().unwrap().contains("cannot be written ("), "{steps:#?}");
    assert_eq!(
        (output.code, &steps["authorisation"]["status"]),
        (Some(2), &"failed".into()),
        "the first failure counts"
    );
}

/// The platform's own stream answers at once. Older ones have none, and a proxy may hold it back.
#[test]
fn event_stream_that_is_missing_or_held_back_is_a_warning() {
    let missing = |path: &str| path.ends_with("/events/stream").then(|| Act::reply(404, "404 page not found"));
    let scene = Scene::with("platform-no-stream", |platform| platform.workspace("ops"), missing);
    assert_warns(scene.doctor(&[]), "events", "has no event stream", "an older one");

    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let silent = Act::Trickle { head: head.into(), slow: vec![b'0'], pause: Duration::from_secs(8) };
    let held = move |path: &str| path.ends_with("/events/stream").then(|| silent.clone());
    let scene = Scene::with("platform-held-stream", |platform| platform.workspace("ops"), held);
    let output = scene.run(scene.ops.id(), &scene.ops.token().unwrap(), &["doctor", "--timeout", "2"], &[]);
    let answer = (output.code.unwrap(), by_name(&output.out));
    assert_warns(answer, "events", "the event stream is held back", "unbuffered");
}

/// The steps of peers and inbox then tell what the token is worth.
#[test]
fn platform_without_the_state_is_a_warning() {
    let missing = |path: &str| path.ends_with("/state").then(|| Act::reply(404, "404 page not found"));
    let scene = Scene::with("platform-no-state", |platform| platform.workspace("ops"), missing);
    assert_warns(scene.doctor(&[]), "authorisation", "not proved", "the steps peers and inbox try the token");
    let (code, steps) = scene.doctor_as(scene.ops.id(), "mistaken-token", &[]);
    assert_eq!((code, &steps["peers"]["error"]["kind"]), (6, &"unauthorized".into()), "{steps:#?}");
}

/// The platform shows the record to anybody.
#[test]
fn info_with_a_wrong_token_prints_the_record_and_fails() {
    let scene = Scene::new("platform-info", |platform| platform.workspace("ops"));
    let good = scene.run(scene.ops.id(), &scene.ops.token().unwrap(), &["info"], &[]);
    assert_eq!((good.code, good.err.as_str()), (Some(0), ""));
    let wrong = scene.run(scene.ops.id(), "mistaken-token", &["info"], &[]);
    let lines = crate::schema::documents("info", &wrong.out);
    assert_eq!((wrong.code, lines.len(), &lines[0]["record"]["name"]), (Some(6), 2, &"ops".into()));
    assert_eq!((&lines[1]["error"]["kind"], &lines[1]["error"]["exit"]), (&"unauthorized".into(), &6.into()));
    assert!(
        wrong.err.contains("the token was refused") && wrong.err.contains("next: the token came from"),
        "{}",
        wrong.err
    );
}
