//! The embedded platform with two workspaces: `ops`, whose inbox is polled, and `dev`, which writes to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{InboxPoller, PollerBuilder};

use crate::support::Dir;

pub(crate) struct World {
    pub(crate) platform: Platform,
    pub(crate) ops: WorkspaceHandle,
    pub(crate) dev: WorkspaceHandle,
    pub(crate) dir: Dir,
}

impl World {
    pub(crate) fn new(name: &str) -> World {
        World::with(name, |platform| platform.workspace("ops"))
    }

    /// `ops` is an agent that nobody registered: each message to it has two rows.
    pub(crate) fn unregistered(name: &str) -> World {
        World::with(name, |platform| {
            platform.hold_background(true);
            platform.unregistered("ops")
        })
    }

    fn with(name: &str, ops: impl FnOnce(&Platform) -> WorkspaceHandle) -> World {
        let platform = Platform::start().unwrap();
        platform.rate_limit(None);
        let (ops, dev) = (ops(&platform), platform.workspace("dev"));
        World { platform, ops, dev, dir: Dir::new(name) }
    }

    pub(crate) fn cursor(&self) -> PathBuf {
        self.dir.file("cursor")
    }

    pub(crate) fn builder(&self) -> PollerBuilder {
        InboxPoller::builder(self.ops.client().build().unwrap()).cursor_file(self.cursor())
    }

    pub(crate) fn send(&self, text: &str) {
        self.platform.send(&self.dev, &self.ops, text).unwrap();
    }

    pub(crate) fn allow_broadcasts(&self) {
        let token = self.platform.admin_token();
        self.call("PATCH", (&self.dev, "abilities"), &token, r#"{"broadcast_enabled":true}"#);
    }

    pub(crate) fn broadcast(&self, text: &str) {
        let body = format!(r#"{{"message":"{text}"}}"#);
        self.call("POST", (&self.dev, "broadcast"), &self.dev.token().unwrap(), &body);
    }

    /// Makes a request of a workspace, as another program does, and returns the answer's head and body.
    pub(crate) fn call(
        &self,
        method: &str,
        (workspace, path): (&WorkspaceHandle, &str),
        token: &str,
        body: &str,
    ) -> String {
        let host = self.platform.url().replace("http://", "");
        let (id, length) = (workspace.id(), body.len());
        let mut stream = TcpStream::connect(&host).unwrap();
        write!(
            stream,
            "{method} /workspaces/{id}/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}
