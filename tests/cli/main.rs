//! Tests of the binary `a2a-peer`, run as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code, reason = "opening a pseudoterminal")]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod demo;
mod doctor;
mod doctor_platform;
mod failures;
mod hostile;
mod poll;
mod proxy;
mod queued;
mod readme;
mod records;
mod register;
mod requests;
mod schema;
mod send;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
mod terminal;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[path = "../support/tls.rs"]
mod tls;
#[path = "../support/proxy.rs"]
mod tunnel;
mod usage;

use std::process::{Command, Output, Stdio};

use support::{Act, PEER, RECORD, Server};

/// Id of a peer that [`registry`] does not know.
const UNKNOWN_PEER: &str = "deadbeef-0000-4000-8000-000000000404";
/// Subcommands of the binary.
const SUBCOMMANDS: [&str; 16] = [
    "enrich",
    "discover",
    "peers",
    "info",
    "send",
    "delegate",
    "register",
    "poll",
    "requests",
    "respond",
    "notify",
    "instructions",
    "doctor",
    "demo",
    "completions",
    "schema",
];
/// Variables that the machine may have set and that change the output.
const VARIABLES: &[&str] = &[
    "PLATFORM_URL",
    "WORKSPACE_ID",
    "MOLECULE_ORG_ID",
    "MOLECULE_WORKSPACE_TOKEN",
    "MOLECULE_WORKSPACE_TOKEN_FILE",
    "MOLECULE_AGENT_NAME",
    "MOLECULE_AGENT_DESCRIPTION",
    "MOLECULE_AGENT_SKILLS",
    "RUST_LOG",
    "RUST_LOG_STYLE",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    // Turns colours on, whatever the terminal.
    "CI",
    "A2A_PEER_PROXY",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Returns a command that runs the binary without the machine's variables and without a token file.
fn command_line(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2a-peer"));
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.args(args).env("CONFIGS_DIR", "/nonexistent").env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// The exit status of a run, and its output.
struct CliOutput {
    code: Option<i32>,
    out: String,
    err: String,
}

fn decode(output: Output) -> CliOutput {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CliOutput { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(args: &[&str]) -> CliOutput {
    decode(command_line(args).output().unwrap())
}

/// Sends SIGINT, as Ctrl-C does.
#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// Returns a registry that knows [`PEER`] only.
fn registry() -> Server {
    Server::decide(|_, request| match request.path.ends_with(PEER) {
        true => Act::reply(200, RECORD),
        false => Act::reply(404, r#"{"error":"workspace not found"}"#),
    })
}
