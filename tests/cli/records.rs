//! Tests of `enrich`, `discover`, `peers` and `info`.

use serde_json::Value;

use crate::schema::documents;
use crate::support::{Act, PEER, RECORD, Server, WORKSPACE};
use crate::{CliOutput, UNKNOWN_PEER, command_line, decode, registry, run};

#[test]
fn enrich_prints_a_table_and_its_status_reports_absent_peers() {
    let server = registry();
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE];
    let CliOutput { code, out, err } = run(&[&base[..], &["enrich", PEER, &PEER.to_uppercase()]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            vec!["ID", "NAME", "ROLE", "STATUS"],
            vec![PEER, "ops-agent", "sre", "online"],
            vec![PEER, "ops-agent", "sre", "online"]
        ]
    );
    assert_eq!(server.requests().len(), 1, "the second lookup is a cache hit");

    let CliOutput { code, out, err } = run(&[&base[..], &["enrich", PEER, UNKNOWN_PEER]].concat());
    assert_eq!(code, Some(4));
    assert_eq!(out.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(), [UNKNOWN_PEER, "-", "-", "-"]);
    assert_eq!(
        err,
        format!(
            "a2a-peer: {UNKNOWN_PEER}: no record: the registry does not know it, or does not show it to this workspace\n"
        )
    );
}

#[test]
fn enrich_with_json_prints_an_object_per_line() {
    let server = registry();
    let CliOutput { code, out, .. } = decode(
        command_line(&["enrich", "--json", PEER, UNKNOWN_PEER])
            .env("PLATFORM_URL", server.url())
            .env("WORKSPACE_ID", WORKSPACE)
            .output()
            .unwrap(),
    );
    assert_eq!(code, Some(4));
    let lines = documents("enrich", &out);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["peer"], PEER);
    assert_eq!(lines[0]["record"], serde_json::from_str::<Value>(RECORD).unwrap());
    assert!(lines[0]["ms"].as_f64().unwrap() > 0.0);
    assert_eq!((&lines[1]["peer"], &lines[1]["record"]), (&Value::from(UNKNOWN_PEER), &Value::Null));
    assert_eq!((&lines[0]["source"], &lines[1]["source"]), (&"fetched".into(), &"absent".into()));

    // One peer is absent, and the lookup of the other fails.
    let server = Server::decide(|_, request| match request.path.ends_with(PEER) {
        true => Act::reply(503, "{}"),
        false => Act::reply(404, r#"{"error":"workspace not found"}"#),
    });
    let CliOutput { code, out, err } =
        run(&["--platform", &server.url(), "--workspace", WORKSPACE, "--json", "enrich", UNKNOWN_PEER, PEER]);
    let lines = documents("enrich", &out);
    assert_eq!((code, &lines[0]["source"], &lines[1]["source"]), (Some(1), &"absent".into(), &"failed".into()));
    assert!(err.ends_with("`a2a-peer doctor` shows why\n"), "{err}");
}

#[test]
fn discover_prints_the_record_or_the_error() {
    let server = registry();
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE, "discover"];
    let CliOutput { code, out, .. } = run(&[&base[..], &[PEER]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("ops-agent"));
    let CliOutput { code, out, err } = run(&[&base[..], &[UNKNOWN_PEER]].concat());
    assert_eq!((code, out.as_str()), (Some(4), ""));
    let target = format!("GET {}/registry/discover/{UNKNOWN_PEER}", server.url());
    let next = "`a2a-peer peers` lists the peers that the platform shows to this workspace";
    assert_eq!(err, format!("a2a-peer: {target}: answered 404 (workspace not found)\n  next: {next}\n"));
    let CliOutput { code, out, .. } = run(&[&base[..], &[UNKNOWN_PEER, "--json"]].concat());
    let line = &documents("discover", &out)[0];
    assert_eq!(code, Some(4));
    assert_eq!((&line["error"]["kind"], &line["error"]["status"]), (&"not_found".into(), &404.into()));
    let CliOutput { code, out, .. } = run(&[&base[..], &[PEER, "--json"]].concat());
    assert_eq!((code, &documents("discover", &out)[0]["record"]["name"]), (Some(0), &"ops-agent".into()));
}

#[test]
fn peers_and_info_print_the_platforms_records() {
    let server = Server::decide(|_, request| match request.path.as_str() {
        path if path.ends_with("/peers") => {
            Act::reply(200, format!(r#"[{RECORD},7,{{"name":"no id","status":"offline"}}]"#))
        }
        _ => Act::reply(200, r#"{"id":"w","name":"mine","tier":3}"#),
    });
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE];
    let CliOutput { code, out, err } = run(&[&base[..], &["peers"]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1..], [vec![PEER, "ops-agent", "sre", "online"], vec!["-", "no", "id", "-", "offline"]]);
    let CliOutput { out, .. } = run(&[&base[..], &["peers", "--json"]].concat());
    let lines = documents("peers", &out);
    assert_eq!((lines.len(), &lines[0]["peer"], &lines[1]["peer"]), (2, &PEER.into(), &Value::Null));
    assert_eq!(lines[0]["record"]["name"], "ops-agent");

    let CliOutput { code, out, .. } = run(&[&base[..], &["info"]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("name                  mine\n") && out.contains("tier                  3\n"), "{out}");
    let CliOutput { out, .. } = run(&[&base[..], &["info", "--json"]].concat());
    assert_eq!(documents("info", &out)[0]["record"]["name"], "mine");

    let gone = Server::play([Act::reply(410, "{}"), Act::reply(404, "{}")]);
    let base = ["--platform", &gone.url(), "--workspace", WORKSPACE];
    let CliOutput { code, err, .. } = run(&[&base[..], &["info"]].concat());
    assert!(code == Some(7) && err.contains("was removed: Workspace was deleted on the platform."), "{err}");
    let CliOutput { code, err, .. } = run(&[&base[..], &["peers"]].concat());
    assert!(code == Some(4) && err.contains("is not registered with the platform (HTTP 404)"), "{err}");
}

#[test]
fn hostile_name_is_escaped() {
    let server = Server::play([Act::reply(200, r#"{"name":"\u001b[2Jroot\n\u202egpj","role":"\u009b31m"}"#)]);
    let CliOutput { out, .. } = run(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER]);
    assert!(out.contains(r"\u{1b}[2Jroot\n\u{202e}gpj") && out.contains(r"\u{9b}31m"), "{out}");
    assert_eq!(out.lines().count(), 2);
    let CliOutput { out, .. } = run(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER, "--json"]);
    assert!(out.contains(r"\u202egpj") && out.contains(r"\u009b31m") && !out.contains('\u{9b}'), "{out}");
}
