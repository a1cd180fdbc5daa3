//! Tests of the command line itself: usage, help, settings and completions.

use std::process::Stdio;

use crate::support::{Act, PEER, RECORD, Server, WORKSPACE};
use crate::{CliOutput, SUBCOMMANDS, command_line, decode, run};

#[test]
fn token_file_is_used_and_verbose_log_hides_it() {
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
        let mut command = command_line(&args);
        if let Some(level) = level {
            command.env("RUST_LOG", level);
        }
        let CliOutput { code, out, err } = decode(command.output().unwrap());
        assert_eq!(code, Some(1));
        assert!(err.contains("answered 401; the token was refused"), "{err}");
        assert!(!err.contains("hush") && !out.contains("hush"), "{err}");
        assert!(!err.contains("6875 7368"), "nor in hexadecimal: {err}");
    }
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer hush-hush"));
    let output = decode(command_line(&args).env("RUST_LOG", "off").output().unwrap());
    assert_eq!(output.err.lines().count(), 1, "the variable overrides the option: {}", output.err);
}

#[test]
fn bad_usage_exits_with_2_and_advice() {
    for (args, texts) in [
        (&["enrich"][..], &["<PEER>"][..]),
        (&["enrich", "../../foo"], &[r#"not a peer id: "../../foo" (it takes 8-4-4-4-12 hex digits"#]),
        (&["discover", PEER], &["WORKSPACE_ID: not set: give --workspace ID"]),
        (&["--workspace", "a b", "discover", PEER], &["--workspace: \"a b\" has ' '"]),
        (
            &["--workspace", "w", "--platform", "localhost", "discover", PEER],
            &["--platform: ", "has no scheme; ", "for example http://localhost:8080"],
        ),
        (&["--platform", "http://h", "demo"], &["demo has its own platform"]),
        (&["--proxy", "http://h", "demo"], &["--ca-file and --proxy"]),
        (&["--workspace", "w", "poll"], &["--cursor: /nonexistent/a2a-peer-cursor-w.json", "directory"]),
        (
            &["--workspace", "w", "--token-file", "/nonexistent/t", "poll"],
            &["the token file /nonexistent/t does not exist\n  next: name the file with the token: --token-file PATH"],
        ),
        (&["--workspace", "w", "--token-file", "/", "discover", PEER], &["the token file / cannot be read"]),
        (&["--token", "secret", "demo"], &["unexpected argument '--token'"]),
        (&[], &["Usage"]),
    ] {
        let CliOutput { code, out, err } = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(texts.iter().all(|text| err.contains(text)), "{args:?}: {err}");
    }
}

/// Each command has an example, and describes its JSON output.
#[test]
fn help_lists_statuses_variables_examples_and_defaults() {
    let CliOutput { code, out, .. } = run(&["--help"]);
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
        "MOLECULE_WORKSPACE_TOKEN",
        "MOLECULE_WORKSPACE_TOKEN_FILE",
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
    for command in SUBCOMMANDS {
        assert!(out.contains(&format!("\n  {command} ")), "{command} is not in\n{out}");
        let CliOutput { code, out, err } = run(&[command, "--help"]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let of_command = out.split("Exit status:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap();
        let of_command: Vec<&str> = of_command.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let is_known = |word: &&str| statuses.contains(word) || *word == "With";
        assert!(of_command.iter().all(is_known), "{command}: {of_command:?}");
        assert!(out.contains(&format!("  a2a-peer {command}")), "{command} has no example:\n{out}");
        let has_json = !matches!(command, "completions" | "schema");
        assert_eq!(out.contains("With --json"), has_json, "{command}\n{out}");
        // Each option that takes a value has its default.
        for option in out.lines().filter(|line| line.trim_start().starts_with("--") && line.contains('<')) {
            let text = out.split(option).nth(1).unwrap().split("\n\n").next().unwrap();
            assert!(text.contains("[default: "), "{command} {option}: {text}");
        }
    }
    assert_eq!(run(&["--version"]).out, format!("a2a-peer {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_exist_for_each_shell() {
    for (shell, word) in [
        ("bash", "complete -F _a2a__peer"),
        ("zsh", "#compdef a2a-peer"),
        ("fish", "complete -c a2a-peer"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let CliOutput { code, out, err } = run(&["completions", shell]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains(word) && out.contains("token-file") && out.contains("doctor"), "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"]).code, Some(2));
}

/// Asks bash itself which words the script offers.
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
        let CliOutput { code, out, err } =
            decode(std::process::Command::new("bash").args(["-c", &ask]).output().unwrap());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out.trim_end().to_owned()
    };
    assert_eq!(offered(&["a2a-peer", "do"]), "doctor");
    assert_eq!(offered(&["a2a-peer", "send", "--ti"]), "--timeout");
    assert_eq!(offered(&["a2a-peer", "send", "--wa"]), "--wait");
    assert_eq!(offered(&["a2a-peer", "delegate", "--k"]), "--key");
    assert_eq!(offered(&["a2a-peer", "completions", "z"]), "zsh");
    assert_eq!(offered(&["a2a-peer", "poll", "--platform", "x", "--on"]), "--once");
}

/// As in `a2a-peer peers | head -1`.
#[cfg(unix)]
#[test]
fn broken_pipe_is_quiet() {
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
        let output =
            command_line(&args).stdout(std::os::fd::OwnedFd::from(writer)).stderr(Stdio::piped()).output().unwrap();
        let CliOutput { code, err, .. } = decode(output);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command:?}");
    }
}
