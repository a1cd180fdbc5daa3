//! Messages in each form that agents write them in. None loses its words, its files or its data.

use a2a_blocking::{FileContent, InboxMessage, InboxMessageKind, Part, Verdict};
use serde_json::{Value, json};

use crate::poll::{drain, fast_poller};
use crate::support::platform::{Platform, SECOND};
use crate::support::{Dir, PEER};

/// Delivers a row for each of these, and returns what `read` makes of them.
fn deliver<T>(rows: impl IntoIterator<Item = Value>, mut read: impl FnMut(&InboxMessage) -> T) -> Vec<T> {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-spellings"));
    for (row, at) in rows.into_iter().zip(1..) {
        platform.add_row(at * SECOND, row);
    }
    let server = platform.serve();
    let mut seen = Vec::new();
    let mut poller = fast_poller(&server, &dir.file("c")).build().unwrap();
    let polled = poller.poll_once(|message| {
        seen.push(read(message));
        Verdict::Ack
    });
    polled.unwrap();
    assert!(drain(&mut poller).is_empty());
    seen
}

fn row(params: Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "method": "message/send", "params": params });
    json!({ "source_id": PEER, "method": "message/send", "summary": null, "request_body": request })
}

#[test]
fn words_files_and_data_are_found_in_each_spelling() {
    let (words, data) = ("deploy to staging", "[data]");
    let pdf = "[file: a.pdf, application/pdf]";
    let spellings = [
        (json!({ "parts": [{ "text": words }] }), words, None),
        (
            json!({ "parts": [{ "url": "https://h/a.pdf", "filename": "a.pdf", "mediaType": "application/pdf" }] }),
            pdf,
            Some((Some("https://h/a.pdf"), Some("a.pdf"), Some("application/pdf"))),
        ),
        (
            json!({ "parts": [{ "raw": "aGk=", "filename": "a.txt", "mediaType": "text/plain" }] }),
            "[file: a.txt, text/plain]",
            Some((None, Some("a.txt"), Some("text/plain"))),
        ),
        (json!({ "parts": [{ "data": { "ticket": 4211 } }] }), data, None),
        (json!({ "content": words }), words, None),
        (json!({ "content": [{ "text": words }] }), words, None),
        (json!({ "parts": [{ "root": { "kind": "text", "text": words } }] }), words, None),
        (
            json!({ "parts": [{ "kind": "file", "file": { "fileWithUri": "https://h/a.pdf", "mediaType": "application/pdf" } }] }),
            "[file: application/pdf]",
            Some((Some("https://h/a.pdf"), None, Some("application/pdf"))),
        ),
        (
            json!({ "parts": [{ "kind": "file", "file": { "bytes": "aGk=", "mimeType": "image/png" } }] }),
            "[file: image/png]",
            Some((None, None, Some("image/png"))),
        ),
        (json!({ "parts": [{ "kind": "data", "data": { "ticket": 4211 } }] }), data, None),
    ];
    let as_message = spellings.iter().map(|(message, ..)| row(json!({ "message": message })));
    let in_request = spellings.iter().map(|(message, ..)| row(json!({ "request": { "message": message } })));
    // Older platforms give the request as text.
    let as_text = spellings.iter().map(|(message, ..)| {
        let mut row = row(json!({ "message": message }));
        row["request_body"] = row["request_body"].to_string().into();
        row
    });
    let seen = deliver(as_message.chain(in_request).chain(as_text), |message| message.clone());
    assert_eq!(seen.len(), 30);
    for (message, (spelling, text, attachment)) in seen.iter().zip(spellings.iter().cycle()) {
        assert_eq!(message.text(), *text, "{spelling}");
        let files = message.attachments().iter();
        let files: Vec<_> =
            files.map(|file| (file.uri.as_deref(), file.name.as_deref(), file.media_type.as_deref())).collect();
        assert_eq!(files, attachment.iter().copied().collect::<Vec<_>>(), "{spelling}");
        let bytes = message.attachments().iter().find(|file| file.uri.is_none()).map(|file| file.bytes.as_deref());
        assert!(bytes.is_none_or(|bytes| bytes == Some(b"hi")), "{spelling}");
        match message.parts().as_slice() {
            [Part::Text(part)] => assert_eq!(part, text, "{spelling}"),
            [Part::Data(part)] => assert_eq!(part["ticket"], 4211, "{spelling}"),
            [Part::File(part)] => match &part.content {
                FileContent::Uri(uri) => assert_eq!(*uri, "https://h/a.pdf"),
                FileContent::Bytes(bytes) => assert_eq!(bytes, b"hi"),
                other => panic!("{other:?}"),
            },
            other => panic!("{spelling}: {other:?}"),
        }
    }
}

#[test]
fn ids_of_a_message_are_those_that_its_sender_gave() {
    let ids = |message: &InboxMessage| {
        let own = |id: Option<&str>| id.map(str::to_owned);
        (own(message.message_id()), own(message.context_id()), own(message.task_id()))
    };
    let message = json!({ "messageId": "m", "contextId": "c", "taskId": "t", "parts": [{ "text": "x" }] });
    let rows =
        [row(json!({ "message": message })), row(json!({ "message": { "parts": [] } })), json!({ "summary": "s" })];
    let seen = deliver(rows, ids);
    let all = |ids: [&str; 3]| ids.map(|id| Some(id.to_owned())).into();
    assert_eq!(seen, [all(["m", "c", "t"]), (None, None, None), (None, None, None)]);
}

/// An empty id is not taken for that of the human, whose rows have none.
#[test]
fn sender_without_a_visible_id_is_nobody() {
    let blank = ["", "  \t", "\u{200b}", "\u{feff}\u{2060}", "\u{1c}"];
    let rows =
        blank.map(|id| json!({ "source_id": id, "peer_name": "mallory", "method": "message/send", "summary": "x" }));
    let seen = deliver(rows, |message| {
        let refused = message.reply("x").unwrap_err().to_string();
        assert!(refused.contains("names no sender"), "{refused}");
        (message.kind(), message.peer(), message.envelope().content().to_owned())
    });
    assert_eq!(seen, vec![(InboxMessageKind::System, None, "[unknown sender]\nx".to_owned()); blank.len()]);
    let human = deliver([json!({ "source_id": null, "summary": "x" }), json!({ "summary": "x" })], InboxMessage::kind);
    assert_eq!(human, [InboxMessageKind::Human; 2]);
}
