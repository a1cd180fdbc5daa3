//! Bodies of requests of which only the length was recorded, or the beginning.

use serde_json::{Value, json};

/// A body that is made for a request. Its length is the recorded one, where that says something.
pub fn body_of(what: &str, recorded: &str) -> Vec<u8> {
    let length = recorded.trim_matches(['(', ')']).split(' ').next().unwrap();
    let length: usize = length.parse().unwrap();
    let message = |parts: &str, metadata: &str| {
        let id = crate::new_id();
        format!(
            r#"{{"jsonrpc": "2.0", "id": "{id}", "method": "message/send", "params": {{"message": {{"role": "user", "messageId": "{id}", "parts": {parts}}}{metadata}}}}}"#
        )
    };
    let text = |text: &str| message(&format!(r#"[{{"kind": "text", "text": "{text}"}}]"#), "");
    let name = what.split_once(": ").map_or(what, |(_, name)| name);
    match name {
        "send not JSON" | "not JSON" | "ack not JSON" => vec![b'x'; length],
        "an array" => b"[]".to_vec(),
        "upload, odd name" => multipart("../../etc/pa\u{fc}sswd".replace('\u{fc}', " ").as_str(), "hello file"),
        "upload, long name" => multipart(&("x".repeat(400) + ".txt"), "hello file"),
        "upload 101 MiB" => multipart("big", &"x".repeat(length - 141)),
        "upload, admin token" => multipart("admin.txt", "hello file"),
        "tenant: own upload by cookie" => multipart("human.txt", "x"),
        name if name.starts_with("upload") => multipart("note.txt", "hello file"),
        "a lone surrogate" => text(r"\ud800").into_bytes(),
        "invalid UTF-8" => {
            text("x").replace("\"x\"", "\"\u{1}\"").bytes().map(|b| if b == 1 { 0xff } else { b }).collect()
        }
        "duplicate keys" => {
            let body = text("x");
            body.replace("\"jsonrpc\": \"2.0\"", "\"jsonrpc\": \"1.0\", \"jsonrpc\": \"2.0\"").into_bytes()
        }
        "1e300" => message(r#"[{"kind": "text", "text": "x"}]"#, r#", "n": 1e300"#).into_bytes(),
        name if name.starts_with("metadata nested") => {
            let depth: usize = name.split(' ').nth(2).unwrap().parse().unwrap();
            nested(depth)
        }
        "60,000 file parts" => {
            let part = |n: usize| {
                let (name, uri) = ("n".repeat(40), "u".repeat(60));
                json!({ "kind": "file", "file": { "name": name, "uri": format!("https://x.test/{n}/{uri}") } })
            };
            let parts = Value::Array((0..60_000).map(part).collect());
            message(&parts.to_string(), "").into_bytes()
        }
        // Messages of one character, so many times.
        _ => text(&"<".repeat(length - 225)).into_bytes(),
    }
}

/// A message whose metadata is nested so deep.
pub fn nested(depth: usize) -> Vec<u8> {
    let id = crate::new_id();
    let metadata = "[".repeat(depth) + &"]".repeat(depth);
    format!(
        r#"{{"jsonrpc":"2.0","id":"{id}","method":"message/send","params":{{"message":{{"role":"user","messageId":"{id}","parts":[{{"kind":"text","text":"x"}}]}},"metadata":{metadata}}}}}"#
    )
    .into_bytes()
}

fn multipart(name: &str, content: &str) -> Vec<u8> {
    let head = format!(
        "--boundary\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n"
    );
    format!("{head}{content}\r\n--boundary--\r\n").into_bytes()
}

/// Writes texts that were cut in the recording as long as they were: `mmm…(100000 characters)`.
pub fn lengthen(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((start, rest)) = text.clone().split_once('…') {
                let length: usize = rest.trim_matches(['(', ')']).split(' ').next().unwrap().parse().unwrap();
                *text = start.chars().cycle().take(length).collect();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(lengthen),
        Value::Object(fields) => fields.values_mut().for_each(lengthen),
        _ => {}
    }
}
