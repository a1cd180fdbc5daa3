//! The calls that only try something: the event stream, and whose the `Origin` is.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use a2a_blocking::testing::Platform;
use a2a_blocking::{Client, ErrorKind};

use crate::world::PATIENCE;

#[test]
fn event_stream_is_tried_with_its_first_bytes() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    ops.client().build().unwrap().check_events(PATIENCE).unwrap();
    let stranger = ops.client().token("mistaken").build().unwrap();
    let refused = stranger.check_events(PATIENCE).unwrap_err();
    assert_eq!((refused.kind(), refused.status()), (ErrorKind::Unauthorized, Some(401)));
}

#[test]
fn answer_that_is_no_event_stream_is_an_error() {
    let mut server = mockito::Server::new();
    let client = Client::builder().platform_url(server.url()).workspace_id("w").build().unwrap();
    for (status, body, kind) in [
        (404, "404 page not found", ErrorKind::Status),
        (502, "canvas unavailable", ErrorKind::Status),
        (200, "<html>log in</html>", ErrorKind::Malformed),
        (200, "", ErrorKind::Malformed),
    ] {
        let answer = server.mock("GET", "/workspaces/w/events/stream").match_header("accept", "text/event-stream");
        let answer = answer.with_status(status).with_body(body).create();
        let error = client.check_events(PATIENCE).unwrap_err();
        assert_eq!((error.kind(), error.status()), (kind, u16::try_from(status).ok()), "{error}");
        answer.assert();
    }
}

/// As behind a proxy that holds back what it got until it is full.
#[test]
fn silent_event_stream_ends_with_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::builder().platform_url(url).workspace_id("w").build().unwrap();
    let start = Instant::now();
    let error = client.check_events(Duration::from_millis(200)).unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && start.elapsed() < PATIENCE, "{error}");
}

/// The platform looks at the `Origin` before the token, so that a wrong token changes nothing.
#[test]
fn origin_of_the_canvas_is_recognised() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    let url = platform.url();
    let with =
        |origin: Option<&str>| ops.client().token("mistaken").origin(origin).build().unwrap().is_origin_of_canvas();
    assert!(!with(Some(&url)).unwrap(), "it is let in, and the token decides");
    assert!(!with(Some("https://elsewhere.test")).unwrap());
    platform.combined(true);
    assert!(with(Some(&url)).unwrap());
    assert!(!with(None).unwrap());
    assert_eq!((platform.sent().len(), platform.ledger().len()), (0, 0));
}

#[test]
fn client_without_an_origin_asks_nothing() {
    let nobody = Client::builder().platform_url("http://127.0.0.1:9").workspace_id("w").build().unwrap();
    assert!(!nobody.is_origin_of_canvas().unwrap());
}

/// A gateway's 404 is no proof.
#[test]
fn other_answers_to_the_question_are_errors() {
    let mut server = mockito::Server::new();
    let client =
        Client::builder().platform_url(server.url()).workspace_id("w").origin(Some("https://h")).build().unwrap();
    for (status, body) in [(404, "<html>"), (404, "{\"error\":\"no such endpoint\"}"), (200, "{}"), (500, "")] {
        let queued = mockito::Matcher::Regex("^/workspaces/w/a2a/queue/".to_owned());
        let answer = server.mock("GET", queued).match_header("authorization", mockito::Matcher::Missing);
        let answer = answer.with_status(status).with_body(body).create();
        let error = client.is_origin_of_canvas().unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Status, u16::try_from(status).ok()), "{error}");
        answer.assert();
    }
}
