use serde_json::json;

use super::*;

fn read(row: Value) -> String {
    let Value::Object(fields) = row else { panic!("{row}") };
    body_text(&fields, &request_body(&fields))
}

#[test]
fn what_is_no_row_is_told_apart() {
    let listed = activity(br#"[{"id":"a","ts":"2026-04-30T12:00:00Z"},7,{"id":7},{"x":1},{"id":" "},null]"#).unwrap();
    let ids: Vec<_> = listed.rows.iter().map(|row| (row.id.as_str(), row.at.is_some())).collect();
    assert_eq!(ids, [("a", true), ("7", false)]);
    assert_eq!(
        (listed.odd.count, listed.odd.shown),
        (4, ["7", r#"{"x":1}"#, r#"{"id":" "}"#, "null"].map(String::from).to_vec())
    );
    for (body, why) in [("{}", "no list"), ("<html>", "not JSON"), ("", "not JSON"), ("null", "no list")] {
        assert!(activity(body.as_bytes()).unwrap_err().to_string().contains(why), "{body}");
    }
    assert_eq!(activity(json!([{ "id": "x".repeat(257) }]).to_string().as_bytes()).unwrap().rows.len(), 0);
}

/// What no value holds stays what it came as, and the rows around it are as ever.
#[test]
fn a_field_that_cannot_be_read_hides_nothing_else() {
    let deep = format!("{{\"params\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for bad in [deep.as_str(), r#"{"text":"\ud800"}"#, r#"{"x":1e999}"#] {
        let body = format!(r#"[{{"id":"a"}},{{"id":"b","summary":"s","request_body":{bad}}},{{"id":"c"}}]"#);
        let listed = activity(body.as_bytes()).unwrap();
        assert_eq!(listed.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((&listed.rows[1].fields["request_body"], listed.unread.count), (&json!(bad), 1));
        assert_eq!(read(Value::Object(listed.rows[1].fields.clone())), "s");
        assert!(listed.unread.shown[0].starts_with(r#""request_body" of "b" ("#), "{:?}", listed.unread);
    }
    let listed = activity(b"[{\"id\":\"a\",\"summary\":\"x\xff\"},{\"id\":1e999},{\"\\ud800\":1}]").unwrap();
    assert_eq!(read(Value::Object(listed.rows[0].fields.clone())), "x\u{fffd}");
    assert_eq!((listed.rows.len(), listed.odd.count), (2, 1));
    assert!(activity(b"[{\"id\":\"a\"},{\"id\":").is_err(), "cut off");
}

#[test]
fn of_many_odd_entries_a_few_are_kept_and_the_rest_is_counted() {
    let listed = activity(json!(vec![7; 1_000]).to_string().as_bytes()).unwrap();
    assert_eq!((listed.odd.shown.len(), listed.odd.count), (MAX_ODDS, 1_000));
}

#[test]
fn the_text_is_found_wherever_it_stands() {
    let parts = json!([{"kind":"text","text":"a"},{"type":"text","text":"b"},{"kind":"data","text":"x"},{"text":"y"}]);
    let full = json!({"params":{"message":{"parts":parts}}});
    for body in [full.clone(), json!({"params":{"parts":parts}}), json!({"parts":parts}), json!(full.to_string())] {
        assert_eq!(read(json!({"request_body":body,"summary":"s"})), "ab");
    }
    let empty =
        json!({"params":{"message":{"parts":[{"kind":"text","text":""}]},"parts":[{"kind":"text","text":"p"}]}});
    assert_eq!(read(json!({"request_body":empty})), "p");
    assert_eq!(read(json!({"data":{"text":"t","message":"m"},"summary":"s"})), "t");
    assert_eq!(read(json!({"data":{"text":"","message":"m"},"summary":"s"})), "m");
    assert_eq!(read(json!({"data":"x","request_body":"not json","summary":"s"})), "s");
    for row in [json!({}), json!({"request_body":5,"summary":""}), json!({"summary":5,"data":[1]})] {
        assert_eq!(read(row), EMPTY);
    }
}

#[test]
fn files_are_found_in_each_of_their_shapes() {
    let find = |row: Value| {
        let Value::Object(fields) = row else { panic!() };
        attachments(&fields, &request_body(&fields))
    };
    let pdf = Attachment {
        kind: "file".into(),
        uri: Some("workspace:f.pdf".into()),
        name: Some("f.pdf".into()),
        media_type: Some("application/pdf".into()),
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
}

/// `{"":0},` is 7 bytes of text and hundreds of memory.
fn maps(bytes: usize) -> String {
    vec![r#"{"":0}"#; bytes / 7].join(",")
}

/// What is not UTF-8 grows to three times its length when it is read, and the page's bound does not with it: a row that
/// is asked for alone is listed all the same.
#[test]
fn a_row_that_grows_as_it_is_read_is_listed_where_it_stands_alone() {
    let mut body = br#"[{"id":"a","data":""#.to_vec();
    body.extend(vec![0xff; 3 << 20]);
    // As much as the row's own bound takes, and more than the page's.
    body.extend(format!(r#"","x":[{}]}}]"#, maps(550_000)).into_bytes());
    let listed = activity(&body).unwrap();
    assert_eq!((listed.rows.len(), listed.unread.count), (1, 1));
}

/// Though a field take all that there is, to the byte.
#[test]
fn a_field_that_takes_all_leaves_room_for_the_names_of_the_others() {
    let names: String = (0..12).map(|n| format!(r#","z{n}":0"#)).collect();
    let list = format!("[{}]", maps(7 * 14_000));
    let row = |pad: usize| format!(r#"{{"id":"a","p":"{}","m":{list}{names},"x":1e999}}"#, "x".repeat(pad));
    let mut all = MemoryBudget::new(0, usize::MAX);
    assert!(parse_json(list.as_bytes(), &mut all).is_ok());
    // About where it fits: each byte of text is room for five.
    let fits = (all.used() - ROW_ROOM - 5 * row(0).len()) / 5;
    for pad in (fits - 50..fits + 450).step_by(20) {
        let listed = activity(format!("[{}]", row(pad)).as_bytes()).unwrap();
        assert_eq!((listed.rows.len(), listed.odd.count), (1, 0), "{pad}");
    }
}

/// The same name again and again takes no more room in a map, and is to take none beside it.
#[test]
fn of_many_fields_that_cannot_be_read_a_few_are_kept_and_the_rest_is_counted() {
    let text = format!(r#"{{"id":"a"{}}}"#, r#","x":1e999"#.repeat(10_000));
    let listed = activity(format!("[{text}]").as_bytes()).unwrap();
    assert_eq!((listed.unread.count, listed.unread.shown.len()), (10_000, MAX_ODDS));
}
