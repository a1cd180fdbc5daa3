//! The answers and requests of the Python module `a2a_client`, replayed over real sockets.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use a2a_blocking::{Client, Message, Peer, RetryPolicy, SendOptions, global};
use serde_json::{Value, json};

use crate::support::{self, Reaction, Request, Server, WORKSPACE};

fn vectors(call: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    assert_eq!(all["workspace"], WORKSPACE);
    let ours: Vec<Value> = all["vectors"].as_array().unwrap().iter().filter(|v| v["call"] == call).cloned().collect();
    assert!(!ours.is_empty(), "no vectors of {call}");
    ours
}

fn reaction(act: &Value) -> Reaction {
    let body = match &act["json"] {
        Value::Null if act.get("json").is_none() => act["body"].as_str().unwrap_or_default().to_owned(),
        json => json.to_string(),
    };
    match act["fault"].as_str() {
        None => {
            let delay = Duration::from_secs_f64(act["delay_s"].as_f64().unwrap_or(0.0));
            let mut reply = Reaction::reply(u16::try_from(act["status"].as_u64().unwrap()).unwrap(), body).after(delay);
            for (name, value) in act["headers"].as_object().into_iter().flatten() {
                reply = reply.header(name, value.as_str().unwrap());
            }
            reply
        }
        Some("close_before_reply") => Reaction::Close,
        Some("close_mid_headers") => Reaction::raw("HTTP/1.1 200 OK\r\nContent-Le"),
        Some("close_mid_body") => {
            let half = &body[..body.len() / 2];
            Reaction::raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{half}", body.len()))
        }
        Some("reset") => Reaction::Reset(Vec::new()),
        Some("hang") => Reaction::Hang,
        Some(other) => panic!("no such fault: {other}"),
    }
}

/// Returns the requests that the server read, in the form of the vectors.
fn seen(server: &Server) -> Value {
    let fresh = |id: &mut Value| {
        let text = id.as_str().unwrap();
        assert_eq!(uuid::Uuid::parse_str(text).unwrap().get_version_num(), 4);
        *id = json!("{UUID}");
    };
    let written = |request: &Request| {
        let body = (!request.body.is_empty()).then(|| {
            let mut body: Value = serde_json::from_slice(&request.body).unwrap();
            fresh(&mut body["id"]);
            fresh(&mut body["params"]["message"]["messageId"]);
            body
        });
        json!({
            "method": request.method,
            "path": request.path.replace(WORKSPACE, "{WORKSPACE}"),
            "x-workspace-id": request.header("x-workspace-id").map(|id| id.replace(WORKSPACE, "{WORKSPACE}")),
            "authorization": request.header("authorization"),
            "content-type": request.header("content-type"),
            "body": body,
        })
    };
    server.requests().iter().map(written).collect()
}

fn play(vector: &Value) -> Server {
    Server::play(vector["acts"].as_array().unwrap().iter().map(reaction).collect::<Vec<_>>())
}

/// Plays a vector about one peer's record, and checks the answers and the requests.
fn replay(vector: &Value, call: impl Fn(&Client, &str) -> Option<Peer>) {
    let name = vector["name"].as_str().unwrap();
    let server = play(vector);
    let mut builder = support::builder(&server);
    // Other tests cover the timeout. A vector that hangs need not wait for all of it.
    builder = builder.lookup_timeout(Duration::from_millis(500));
    if let Some(token) = vector["token"].as_str() {
        builder = builder.token(token);
    }
    let client = builder.build().unwrap();

    let times = usize::try_from(vector["times"].as_u64().unwrap()).unwrap();
    let mut expected = vec![vector["expect"]["exact"].clone()];
    expected.extend(vector["again"].as_array().into_iter().flatten().cloned());
    assert_eq!(expected.len(), times, "{name}");
    for expected in expected {
        // Unlike the Python module, on purpose: a value that is no object is no record.
        let expected = if expected.is_array() { Value::Null } else { expected };
        let peer = call(&client, vector["args"][0].as_str().unwrap());
        let answer = peer.map_or(Value::Null, |peer| Value::Object(peer.as_json().clone()));
        assert_eq!(answer, expected, "{name}");
    }
    assert_eq!(seen(&server), vector["requests"], "{name}");
}

/// Calls a function of the Python module in a child process that has the vector's environment.
#[test]
fn child() {
    let Ok(call) = env::var("A2A_TEST_CALL") else { return };
    let args: Vec<String> = serde_json::from_str(&env::var("A2A_TEST_ARGS").unwrap()).unwrap();
    let peers = |peers: Vec<Peer>| -> Value { peers.iter().map(|peer| json!(peer.as_json())).collect() };
    let answer = match call.as_str() {
        "send" => json!(global::send_a2a_message(&args[0], &args[1])),
        "peers" => peers(global::get_peers()),
        "peers_with_diagnostic" => {
            let (listed, diagnostic) = global::get_peers_with_diagnostic();
            json!([peers(listed), diagnostic])
        }
        "workspace_info" => global::get_workspace_info(),
        other => panic!("no such call: {other}"),
    };
    println!("\nANSWER {answer}");
}

/// Returns the answer of one of the Python module's functions, called over the process-wide client.
fn global_answer(vector: &Value, server: &Server) -> Value {
    let name = vector["name"].as_str().unwrap();
    let configs = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("parity-{}", name.replace('/', "-")));
    fs::create_dir_all(&configs).unwrap();
    let token = configs.join(".auth_token");
    match vector["token"].as_str() {
        Some(text) => fs::write(&token, text).unwrap(),
        None => drop(fs::remove_file(&token)),
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .args(["--exact", "calls::child", "--nocapture"])
        .env_remove("MOLECULE_ORG_ID")
        .env_remove("MOLECULE_WORKSPACE_TOKEN")
        .env_remove("MOLECULE_WORKSPACE_TOKEN_FILE")
        .env("HOME", "/nonexistent")
        .env("CONFIGS_DIR", &configs);
    child.env("PLATFORM_URL", server.url()).env("WORKSPACE_ID", WORKSPACE);
    child.env("A2A_TEST_CALL", vector["call"].as_str().unwrap()).env("A2A_TEST_ARGS", vector["args"].to_string());
    let output = child.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = text.lines().find_map(|line| line.strip_prefix("ANSWER "));
    serde_json::from_str(answer.unwrap_or_else(|| panic!("{name} gave no answer: {text}"))).unwrap()
}

/// Plays a vector of a function that returns strings, and returns the answer.
fn replay_global(vector: &Value) -> Value {
    let name = vector["name"].as_str().unwrap();
    let server = play(vector);
    let filled = |text: &str| text.replace("{PLATFORM}", &server.url()).replace("{WORKSPACE}", WORKSPACE);
    let answer = global_answer(vector, &server);
    let expect: Value = serde_json::from_str(&filled(&vector["expect"].to_string())).unwrap();
    let starts =
        |text: &Value, with: &str| text.as_str().is_some_and(|text| text.starts_with(expect[with].as_str().unwrap()));
    if let Some(exact) = expect.get("exact") {
        assert_eq!(&answer, exact, "{name}");
    } else if expect.get("prefix").is_some() {
        let suffix = expect["suffix"].as_str().unwrap();
        assert!(starts(&answer, "prefix") && answer.as_str().unwrap().ends_with(suffix), "{name}: {answer}");
    } else if expect.get("peers").is_some() {
        assert_eq!(answer[0], expect["peers"], "{name}");
        assert!(starts(&answer[1], "diagnostic_prefix"), "{name}: {answer}");
    } else {
        assert_eq!(expect["error_is_text"], true, "{name}");
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {answer}");
    }
    assert_eq!(seen(&server), vector["requests"], "{name}");
    answer
}

#[test]
fn every_vector_is_played() {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let calls = ["validate", "enrich", "discover", "send", "peers", "peers_with_diagnostic", "workspace_info"];
    assert_eq!(calls.iter().map(|call| vectors(call).len()).sum::<usize>(), all["vectors"].as_array().unwrap().len());
}

#[test]
fn peers_vectors() {
    for vector in vectors("peers").iter().chain(&vectors("peers_with_diagnostic")) {
        replay_global(vector);
    }
}

#[test]
fn workspace_info_vectors() {
    for vector in vectors("workspace_info") {
        replay_global(&vector);
    }
}

/// Vectors with waits between attempts are played with shorter waits, through the typed call.
#[test]
fn send_vectors() {
    for vector in vectors("send") {
        if vector["backoffs"] == 0 {
            replay_global(&vector);
            continue;
        }
        let (server, pauses) = (play(&vector), Arc::new(AtomicUsize::new(0)));
        let counted = pauses.clone();
        let options = SendOptions::new().retry(RetryPolicy::new().with_base(Duration::from_millis(1)));
        let options = options.on_progress(move |at| {
            counted.fetch_add(usize::from(at.pause.is_some()), SeqCst);
        });
        let arg = |n: usize| vector["args"][n].as_str().unwrap();
        let reply = support::client(&server).send_with(arg(0), &Message::from(arg(1)), &options).unwrap();
        assert_eq!(json!(reply.text()), vector["expect"]["exact"], "{}", vector["name"]);
        assert_eq!(json!(pauses.load(SeqCst)), vector["backoffs"], "{}", vector["name"]);
        assert_eq!(seen(&server), vector["requests"], "{}", vector["name"]);
    }
}

/// The platform delivers the message later. The Python module takes that for an error.
#[test]
fn queued_message_has_its_own_string() {
    let server =
        Server::play([Reaction::reply(202, r#"{"status":"queued","delivery_mode":"poll","method":"message/send"}"#)]);
    let mut vector = vectors("send")[0].clone();
    vector["name"] = json!("send/queued");
    let peer = vector["args"][0].as_str().unwrap();
    let expected = format!("[A2A_QUEUED] target={}/workspaces/{peer}/a2a method=message/send", server.url());
    assert_eq!(global_answer(&vector, &server), json!(expected));
}

/// An agent may report a failure as its reply. The Python module marks that reply, and adds no target to it.
#[test]
fn error_in_an_agents_words_has_no_target() {
    let mut vector = vectors("send")[0].clone();
    let mut sent = |name: &str, result: Value| {
        vector["name"] = json!(format!("send/{name}"));
        let body = json!({ "jsonrpc": "2.0", "id": "x", "result": result });
        global_answer(&vector, &Server::play([Reaction::reply(200, body.to_string())]))
    };
    let text = "Agent error: rate limit";
    let parts = json!([{ "kind": "text", "text": text }]);
    assert_eq!(sent("agent_error", json!({ "role": "agent", "parts": parts })), json!(format!("[A2A_ERROR] {text}")));
    let status = json!({ "state": "failed", "message": { "role": "agent", "parts": parts } });
    assert_eq!(sent("agent_error_task", json!({ "id": "t", "status": status })), json!(format!("[A2A_ERROR] {text}")));
}

/// The Python module sends it. The agent would have nothing to answer.
#[test]
fn empty_message_is_refused_before_it_is_sent() {
    let mut vector = vectors("send")[0].clone();
    let peer = vector["args"][0].clone();
    for (empty, name) in [("", "empty"), (" \n\u{a0}\u{1c}", "blank")] {
        vector["name"] = json!(format!("send/{name}_message"));
        vector["args"] = json!([peer, empty]);
        let server = Server::play([Reaction::reply(200, "{}")]);
        let answer = global_answer(&vector, &server);
        let target = format!("{}/workspaces/{}/a2a", server.url(), peer.as_str().unwrap());
        assert_eq!(answer, json!(format!("[A2A_ERROR] the text is empty: give it words [target={target}]")));
        assert_eq!(server.requests().len(), 0);
    }
}

/// Some vectors ask for a better answer than the Python module's, with a sentence that says which.
#[test]
fn answers_are_better_where_the_vectors_ask_for_it() {
    let better: Vec<Value> = vectors("send").into_iter().filter(|vector| vector.get("better").is_some()).collect();
    let says = |name: &str, words: &[&str]| {
        let vector = better.iter().find(|vector| vector["name"] == name).unwrap();
        let answer = replay_global(vector);
        for word in words {
            assert!(answer.as_str().unwrap().contains(word), "{name}: {answer}");
        }
    };
    says("send/http_200_html", &["HTTP 200", "<html>busy</html>"]);
    says("send/http_503_platform_error", &["container restart triggered", "HTTP 503", "restarting"]);
    says("send/http_403", &["access denied: workspaces cannot communicate per hierarchy rules", "HTTP 403"]);
    // Where the text is fixed, the sentence applies to the typed error.
    let vector = better.iter().find(|vector| vector["name"] == "send/http_500_json_error").unwrap();
    let server = play(vector);
    let error = support::client(&server).send(vector["args"][0].as_str().unwrap(), "x").unwrap_err();
    assert_eq!(error.status(), Some(500));
    assert!(error.to_string().ends_with("m (code=1), HTTP 500"), "{error}");
    assert_eq!(better.len(), 4);
}

#[test]
fn validate_vectors() {
    for vector in vectors("validate") {
        let answer = global::validate_peer_id(vector["args"][0].as_str().unwrap());
        assert_eq!(json!(answer), vector["expect"]["exact"], "{}", vector["name"]);
    }
}

#[test]
fn enrich_vectors() {
    for vector in vectors("enrich") {
        replay(&vector, |client, peer| client.enrich(peer));
    }
}

#[test]
fn discover_vectors() {
    for vector in vectors("discover") {
        replay(&vector, |client, peer| client.discover(peer).ok());
    }
}

/// The Python module has no vectors for the card's address. The design gives its form.
#[test]
fn discover_url_of_each_validate_vector() {
    let client = |url: &str| Client::builder().platform_url(url).workspace_id(WORKSPACE).build().unwrap();
    let card = |url, peer: &str| client(url).discover_url(peer).ok();
    for vector in vectors("validate") {
        let expected = vector["expect"]["exact"].as_str().map(|id| format!("http://p:1/x/registry/discover/{id}"));
        assert_eq!(card("http://p:1/x/", vector["args"][0].as_str().unwrap()), expected, "{}", vector["name"]);
    }
}
