//! The command line itself: usage, help, the settings and the exit status.

use std::process::Stdio;

use crate::support::{Act, PEER, RECORD, Server, WORKSPACE};
use crate::{Said, binary, run, said};

#[test]
fn the_token_file_is_used_and_verbose_says_why_without_showing_it() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-token-{}", std::process::id()));
    std::fs::write(&file, "hush-hush\n").unwrap();
    let server = Server::play([Act::reply(401, "{}")]);
    let args = [
        "--platform",
        &server.url(),
        "--workspace",
        WORKSPACE,
        "--token-file",
        file.to_str().unwrap(),
        "-v",
        "enrich",
        PEER,
    ];
    for level in [None, Some("trace")] {
        let mut command = binary(&args);
        if let Some(level) = level {
            command.env("RUST_LOG", level);
        }
        let Said { code, out, err } = said(command.output().unwrap());
        assert_eq!(code, Some(1));
        assert!(err.contains("answered 401; the token was refused"), "{err}");
        assert!(!err.contains("hush") && !out.contains("hush"), "{err}");
        assert!(!err.contains("6875 7368"), "not in hexadecimal either: {err}");
    }
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer hush-hush"));
    let said = said(binary(&args).env("RUST_LOG", "off").output().unwrap());
    assert_eq!(said.err.lines().count(), 1, "the variable comes before the option: {}", said.err);
}

#[test]
fn bad_usage_is_2_and_says_what_to_do() {
    for (args, why) in [
        (&["enrich"][..], "<PEER>"),
        (&["enrich", "../../foo"], r#"not a peer id: "../../foo" (it takes 8-4-4-4-12 hex digits"#),
        (&["discover", PEER], "WORKSPACE_ID: not set"),
        (&["--workspace", "a b", "discover", PEER], "--workspace: \"a b\" has ' '"),
        (
            &["--workspace", "w", "--platform", "localhost", "discover", PEER],
            "has no scheme; use for example http://localhost:8080",
        ),
        (&["--platform", "http://h", "demo"], "demo brings its own platform"),
        (&["--proxy", "http://h", "demo"], "--ca-file and --proxy"),
        (&["--workspace", "w", "--token-file", "/nonexistent/t", "poll"], "is in no directory that is there"),
        (&["--workspace", "w", "--token-file", "/", "discover", PEER], "the token file / cannot be read"),
        (&["--token", "secret", "demo"], "unexpected argument '--token'"),
        (&[], "Usage"),
    ] {
        let Said { code, out, err } = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(why), "{args:?}: {err}");
    }
}

/// The exit statuses of the code are those of the help, and each command has an example and tells its JSON.
#[test]
fn help_tells_what_a_stranger_asks() {
    let Said { code, out, .. } = run(&["--help"]);
    assert_eq!(code, Some(0));
    let statuses = out.split("Exit status:").nth(1).unwrap().split("Environment").next().unwrap();
    let statuses: Vec<&str> = statuses.lines().filter_map(|line| line.get(2..5)).map(str::trim).collect();
    let statuses: Vec<&str> = statuses.into_iter().filter(|status| !status.is_empty()).collect();
    assert_eq!(statuses, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "130"]);
    for word in [
        "--platform",
        "--workspace",
        "--token-file",
        "--proxy",
        "--json",
        "PLATFORM_URL",
        "WORKSPACE_ID",
        "CONFIGS_DIR",
        "A2A_PEER_PROXY",
        "MOLECULE_ORG_ID",
        "RUST_LOG",
        "NO_COLOR",
        "COLUMNS",
        "Examples:",
        "doctor",
    ] {
        assert!(out.contains(word), "{word} is not in\n{out}");
    }
    let commands = ["enrich", "discover", "peers", "info", "send", "poll", "doctor", "demo", "completions", "schema"];
    for command in commands {
        assert!(out.contains(&format!("\n  {command} ")), "{command} is not in\n{out}");
        let Said { code, out, err } = run(&[command, "--help"]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains(&format!("  a2a-peer {command}")), "{command} has no example:\n{out}");
        let has_json = !matches!(command, "completions" | "schema");
        assert_eq!(out.contains("With --json"), has_json, "{command}\n{out}");
        // Each option says its default, but for those that are on or off.
        for option in out.lines().filter(|line| line.trim_start().starts_with("--") && line.contains('<')) {
            let text = out.split(option).nth(1).unwrap().split("\n\n").next().unwrap();
            assert!(text.contains("[default: "), "{command} {option}: {text}");
        }
    }
    assert_eq!(run(&["--version"]).out, format!("a2a-peer {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_scripts_of_each_shell() {
    for (shell, word) in [
        ("bash", "complete -F _a2a__peer"),
        ("zsh", "#compdef a2a-peer"),
        ("fish", "complete -c a2a-peer"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let Said { code, out, err } = run(&["completions", shell]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains(word) && out.contains("token-file") && out.contains("doctor"), "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"]).code, Some(2));
}

/// In a shell, not in the script's text: what is offered for a word that was begun.
#[cfg(unix)]
#[test]
fn bash_completes_subcommands_and_their_options() {
    let script = run(&["completions", "bash"]).out;
    let offered = |words: &[&str]| {
        let (last, before) = words.split_last().unwrap();
        let ask = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; _a2a__peer a2a-peer '{last}' '{}'; echo ${{COMPREPLY[@]}}",
            words.join(" "),
            before.len(),
            before.last().unwrap()
        );
        let Said { code, out, err } = said(std::process::Command::new("bash").args(["-c", &ask]).output().unwrap());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out.trim_end().to_owned()
    };
    assert_eq!(offered(&["a2a-peer", "do"]), "doctor");
    assert_eq!(offered(&["a2a-peer", "send", "--ti"]), "--timeout");
    assert_eq!(offered(&["a2a-peer", "completions", "z"]), "zsh");
    assert_eq!(offered(&["a2a-peer", "poll", "--platform", "x", "--on"]), "--once");
}

/// As `a2a-peer peers | head -1` does it: whoever reads the output has seen enough.
#[cfg(unix)]
#[test]
fn a_broken_pipe_is_quiet() {
    let server = Server::decide(|_, request| match request.path.as_str() {
        path if path.ends_with("/peers") => Act::reply(200, format!("[{RECORD}]")),
        _ => Act::reply(200, RECORD),
    });
    for command in [
        &["peers"][..],
        &["peers", "--json"],
        &["enrich", PEER],
        &["discover", PEER],
        &["info"],
        &["doctor"],
        &["schema"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
        &["enrich", "--help"],
    ] {
        let (url, (reader, writer)) = (server.url(), std::os::unix::net::UnixStream::pair().unwrap());
        drop(reader);
        let args = [&["--platform", &url, "--workspace", WORKSPACE][..], command].concat();
        let output = binary(&args).stdout(std::os::fd::OwnedFd::from(writer)).stderr(Stdio::piped()).output().unwrap();
        let Said { code, err, .. } = said(output);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command:?}");
    }
}
