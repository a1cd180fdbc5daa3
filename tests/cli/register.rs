//! Tests of `register`, against the embedded platform.

use std::fs;
use std::process::Stdio;

use a2a_blocking::testing::{Platform, WorkspaceHandle};

use crate::schema::documents;
use crate::support::Dir;
use crate::{CliOutput, command_line, decode, run};

/// Runs the command as the workspace, with this token file.
fn run_as(platform: &Platform, workspace: &WorkspaceHandle, file: &std::path::Path, args: &[&str]) -> CliOutput {
    let (url, file) = (platform.url(), file.to_str().unwrap());
    let base = ["--platform", &url, "--workspace", workspace.id(), "--token-file", file];
    run(&[&base[..], args].concat())
}

fn with_token(workspace: &WorkspaceHandle, dir: &Dir) -> std::path::PathBuf {
    let file = dir.file("token");
    fs::write(&file, workspace.token().unwrap()).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file
}

#[test]
fn register_publishes_a_card_and_says_so() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.unregistered("ops"), Dir::new("cli-register"));
    let file = with_token(&ops, &dir);
    let CliOutput { code, out, err } = run_as(&platform, &ops, &file, &["register"]);
    assert_eq!((code, out, err.as_str()), (Some(0), format!("registered {} as ops\n", ops.id()), ""));
    assert_eq!(ops.status().as_deref(), Some("online"));
    let args = ["register", "--json", "--name", "o\u{1b}", "--skill", "a", "--skill", "b", "--description", "d"];
    let CliOutput { code, out, .. } = run_as(&platform, &ops, &file, &args);
    let line = &documents("register", &out)[0];
    let card =
        serde_json::json!({ "name": "o\u{1b}", "description": "d", "skills": [{ "name": "a" }, { "name": "b" }] });
    assert_eq!((code, &line["card"], &line["token_file"]), (Some(0), &card, &serde_json::Value::Null));
    // What no option sets stays as it is.
    let CliOutput { out, .. } = run_as(&platform, &ops, &file, &["register", "--json", "--skill", "c"]);
    let card = serde_json::json!({ "name": "o\u{1b}", "description": "d", "skills": [{ "name": "c" }] });
    assert_eq!(documents("register", &out)[0]["card"], card);
    assert!(run_as(&platform, &ops, &file, &["register"]).out.ends_with("as o\\u{1b}\n"));
}

#[test]
fn card_of_the_environment_comes_before_the_present_one() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("cli-register-env"));
    let file = with_token(&ops, &dir);
    let mut command = command_line(&["register", "--json", "--token-file", file.to_str().unwrap()]);
    command.env("PLATFORM_URL", platform.url()).env("WORKSPACE_ID", ops.id());
    command.env("MOLECULE_AGENT_NAME", " ops-agent ").env("MOLECULE_AGENT_SKILLS", "rota, ,paging,");
    let CliOutput { code, out, .. } = decode(command.output().unwrap());
    let card = serde_json::json!({ "name": "ops-agent", "skills": [{ "name": "rota" }, { "name": "paging" }] });
    assert_eq!((code, &documents("register", &out)[0]["card"]), (Some(0), &card));
}

#[test]
fn token_that_the_platform_issues_is_in_the_file() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("cli-register-token"));
    let file = dir.file("new-token");
    let refused = run_as(&platform, &ops, &file, &["register", "--json"]);
    let error = &documents("register", &refused.out)[0]["error"];
    assert_eq!((refused.code, &error["kind"], file.exists()), (Some(6), &"unauthorized".into(), false));
    ops.revoke_tokens();
    let CliOutput { code, out, err } = run_as(&platform, &ops, &file, &["register", "--json", "-v"]);
    let token = ops.token().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{token}\n"));
    assert_eq!((code, &documents("register", &out)[0]["token_file"]), (Some(0), &file.to_str().unwrap().into()));
    assert!(err.contains("the platform issued a token, which is in ") && !err.contains(&token), "{err}");
    assert!(!out.contains(&token), "{out}");
    assert_eq!(run_as(&platform, &ops, &file, &["peers"]).code, Some(0));
    // A blank file is not taken for one that may be replaced.
    ops.revoke_tokens();
    fs::write(&file, "\n").unwrap();
    let blank = run_as(&platform, &ops, &file, &["register"]);
    assert!(blank.code == Some(2) && blank.err.contains("it exists and has no token: remove it"), "{}", blank.err);
}

#[test]
fn workspace_that_is_gone_or_anothers_is_not_registered() {
    let platform = Platform::start().unwrap();
    let dir = Dir::new("cli-register-gone");
    let ops = platform.push_agent("ops", "http://127.0.0.1:1/");
    let file = with_token(&ops, &dir);
    let CliOutput { code, err, .. } = run_as(&platform, &ops, &file, &["register"]);
    assert!(code == Some(2) && err.contains("agent at http://127.0.0.1:1/") && err.contains("--replace"), "{err}");
    assert_eq!(run_as(&platform, &ops, &file, &["register", "--replace"]).code, Some(0));
    ops.remove();
    let CliOutput { code, err, .. } = run_as(&platform, &ops, &file, &["register"]);
    assert!(code == Some(7) && err.contains("was removed"), "{err}");
    ops.purge();
    let CliOutput { code, err, .. } = run_as(&platform, &ops, &file, &["register"]);
    assert!(code == Some(4) && err.contains("workspace not found"), "{err}");
    assert_eq!(ops.status(), None);
    // So does a poll that would register.
    let cursor = dir.file("cursor");
    let args = ["poll", "--json", "--heartbeat", "--cursor", cursor.to_str().unwrap()];
    let CliOutput { code, out, .. } = run_as(&platform, &ops, &file, &args);
    assert_eq!((code, &documents("poll", &out)[0]["error"]["kind"]), (Some(7), &"removed".into()));
}

/// A user who only reads registers nothing, as peers would see the workspace as online.
#[test]
fn poll_registers_as_an_agent_only_and_holds_a_pause() {
    use std::io::{BufRead, BufReader};

    let platform = Platform::start().unwrap();
    let (ops, dev, dir) = (platform.unregistered("ops"), platform.workspace("dev"), Dir::new("cli-register-poll"));
    let (file, cursor) = (with_token(&ops, &dir), dir.file("cursor"));
    platform.send(&dev, &ops, "hello").unwrap();
    ops.set_status("paused");
    let (url, file, cursor) = (platform.url(), file.to_str().unwrap(), cursor.to_str().unwrap());
    let base = ["--platform", &url, "--workspace", ops.id(), "--token-file", file, "poll", "--cursor", cursor];
    let start = |more: &[&str]| {
        let mut command = command_line(&[&base[..], &["--interval", "0.01"], more].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut held = start(&["--heartbeat"]);
    let mut line = String::new();
    BufReader::new(held.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("the workspace is paused: its messages stay at the platform"), "{line}");
    held.kill().unwrap();
    assert_eq!(decode(held.wait_with_output().unwrap()).out, "");
    let mut reader = start(&["--deliver-paused"]);
    line.clear();
    BufReader::new(reader.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("hello"), "{line}");
    reader.kill().unwrap();
    reader.wait().unwrap();
    ops.set_status("awaiting_agent");
    let mut reader = start(&[]);
    platform.send(&dev, &ops, "again").unwrap();
    line.clear();
    let mut out = BufReader::new(reader.stdout.take().unwrap());
    while !line.contains("again") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0);
    }
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert_eq!(ops.status().as_deref(), Some("awaiting_agent"), "neither registered nor alive");
}
