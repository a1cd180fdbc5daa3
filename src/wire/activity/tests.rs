use serde_json::json;

use super::content::*;
use super::row::*;
use super::*;
use crate::wire::part::Attachment;
use crate::wire::received::ReceivedMessage;

fn read(row: Value) -> String {
    let Value::Object(fields) = row else { panic!("{row}") };
    let body = request_body(&fields);
    message_text(&fields, &body, &attachments(&fields, &body)).unwrap_or_default()
}

#[test]
fn entries_that_are_no_rows_are_counted_apart() {
    let page = activity(br#"[{"id":"a","ts":"2026-04-30T12:00:00Z"},7,{"id":7},{"x":1},{"id":" "},null]"#).unwrap();
    let ids: Vec<_> = page.rows.iter().map(|row| (row.id.as_str(), row.at.is_some())).collect();
    assert_eq!(ids, [("a", true), ("7", false)]);
    assert_eq!(
        (page.malformed.count, page.malformed.excerpts),
        (4, ["7", r#"{"x":1}"#, r#"{"id":" "}"#, "null"].map(String::from).to_vec())
    );
    for (body, why) in [("{}", "no list"), ("<html>", "not JSON"), ("", "not JSON"), ("null", "no list")] {
        assert!(activity(body.as_bytes()).unwrap_err().to_string().contains(why), "{body}");
    }
    assert_eq!(activity(json!([{ "id": "x".repeat(257) }]).to_string().as_bytes()).unwrap().rows.len(), 0);
}

#[test]
fn unreadable_field_is_kept_as_text_and_hides_nothing_else() {
    let deep = format!("{{\"params\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for bad in [deep.as_str(), r#"{"text":"\ud800"}"#, r#"{"x":1e999}"#] {
        let body = format!(r#"[{{"id":"a"}},{{"id":"b","summary":"s","request_body":{bad}}},{{"id":"c"}}]"#);
        let page = activity(body.as_bytes()).unwrap();
        assert_eq!(page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((&page.rows[1].fields["request_body"], page.unreadable.count), (&json!(bad), 1));
        assert_eq!(read(Value::Object(page.rows[1].fields.clone())), "s");
        assert!(page.unreadable.excerpts[0].starts_with(r#""request_body" of "b" ("#), "{:?}", page.unreadable);
    }
    let page = activity(b"[{\"id\":\"a\",\"summary\":\"x\xff\"},{\"id\":1e999},{\"\\ud800\":1}]").unwrap();
    assert_eq!(read(Value::Object(page.rows[0].fields.clone())), "x\u{fffd}");
    assert_eq!((page.rows.len(), page.malformed.count), (2, 1));
    assert!(activity(b"[{\"id\":\"a\"},{\"id\":").is_err(), "cut off");
}

#[test]
fn only_the_first_ten_malformed_entries_are_kept() {
    let page = activity(json!(vec![7; 1_000]).to_string().as_bytes()).unwrap();
    assert_eq!((page.malformed.excerpts.len(), page.malformed.count), (MAX_EXCERPTS, 1_000));
}

#[test]
fn text_is_found_in_each_of_its_places() {
    let parts = json!([{"kind":"text","text":"a"},{"type":"text","text":"b"},{"kind":"data","text":"x"},{"text":"y"}]);
    let full = json!({"params":{"message":{"parts":parts}}});
    for body in [full.clone(), json!({"params":{"parts":parts}}), json!({"parts":parts}), json!(full.to_string())] {
        assert_eq!(read(json!({"request_body":body,"summary":"s"})), "aby");
    }
    let empty =
        json!({"params":{"message":{"parts":[{"kind":"text","text":""}]},"parts":[{"kind":"text","text":"p"}]}});
    assert_eq!(read(json!({"request_body":empty})), "p");
    assert_eq!(read(json!({"data":{"text":"t","message":"m"},"summary":"s"})), "t");
    assert_eq!(read(json!({"data":{"text":"","message":"m"},"summary":"s"})), "m");
    assert_eq!(read(json!({"data":"x","request_body":"not json","summary":"s"})), "s");
    for row in [json!({}), json!({"request_body":5,"summary":""}), json!({"summary":5,"data":[1]})] {
        assert_eq!(read(row), "");
    }
}

#[test]
fn files_are_found_in_each_of_their_places() {
    let find = |row: Value| {
        let Value::Object(fields) = row else { panic!() };
        attachments(&fields, &request_body(&fields))
    };
    let pdf = Attachment {
        kind: "file".into(),
        uri: Some("workspace:f.pdf".into()),
        bytes: None,
        name: Some("f.pdf".into()),
        media_type: Some("application/pdf".into()),
        size: None,
    };
    let file = json!({"uri":"workspace:f.pdf","name":"f.pdf","mime_type":"application/pdf"});
    let inline = json!({"kind":"file","uri":"workspace:f.pdf","name":"f.pdf","mime_type":"application/pdf"});
    for row in [
        json!({"attachments":[inline, 7, {"uri":"no kind"}]}),
        json!({"request_body":{"params":{"message":{"parts":[{"kind":"text","text":"x"},{"kind":"file","file":file}]}}}}),
        json!({"request_body":{"params":{"message":{"parts":[inline,{"kind":"image"}]}}}}),
        json!({"request_body":{"uri":"workspace:f.pdf","name":"f.pdf","mimeType":"application/pdf","file_id":"1"}}),
    ] {
        assert_eq!(find(row.clone()), std::slice::from_ref(&pdf), "{row}");
    }
    assert_eq!(find(json!({"request_body":{"file_id":"1","name":"n","mimeType":"image/png"}}))[0].kind, "image");
    assert!(find(json!({"attachments":"x","request_body":{"file_id":"1"}})).is_empty());

    // The row's list has no bytes, and the message has them.
    let with_parts = |attachments: Value| {
        let parts = json!([{ "raw": "aGk=", "filename": "a" }, { "url": "u", "filename": "b" }]);
        let row =
            json!({ "attachments": attachments, "request_body": { "params": { "message": { "parts": parts } } } });
        let files: Vec<_> = find(row).into_iter().map(|file| (file.name, file.uri, file.bytes)).collect();
        files
    };
    let (a, b) = (Some("a".to_owned()), Some("b".to_owned()));
    let of_parts = vec![(a, None, Some(b"hi".to_vec())), (b, Some("u".to_owned()), None)];
    assert_eq!(
        with_parts(json!([{ "kind": "file", "name": "a" }, { "kind": "file", "name": "b", "uri": "v" }])),
        of_parts
    );
    let of_row = with_parts(json!([{ "kind": "file", "uri": "v" }, { "kind": "file", "uri": "w" }]));
    assert_eq!(of_row.iter().map(|file| file.1.as_deref()).collect::<Vec<_>>(), [Some("v"), Some("w")]);
}

/// The row's list repeats the parts without their sizes.
#[test]
fn sizes_are_those_of_the_parts_or_the_upload() {
    let sizes = |row: Value| {
        let Value::Object(fields) = row else { panic!() };
        let sizes: Vec<Option<u64>> =
            attachments(&fields, &request_body(&fields)).iter().map(|file| file.size).collect();
        sizes
    };
    let listed = |name: &str| json!({ "kind": "file", "name": name, "uri": name });
    let part = |name: &str, size: u64| json!({ "kind": "file", "file": { "name": name, "uri": name, "size": size } });
    let parts = json!({ "params": { "message": { "parts": [{ "text": "x" }, part("a", 1), part("b", 2)] } } });
    assert_eq!(sizes(json!({ "attachments": [listed("a"), listed("b")], "request_body": parts })), [Some(1), Some(2)]);
    assert_eq!(sizes(json!({ "attachments": [listed("b"), listed("c")], "request_body": parts })), [None, None]);
    let upload = json!({ "file_id": "1", "name": "a", "uri": "a", "size": 10, "mimeType": "text/plain" });
    assert_eq!(sizes(json!({ "request_body": upload })), [Some(10)]);
    assert_eq!(sizes(json!({ "attachments": [listed("a")], "request_body": upload })), [Some(10)]);
}

/// The message is found, whatever stands around it, with its ids and its words.
#[test]
fn message_is_found_in_each_of_its_places() {
    let message = json!({ "messageId": "m", "contextId": "c", "taskId": "t", "parts": [{ "text": "x" }] });
    let names = json!({ "message_id": "m", "context_id": "c", "task_id": "t", "content": "x" });
    for body in [
        json!({ "params": { "message": message } }),
        json!({ "params": { "message": names } }),
        json!({ "params": { "request": { "message": message } } }),
        json!({ "params": { "request": message } }),
        json!({ "params": message }),
        json!({ "message": message }),
        json!({ "request": { "message": names } }),
        json!({ "request": message }),
        message.clone(),
    ] {
        let found = ReceivedMessage::in_request(&body);
        assert_eq!(
            (found.message_id(), found.context_id(), found.task_id()),
            (Some("m"), Some("c"), Some("t")),
            "{body}"
        );
        assert_eq!(read(json!({ "request_body": body })), "x", "{body}");
        assert_eq!(read(json!({ "request_body": body.to_string() })), "x", "{body}");
    }
    // The words beside the message are of something else.
    let beside = json!({ "params": { "message": { "messageId": "m", "parts": [{ "data": 1 }] }, "content": "y" } });
    let found = ReceivedMessage::in_request(&beside);
    assert_eq!((found.message_id(), found.parts().len()), (Some("m"), 1));
    let without_parts = json!({ "params": { "message": { "messageId": "m", "contextId": "", "taskId": 7 } } });
    let found = ReceivedMessage::in_request(&without_parts);
    assert_eq!((found.message_id(), found.context_id(), found.task_id()), (Some("m"), None, None));
    assert!(ReceivedMessage::in_request(&json!("x")).message_id().is_none());
    assert_eq!(read(json!({ "request_body": { "params": { "message": "x" } } })), "x");
}

/// The platform writes a summary for each message, which says nothing of its content.
#[test]
fn text_of_a_row_without_words_says_what_it_has() {
    let row = |parts: Value| json!({ "summary": "SendMessage", "request_body": { "params": { "message": { "parts": parts } } } });
    let data_and_file = json!([{ "data": 1 }, { "kind": "file", "file": { "bytes": "aGk=" } }, { "text": "" }]);
    assert_eq!(read(row(data_and_file.clone())), "[data] [file]");
    assert_eq!(read(row(json!([{ "kind": "later" }]))), "[part]");
    assert_eq!(read(row(json!([{ "text": "" }]))), "SendMessage");
    let mut empty = row(json!([{ "text": "" }]));
    empty["seq"] = 7.into();
    assert_eq!(read(empty), "");
    let named = json!({ "url": "u", "filename": "a.txt", "mediaType": "text/plain" });
    assert_eq!(read(row(json!([named]))), "[file: a.txt, text/plain]");
    let many: Vec<Value> = vec![json!({ "data": 1 }); 100_000];
    assert_eq!(read(row(json!(many))), format!("{}[99990 more]", "[data] ".repeat(10)));
    let mut with_text = row(data_and_file);
    with_text["data"] = json!({ "text": "t" });
    assert_eq!(read(with_text), "t");
    assert_eq!(read(json!({ "attachments": [{ "kind": "image", "uri": "u" }] })), "[file]");
    // The summary is all that an older platform has of a row without parts. Others number their rows.
    assert_eq!(read(json!({ "summary": "s" })), "s");
    assert_eq!(read(json!({ "seq": 7, "summary": "s" })), "");
    let unread = "[".repeat(200);
    assert_eq!(read(json!({ "seq": 7, "summary": "s", "request_body": unread })), "(unreadable A2A message)");
}

/// Returns a list of maps without its brackets. `{"":0},` has 7 bytes of text and takes hundreds of bytes of memory.
fn maps(bytes: usize) -> String {
    vec![r#"{"":0}"#; bytes / 7].join(",")
}

/// Text that is not UTF-8 grows to three times its length when it is read. The page's budget does not grow with it.
#[test]
fn row_that_is_not_utf8_is_listed_if_it_is_alone() {
    let mut body = br#"[{"id":"a","data":""#.to_vec();
    body.extend(vec![0xff; 3 << 20]);
    // More than the row's budget allows.
    body.extend(format!(r#"","x":[{}]}}]"#, maps(1_400_000)).into_bytes());
    let page = activity(&body).unwrap();
    assert_eq!((page.rows.len(), page.unreadable.count), (1, 1));
}

#[test]
fn field_that_takes_the_whole_budget_leaves_room_for_names() {
    let names: String = (0..12).map(|n| format!(r#","z{n}":0"#)).collect();
    let memory = |list: &str| {
        let mut budget = MemoryBudget::new(0, usize::MAX);
        assert!(parse_json(list.as_bytes(), &mut budget).is_ok());
        budget.used()
    };
    // Half more than the row's budget without its text.
    let map = memory(&format!("[{}]", maps(7_000))) / 1_000;
    let list = format!("[{}]", maps(7 * (ROW_ROOM / map) / 2 * 3));
    let row = |pad: usize| format!(r#"{{"id":"a","p":"{}","m":{list}{names},"x":1e999}}"#, "x".repeat(pad));
    // Around the size where the list fits exactly: each byte of text allows five bytes of memory, or more where values
    // are larger.
    let allowed = |text: usize| MemoryBudget::new(text, 0).limit();
    let fits = (memory(&list) - ROW_ROOM - allowed(row(0).len())) / (allowed(3_200) / 3_200);
    for pad in (fits - 50..fits + 450).step_by(20) {
        let page = activity(format!("[{}]", row(pad)).as_bytes()).unwrap();
        assert_eq!((page.rows.len(), page.malformed.count), (1, 0), "{pad}");
    }
}

/// Fields of one name replace each other in the map. The list of unreadable fields must be bounded, too.
#[test]
fn only_the_first_ten_unreadable_fields_are_kept() {
    let text = format!(r#"{{"id":"a"{}}}"#, r#","x":1e999"#.repeat(10_000));
    let page = activity(format!("[{text}]").as_bytes()).unwrap();
    assert_eq!((page.unreadable.count, page.unreadable.excerpts.len()), (10_000, MAX_EXCERPTS));
}
