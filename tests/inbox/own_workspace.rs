//! The calls about our own workspace: `register`, `update_card`, `heartbeat`, against the embedded platform.

use std::fs;

use a2a_blocking::testing::Platform;
use a2a_blocking::{AgentCard, Client, Error, ErrorKind};
use serde_json::{Value, json};

use crate::relay::{bodies, by_way_of, client_of, relay};
use crate::support::{Dir, PEER, Reaction, Server, WORKSPACE};

const REGISTER: &str = "/registry/register";

fn kind<T>(outcome: Result<T, Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[test]
fn client_registers_updates_its_card_and_is_alive() {
    let platform = Platform::start().unwrap();
    let ops = platform.unregistered("ops");
    let server = relay(&platform, |_| None);
    let client = client_of(&server, &ops);
    client.register(&AgentCard::new("one").with_skill("rota")).unwrap();
    assert_eq!(ops.status().as_deref(), Some("online"));
    let card = || client.workspace().unwrap().get("agent_card").cloned().unwrap();
    assert_eq!((&card()["name"], &card()["skills"]), (&json!("one"), &json!([{ "name": "rota" }])));
    client.update_card(&AgentCard::new("two")).unwrap();
    assert_eq!(card(), json!({ "name": "two" }));
    ops.set_status("awaiting_agent");
    client.heartbeat().unwrap();
    assert_eq!(client.state().unwrap().status(), Some("online"));
    let sent = [bodies(&server, "/registry/update-card"), bodies(&server, "/registry/heartbeat")].concat();
    let card = json!({ "workspace_id": ops.id(), "agent_card": { "name": "two" } });
    assert_eq!(sent, [card, json!({ "workspace_id": ops.id() })], "as recorded");
}

#[test]
fn workspace_that_is_gone_is_not_registered() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    let server = relay(&platform, |_| None);
    let (client, mistyped) = (client_of(&server, &ops), by_way_of(&server, &ops).workspace_id(PEER).build().unwrap());
    assert_eq!(kind(mistyped.register(&AgentCard::new("x"))), Some(ErrorKind::NotFound));
    ops.remove();
    assert_eq!(kind(client.register(&AgentCard::new("x"))), Some(ErrorKind::Removed));
    assert_eq!(kind(client.update_card(&AgentCard::new("x"))), Some(ErrorKind::Removed));
    ops.purge();
    assert_eq!(kind(client.register(&AgentCard::new("x"))), Some(ErrorKind::NotFound));
    assert_eq!((bodies(&server, REGISTER).len(), bodies(&server, "/registry/update-card").len()), (0, 0));
    assert_eq!((ops.status(), ops.token()), (None, None));
}

#[test]
fn push_agents_url_is_wiped_on_request_only() {
    let platform = Platform::start().unwrap();
    let ops = platform.push_agent("ops", "http://127.0.0.1:1/");
    let client = ops.client().build().unwrap();
    let error = client.register(&AgentCard::new("x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("belongs to an agent at http://127.0.0.1:1/"), "{error}");
    let url = || client.workspace().unwrap().get("url").cloned();
    assert_eq!(url(), Some("http://127.0.0.1:1/".into()));
    client.replace_registration(&AgentCard::new("x")).unwrap();
    assert_eq!(url(), Some("".into()));
}

#[test]
fn token_that_the_platform_issues_is_proven_and_kept() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("own-token"));
    let file = dir.file(".auth_token");
    ops.revoke_tokens();
    let builder = || Client::builder().platform_url(platform.url()).workspace_id(ops.id());
    let client = builder().token_file(&file).build().unwrap();
    assert_eq!(kind(client.state()), Some(ErrorKind::Unauthorized));
    client.register(&AgentCard::new("x")).unwrap();
    let token = ops.token().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{token}\n"));
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
    assert_eq!(client.state().unwrap().status(), Some("online"), "it is used");
    client.register(&AgentCard::new("y")).unwrap();
    assert_eq!(ops.token(), Some(token));
    // A client that was built before uses the file's.
    let late = builder().token_file(dir.file("late")).build().unwrap();
    fs::copy(&file, dir.file("late")).unwrap();
    late.register(&AgentCard::new("z")).unwrap();
}

#[test]
fn token_that_could_not_be_kept_is_not_asked_for() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("own-no-file"));
    ops.revoke_tokens();
    let builder = || Client::builder().platform_url(platform.url()).workspace_id(ops.id());
    fs::write(dir.file("blank"), "\n").unwrap();
    for (client, words) in [
        (builder(), "token_file: not set"),
        (builder().token_fn(|| None), "token_file: not set"),
        (builder().token_file(dir.file("blank")), "it exists and has no token: remove it"),
        (builder().token_file(dir.file("none/t")), "create its directory"),
    ] {
        let error = client.build().unwrap().register(&AgentCard::new("x")).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(words), "{error}");
    }
    assert_eq!(ops.token(), None);
}

/// The token that comes is of no use, or does not come. No file is left behind.
#[test]
fn token_that_is_not_proven_is_dropped() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("own-unproven"));
    let file = dir.file("token");
    let client = || Client::builder().workspace_id(ops.id()).token_file(&file);
    // One lives, and we have none.
    let error = client().platform_url(platform.url()).build().unwrap().register(&AgentCard::new("x")).unwrap_err();
    assert!(error.kind() == ErrorKind::Unauthorized && !file.exists(), "{error}");
    ops.revoke_tokens();
    let server = relay(&platform, |request| {
        let is_state = request.path.ends_with("/state");
        is_state.then(|| Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#))
    });
    let client = client().platform_url(server.url()).build().unwrap();
    let error = client.register(&AgentCard::new("x")).unwrap_err();
    let token = ops.token().unwrap();
    assert!(error.kind() == ErrorKind::Unauthorized && !file.exists(), "{error}");
    let shown = format!("{error:?} {client:?}");
    assert!(!shown.contains(&token), "{shown}");
    let of_state = server.requests().into_iter().find(|request| request.path.ends_with("/state")).unwrap();
    assert_eq!(of_state.header("authorization"), Some(format!("Bearer {token}").as_str()), "it was tried");
    assert_eq!(kind(client.peers()), Some(ErrorKind::Unauthorized), "and is not used");
}

#[test]
fn card_that_cannot_be_stored_is_not_sent() {
    let server = Server::play([Reaction::reply(200, "{}")]);
    let client = crate::support::builder(&server).token("t0ken-of-ours").build().unwrap();
    let nul = AgentCard::new("a\0");
    for error in [client.register(&nul), client.replace_registration(&nul), client.update_card(&nul)] {
        let error = error.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidMessage && error.to_string().contains("U+0000"), "{error}");
    }
    let (dir, with_nul) = (Dir::new("own-nul"), a2a_blocking::InboxPoller::builder(client.clone()).agent_card(nul));
    assert_eq!(kind(with_nul.cursor_file(dir.file("c")).build()), Some(ErrorKind::InvalidMessage));
    assert_eq!(server.requests().len(), 0);
    let large = AgentCard::new("x".repeat(1024 * 1024));
    let answers = Server::decide(|_, request| Reaction::reply(200, if request.body.is_empty() { "{}" } else { "" }));
    let client = crate::support::builder(&answers).token("t0ken-of-ours").build().unwrap();
    assert_eq!(kind(client.register(&large)), Some(ErrorKind::TooLarge));
    assert_eq!(kind(client.update_card(&large)), Some(ErrorKind::TooLarge));
    assert!(answers.requests().iter().all(|request| request.method == "GET"));
}

/// Each answer to the last request of a registration. None of them shows a secret.
#[test]
fn answers_that_are_no_registration_are_errors_without_secrets() {
    const SECRET: &str = "s3cret-of-the-platform";
    let with = |status: u16, body: &str| (status, body.replace("SECRET", SECRET));
    for ((status, body), expected) in [
        (with(200, r#"{"status":"registered","platform_inbound_secret":"SECRET","delivery_mode":"poll"}"#), None),
        (with(200, r#"{"status":"registered","auth_token":"SECRET"}"#), Some(ErrorKind::Unauthorized)),
        (with(200, r#"{"status":"registered","auth_token":"a SECRET"}"#), Some(ErrorKind::Malformed)),
        (with(200, r#"{"status":"registered","auth_token":{"x":"SECRET"}}"#), Some(ErrorKind::Malformed)),
        (with(200, r#"{"status":"registered","delivery_mode":"push","x":"SECRET"}"#), Some(ErrorKind::Malformed)),
        (with(200, r#"{"status":"updated","auth_token":"SECRET"}"#), Some(ErrorKind::Malformed)),
        (with(200, r#"{"status":"registered","auth_token":"SECRET"#), Some(ErrorKind::Malformed)),
        (with(200, r#"["SECRET"]"#), Some(ErrorKind::Malformed)),
        (with(200, ""), Some(ErrorKind::Malformed)),
        (with(201, r#"{"auth_token":"SECRET"}"#), Some(ErrorKind::Status)),
        (with(400, r#"{"error":"invalid request body","platform_inbound_secret":"SECRET"}"#), Some(ErrorKind::Status)),
        (with(401, r#"{"error":"invalid workspace auth token"}"#), Some(ErrorKind::Unauthorized)),
        (with(403, r#"{"error":"kind='platform' may only be assigned"}"#), Some(ErrorKind::Unauthorized)),
        (with(409, "{}"), Some(ErrorKind::Status)),
        (with(429, r#"{"error":"rate limit exceeded","retry_after":59}"#), Some(ErrorKind::Status)),
        (with(500, r#"{"error":"registration failed"}"#), Some(ErrorKind::Status)),
        (with(200, &"x".repeat(70_000)), Some(ErrorKind::TooLarge)),
    ] {
        let answer = body.clone();
        let server = Server::decide(move |_, request| match request.path.as_str() {
            "/registry/register" | "/registry/update-card" | "/registry/heartbeat" => Reaction::reply(status, &answer),
            _ => Reaction::reply(200, r#"{"id":"x","url":"","status":"online"}"#),
        });
        let client = crate::support::builder(&server).token("t0ken-of-ours").build().unwrap();
        let outcome = client.register(&AgentCard::new("x"));
        assert_eq!(outcome.as_ref().err().map(Error::kind), expected, "{status} {body}: {outcome:?}");
        for error in [outcome.err(), client.update_card(&AgentCard::new("x")).err(), client.heartbeat().err()] {
            let Some(error) = error else { continue };
            let shown = format!("{error} {error:?} {error:#?} {:?}", error.body_snippet());
            assert!(!shown.contains(SECRET) && shown.contains(&server.url()), "{shown}");
        }
        let register = server.requests().into_iter().find(|request| request.path == REGISTER).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&register.body).unwrap()["id"], WORKSPACE);
    }
}
