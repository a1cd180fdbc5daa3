use std::time::Duration;

use serde_json::json;

use super::message::{message_answer, message_lost};
use super::*;

/// Reads a JSON body as the answer to a message, which is a failure.
fn failure(status: u16, body: &Value) -> FailedAttempt {
    failure_of(status, body.to_string().as_bytes())
}

fn failure_of(status: u16, body: &[u8]) -> FailedAttempt {
    match message_answer(&Response::for_test(status, body)) {
        Ok(reply) => panic!("{reply:?}"),
        Err(failure) => failure,
    }
}

fn is_asked(failure: &FailedAttempt) -> bool {
    matches!(failure.hint, RetryHint::Asked(_))
}

#[test]
fn json_rpc_error_is_the_agents_in_the_words_of_the_python_module() {
    for (error, detail) in [
        (json!({"code":-32600,"message":" spaced "}), "spaced (code=-32600)"),
        (json!({"code":9007199254740993_i64,"message":"m"}), "m (code=9007199254740993)"),
        (json!({"code":-32600.0,"message":"m","data":[1,{"x":null}]}), "m (code=-32600)"),
        (json!({"code":0.5}), "JSON-RPC error with no message (code=0.5)"),
        (json!({"code":"E1","message":5}), "5 (code=E1)"),
        (json!({"message":""}), "JSON-RPC error with no message"),
        (json!({}), "JSON-RPC error with no message"),
    ] {
        let error_of = |status, body| failure(status, &body).error;
        let at_200 = error_of(200, json!({"result":null,"error":error}));
        assert_eq!((at_200.kind(), at_200.detail()), (ErrorKind::Rpc, detail));
        assert_eq!(at_200.delivery(), Delivery::Delivered);
        let at_400 = error_of(400, json!({"error":error}));
        assert_eq!(at_400.delivery(), Delivery::Unknown, "a peer that speaks JSON-RPC has read the request");
    }
    assert_eq!(failure(200, &json!({"error":{"code":-7}})).error.rpc_code(), Some(-7));
}

#[test]
fn proxys_error_object_was_not_passed_on() {
    for status in [407, 425, 511] {
        let proxy = failure(status, &json!({"error":{"code":status,"message":"proxy"}}));
        assert_eq!(proxy.error.delivery(), Delivery::NotSent, "{status}");
    }
}

#[test]
fn agent_error_is_recognised_by_the_start_of_its_text() {
    let body = |text: &str| json!({"result":{"parts":[{"kind":"text","text":text}]}});
    let error = failure(200, &body("Agent error: it broke")).error;
    assert_eq!((error.kind(), error.detail()), (ErrorKind::Agent, "Agent error: it broke"));
    assert_eq!(error.delivery(), Delivery::Delivered);
    let response = Response::for_test(200, body("the Agent error: x").to_string());
    assert_eq!(
        message_answer(&response).map(|reply| reply.text().into_owned()).ok().as_deref(),
        Some("the Agent error: x")
    );
}

#[test]
fn answer_of_no_known_shape_is_malformed_or_a_status() {
    for body in
        [json!([1]), json!({"result":"plain"}), json!({"result":null}), json!({"error":5}), json!("x"), json!({})]
    {
        let shape = format!("unexpected response shape (no result, no error): {body}");
        let at_200 = failure(200, &body);
        assert_eq!((at_200.error.kind(), at_200.error.detail()), (ErrorKind::Malformed, shape.as_str()), "{body}");
        assert_eq!((at_200.error.delivery(), at_200.hint), (Delivery::Unknown, RetryHint::No));
        assert_eq!(failure(502, &body).error.kind(), ErrorKind::Status);
    }
    let broken = failure(200, &json!({"result":{"parts":[{"kind":"text","text":5}]}})).error;
    assert_eq!((broken.kind(), broken.delivery()), (ErrorKind::Malformed, Delivery::Unknown));
    for (status, kind, delivery) in [
        (200, ErrorKind::Malformed, Delivery::Unknown),
        (302, ErrorKind::Status, Delivery::NotSent),
        (401, ErrorKind::Unauthorized, Delivery::NotSent),
        (407, ErrorKind::Status, Delivery::NotSent),
        (413, ErrorKind::Status, Delivery::NotSent),
        (425, ErrorKind::Status, Delivery::NotSent),
        (511, ErrorKind::Status, Delivery::NotSent),
        (408, ErrorKind::Status, Delivery::Unknown),
        (422, ErrorKind::Status, Delivery::Unknown),
        (499, ErrorKind::Status, Delivery::Unknown),
        (502, ErrorKind::Status, Delivery::Unknown),
    ] {
        let html = failure_of(status, b"<html>").error;
        assert_eq!((html.kind(), html.delivery()), (kind, delivery));
        assert_eq!(html.detail(), format!("HTTP {status} with a body that is not JSON: <html>"));
        assert_eq!(failure_of(status, b"").error.detail(), format!("HTTP {status} without a body"));
    }
    assert!(is_asked(&failure_of(429, b"")));
}

#[test]
fn data_of_a_json_rpc_error_is_shown_and_kept_if_it_is_small() {
    let error_of = |data: &Value| failure(200, &json!({"error":{"code":-7,"message":"m","data":data}})).error;
    for (data, shown) in [
        (json!("why\n\u{1b}[2J"), Some(r"why\n\u{1b}[2J".to_owned())),
        (json!({"reason":[1, {"x": null}]}), Some(r#"{"reason":[1,{"x":null}]}"#.to_owned())),
        (json!(false), Some("false".to_owned())),
        (json!("x".repeat(300)), Some("x".repeat(200))),
        (json!(null), None),
    ] {
        let error = error_of(&data);
        assert_eq!(error.detail(), "m (code=-7)", "the words of the Python module");
        let text = shown.map_or_else(String::new, |shown| format!("; data: {shown}"));
        assert!(error.to_string().ends_with(&format!("m (code=-7){text}")), "{error}");
        assert_eq!(error.rpc_data(), Some(&data).filter(|data| !data.is_null()));
    }
    let long = |length: usize| json!("x".repeat(length - 2));
    assert!(error_of(&long(64 * 1024)).rpc_data().is_some() && error_of(&long(64 * 1024 + 1)).rpc_data().is_none());
    // Small as a text and large in memory.
    let maps = json!(vec![json!({"": 0}); 8_000]);
    assert!(maps.to_string().len() < 64 * 1024 + 1 && error_of(&maps).rpc_data().is_none());
    let other = failure(200, &json!({"data":1,"result":{"parts":[{"kind":"text","text":"Agent error: e"}]}})).error;
    assert_eq!((other.rpc_data(), failure(500, &json!({"error":"e","data":1})).error.rpc_data()), (None, None));
}

#[test]
fn notice_that_a_networks_login_page_answered_was_not_sent() {
    for (status, body, delivery) in [
        (511, "<html>", Delivery::NotSent),
        (511, r#"{"error":"e"}"#, Delivery::Unknown),
        (407, "", Delivery::NotSent),
        (502, "<html>", Delivery::Unknown),
    ] {
        let Err(failure) = post_answer(&Response::for_test(status, body), Call::Notify) else { panic!("{status}") };
        assert_eq!((failure.error.delivery(), failure.hint), (delivery, RetryHint::No), "{status} {body}");
    }
}

const CALLS: [Call; 9] = [
    Call::Discover,
    Call::Workspace,
    Call::State,
    Call::Activity,
    Call::Notify,
    Call::Heartbeat,
    Call::Request,
    Call::File,
    Call::Own,
];

/// A hosted platform's edge answers so where the `Origin` or the organisation is missing.
#[test]
fn empty_403_and_404_name_the_origin_and_the_org_id_in_every_call() {
    let advice = "without a body; check the origin and the org id";
    for status in [403, 404] {
        let empty = Response::for_test(status, "");
        for call in CALLS {
            let error = refusal(&empty, call, "our-id");
            assert_eq!(error.detail(), format!("answered {status} {advice}"), "{call:?}");
        }
        assert_eq!(failure_of(status, b"").error.detail(), format!("HTTP {status} {advice}"));
        let Err(notice) = post_answer(&empty, Call::Notify) else { panic!("{status}") };
        assert_eq!(notice.error.detail(), format!("answered {status} {advice}"));
    }
    for call in CALLS {
        for (status, body) in [(403, "{}"), (404, "<html>"), (400, ""), (410, ""), (503, "")] {
            let error = refusal(&Response::for_test(status, body), call, "our-id");
            assert!(!error.detail().contains(advice), "{call:?}: {error}");
        }
    }
}

#[test]
fn kind_of_a_status_depends_on_the_call() {
    use Call::{Activity, Discover, File, Heartbeat, Notify, Own, Request, Workspace};
    use ErrorKind::{NotFound, Removed, Status, Unauthorized};
    let removed = r#"{"error":"removed","removed_at":"2026-07-01T09:30:00Z"}"#;
    for (status, body, kinds) in [
        (401, "", [Unauthorized; 6]),
        (403, "", [Status, Unauthorized, Unauthorized, Unauthorized, Unauthorized, Unauthorized]),
        (403, r#"{"error":"e"}"#, [NotFound, Unauthorized, Unauthorized, Unauthorized, Unauthorized, Status]),
        (404, "", [Status, NotFound, Status, Status, Status, NotFound]),
        (404, r#"{"error":"e"}"#, [NotFound, NotFound, Status, Status, Status, NotFound]),
        (410, "", [Status, Removed, Status, Status, Status, Status]),
        (410, r#"{"error":"e"}"#, [NotFound, Removed, Status, Status, Status, Status]),
        (410, removed, [NotFound, Removed, Removed, Status, Removed, Status]),
        (500, r#"{"error":"e"}"#, [Status; 6]),
        (204, "", [Status; 6]),
    ] {
        let kind_of = |call| {
            let error = refusal(&Response::for_test(status, body), call, "our-id");
            assert_eq!(error.removed().is_some(), error.kind() == Removed, "{call:?} {status} {body}");
            error.kind()
        };
        assert_eq!([Discover, Workspace, Activity, Notify, Heartbeat, Request].map(kind_of), kinds, "{status} {body}");
        assert_eq!(kind_of(Own), kind_of(Notify), "{status} {body}");
        let of_file = match (status, body) {
            (404 | 410, r#"{"error":"e"}"#) => NotFound,
            (410, body) if body == removed => Removed,
            _ => kind_of(Own),
        };
        assert_eq!(kind_of(File), of_file, "{status} {body}");
    }
}

#[test]
fn content_that_cannot_be_read_is_the_callers_fault_and_not_sent() {
    let source = Box::new(std::io::Cursor::new(b"con".to_vec()));
    let body = RequestBody::streamed("text/plain", Vec::new(), (source, 7), Vec::new());
    body.read_for_test();
    let failure = post_lost(Error::new(ErrorKind::Disconnected, "for the test"), &body);
    assert_eq!((failure.hint, failure.error.kind()), (RetryHint::No, ErrorKind::InvalidMessage));
    assert_eq!(failure.error.delivery(), Delivery::NotSent);
    assert_eq!(failure.error.to_string(), "the content cannot be read: it ended before its length");
}

#[test]
fn lost_message_is_retried_only_where_no_answer_came() {
    let body = RequestBody::new(Vec::new());
    for (kind, status, hint) in [
        (ErrorKind::Connect, None, RetryHint::Transport),
        (ErrorKind::Timeout, Some(200), RetryHint::Transport),
        (ErrorKind::Disconnected, Some(503), RetryHint::No),
        (ErrorKind::Tls, None, RetryHint::No),
        (ErrorKind::TooLarge, Some(503), RetryHint::No),
    ] {
        let error = Error::new(kind, "for the test");
        let error = match status {
            Some(status) => error.with_status(status),
            None => error,
        };
        let failure = message_lost(error, &body);
        assert_eq!((failure.hint, failure.error.delivery()), (hint, Delivery::Unknown), "{kind:?} {status:?}");
    }
    let unsent = RequestBody::new(b"x".to_vec());
    let failure = post_lost(Error::new(ErrorKind::Timeout, "for the test"), &unsent);
    assert_eq!((failure.hint, failure.error.delivery()), (RetryHint::Transport, Delivery::NotSent));
    assert_eq!(failure.error.retry_after(), None::<Duration>);
}

/// The detail is in the words of the Python module, which `global` returns.
#[test]
fn a_401_says_that_no_token_was_sent_in_every_call() {
    let advice = "; no token was sent: give one, or a token file";
    let platform = failure(401, &json!({"error":"missing caller auth token"})).error;
    assert_eq!(platform.detail(), "missing caller auth token (HTTP 401)");
    assert_eq!(platform.to_string(), format!("POST http://p: missing caller auth token (HTTP 401){advice}"));
    for body in ["", "<html>", "{}"] {
        let error = failure_of(401, body.as_bytes()).error;
        assert!(!error.detail().contains(advice) && error.to_string().ends_with(advice), "{error}");
        let Err(notice) = post_answer(&Response::for_test(401, body), Call::Notify) else { panic!("{body}") };
        assert!(notice.error.to_string().ends_with(advice), "{}", notice.error);
    }
    let forbidden = failure(403, &json!({"error":"e"})).error;
    assert!(!forbidden.to_string().contains(advice), "{forbidden}");
}

/// The human can turn our notices off. That says nothing of our token.
#[test]
fn notices_that_are_turned_off_are_no_refusal_of_the_token() {
    let body = r#"{"error":"talk_to_user_disabled","hint":"ask the human to turn it on"}"#;
    let Err(failure) = post_answer(&Response::for_test(403, body), Call::Notify) else { panic!("{body}") };
    assert_eq!((failure.error.kind(), failure.error.delivery()), (ErrorKind::Platform, Delivery::NotSent));
    assert_eq!(failure.error.detail(), "answered 403 (talk_to_user_disabled); ask the human to turn it on");
}

#[test]
fn a_403_blames_no_token_that_was_not_sent() {
    for call in CALLS.into_iter().filter(|call| *call != Call::Discover) {
        let error = refusal(&Response::for_test(403, b"<html>forbidden</html>"), call, "w");
        assert_eq!((error.kind(), error.detail()), (ErrorKind::Unauthorized, "answered 403"), "{call:?}");
    }
}
