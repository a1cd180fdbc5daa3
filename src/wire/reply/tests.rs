use serde_json::json;

use super::*;

fn answer(status: u16, body: &Value) -> Result<Reply, Refusal> {
    read(status, body.to_string().as_bytes(), || "<start>".to_owned(), str::to_owned)
}

fn text(body: &Value) -> String {
    answer(200, body).unwrap().text().into_owned()
}

#[test]
fn a_message_is_read_in_each_of_its_shapes() {
    let part = json!([{"kind":"text","text":"hi"}]);
    for body in [
        json!({"result":{"parts":part}}),
        json!({"result":{"message":{"parts":part}}}),
        json!({"id":7,"result":{"kind":"message","parts":[{"type":"text","text":"hi"}]}}),
        json!({"result":{"parts":[{"text":"hi"}]},"later":1}),
        json!({"result":{"parts":part},"error":{"message":"the result wins"}}),
        json!({"result":{"parts":[{"kind":"data","data":1},{"kind":"text","text":"hi"}]}}),
        json!({"result":{"parts":[],"message":{"parts":part}}}),
        json!({"status":"queued","result":{"parts":part}}),
        json!({"result":{"queued":true,"parts":part}}),
        json!({"result":{"queued":true,"message":{"parts":part}}}),
    ] {
        let reply = answer(200, &body).unwrap();
        assert!(matches!(reply, Reply::Message(_)), "{body}");
        assert_eq!(reply.text(), "hi", "{body}");
        assert_eq!((reply.as_json(), reply.delivery()), (&body, Delivery::Delivered));
    }
    assert_eq!(text(&json!({"result":{"parts":[]}})), "(no response)");
    assert_eq!(text(&json!({"result":{"anything":"else"}})), "(no response)");
    assert_eq!(text(&json!({"result":{"parts":[{"kind":"data","data":1}]}})), "");
}

#[test]
fn a_task_is_read_in_both_spellings() {
    let status = |state: &str| json!({"state": state, "message": {"parts": [{"kind":"text","text":"status"}]}});
    for (result, state) in [
        (json!({"id":"t","status":status("completed")}), "completed"),
        (json!({"id":"t","status":status("input-required")}), "input-required"),
        (json!({"task":{"id":"t","status":status("TASK_STATE_INPUT_REQUIRED")}}), "input-required"),
        (json!({"task":{"id":"t","status":status("TASK_STATE_FAILED")}}), "failed"),
        (json!({"task":{"id":"t"}}), "unknown"),
        (json!({"id":"t","queued":true,"status":status("TASK_STATE_CANCELLED")}), "canceled"),
        (json!({"id":"t","status":status("TASK_STATE_UNSPECIFIED")}), "unknown"),
    ] {
        let Reply::Task(task) = answer(200, &json!({"result": result})).unwrap() else { panic!("{result}") };
        assert_eq!((task.state(), task.id()), (state, Some("t")));
    }
    let mut body = json!({"result":{"contextId":"c","status":status("completed"),"artifacts":[
        {"parts":[{"kind":"text","text":"one"},{"kind":"data","data":2}]}, {"parts":[{"text":"two"}]}]}});
    let reply = answer(200, &body).unwrap();
    assert_eq!(reply.text(), "one\ntwo");
    let data = json!(2);
    let all = [Part::Text("one"), Part::Data(&data), Part::Text("two"), Part::Text("status")];
    assert_eq!(reply.parts(), all);
    let Reply::Task(task) = &reply else { panic!("no task") };
    assert_eq!(
        (task.artifacts().len(), task.status_message(), task.context_id()),
        (2, vec![Part::Text("status")], Some("c"))
    );
    body["result"]["status"]["state"] = json!("input-required");
    assert_eq!(text(&body), "one\ntwo\nstatus", "its question is not lost");
    body["result"]["artifacts"] = json!([]);
    assert_eq!(text(&body), "status");
    body["result"]["status"] = json!({"state":"working"});
    assert_eq!(text(&body), "(no response)");
}

#[test]
fn queued_is_no_error_and_no_empty_reply() {
    for body in [
        json!({"status":"queued","delivery_mode":"poll","method":"message/send"}),
        json!({"queued":true,"queue_id":"q-1"}),
        json!({"jsonrpc":"2.0","result":{"queued":true,"queue_id":"q-1"}}),
    ] {
        assert_eq!(answer(202, &body).unwrap().delivery(), Delivery::Accepted);
        let Reply::Queued(queued) = answer(202, &body).unwrap() else { panic!("{body}") };
        assert_eq!(queued.method(), "message/send");
        assert_eq!(queued.queue_id().is_some(), body.to_string().contains("q-1"));
    }
    let bare = read(202, b"", String::new, str::to_owned).unwrap();
    assert!(matches!(&bare, Reply::Queued(queued) if queued.method() == "message/send"), "{bare:?}");
    let failed = answer(500, &json!({"error":"not queued: disk full","status":"queued"})).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Platform);
}

#[test]
fn an_error_object_is_the_agents_and_is_told_in_the_originals_words() {
    for (error, detail) in [
        (json!({"code":-32600,"message":" spaced "}), "spaced (code=-32600)"),
        (json!({"code":9007199254740993_i64,"message":"m"}), "m (code=9007199254740993)"),
        (json!({"code":-32600.0,"message":"m","data":[1,{"x":null}]}), "m (code=-32600)"),
        (json!({"code":0.5}), "JSON-RPC error with no message (code=0.5)"),
        (json!({"code":"E1","message":5}), "5 (code=E1)"),
        (json!({"message":""}), "JSON-RPC error with no message"),
        (json!({}), "JSON-RPC error with no message"),
    ] {
        let refusal = answer(200, &json!({"result":null,"error":error})).unwrap_err();
        assert_eq!((refusal.kind, refusal.detail.as_str()), (ErrorKind::Rpc, detail));
        assert_eq!(refusal.delivery, Delivery::Delivered);
        let elsewhere = answer(400, &json!({"error":error})).unwrap_err();
        assert_eq!(elsewhere.delivery, Delivery::Unknown, "whoever speaks JSON-RPC has read it");
    }
    assert_eq!(answer(200, &json!({"error":{"code":-7}})).unwrap_err().rpc_code, Some(-7));
}

#[test]
fn an_error_text_is_the_platforms_and_says_what_is_known_of_the_delivery() {
    for (status, body, detail, delivery, again) in [
        (
            503,
            json!({"error":"e","restarting":true,"retry_after":5}),
            "e (HTTP 503, restarting, retry after 5 s)",
            Delivery::NotSent,
            true,
        ),
        (503, json!({"error":"e","waking":true}), "e (HTTP 503, waking)", Delivery::NotSent, true),
        (
            503,
            json!({"error":"e","busy":true,"retry_after":1.5}),
            "e (HTTP 503, busy, retry after 1.5 s)",
            Delivery::Unknown,
            false,
        ),
        (503, json!({"error":"e"}), "e (HTTP 503)", Delivery::Unknown, false),
        (
            503,
            json!({"error":"e","restarting":true,"delivery_confirmed":true}),
            "e (HTTP 503, restarting)",
            Delivery::Delivered,
            false,
        ),
        (503, json!({"error":"e","waking":true,"busy":true}), "e (HTTP 503, waking, busy)", Delivery::Unknown, false),
        (429, json!({"error":"e","busy":true}), "e (HTTP 429, busy)", Delivery::Unknown, false),
        (429, json!({"error":"e","delivery_confirmed":true}), "e (HTTP 429)", Delivery::Delivered, false),
        (502, json!({"error":"e","delivery_confirmed":true}), "e (HTTP 502)", Delivery::Delivered, false),
        (502, json!({"error":"e","restarting":true}), "e (HTTP 502, restarting)", Delivery::Unknown, false),
        (429, json!({"error":"e"}), "e (HTTP 429)", Delivery::NotSent, true),
        (403, json!({"error":"e","retry_after":-1}), "e (HTTP 403)", Delivery::NotSent, false),
        (403, json!({"error":"e","retry_after":1e19}), "e (HTTP 403, retry after 86400 s)", Delivery::NotSent, false),
        (403, json!({"error":"e","retry_after":1e300}), "e (HTTP 403, retry after 86400 s)", Delivery::NotSent, false),
    ] {
        let refusal = answer(status, &body).unwrap_err();
        assert_eq!((refusal.kind, refusal.detail.as_str()), (ErrorKind::Platform, detail));
        assert_eq!((refusal.delivery, refusal.asks_again), (delivery, again), "{body}");
    }
    assert_eq!(answer(401, &json!({"error":"e"})).unwrap_err().kind, ErrorKind::Unauthorized);
}

#[test]
fn an_agent_error_is_told_by_the_start_of_its_text() {
    let body = |text: &str| json!({"result":{"parts":[{"kind":"text","text":text}]}});
    let refusal = answer(200, &body("Agent error: it broke")).unwrap_err();
    assert_eq!((refusal.kind, refusal.detail.as_str()), (ErrorKind::Agent, "Agent error: it broke"));
    assert_eq!(refusal.delivery, Delivery::Delivered);
    assert_eq!(text(&body("the Agent error: x")), "the Agent error: x");
}

#[test]
fn the_rest_is_malformed_or_a_status() {
    let shape = "unexpected response shape (no result, no error): <start>";
    for body in
        [json!([1]), json!({"result":"plain"}), json!({"result":null}), json!({"error":5}), json!("x"), json!({})]
    {
        let refusal = answer(200, &body).unwrap_err();
        assert_eq!((refusal.kind, refusal.detail.as_str()), (ErrorKind::Malformed, shape), "{body}");
        assert_eq!((refusal.delivery, refusal.asks_again), (Delivery::Unknown, false));
        assert_eq!(answer(502, &body).unwrap_err().kind, ErrorKind::Status);
    }
    let broken = answer(200, &json!({"result":{"parts":[{"kind":"text","text":5}]}})).unwrap_err();
    assert_eq!((broken.kind, broken.delivery), (ErrorKind::Malformed, Delivery::Unknown));
    for (status, kind, delivery) in [
        (200, ErrorKind::Malformed, Delivery::Unknown),
        (302, ErrorKind::Status, Delivery::NotSent),
        (401, ErrorKind::Unauthorized, Delivery::NotSent),
        (413, ErrorKind::Status, Delivery::NotSent),
        (408, ErrorKind::Status, Delivery::Unknown),
        (422, ErrorKind::Status, Delivery::Unknown),
        (499, ErrorKind::Status, Delivery::Unknown),
        (502, ErrorKind::Status, Delivery::Unknown),
    ] {
        let html = read(status, b"<html>", || "<html>".to_owned(), str::to_owned).unwrap_err();
        assert_eq!((html.kind, html.delivery), (kind, delivery));
        assert_eq!(html.detail, format!("HTTP {status} with a body that is not JSON: <html>"));
        assert_eq!(
            read(status, b"", String::new, str::to_owned).unwrap_err().detail,
            format!("HTTP {status} without a body")
        );
    }
    assert!(read(429, b"", String::new, str::to_owned).unwrap_err().asks_again);
}
