//! Tests of `demo`.

use std::process::Stdio;

use serde_json::Value;

use crate::schema::documents;
use crate::{CliOutput, command_line, run};

/// Holds the callbacks' calls, the summary and the platform's own count against each other.
#[test]
fn summary_accounts_for_every_message() {
    let CliOutput { code, out, err } = run(&["demo", "--json"]);
    assert_eq!((code, err.lines().count()), (Some(0), 1), "{err}");
    assert!(err.contains("the callback panicked at"), "{err}");
    let mut lines: Vec<Value> = documents("demo", &out);
    let summary = lines.pop().unwrap();
    let count = |done: &[&str]| lines.iter().filter(|line| done.iter().any(|done| line["done"] == *done)).count();
    assert_eq!((&summary["rows"], &summary["lost"], &summary["twice"]), (&240.into(), &0.into(), &0.into()));
    assert_eq!(summary["garbled"], 0);
    assert_eq!((&summary["delivered"], &summary["dead_lettered"]), (&239.into(), &1.into()));
    assert_eq!(count(&["acked", "answered", "refused"]), 239);
    // Two of the peers are gone, and ask questions that nobody can answer. No answer is tried again in vain.
    assert!((1..=5).contains(&count(&["refused"])), "{lines:?}");
    // One fails once, one panics once, one fails five times.
    assert_eq!((&summary["retried"], count(&["failed"]), count(&["panicked"])), (&7.into(), 6, 1));
    assert_eq!((&summary["notices"], count(&["given up"])), (&4.into(), 1));
    assert_eq!(summary["messages"].as_u64().unwrap() + 4, count(&["answered"]) as u64);
    assert!(summary["heartbeats"].as_u64().unwrap() >= 2, "{summary}");
    let ids: std::collections::HashSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 240);
    let CliOutput { code, out, .. } = run(&["demo"]);
    assert_eq!(code, Some(0));
    for words in [
        "delivered: 239, retried: 7, dead-lettered: 1, twice: 0, lost: 0",
        "ops-agent (sre)",
        "the registry stops answering",
    ] {
        assert!(out.contains(words), "{words} is not in\n{out}");
    }
}

#[cfg(unix)]
#[test]
fn broken_pipe_is_quiet() {
    let mut child = command_line(&["demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_demo_and_removes_its_directory() {
    use std::io::{BufRead, BufReader};
    let dir = crate::support::Dir::new("demo");
    let mut child = command_line(&["demo"]);
    let mut child = child.env("TMPDIR", &dir.0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // The second line is printed after the handler of Ctrl-C is installed.
    let mut lines = String::new();
    assert!((0..2).all(|_| out.read_line(&mut lines).unwrap() > 0));
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1);
    crate::interrupt(&child);
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let ended = crate::decode(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.lines().filter(|line| !line.contains("panicked")).count()), (Some(130), 0));
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 0);
}
