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
    for body in [
        json!({"result":{"content":"hi"}}),
        json!({"result":{"role":"agent","parts":[],"content":[{"text":"hi"}]}}),
        json!({"result":{"message":{"contextId":"c","content":[{"text":"hi"}]}}}),
        json!({"result":{"message":"hi"}}),
        json!({"result":{"parts":[{"root":{"kind":"text","text":"hi"}}]}}),
    ] {
        assert!(matches!(reply(200, &body), Reply::Message(_)), "{body}");
        assert_eq!(text(&body), "hi", "{body}");
    }
    let Reply::Message(message) = reply(200, &json!({"result":{"message":{"contextId":"c","taskId":"t"}}})) else {
        panic!("no message")
    };
    assert_eq!((message.context_id(), message.task_id()), (Some("c"), Some("t")));
}

#[test]
fn task_is_read_in_an_event_and_in_its_history() {
    let artifact = json!({"artifactId":"a","parts":[{"text":"words"}]});
    let update = json!({"taskId":"t","contextId":"c","artifact":artifact,"lastChunk":true});
    let state = json!({"state":"TASK_STATE_FAILED","message":{"content":"words"}});
    let agent = |text: &str| json!({"role":"agent","parts":[{"kind":"text","text":text}]});
    let user = json!({"role":"user","parts":[{"text":"question"}]});
    let history = |messages: Value| json!({"id":"t","contextId":"c","status":{"state":"completed"},"history":messages});
    let later = json!({"role":"ROLE_AGENT","content":[{"text":"words"}]});
    for (result, state) in [
        (json!({"kind":"artifact-update","taskId":"t","contextId":"c","artifact":artifact}), "unknown"),
        (update.clone(), "unknown"),
        (json!({"artifactUpdate":update}), "unknown"),
        (json!({"kind":"status-update","taskId":"t","contextId":"c","status":state,"final":true}), "failed"),
        (json!({"statusUpdate":{"taskId":"t","contextId":"c","status":state}}), "failed"),
        (json!({"id":"t","contextId":"c","artifacts":[artifact]}), "unknown"),
        (json!({"id":"t","contextId":"c","artifacts":[{"content":"words"}]}), "unknown"),
        (json!({"kind":"task","id":"t","contextId":"c","history":[user, agent("words")]}), "unknown"),
        (history(json!([user, agent("words")])), "completed"),
        (history(json!([agent("earlier"), user, later])), "completed"),
        (history(json!([agent("words")])), "completed"),
    ] {
        let body = json!({"result":result});
        let answer = reply(200, &body);
        let Reply::Task(task) = &answer else { panic!("{body}") };
        assert_eq!((task.id(), task.context_id(), task.state()), (Some("t"), Some("c"), state), "{body}");
        assert_eq!((answer.text(), answer.all_text()), ("words".into(), "words".into()), "{body}");
        assert_eq!(answer.parts(), [Part::Text("words")], "{body}");
    }
    // Words before the user's last message answer another one. Words beside an artifact are those of its making.
    assert_eq!(text(&json!({"result":history(json!([agent("earlier"), user]))})), "(no response)");
    let mut with_artifact = history(json!([user, agent("step 1")]));
    with_artifact["artifacts"] = json!([artifact]);
    assert_eq!(reply(200, &json!({"result":with_artifact})).all_text(), "words");
}

#[test]
fn all_text_leaves_nothing_out() {
    let all_text = |result: Value| reply(200, &json!({"result":result})).all_text().into_owned();
    assert_eq!(all_text(json!({"parts":[{"text":"one"},{"data":1},{"text":"two"},{"text":"two"}]})), "one\ntwo\ntwo");
    assert_eq!(all_text(json!({"parts":[{"data":1},{"raw":"aGk="}]})), "(no text: 1 file, 1 data part)");
    assert_eq!(all_text(json!({"parts":[{"text":""}]})), "(no response)");
    assert_eq!(all_text(json!({})), "(no response)");
    let status = |text: &str| json!({"state":"completed","message":{"parts":[{"text":text},{"text":"bye"}]}});
    let artifacts = json!([{"parts":[{"text":"a"},{"text":"a"}]},{"parts":[{"text":"b"}]}]);
    assert_eq!(all_text(json!({"status":status("done"),"artifacts":artifacts})), "a\na\nb\ndone\nbye");
    assert_eq!(all_text(json!({"status":status("b"),"artifacts":artifacts})), "a\na\nb\nbye");
    assert_eq!(
        all_text(json!({"status":{"state":"completed"},"artifacts":[{"parts":[{"url":"u"}]}]})),
        "(no text: 1 file)"
    );
    let queued = reply(202, &json!({"status":"queued"}));
    assert_eq!(queued.all_text(), "(no response)");
}

#[test]
fn failed_tasks_are_recognised_in_both_protocols() {
    for (state, is_failed) in [
        ("failed", true),
        ("rejected", true),
        ("canceled", true),
        ("cancelled", true),
        ("TASK_STATE_FAILED", true),
        ("TASK_STATE_REJECTED", true),
        ("TASK_STATE_CANCELLED", true),
        ("TASK_STATE_CANCELED", true),
        ("completed", false),
        ("working", false),
        ("input-required", false),
        ("auth-required", false),
        ("TASK_STATE_AUTH_REQUIRED", false),
        ("unknown", false),
        ("later", false),
    ] {
        let Reply::Task(task) = reply(200, &json!({"result":{"status":{"state":state}}})) else { panic!("{state}") };
        assert_eq!(task.is_failed(), is_failed, "{state}");
    }
}

#[test]
fn notice_with_a_text_stays_a_notice() {
    for result in [
        json!({"status":"queued","message":"Message queued"}),
        json!({"queued":true,"message":"later"}),
        json!({"queued":true,"content":"later"}),
    ] {
        let read = reply(200, &json!({"result":result}));
        assert!(matches!(read, Reply::Queued(_)), "{result}: {read:?}");
    }
    for wrapper in ["task", "statusUpdate", "artifactUpdate"] {
        let beside = json!({"result":{"parts":[{"text":"r"}],wrapper:{}}});
        assert_eq!(text(&beside), "r", "{wrapper}");
    }
    let answered = json!({"result":{"queued":true,"message":{"parts":[{"text":"r"}]}}});
    assert!(matches!(reply(200, &answered), Reply::Message(_)));
}

#[test]
fn error_of_any_type_beside_an_empty_result_is_no_success() {
    for error in [json!(["x"]), json!(true), json!(5)] {
        let read = answer(200, &json!({"result":{},"error":error}));
        assert!(matches!(read, MessageAnswer::EmptyResult), "{error}: {read:?}");
    }
    for error in [json!({}), json!([]), json!(""), json!(false), json!(null)] {
        let task = json!({"result":{"kind":"task","id":"t","status":{"state":"working"}},"error":error});
        let Reply::Task(task) = reply(200, &task) else { panic!("{error}") };
        assert_eq!((task.id(), task.state()), (Some("t"), "working"));
    }
}

/// An agent that crashed may leave an empty result beside the error.
#[test]
fn error_beside_an_empty_result_is_the_answer() {
    let error = json!({"code":-32603,"message":"agent crashed"});
    for result in [
        json!({}),
        json!(null),
        json!(""),
        json!([]),
        json!({"kind":"message"}),
        json!({"parts":[]}),
        json!({"content":""}),
        json!({"message":{"parts":[]}}),
        json!({"message":null,"task":null}),
        json!({"queued":true}),
        json!({"id":"t","status":{"state":"submitted"},"artifacts":[],"history":[{"role":"user","parts":[{"text":"x"}]}]}),
    ] {
        let read = answer(200, &json!({"result":result,"error":error}));
        assert!(
            matches!(&read, MessageAnswer::RpcError { text, code: Some(-32603), .. } if text == "agent crashed (code=-32603)"),
            "{result}: {read:?}"
        );
        let read = answer(200, &json!({"result":result,"error":"agent crashed"}));
        assert!(
            matches!(&read, MessageAnswer::ErrorText { text, .. } if text == "agent crashed"),
            "{result}: {read:?}"
        );
    }
    for result in [
        json!({"parts":[{"kind":"text","text":"r"}]}),
        json!({"parts":[{"data":1}]}),
        json!({"content":"r"}),
        json!({"id":"t","status":{"state":"failed","message":{"parts":[{"text":"r"}]}}}),
        json!({"id":"t","artifacts":[{"parts":[{"url":"u"}]}]}),
    ] {
        let body = json!({"result":result,"error":error});
        assert_eq!(reply(200, &body).as_json(), &body);
    }
    for none in [json!(null), json!(""), json!(" "), json!(false), json!([]), json!({})] {
        assert_eq!(text(&json!({"result":{},"error":none})), "(no response)");
    }
}

/// A status that is no success needs some content to be an answer.
#[test]
fn empty_result_with_a_failed_status_is_no_answer() {
    for status in [302, 404, 500] {
        for result in [json!({}), json!({"parts":[]}), json!({"anything":"else"})] {
            let read = answer(status, &json!({"result":result}));
            assert!(matches!(read, MessageAnswer::EmptyResult), "{status} {result}: {read:?}");
        }
        for result in [json!({"parts":[{"text":"x"}]}), json!({"id":"t","status":{"state":"working"}})] {
            assert_eq!(reply(status, &json!({"result":result})).delivery(), Delivery::Delivered);
        }
    }
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
        (json!({"id":"t","status":{"state":""}}), "unknown"),
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
        json!({"queued":true,"queue_id":"q-1","result":{}}),
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
    assert!(matches!(failed, MessageAnswer::ErrorText { .. }), "{failed:?}");
}
