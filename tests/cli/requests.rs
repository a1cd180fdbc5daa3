//! Tests of `requests`, `respond`, `notify` and `instructions`.

use std::process::Command;

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{Client, NewRequest};

use crate::schema::documents;
use crate::support::{Act, Dir, Server, WORKSPACE};
use crate::{CliOutput, command_line, decode, run};

/// A platform, a workspace of it, and the directory with its token.
pub struct Setup {
    pub platform: Platform,
    pub own: WorkspaceHandle,
    dir: Dir,
}

impl Setup {
    pub fn new() -> Setup {
        let platform = Platform::start().unwrap();
        let own = platform.workspace("ops");
        let dir = Dir::new("cli-requests");
        std::fs::write(dir.file(".auth_token"), own.token().unwrap()).unwrap();
        Setup { platform, own, dir }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = command_line(args);
        command.env("PLATFORM_URL", self.platform.url()).env("WORKSPACE_ID", self.own.id());
        // Others may use the token file, which is logged.
        command.env("CONFIGS_DIR", &self.dir.0).env("RUST_LOG", "off");
        command
    }

    pub fn run(&self, args: &[&str]) -> CliOutput {
        decode(self.command(args).output().unwrap())
    }

    /// Asks the workspace for something, and returns the request's id and who asks.
    fn ask(&self, request: NewRequest) -> (String, Client) {
        let asker = self.platform.workspace("dev").client().build().unwrap();
        (asker.request(&request.to_agent(self.own.id()).unwrap()).unwrap(), asker)
    }
}

#[test]
fn request_is_listed_and_responded_to() {
    let setup = Setup::new();
    let (id, asker) = setup.ask(NewRequest::task("Count\u{1b}[2J"));
    let CliOutput { code, out, err } = setup.run(&["requests"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = vec![id.as_str(), "task", "pending", "Count\\u{1b}[2J"];
    assert_eq!(lines, [vec!["ID", "KIND", "STATUS", "TITLE"], row]);
    let wrong = setup.run(&["respond", &id, "approved"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(1), ""));
    assert!(wrong.err.contains("not delivered: ") && wrong.err.contains("invalid action"), "{}", wrong.err);
    let CliOutput { code, out, err } = setup.run(&["respond", "--json", &id, "done"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let responded = &documents("respond", &out)[0];
    assert_eq!((&responded["request"], &responded["action"]), (&id.as_str().into(), &"done".into()));
    assert_eq!(asker.request_details(&id).unwrap().request.status(), Some("done"));

    assert_eq!(setup.run(&["requests", "--json"]).out, "");
    let all = documents("requests", &setup.run(&["requests", "--all", "--json"]).out);
    assert_eq!((all.len(), &all[0]["request"]["status"]), (1, &"done".into()));
    assert_eq!(setup.run(&["requests", "--sent"]).out.lines().count(), 1, "the heading alone");
    let over = setup.run(&["respond", &id, "done"]);
    assert_eq!(over.code, Some(4));
    assert!(over.err.contains("already resolved") && over.err.contains("next: `a2a-peer requests`"), "{}", over.err);
}

#[test]
fn notice_with_a_file_reaches_the_canvas() {
    let setup = Setup::new();
    let file = setup.dir.file("a report.csv");
    std::fs::write(&file, "node,load\n").unwrap();
    let path = file.to_str().unwrap();
    let CliOutput { code, out, err } = setup.run(&["notify", "the report", "--attach", path]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    let CliOutput { code, out, .. } = setup.run(&["notify", "--json", "again", "--attach", path, "--attach", path]);
    assert_eq!(code, Some(0));
    assert_eq!(documents("notify", &out)[0]["files"], 2);
    let sent: Vec<String> = setup.platform.sent().into_iter().map(|sent| sent.text).collect();
    assert_eq!(sent, ["the report", "again"]);

    for (path, why) in [("/nonexistent/file", "cannot be opened"), ("/", "is no plain file")] {
        let missing = setup.run(&["notify", "x", "--attach", path]);
        assert_eq!(missing.code, Some(2));
        assert!(missing.err.contains(&format!("--attach: {path} {why}")), "{}", missing.err);
    }
    assert_eq!(setup.platform.sent().len(), 2);
    assert_eq!(setup.run(&["notify", " "]).code, Some(2));
}

#[test]
fn notice_that_may_have_arrived_is_status_8() {
    let server = Server::play([Act::reply(500, "{}")]);
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE];
    let CliOutput { code, err, .. } = run(&[&base[..], &["notify", "x"]].concat());
    assert_eq!(code, Some(8));
    assert!(err.contains("it may have been delivered"), "{err}");
}

#[test]
fn instructions_are_printed() {
    let setup = Setup::new();
    assert_eq!(setup.run(&["instructions"]).out, "");
    setup.platform.instruct("Be kind", "Acknowledge first.");
    let CliOutput { code, out, err } = setup.run(&["instructions"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "\n## Platform-Wide Rules\n\n### Be kind\nAcknowledge first.\n");
    let line = &documents("instructions", &setup.run(&["instructions", "--json"]).out)[0];
    assert_eq!(line["instructions"], out.strip_suffix('\n').unwrap());
}
