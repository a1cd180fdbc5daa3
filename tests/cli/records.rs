//! `enrich`, `discover`, `peers` and `info`.

use serde_json::Value;

use crate::schema::documents;
use crate::support::{Act, PEER, RECORD, Server, WORKSPACE};
use crate::{OTHER, Said, binary, registry, run, said};

#[test]
fn enrich_prints_a_table_and_tells_by_its_status_whether_all_are_known() {
    let server = registry();
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE];
    let Said { code, out, err } = run(&[&base[..], &["enrich", PEER, &PEER.to_uppercase()]].concat());
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
    assert_eq!(server.requests().len(), 1, "the second is a hit");

    let Said { code, out, err } = run(&[&base[..], &["enrich", PEER, OTHER]].concat());
    assert_eq!(code, Some(4));
    assert_eq!(out.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(), [OTHER, "-", "-", "-"]);
    assert_eq!(
        err,
        format!("a2a-peer: {OTHER}: no record: the registry does not know it, or does not show it to this workspace\n")
    );
}

#[test]
fn enrich_with_json_prints_an_object_a_line() {
    let server = registry();
    let Said { code, out, .. } = said(
        binary(&["enrich", "--json", PEER, OTHER])
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
    assert_eq!((&lines[1]["peer"], &lines[1]["record"]), (&Value::from(OTHER), &Value::Null));
    assert_eq!((&lines[0]["source"], &lines[1]["source"]), (&"fetched".into(), &"absent".into()));

    // Whom it does not know, and whom it did not tell us of.
    let server = Server::decide(|_, request| match request.path.ends_with(PEER) {
        true => Act::reply(503, "{}"),
        false => Act::reply(404, r#"{"error":"workspace not found"}"#),
    });
    let Said { code, out, err } =
        run(&["--platform", &server.url(), "--workspace", WORKSPACE, "--json", "enrich", OTHER, PEER]);
    let lines = documents("enrich", &out);
    assert_eq!((code, &lines[0]["source"], &lines[1]["source"]), (Some(1), &"absent".into(), &"failed".into()));
    assert!(err.ends_with("`a2a-peer doctor` says why\n"), "{err}");
}

#[test]
fn discover_shows_the_record_or_the_typed_error() {
    let server = registry();
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE, "discover"];
    let Said { code, out, .. } = run(&[&base[..], &[PEER]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("ops-agent"));
    let Said { code, out, err } = run(&[&base[..], &[OTHER]].concat());
    assert_eq!((code, out.as_str()), (Some(4), ""));
    let target = format!("GET {}/registry/discover/{OTHER}", server.url());
    let next = "`a2a-peer peers` lists whom the platform shows to this workspace";
    assert_eq!(err, format!("a2a-peer: {target}: answered 404 (workspace not found)\n  next: {next}\n"));
    let Said { code, out, .. } = run(&[&base[..], &[OTHER, "--json"]].concat());
    let line = &documents("discover", &out)[0];
    assert_eq!(code, Some(4));
    assert_eq!((&line["error"]["kind"], &line["error"]["status"]), (&"not_found".into(), &404.into()));
    let Said { code, out, .. } = run(&[&base[..], &[PEER, "--json"]].concat());
    assert_eq!((code, &documents("discover", &out)[0]["record"]["name"]), (Some(0), &"ops-agent".into()));
}

#[test]
fn peers_and_info_show_what_the_platform_lists() {
    let server = Server::decide(|_, request| match request.path.as_str() {
        path if path.ends_with("/peers") => {
            Act::reply(200, format!(r#"[{RECORD},7,{{"name":"no id","status":"offline"}}]"#))
        }
        _ => Act::reply(200, r#"{"id":"w","name":"mine","tier":3}"#),
    });
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE];
    let Said { code, out, err } = run(&[&base[..], &["peers"]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1..], [vec![PEER, "ops-agent", "sre", "online"], vec!["-", "no", "id", "-", "offline"]]);
    let Said { out, .. } = run(&[&base[..], &["peers", "--json"]].concat());
    let lines = documents("peers", &out);
    assert_eq!((lines.len(), &lines[0]["peer"], &lines[1]["peer"]), (2, &PEER.into(), &Value::Null));
    assert_eq!(lines[0]["record"]["name"], "ops-agent");

    let Said { code, out, .. } = run(&[&base[..], &["info"]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("name                  mine\n") && out.contains("tier                  3\n"), "{out}");
    let Said { out, .. } = run(&[&base[..], &["info", "--json"]].concat());
    assert_eq!(documents("info", &out)[0]["record"]["name"], "mine");

    let gone = Server::play([Act::reply(410, "{}"), Act::reply(404, "{}")]);
    let base = ["--platform", &gone.url(), "--workspace", WORKSPACE];
    let Said { code, err, .. } = run(&[&base[..], &["info"]].concat());
    assert!(code == Some(7) && err.contains("was removed: Workspace was deleted on the platform."), "{err}");
    let Said { code, err, .. } = run(&[&base[..], &["peers"]].concat());
    assert!(code == Some(4) && err.contains("is not registered with the platform (HTTP 404)"), "{err}");
}

#[test]
fn a_hostile_name_cannot_move_the_cursor() {
    let server = Server::play([Act::reply(200, r#"{"name":"\u001b[2Jroot\n\u202egpj","role":"\u009b31m"}"#)]);
    let Said { out, .. } = run(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER]);
    assert!(out.contains(r"\u{1b}[2Jroot\n\u{202e}gpj") && out.contains(r"\u{9b}31m"), "{out}");
    assert_eq!(out.lines().count(), 2);
    let Said { out, .. } = run(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER, "--json"]);
    assert!(out.contains(r"\u202egpj") && out.contains(r"\u009b31m") && !out.contains('\u{9b}'), "{out}");
}
