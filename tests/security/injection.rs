//! No string can add a header, a request or a path. Each is refused by name, or stays in its place.
//!
//! The tests check the bytes that a server read.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_blocking::{Client, ClientBuilder, ErrorKind, InboxPoller, Message, RetryPolicy, SendOptions, Verdict};
use serde_json::{Value, json};

use crate::support::platform::{SECOND, time};
use crate::support::{Dir, PEER, RECORD, Reaction, Server, WORKSPACE, read_request};

/// Strings that have broken some client: line ends, control characters and characters that look like them, ends of a
/// part of a URL, text direction, and length.
fn hostile() -> Vec<String> {
    let mut all: Vec<String> = [
        "a\r\nX-Evil: 1",
        "a\nX-Evil: 1",
        "a\rX-Evil: 1",
        "a\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n",
        "a\r\n X-Folded: 1",
        "a\0b",
        "a\u{b}b",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{2029}X-Evil: 1",
        "a\u{560d}\u{560a}X-Evil: 1",
        "a b",
        "a\tb",
        "../../evil",
        "a/../b",
        "..\\evil",
        "a?evil=1",
        "a#evil",
        "a&since_id=evil",
        "a%0d%0aX-Evil:%201",
        "a%00b",
        "a%2f..%2fb",
        "user:pass@evil.example",
        "@evil.example",
        "a;b=c",
        "a,b",
        "\"quoted\"",
        "{braced}",
        "<evil>",
        "b\u{fc}cher",
        "\u{ff21}\u{ff0f}",
        "e\u{301}vil",
        "\u{202e}live",
        "xn--bcher-kva.example",
        "\u{feff}",
        "\u{1f600}",
        "${jndi:ldap://evil}",
    ]
    .map(str::to_owned)
    .into();
    all.push("a".repeat(70_000));
    all
}

/// The head of a request as it was read, and its body.
type Raw = (String, Vec<u8>);

/// A server that records each request as it was read.
struct Tap {
    server: Server,
    seen: Arc<Mutex<Vec<Raw>>>,
}

impl Tap {
    fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Tap {
        let seen = Arc::new(Mutex::new(Vec::<Raw>::new()));
        let all = seen.clone();
        let server = Server::raw(move |_, stream| {
            let mut reader = BufReader::new(stream);
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if reader.read_until(b'\n', &mut head).unwrap_or(0) == 0 {
                        return;
                    }
                }
                let request = read_request(&mut &head[..], 0);
                let head = String::from_utf8_lossy(&head).into_owned();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).unwrap();
                let path = request.map_or_else(String::new, |request| request.path);
                all.lock().unwrap().push((head, body));
                let body = answer(&path);
                let answer = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        Tap { server, seen }
    }

    fn of(answer: &'static str) -> Tap {
        Tap::new(move |_| answer.to_owned())
    }

    fn address(&self) -> String {
        self.server.url().replace("http://", "")
    }

    fn taken(&self) -> Vec<Raw> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Checks that a head is this request line and these headers, each once, and nothing else.
fn has_exactly(head: &str, line: &str, headers: &[(&str, &str)]) {
    let mut lines: Vec<&str> = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
    assert_eq!(lines.remove(0), line);
    let agent = concat!("a2a-blocking/", env!("CARGO_PKG_VERSION"));
    let always = [("accept", "application/json"), ("accept-encoding", "identity"), ("user-agent", agent)];
    let mut expected: Vec<String> =
        headers.iter().chain(&always).map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

/// Builds a client and makes a lookup. Returns the head of the request, or the error of the build.
fn request_head(tap: &Tap, builder: ClientBuilder) -> Result<String, String> {
    let client = builder.build().map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.to_string()
    })?;
    let answer = client.discover(PEER);
    let mut seen = tap.taken();
    assert!(seen.len() <= 1, "{seen:?}");
    match (seen.pop(), answer) {
        (Some((head, _)), Ok(_)) => Ok(head),
        (seen, answer) => panic!("{seen:?} {answer:?}"),
    }
}

fn base(tap: &Tap) -> ClientBuilder {
    Client::builder().platform_url(tap.server.url()).workspace_id(WORKSPACE)
}

const LINE: &str = "GET /registry/discover/3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c HTTP/1.1";

#[test]
fn settings_are_refused_or_stay_in_their_header() {
    let (tap, dir) = (Tap::of(RECORD), Dir::new("injection"));
    let (host, file) = (tap.address(), dir.file("token"));
    let common = [("host", host.as_str()), ("x-workspace-id", WORKSPACE)];
    let mut sent = 0;
    for text in hostile() {
        let trimmed = text.trim();
        let shown: String = text.chars().take(60).collect();
        let mut check = |outcome: Result<String, String>, names: &str, header: Option<(&str, String)>| match outcome {
            Ok(head) => {
                let header = header.as_ref().map(|(name, value)| (*name, value.as_str()));
                has_exactly(&head, LINE, &[&common[..], &header.into_iter().collect::<Vec<_>>()].concat());
                sent += 1;
            }
            Err(why) => assert!(why.contains(names), "{names} {shown:?}: {why}"),
        };
        let refused = |outcome: Result<String, String>| outcome.map_or_else(Err, |head| panic!("{shown:?}: {head}"));
        check(refused(request_head(&tap, base(&tap).workspace_id(&text))), "workspace_id: ", None);
        check(refused(request_head(&tap, base(&tap).origin(Some(&text)))), "origin: ", None);
        let org = ("x-molecule-org-id", trimmed.to_owned());
        check(request_head(&tap, base(&tap).org_id(&text)), "org_id: ", Some(org));
        let bearer = || Some(("authorization", format!("Bearer {trimmed}")));
        check(request_head(&tap, base(&tap).token(&text)), "ClientBuilder::token ", bearer());
        let given = text.clone();
        check(
            request_head(&tap, base(&tap).token_fn(move || Some(given.clone()))),
            "ClientBuilder::token_fn ",
            bearer(),
        );
        fs::write(&file, &text).unwrap();
        check(request_head(&tap, base(&tap).token_file(&file)), &file.display().to_string(), bearer());
    }
    assert!(sent > 40, "{sent} of them were sent");
}

#[test]
fn platform_url_is_refused_or_decides_where_requests_go() {
    let tap = Tap::of(RECORD);
    let host = tap.address();
    let headers = [("host", host.as_str()), ("x-workspace-id", WORKSPACE)];
    let mut sent = 0;
    for text in hostile() {
        for url in [
            text.clone(),
            format!("http://{text}"),
            format!("http://{text}:80"),
            format!("http://{text}@{host}"),
            format!("http://{host}{text}"),
            format!("http://{host}:{text}"),
            format!("{text}://{host}"),
            format!("http://{host}/{text}"),
            format!("http://{host}/a/{text}/b"),
        ] {
            let builder = Client::builder().workspace_id(WORKSPACE).platform_url(&url);
            let shown: String = url.chars().take(80).collect();
            // An address of another host is valid here, and nothing is sent to it.
            let here = url.trim().strip_prefix(&format!("http://{host}/"));
            let Some(path) = here else {
                match builder.build() {
                    Ok(client) => assert!(format!("{client:?}").contains(url.trim()), "{shown:?}: {client:?}"),
                    Err(error) => assert!(error.to_string().starts_with("platform_url: "), "{shown:?}: {error}"),
                }
                continue;
            };
            match request_head(&tap, builder) {
                Ok(head) => {
                    let line = LINE.replacen(' ', &format!(" /{}", path.trim_end_matches('/')), 1);
                    has_exactly(&head, &line, &headers);
                    assert!(line.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{shown:?}: {line:?}");
                    assert_eq!(line.matches(' ').count(), 2, "{shown:?}: {line:?}");
                    sent += 1;
                }
                Err(why) => assert!(why.starts_with("platform_url: "), "{shown:?}: {why}"),
            }
        }
    }
    assert!(sent > 20, "{sent} of them were sent");
}

#[test]
fn invalid_peer_id_is_refused_before_a_request() {
    let tap = Tap::of(RECORD);
    let client = base(&tap).build().unwrap();
    for text in hostile() {
        for id in [text.clone(), format!("{PEER}{text}"), format!("{text}{PEER}"), PEER.replacen("3f", &text, 1)] {
            assert_eq!(client.enrich(id.as_str()), None);
            let kinds = [
                client.discover(id.as_str()).unwrap_err().kind(),
                client.send(id.as_str(), "hi").unwrap_err().kind(),
                client.discover_url(id.as_str()).unwrap_err().kind(),
            ];
            assert_eq!(kinds, [ErrorKind::InvalidPeerId; 3], "{id:?}");
        }
    }
    assert!(tap.taken().is_empty());
}

#[test]
fn message_stays_in_the_body() {
    let tap = Tap::of(r#"{"result":{"parts":[]}}"#);
    let (client, host) = (base(&tap).token("tok").build().unwrap(), tap.address());
    let authorization = ("authorization", "Bearer tok");
    for text in hostile() {
        // The body imitates a head.
        let text = format!("{text}\r\nauthorization: Bearer evil\r\n\r\n");
        // A long one is refused.
        let message_id: String = text.chars().take(60).collect();
        let message = Message::from(text.as_str())
            .data(json!({ &text: text }))
            .file_bytes(&text, &text, text.as_bytes())
            .file_uri(&text, &text, &text)
            .context_id(&text)
            .task_id(&text)
            .message_id(&message_id)
            .metadata(&text, json!(text));
        let options = SendOptions::new().retry(RetryPolicy::new().with_attempts(1));
        let outcomes = [client.send_with(PEER, &message, &options).map(drop), client.notify(&text)];
        if text.contains('\0') {
            // The platform would take it, and store nothing.
            let kinds = outcomes.map(|outcome| outcome.unwrap_err().kind());
            assert_eq!(kinds, [ErrorKind::InvalidMessage; 2], "{text:?}");
            assert!(tap.taken().is_empty(), "{text:?}");
            continue;
        }
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let seen = tap.taken();
        assert_eq!(seen.len(), 2);
        for ((head, body), path) in seen.iter().zip([format!("{PEER}/a2a"), format!("{WORKSPACE}/notify")]) {
            let length = body.len().to_string();
            let mut headers = vec![("host", host.as_str()), authorization, ("content-length", length.as_str())];
            headers.push(("content-type", "application/json"));
            if path.ends_with("a2a") {
                headers.push(("x-workspace-id", WORKSPACE));
            }
            has_exactly(head, &format!("POST /workspaces/{path} HTTP/1.1"), &headers);
        }
        let sent: Value = serde_json::from_slice(&seen[0].1).unwrap();
        for (field, expected) in [("contextId", &text), ("taskId", &text), ("messageId", &message_id)] {
            assert_eq!(sent["params"]["message"][field], expected.as_str());
        }
        assert_eq!(serde_json::from_slice::<Value>(&seen[1].1).unwrap(), json!({ "message": text }));
    }
}

/// Row ids and times come from the platform or the cursor file, and return to the platform in a query.
#[test]
fn rows_and_cursors_stay_in_their_query_parameters() {
    let dir = Dir::new("injection-rows");
    for (n, text) in hostile().into_iter().enumerate() {
        let row =
            json!({ "id": text, "created_at": time(SECOND), "source_id": PEER, "method": text, "peer_name": text });
        let late =
            json!({ "id": format!("{text}-late"), "created_at": format!("{}{text}", time(SECOND)), "source_id": text });
        let rows = json!([late, row]).to_string();
        let tap = Tap::new(move |_| rows.clone());
        let (client, cursor) = (base(&tap).build().unwrap(), dir.file(&format!("cursor-{n}.json")));
        let poll = || {
            let poller = InboxPoller::builder(client.clone()).cursor_file(&cursor).page_size(2).ack(false);
            let mut poller = poller.interval(Duration::from_millis(1)).build().unwrap();
            for _ in 0..2 {
                let _ = poller.poll_once(|_| Verdict::Ack);
            }
        };
        poll();
        // Polls again with the file that this left behind, and then with a manipulated one.
        poll();
        if let Ok(kept) = fs::read_to_string(&cursor) {
            fs::write(&cursor, kept.replace("2026", "2026\\r\\nX-Evil: 1")).unwrap();
            let _ = InboxPoller::builder(client.clone()).cursor_file(&cursor).ack(false).build().map(|mut poller| {
                let _ = poller.poll_once(|_| Verdict::Ack);
            });
        }
        let seen = tap.taken();
        assert!(seen.len() >= 4, "{} polls", seen.len());
        for (head, _) in seen {
            let line = head.lines().next().unwrap().to_owned();
            has_exactly(&head, &line, &[("host", tap.address().as_str())]);
            let path = line.strip_prefix("GET ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).unwrap();
            let query = path.strip_prefix(&format!("/workspaces/{WORKSPACE}/activity?")).unwrap();
            for pair in query.split('&') {
                let (name, value) = pair.split_once('=').unwrap();
                let known = ["type", "include", "limit", "since_id", "before_ts", "since_secs"];
                assert!(known.contains(&name), "{pair}");
                assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "%-._~:+".contains(c)), "{pair}");
            }
        }
    }
}

#[test]
fn error_text_of_a_peer_is_not_sent_on() {
    let server = Server::play([Reaction::reply(403, json!({ "error": "x\r\nX-Evil: 1" }).to_string())]);
    let client = Client::builder().platform_url(server.url()).workspace_id(WORKSPACE).build().unwrap();
    for _ in 0..2 {
        let error = client.discover(PEER).unwrap_err().to_string();
        assert!(!error.contains('\r') && !error.contains('\n'), "{error:?}");
    }
    assert!(server.requests().iter().all(|request| request.header("x-evil").is_none()));
}
