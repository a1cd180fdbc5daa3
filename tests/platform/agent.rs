//! An agent with a URL, which does what the text of its message says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// An agent on a free port. It lives as long as the test.
#[derive(Clone)]
pub struct Agent {
    pub host: String,
    /// Heads and bodies of the requests that came.
    pub requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Agent {
    pub fn start() -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let agent = Agent { host: listener.local_addr().unwrap().to_string(), requests: Arc::default() };
        let serving = agent.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let agent = serving.clone();
                thread::spawn(move || agent.serve(&socket.unwrap()));
            }
        });
        agent
    }

    /// Returns how often a message of this id ran.
    pub fn runs(&self, message_id: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(_, body)| body["params"]["message"]["messageId"] == message_id).count()
    }

    fn serve(&self, mut socket: &TcpStream) {
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        self.requests.lock().unwrap().push((head, body.clone()));
        let text = body["params"]["message"]["parts"][0]["text"].as_str().unwrap().to_owned();
        let (id, message_id) = (&body["id"], crate::new_id().to_string());
        let message = |text: &str| {
            format!(
                r#"{{"kind": "message", "role": "agent", "messageId": "{message_id}", "parts": [{{"kind": "text", "text": "{text}"}}]}}"#
            )
        };
        let result = |result: String| (200, format!(r#"{{"jsonrpc": "2.0", "id": {id}, "result": {result}}}"#));
        let artifacts = r#""artifacts": [{"artifactId": "x", "parts": [{"kind": "text", "text": "done"}]}]"#;
        let (status, body) = match text.as_str() {
            "task" => result(format!(
                r#"{{"kind": "task", "id": "t-1", "contextId": "c-1", "status": {{"state": "completed", "message": {}}}, {artifacts}}}"#,
                message("pong")
            )),
            "working" => result(format!(
                r#"{{"kind": "task", "id": "t-1", "contextId": "c-1", "status": {{"state": "working"}}, {artifacts}}}"#
            )),
            "rpc error" => {
                let error = r#"{"code": -32001, "message": "Task not found", "data": {"x": 1}}"#;
                (200, format!(r#"{{"jsonrpc": "2.0", "id": {id}, "error": {error}}}"#))
            }
            "not json" => (200, "<html>hello</html>".to_owned()),
            "sse" => (200, "data: {}\n\n".to_owned()),
            "empty" => (200, String::new()),
            "204" => (204, String::new()),
            "redirect" => (302, String::new()),
            "close at once" => return,
            "close after the head" | "close in the answer" => {
                let piece = if text.ends_with("head") { "" } else { "{\"jsonrpc\"" };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{piece}");
                socket.write_all(head.as_bytes()).unwrap();
                return;
            }
            "hang" => {
                thread::sleep(Duration::from_millis(300));
                result(message("pong"))
            }
            size if size.starts_with("size ") => result(message(&"a".repeat(size[5..].parse().unwrap()))),
            status if status.starts_with("status ") => {
                let mut words = status.split(' ').skip(1);
                let status = words.next().unwrap().parse().unwrap();
                let body = match words.next().unwrap() {
                    "json" => r#"{"error": "the agent says no", "detail": "x"}"#,
                    "object" => r#"{"error": {"code": -32600, "message": "nested"}}"#,
                    "text" => "no",
                    _ => "",
                };
                (status, body.to_owned())
            }
            _ => result(message("pong")),
        };
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nRetry-After: 7\r\n\r\n", body.len());
        // The platform may have given up.
        let _sent = socket.write_all((head + &body).as_bytes());
    }
}
