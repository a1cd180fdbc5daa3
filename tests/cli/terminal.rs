//! Tests on a pseudoterminal: colours, the width of tables, and escaped control characters.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthStr;

use crate::support::{Act, PEER, Server};
use crate::{command_line, run};

/// Runs the command on a pseudoterminal of a width. Returns its output.
fn on_terminal(mut command: Command, columns: u16) -> String {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both pointers are to local integers, and openpty(3) accepts null for the name and the settings.
    let opened =
        unsafe { libc::openpty(&raw mut master, &raw mut slave, std::ptr::null_mut(), std::ptr::null_mut(), &size) };
    assert_eq!(opened, 0);
    // SAFETY: openpty has just opened both descriptors, and nothing else owns them.
    let (mut master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut child = command.stdout(slave.try_clone().unwrap()).stderr(slave).stdin(Stdio::null()).spawn().unwrap();
    // Closes its copies of the slave, without which the read below would not end.
    drop(command);
    let mut shown = Vec::new();
    // At the end Linux returns EIO, other systems the end of file.
    let _ = master.read_to_end(&mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

/// Returns a registry whose record has wide and control characters.
fn hostile_registry() -> Server {
    let name = "日本".repeat(20);
    Server::decide(move |_, _| {
        Act::reply(200, format!(r#"{{"name":"{name}\u001b[2J","role":"\u009b31m","status":"online"}}"#))
    })
}

fn enrich(server: &Server) -> Command {
    command_line(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER])
}

#[test]
fn table_fits_the_terminal_and_is_whole_in_a_pipe() {
    let server = hostile_registry();
    for columns in [30, 60, 80, 120] {
        let mut command = enrich(&server);
        command.env("NO_COLOR", "1");
        let shown = on_terminal(command, columns);
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.lines().all(|line| line.width() <= columns.into()), "{columns}: {shown}");
        assert!(shown.contains('…') && !shown.contains(['\u{1b}', '\u{9b}']), "{shown}");
        assert_eq!(shown.contains(PEER), columns > 30, "the id is cut last: {shown}");
    }
    let whole = format!("{}\\u{{1b}}[2J", "日本".repeat(20));
    let mut command = enrich(&server);
    assert!(String::from_utf8(command.output().unwrap().stdout).unwrap().contains(&whole));
    // `watch` sets `COLUMNS`.
    let out = String::from_utf8(command.env("COLUMNS", "60").output().unwrap().stdout).unwrap();
    assert!(out.lines().all(|line| line.width() <= 60), "{out}");
}

/// The table, the help, an error and `doctor` agree.
#[test]
fn colours_follow_the_terminal_and_the_environment() {
    let server = hostile_registry();
    let coloured = |variables: &[(&str, &str)], terminal: bool| {
        let help = || command_line(&["--help"]);
        let wrong = || command_line(&["--nonsense"]);
        let doctor = || command_line(&["doctor"]);
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
fn answer_on_a_terminal_is_escaped() {
    let server = Server::play([Act::reply(200, r#"{"result":{"parts":[{"text":"a\u001b[2J\nb"}]}}"#)]);
    let args = ["--platform", &server.url(), "--workspace", "w", "send", PEER, "hello"];
    let mut command = command_line(&args);
    // A dumb terminal gets no progress line.
    command.env("TERM", "dumb");
    assert_eq!(on_terminal(command, 80), "a\\u{1b}[2J\nb\n");
    assert_eq!(run(&args).out, "a\u{1b}[2J\nb\n", "a pipe gets it unchanged");
}

#[test]
fn log_escapes_peer_text_and_hides_the_token() {
    let dir = crate::support::Dir::new("cli-log");
    let token = dir.file("token");
    std::fs::write(&token, "hush-hush").unwrap();
    let answer = r#"{"id":"\u009b31m hush-hush","result":{"parts":[{"text":"hi"}]}}"#;
    let server = Server::play([Act::reply(200, answer)]);
    let token = token.to_str().unwrap();
    let args = ["--platform", &server.url(), "--workspace", "w", "--token-file", token, "-v", "send", PEER, "hello"];
    let output = run(&args);
    assert!(output.err.contains("the answer's id is"), "{}", output.err);
    assert!(!output.err.contains('\u{9b}') && !output.err.contains("hush"), "{}", output.err);
}
