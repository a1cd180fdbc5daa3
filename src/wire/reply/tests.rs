use serde_json::json;

use super::read::{MessageAnswer, read_answer};
use super::*;

fn answer(status: u16, body: &Value) -> MessageAnswer {
    read_answer(status, body.to_string().as_bytes())
}

fn reply(status: u16, body: &Value) -> Reply {
    match answer(status, body) {
        MessageAnswer::Reply(reply) => reply,
        other => panic!("{body}: {other:?}"),
    }
}

fn text(body: &Value) -> String {
    reply(200, body).text().into_owned()
}

#[test]
fn message_is_read_in_each_of_its_shapes() {
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
        let reply = reply(200, &body);
        assert!(matches!(reply, Reply::Message(_)), "{body}");
        assert_eq!(reply.text(), "hi", "{body}");
        assert_eq!((reply.as_json(), reply.delivery()), (&body, Delivery::Delivered));
    }
    assert_eq!(text(&json!({"result":{"parts":[]}})), "(no response)");
    assert_eq!(text(&json!({"result":{"anything":"else"}})), "(no response)");
    assert_eq!(text(&json!({"result":{"parts":[{"kind":"data","data":1}]}})), "");
}

#[test]
fn task_is_read_in_both_protocols() {
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
        let Reply::Task(task) = reply(200, &json!({"result": result})) else { panic!("{result}") };
        assert_eq!((task.state(), task.id()), (state, Some("t")));
    }
    let mut body = json!({"result":{"contextId":"c","status":status("completed"),"artifacts":[
        {"parts":[{"kind":"text","text":"one"},{"kind":"data","data":2}]}, {"parts":[{"text":"two"}]}]}});
    let reply = reply(200, &body);
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
    assert_eq!(text(&body), "one\ntwo\nstatus", "its question is part of the text");
    body["result"]["artifacts"] = json!([]);
    assert_eq!(text(&body), "status");
    body["result"]["status"] = json!({"state":"working"});
    assert_eq!(text(&body), "(no response)");
}

#[test]
fn queued_is_neither_an_error_nor_an_empty_reply() {
    for body in [
        json!({"status":"queued","delivery_mode":"poll","method":"message/send"}),
        json!({"queued":true,"queue_id":"q-1"}),
        json!({"jsonrpc":"2.0","result":{"queued":true,"queue_id":"q-1"}}),
    ] {
        assert_eq!(reply(202, &body).delivery(), Delivery::Accepted);
        let Reply::Queued(queued) = reply(202, &body) else { panic!("{body}") };
        assert_eq!(queued.method(), "message/send");
        assert_eq!(queued.queue_id().is_some(), body.to_string().contains("q-1"));
    }
    let empty = read_answer(202, b"");
    assert!(
        matches!(&empty, MessageAnswer::Reply(Reply::Queued(queued)) if queued.method() == "message/send"),
        "{empty:?}"
    );
    let failed = answer(500, &json!({"error":"not queued: disk full","status":"queued"}));
    assert!(matches!(failed, MessageAnswer::PlatformError { .. }), "{failed:?}");
}
