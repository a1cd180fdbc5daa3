//! What a terminal gets: colours, tables of its width, and nothing that a peer could move its cursor with.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthStr;

use crate::support::{Act, PEER, Server};
use crate::{binary, run};

/// What the command prints on a terminal of so many columns.
fn on_terminal(mut command: Command, columns: u16) -> String {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the two places are ours, and neither a name nor settings are asked for.
    let opened =
        unsafe { libc::openpty(&raw mut master, &raw mut slave, std::ptr::null_mut(), std::ptr::null_mut(), &size) };
    assert_eq!(opened, 0);
    // SAFETY: they were just opened, and are nobody else's.
    let (mut master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut child = command.stdout(slave.try_clone().unwrap()).stderr(slave).stdin(Stdio::null()).spawn().unwrap();
    // Its ends of the terminal are closed with it, or the reading would not end.
    drop(command);
    let mut shown = Vec::new();
    // Linux has an error where the other end is closed, others an end of file.
    let _ = master.read_to_end(&mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

fn hostile() -> Server {
    let name = "日本".repeat(20);
    Server::decide(move |_, _| {
        Act::reply(200, format!(r#"{{"name":"{name}\u001b[2J","role":"\u009b31m","status":"online"}}"#))
    })
}

fn enrich(server: &Server) -> Command {
    binary(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER])
}

#[test]
fn a_table_fits_the_terminal_and_a_pipe_loses_nothing() {
    let server = hostile();
    for columns in [30, 60, 80, 120] {
        let mut command = enrich(&server);
        command.env("NO_COLOR", "1");
        let shown = on_terminal(command, columns);
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.lines().all(|line| line.width() <= columns.into()), "{columns}: {shown}");
        assert!(shown.contains('…') && !shown.contains(['\u{1b}', '\u{9b}']), "{shown}");
        assert_eq!(shown.contains(PEER), columns > 30, "an id is cut last: {shown}");
    }
    let whole = format!("{}\\u{{1b}}[2J", "日本".repeat(20));
    let mut command = enrich(&server);
    assert!(String::from_utf8(command.output().unwrap().stdout).unwrap().contains(&whole));
    // As `watch` has it.
    let out = String::from_utf8(command.env("COLUMNS", "60").output().unwrap().stdout).unwrap();
    assert!(out.lines().all(|line| line.width() <= 60), "{out}");
}

/// What is drawn in colours, by the environment and by what it is drawn on.
#[test]
fn colours_are_for_terminals_that_take_them() {
    let server = hostile();
    let coloured = |variables: &[(&str, &str)], terminal: bool| {
        let help = || binary(&["--help"]);
        let wrong = || binary(&["--nonsense"]);
        let doctor = || binary(&["doctor"]);
        let shown: Vec<bool> = [enrich(&server), help(), wrong(), doctor()]
            .into_iter()
            .map(|mut command| {
                command.env("TERM", "xterm").envs(variables.iter().copied());
                let shown = if terminal {
                    on_terminal(command, 100)
                } else {
                    let output = command.output().unwrap();
                    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
                };
                shown.contains("\u{1b}[")
            })
            .collect();
        assert!(shown.iter().all(|is| *is == shown[0]), "{variables:?}: {shown:?}");
        shown[0]
    };
    assert!(coloured(&[], true));
    assert!(!coloured(&[("NO_COLOR", "1")], true));
    assert!(!coloured(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true));
    assert!(!coloured(&[("TERM", "dumb")], true));
    assert!(!coloured(&[("CLICOLOR", "0")], true));
    assert!(!coloured(&[], false));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")], false));
}

#[test]
fn an_answer_on_a_terminal_has_its_control_characters_escaped() {
    let server = Server::play([Act::reply(200, r#"{"result":{"parts":[{"text":"a\u001b[2J\nb"}]}}"#)]);
    let args = ["--platform", &server.url(), "--workspace", "w", "send", PEER, "hello"];
    let mut command = binary(&args);
    // A terminal that cannot be drawn over gets no live line.
    command.env("TERM", "dumb");
    assert_eq!(on_terminal(command, 80), "a\\u{1b}[2J\nb\n");
    assert_eq!(run(&args).out, "a\u{1b}[2J\nb\n", "a program gets it as it came");
}

#[test]
fn the_log_escapes_what_a_peer_says_and_hides_the_token() {
    let dir = crate::support::Dir::new("cli-log");
    let token = dir.file("token");
    std::fs::write(&token, "hush-hush").unwrap();
    let answer = r#"{"id":"\u009b31m hush-hush","result":{"parts":[{"text":"hi"}]}}"#;
    let server = Server::play([Act::reply(200, answer)]);
    let token = token.to_str().unwrap();
    let args = ["--platform", &server.url(), "--workspace", "w", "--token-file", token, "-v", "send", PEER, "hello"];
    let said = run(&args);
    assert!(said.err.contains("the answer's id is"), "{}", said.err);
    assert!(!said.err.contains('\u{9b}') && !said.err.contains("hush"), "{}", said.err);
}
