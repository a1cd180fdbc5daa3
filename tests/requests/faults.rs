//! The calls against a platform that is away, breaks, lies or answers nonsense.

use std::io::Cursor;
use std::thread;
use std::time::Instant;

use a2a_blocking::{Client, Delivery, Error, ErrorKind, NewRequest, RequestAction};

use crate::support::{PEER, Reaction, Server, WORKSPACE, builder};

/// A call, whether it changes something, and an answer that it takes.
type Call = (&'static str, bool, fn(&Client) -> Result<(), Error>, &'static str);

const CALLS: &[Call] = &[
    ("requests", false, |client| client.requests().map(drop), "[]"),
    ("request_inbox", false, |client| client.request_inbox().map(drop), "[]"),
    ("pending_requests", false, |client| client.pending_requests().map(drop), "[]"),
    ("request_details", false, |client| client.request_details("r").map(drop), r#"{"request":{"id":"r"}}"#),
    ("instructions", false, |client| client.instructions().map(drop), r#"{"instructions":""}"#),
    ("delegations", false, |client| client.delegations().map(drop), "[]"),
    ("request", true, |client| client.request(&NewRequest::task("x")).map(drop), r#"{"request_id":"r"}"#),
    ("respond", true, |client| client.respond("r", RequestAction::Done), ""),
    ("request_message", true, |client| client.request_message("r", "x").map(drop), r#"{"message_id":"m"}"#),
    ("cancel_request", true, |client| client.cancel_request("r"), ""),
    ("delegate", true, |client| client.delegate(PEER, "x").map(drop), r#"{"delegation_id":"d","status":"delegated"}"#),
    ("complete_delegation", true, |client| client.complete_delegation("d", "x"), ""),
    ("fail_delegation", true, |client| client.fail_delegation("d", "x"), ""),
    (
        "upload",
        true,
        |client| client.upload("n", "a/b", Cursor::new("x")).map(drop),
        r#"{"files":[{"uri":"u","name":"n"}]}"#,
    ),
    ("notify", true, |client| client.notify("x"), ""),
];

fn each(reaction: impl Fn(&Call) -> Reaction, check: impl Fn(&Call, Result<(), Error>, &Server)) {
    for call in CALLS {
        let server = Server::play([reaction(call)]);
        let client = builder(&server).token("tok-hush").build().unwrap();
        let outcome = (call.2)(&client);
        if let Err(error) = &outcome {
            let text = error.to_string();
            let method = if call.1 { "POST" } else { "GET" };
            assert!(
                text.starts_with(&format!("{method} {}/workspaces/{WORKSPACE}/", server.url())),
                "{}: {text}",
                call.0
            );
            assert!(!format!("{error:?} {error:#?}").contains("tok-hush"), "{}: {error:?}", call.0);
        }
        check(call, outcome, &server);
    }
}

#[test]
fn answer_that_is_expected_is_taken() {
    each(|call| Reaction::reply(200, call.3), |call, outcome, _| assert!(outcome.is_ok(), "{}: {outcome:?}", call.0));
}

#[test]
fn status_is_named_and_says_whether_something_was_done() {
    for (status, kind, delivery) in [
        (400, ErrorKind::Status, Delivery::NotSent),
        (401, ErrorKind::Unauthorized, Delivery::NotSent),
        (429, ErrorKind::Status, Delivery::NotSent),
        (500, ErrorKind::Status, Delivery::Unknown),
        (503, ErrorKind::Status, Delivery::Unknown),
    ] {
        let body = r#"{"error":"the words of tok-hush"}"#;
        each(
            |_| Reaction::reply(status, body),
            |call, outcome, server| {
                let error = outcome.unwrap_err();
                let delivery = if call.1 { delivery } else { Delivery::NotSent };
                assert_eq!(
                    (error.kind(), error.status(), error.delivery()),
                    (kind, Some(status), delivery),
                    "{}",
                    call.0
                );
                assert!(error.to_string().contains("the words of"), "{}: {error}", call.0);
                // After a 401 the client asks whether its workspace was removed.
                let made = server.requests().into_iter().filter(|request| !request.path.ends_with(WORKSPACE));
                assert_eq!(made.count(), 1, "{} is not repeated", call.0);
            },
        );
    }
}

#[test]
fn body_of_another_shape_is_malformed_and_may_have_been_done() {
    let bodies = ["", "<html>", "7", "null", "\"x\"", r#"{"request":7}"#, r#"[7"#, r#"{"files":{}}"#];
    for body in bodies {
        each(
            |_| Reaction::reply(200, body),
            |call, outcome, _| {
                // Nothing is read of these answers but their status.
                if call.3.is_empty() {
                    return assert!(outcome.is_ok(), "{}: {outcome:?}", call.0);
                }
                let error = outcome.unwrap_err();
                let delivery = if call.1 { Delivery::Unknown } else { Delivery::NotSent };
                assert_eq!(
                    (error.kind(), error.delivery()),
                    (ErrorKind::Malformed, delivery),
                    "{} {body}: {error}",
                    call.0
                );
            },
        );
    }
}

#[test]
fn silence_ends_with_the_calls_time() {
    let others = CALLS.iter().filter(|call| !["upload", "notify"].contains(&call.0));
    thread::scope(|scope| {
        for call in others {
            scope.spawn(move || {
                let server = Server::play([Reaction::Hang]);
                let client = builder(&server).build().unwrap();
                let start = Instant::now();
                let error = (call.2)(&client).unwrap_err();
                let took = start.elapsed();
                assert!((9..20).contains(&took.as_secs()), "{}: {took:?}", call.0);
                let delivery = if call.1 { Delivery::Unknown } else { Delivery::NotSent };
                assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, delivery), "{}: {error}", call.0);
                assert_eq!(server.requests().len(), 1, "{} is not repeated", call.0);
            });
        }
    });
}

#[test]
fn call_that_changes_something_is_not_repeated_once_it_was_sent() {
    each(
        |_| Reaction::Close,
        |call, outcome, server| {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Disconnected, "{}: {error}", call.0);
            if call.1 {
                assert_eq!((error.delivery(), server.requests().len()), (Delivery::Unknown, 1), "{}", call.0);
            }
        },
    );
}

#[test]
fn call_that_changes_something_is_repeated_while_nothing_can_have_arrived() {
    // Nobody listens there.
    let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id(WORKSPACE);
    let error = client.build().unwrap().respond("r", RequestAction::Done).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent), "{error}");
    assert_eq!(error.attempts(), 4, "after 1, 2 and 4 s, within the 10 of the call");
}

/// As on a platform that does not know the filter.
#[test]
fn pending_requests_are_those_that_are() {
    let list = r#"[{"id":"a","status":"done"},{"id":"b","status":"pending"},{"id":"c"}]"#;
    let server = Server::play([Reaction::reply(200, list)]);
    let client = builder(&server).build().unwrap();
    let ids =
        |listed: Vec<a2a_blocking::WorkspaceRequest>| listed.iter().map(|one| one.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(client.pending_requests().unwrap()), ["b", "c"]);
    assert_eq!(ids(client.request_inbox().unwrap()), ["a", "b", "c"]);
}

#[test]
fn entries_without_an_id_are_left_out() {
    let list = r#"[{"id":"a"},7,{"id":7},{"id":""},null,{"id":"b","title":7}]"#;
    let server = Server::play([Reaction::reply(200, list)]);
    let listed = builder(&server).build().unwrap().requests().unwrap();
    let ids: Vec<_> = listed.iter().map(|request| (request.id(), request.title())).collect();
    assert_eq!(ids, [("a", None), ("b", None)]);
}
