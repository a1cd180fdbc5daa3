use serde_json::json;

use super::read::*;
use super::*;

/// Each spelling of a text, a file and data, with what it says.
fn spellings() -> Vec<(Value, Part<'static>)> {
    let data: &'static Value = Box::leak(Box::new(json!({ "a": 1 })));
    let bytes = || FileContent::Bytes(b"hi".to_vec());
    let file = |name, media_type, content| Part::File(File { name, media_type, content });
    let uri = "https://h/f";
    vec![
        (json!({ "kind": "text", "text": "x" }), Part::Text("x")),
        (json!({ "type": "text", "text": "x" }), Part::Text("x")),
        (json!({ "text": "x" }), Part::Text("x")),
        (json!({ "kind": null, "text": "x" }), Part::Text("x")),
        (json!({ "kind": "", "type": "text", "text": "x" }), Part::Text("x")),
        (json!({ "text": "x", "filename": "", "mediaType": "", "metadata": {} }), Part::Text("x")),
        (json!({ "root": { "kind": "text", "text": "x" } }), Part::Text("x")),
        (json!({ "root": { "root": { "text": "x" } } }), Part::Text("x")),
        (json!("x"), Part::Text("x")),
        (json!({ "kind": "text", "text": "" }), Part::Text("")),
        (json!({ "text": "" }), Part::Text("")),
        (json!({ "kind": "data", "data": data }), Part::Data(data)),
        (json!({ "type": "data", "data": data }), Part::Data(data)),
        (json!({ "data": data }), Part::Data(data)),
        (json!({ "text": null, "data": data, "url": null }), Part::Data(data)),
        (json!({ "text": "", "data": data, "raw": "" }), Part::Data(data)),
        (json!({ "root": { "data": data } }), Part::Data(data)),
        (
            json!({ "kind": "file", "file": { "bytes": "aGk=", "name": "n", "mimeType": "m" } }),
            file(Some("n"), Some("m"), bytes()),
        ),
        (
            json!({ "type": "file", "file": { "bytes": "aGk", "name": "n", "mimeType": "m" } }),
            file(Some("n"), Some("m"), bytes()),
        ),
        (json!({ "raw": "aGk=", "filename": "n", "mediaType": "m" }), file(Some("n"), Some("m"), bytes())),
        (
            json!({ "file": { "fileWithBytes": "aGk=", "name": "n", "mediaType": "m" } }),
            file(Some("n"), Some("m"), bytes()),
        ),
        (
            json!({ "file": { "file_with_bytes": "aGk=", "name": "n", "media_type": "m" } }),
            file(Some("n"), Some("m"), bytes()),
        ),
        (json!({ "kind": "file", "file": { "uri": uri } }), file(None, None, FileContent::Uri(uri))),
        (json!({ "kind": "file", "uri": uri, "mime_type": "m" }), file(None, Some("m"), FileContent::Uri(uri))),
        (json!({ "kind": "file", "file": null, "uri": uri }), file(None, None, FileContent::Uri(uri))),
        (json!({ "kind": "file", "name": "n", "file": { "uri": uri } }), file(Some("n"), None, FileContent::Uri(uri))),
        (json!({ "kind": "file", "file": { "fileWithUri": uri } }), file(None, None, FileContent::Uri(uri))),
        (json!({ "file": { "file_with_uri": uri } }), file(None, None, FileContent::Uri(uri))),
        (json!({ "url": uri, "text": "", "filename": "" }), file(None, None, FileContent::Uri(uri))),
        (json!({ "root": { "url": uri } }), file(None, None, FileContent::Uri(uri))),
        (json!({ "kind": "image", "uri": uri }), file(None, None, FileContent::Uri(uri))),
        (
            json!({ "kind": "file", "uri": "", "url": uri, "name": "", "mimeType": "", "mime_type": "m" }),
            file(None, Some("m"), FileContent::Uri(uri)),
        ),
    ]
}

#[test]
fn part_is_read_in_each_of_its_spellings() {
    for (value, expected) in spellings() {
        assert_eq!(part(&value), expected, "{value}");
        assert_eq!(text(&value), if let Part::Text(text) = expected { Some(text) } else { None }, "{value}");
        assert!(!is_broken_text(&value), "{value}");
    }
}

/// The inbox and the replies have one reader: what is a file in one is an attachment in the other.
#[test]
fn attachment_has_the_fields_of_the_file() {
    for (value, expected) in spellings() {
        let found = file_attachment(&value);
        let Part::File(file) = expected else {
            assert_eq!(found, None, "{value}");
            continue;
        };
        let found = found.unwrap_or_else(|| panic!("{value}"));
        assert_eq!((found.name.as_deref(), found.media_type.as_deref()), (file.name, file.media_type), "{value}");
        match file.content {
            FileContent::Uri(uri) => assert_eq!((found.uri.as_deref(), found.bytes), (Some(uri), None), "{value}"),
            FileContent::Bytes(bytes) => assert_eq!((found.uri, found.bytes), (None, Some(bytes)), "{value}"),
        }
        assert_eq!(found.kind, if value["kind"] == "image" { "image" } else { "file" }, "{value}");
    }
    let kind = |media_type: &str| file_attachment(&json!({ "url": "u", "mediaType": media_type })).unwrap().kind;
    assert_eq!(
        ["image/png", "audio/ogg", "video/mp4", "text/plain", "imagex"].map(kind),
        ["image", "audio", "video", "file", "file"]
    );
}

/// Its name is all that is known of it, or its bytes are not base64. It was sent all the same.
#[test]
fn file_without_usable_content_is_an_attachment() {
    for value in [
        json!({ "kind": "file", "file": { "name": "n" } }),
        json!({ "file": { "name": "n" } }),
        json!({ "kind": "file", "file": { "name": "n", "bytes": "not base64!" } }),
        json!({ "raw": "not base64!", "filename": "n" }),
    ] {
        let found = file_attachment(&value).unwrap_or_else(|| panic!("{value}"));
        assert_eq!((found.name.as_deref(), found.uri, found.bytes), (Some("n"), None, None), "{value}");
        assert_eq!(part(&value), Part::Other(&value));
    }
}

#[test]
fn unknown_or_unusable_part_is_other() {
    for other in [
        json!({ "kind": "later", "x": 1 }),
        json!({ "kind": "later", "text": "x" }),
        json!({ "kind": "data", "type": "text", "text": "x" }),
        json!({ "kind": "file" }),
        json!({ "kind": "file", "file": 7 }),
        json!({ "kind": "data" }),
        json!({ "kind": "text" }),
        json!({ "root": 1 }),
        json!({ "root": {} }),
        json!({ "filename": "n" }),
        json!(["x"]),
        json!(null),
    ] {
        assert_eq!(part(&other), Part::Other(&other));
        assert!(!is_broken_text(&other) && file_attachment(&other).is_none(), "{other}");
    }
    for broken in [
        json!({ "kind": "text", "text": 5 }),
        json!({ "kind": "text", "text": null }),
        json!({ "text": 5 }),
        json!({ "root": { "text": [] } }),
    ] {
        assert!(is_broken_text(&broken), "{broken}");
    }
    for text in ["-_-_", "+/+/", "aGk", "aGk="] {
        assert!(matches!(part(&json!({ "raw": text })), Part::File(_)), "{text}");
    }
}

#[test]
fn parts_are_found_in_each_of_their_places() {
    let part = json!({ "text": "x" });
    for message in [
        json!({ "parts": [part] }),
        json!({ "parts": part }),
        json!({ "parts": "x" }),
        json!({ "content": [part] }),
        json!({ "content": part }),
        json!({ "content": "x" }),
        json!({ "content": ["x"] }),
        json!({ "parts": [], "content": "x" }),
        json!({ "parts": null, "content": "x" }),
        json!("x"),
    ] {
        let found: Vec<Part<'_>> = parts(&message).iter().map(read::part).collect();
        assert_eq!(found, [Part::Text("x")], "{message}");
    }
    for empty in
        [json!({}), json!({ "parts": [] }), json!({ "content": "" }), json!({ "parts": 5 }), json!(""), json!([1])]
    {
        assert!(parts(&empty).is_empty(), "{empty}");
    }
}

#[test]
fn debug_has_no_contents_of_files() {
    let bytes = json!({ "raw": "aGk=", "filename": "n" });
    let shown = format!("{:?} {:?}", part(&bytes), file_attachment(&bytes).unwrap());
    assert!(shown.contains("content: Bytes(2 bytes)") && shown.contains("bytes: Some(2 bytes)"), "{shown}");
    let uri = json!({ "url": "u" });
    let shown = format!("{:?} {:?}", part(&uri), file_attachment(&uri).unwrap());
    assert!(shown.contains(r#"content: Uri("u")"#) && shown.contains("bytes: None"), "{shown}");
}

#[test]
fn kinds_stand_in_for_missing_words() {
    let (file, data, other) = (json!({ "raw": "!" }), json!({ "data": 1 }), json!({ "kind": "later" }));
    assert_eq!(describe_kinds([&file, &json!("")]).as_deref(), Some("(no text: 1 file)"));
    let all = [&file, &data, &data, &other, &other];
    assert_eq!(describe_kinds(all).as_deref(), Some("(no text: 1 file, 2 data parts, 2 other parts)"));
    assert_eq!((describe_kinds([]), describe_kinds([&json!("")])), (None, None));
}

#[test]
fn part_without_words_is_described() {
    let long = "n".repeat(1_000);
    for (part, shown) in [
        (json!({ "kind": "text", "text": "" }), None),
        (json!({ "data": { "a": 1 } }), Some("[data]".to_owned())),
        (json!({ "kind": "later" }), Some("[part]".to_owned())),
        (json!({ "raw": "aGk=" }), Some("[file]".to_owned())),
        (json!({ "url": "u", "filename": "a.txt" }), Some("[file: a.txt]".to_owned())),
        (json!({ "kind": "image", "uri": "u", "mimeType": "image/png" }), Some("[file: image/png]".to_owned())),
        (
            json!({ "kind": "file", "file": { "uri": "u", "name": "a\n.txt", "mimeType": "text/plain" } }),
            Some("[file: a\\n.txt, text/plain]".to_owned()),
        ),
        (json!({ "url": "u", "filename": long }), Some(format!("[file: {}]", &long[..100]))),
    ] {
        assert_eq!(describe(&part), shown, "{part}");
    }
}

#[test]
fn attachment_has_the_size_of_its_bytes_or_else_the_one_that_is_given() {
    for (part, size) in [
        (json!({ "url": "u", "size": 10 }), Some(10)),
        (json!({ "kind": "file", "file": { "uri": "u", "size": 10 } }), Some(10)),
        (json!({ "kind": "file", "size": 10, "file": { "uri": "u" } }), Some(10)),
        (json!({ "raw": "aGk=", "size": 10 }), Some(2)),
        (json!({ "url": "u", "size": -1 }), None),
        (json!({ "url": "u", "size": "10" }), None),
        (json!({ "url": "u" }), None),
    ] {
        assert_eq!(file_attachment(&part).unwrap().size, size, "{part}");
    }
}

#[test]
fn file_of_the_platform_has_an_id() {
    let id = |uri: &str| attachment("file", &json!({ "uri": uri })).file_id().map(str::to_owned);
    assert_eq!(id("platform-pending:ws/f-1").as_deref(), Some("f-1"));
    assert_eq!(id("platform-pending:f-1").as_deref(), Some("f-1"));
    assert_eq!(id("platform-pending:ws/a/../b").as_deref(), Some("a/../b"), "whoever opens it checks it");
    for uri in ["", "https://x.test/f", "workspace:/f", "platform-pending"] {
        assert_eq!(id(uri), None, "{uri}");
    }
}
