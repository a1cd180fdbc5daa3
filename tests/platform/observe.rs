//! Observations: what was recorded beside exchanges, and how it is put in place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bodies::{body_of, nested};
use crate::compare::with_spaces;
use crate::http::{EventStream, send};
use crate::world::{PATIENCE, World};

/// Compares the rows of a workspace with the recorded ones, field by field.
pub fn rows(world: &mut World, name: &str, query: &str, recorded: &Value) -> Result<(), String> {
    let recorded = recorded.as_array().unwrap();
    let rows = world.rows(name, query);
    let own: Vec<Value> = rows.iter().map(compact).collect();
    if own.len() != recorded.len() {
        return Err(format!("{} rows instead of {}: {:.1200}", own.len(), recorded.len(), json!(own)));
    }
    for (at, (recorded, own)) in recorded.iter().zip(&own).enumerate() {
        let mut own = own.clone();
        let mut recorded = recorded.clone();
        for (key, most) in [("summary", 90), ("response", 160)] {
            // These were cut by the recorder.
            let (Some(one), Some(other)) = (recorded[key].as_str(), own[key].as_str()) else { continue };
            if one.chars().count() >= most - 4 || (key == "response" && serde_json::from_str::<Value>(one).is_err()) {
                // The end may be a part of an id.
                let end = if key == "response" { one.rfind("\": \"").unwrap_or(one.len()) } else { one.len() };
                world.bindings.text(&one[..end], other, true).map_err(|why| format!("row {at}, {key}: {why}"))?;
                recorded.as_object_mut().unwrap().remove(key);
                own.as_object_mut().unwrap().remove(key);
            }
        }
        // Fields that the recorder left out of this list.
        if recorded.get("seq").is_none() {
            let keys: Vec<String> = recorded.as_object().unwrap().keys().cloned().collect();
            let row = serde_json::to_value(&rows[at]).unwrap();
            own = Value::Object(keys.into_iter().map(|key| (key.clone(), row[&key].clone())).collect());
        }
        world.bindings.json(&recorded, &own, &format!("row {at}"))?;
    }
    Ok(())
}

/// Returns a row as the recorder shortened it.
fn compact(row: &std::collections::HashMap<String, Box<serde_json::value::RawValue>>) -> Value {
    let whole = serde_json::to_value(row).unwrap();
    let mut out = serde_json::Map::new();
    let kept = ["seq", "activity_type", "method", "source_id", "target_id", "status", "summary", "error_detail"];
    for key in kept.into_iter().chain(["duration_ms", "created_at"]) {
        if !whole[key].is_null() {
            out.insert(key.to_owned(), whole[key].clone());
        }
    }
    let params = &whole["request_body"]["params"];
    let message = &params["message"];
    let texts = message["parts"].as_array().into_iter().flatten().filter_map(|part| part.get("text").cloned());
    out.insert("text".to_owned(), texts.collect());
    for key in ["messageId", "contextId"] {
        if !message[key].is_null() {
            out.insert(key.to_owned(), message[key].clone());
        }
    }
    if !params["metadata"].is_null() {
        out.insert("metadata".to_owned(), params["metadata"].clone());
    }
    if let Some(response) = row.get("response_body") {
        let text = with_spaces(response.get()).replace("\\u003c", "<").replace("\\u003e", ">");
        out.insert("response".to_owned(), text.into());
    }
    Value::Object(out)
}

/// Compares the sequence numbers of a list.
pub fn seqs(world: &mut World, name: &str, query: &str, recorded: &Value) -> Result<(), String> {
    let rows = world.rows(name, query);
    let own: Value = rows.iter().map(|row| json!({ "seq": serde_json::to_value(&row["seq"]).unwrap() })).collect();
    let recorded: Value = recorded.as_array().unwrap().iter().map(|seq| json!({ "seq": seq })).collect();
    world.bindings.json(&recorded, &own, "seqs")
}

/// Compares the events that came with the recorded ones.
pub fn events(world: &mut World, recorded: &Value, stream: usize) -> Result<(), String> {
    let recorded = recorded.as_array().unwrap();
    let own = world.streams[stream].events(recorded.len());
    let own: Vec<Value> = own.iter().map(|line| event(line)).collect();
    let shown = |recorded: &Value| {
        let mut shown = recorded.clone();
        shown.as_object_mut().unwrap().remove("ms_after_return");
        shown
    };
    let recorded: Vec<Value> = recorded.iter().map(shown).collect();
    if own == recorded {
        Ok(())
    } else {
        Err(format!("{:.1500}\n      instead of {:.1500}", json!(own), json!(recorded)))
    }
}

fn event(line: &str) -> Value {
    let event: Value = serde_json::from_str(&line[6..]).unwrap();
    let data = &event["data"];
    let keys: Vec<&String> = data.as_object().unwrap().keys().collect();
    json!({
        "event": event["type"],
        "activity_type": data.get("activity_type"),
        "method": data.get("method").filter(|_| data.get("activity_type").is_some()),
        "keys": keys,
        "bytes": recorded_length(&event),
    })
}

/// Returns the length that the recorder wrote down: that of the event as its own language writes JSON.
fn recorded_length(event: &Value) -> usize {
    with_spaces(&event.to_string()).chars().map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() }).sum()
}

/// Compares the head of a connection with the recorded one, and what came of its body.
pub fn raw(world: &mut World, recorded: &str, workspace: &str, token: &str, more: &str) -> Result<(), String> {
    let mut stream = EventStream::open(&world.host, workspace, token, more);
    let ends = if recorded.contains(": ping") { "8\r\n: ping\n\n\r\n" } else { "}" };
    let own = stream.read_until(|text| text.ends_with(ends));
    let lines = |text: &str| -> Vec<String> {
        let head = text.split("\r\n\r\n").next().unwrap();
        let lines = head.split("\r\n").filter(|line| !line.starts_with("X-Ratelimit") && !line.starts_with("Date"));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let is_cut = !recorded.contains("\r\n\r\n");
    let (mut one, other) = (lines(recorded), lines(&own));
    if is_cut {
        one.retain(|line| other.contains(line) || !line.starts_with("X-Ratelimit"));
    }
    if !one.iter().all(|line| other.contains(line)) || (!is_cut && one.len() != other.len()) {
        return Err(format!("{other:?}\n      instead of {one:?}"));
    }
    let limits =
        |text: &str| ["Limit", "Remaining", "Reset"].iter().all(|name| text.contains(&format!("X-Ratelimit-{name}: ")));
    let body = |text: &str| text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    if !limits(&own) || (!is_cut && !body(&own).unwrap().starts_with(&body(recorded).unwrap())) {
        return Err(own);
    }
    world.streams.push(stream);
    Ok(())
}

/// Compares a workspace with what was recorded of it after a registration. What was not recorded of that is done first.
pub fn after_registration(world: &mut World, what: &str, recorded: &Value) -> Result<(), String> {
    let handle = world.workspace("C_ONE");
    let mut body = json!({ "id": handle.id(), "url": "", "agent_card": { "name": "c_one" }, "delivery_mode": "poll" });
    match what {
        "c: after agent_card []" => body["agent_card"] = json!([]),
        "c: after mode ''" => body["delivery_mode"] = "".into(),
        "c: after push, no url" => body["delivery_mode"] = "push".into(),
        // The state before the file begins.
        "c: after no agent_card" => {
            body["agent_card"] = json!({ "name": "second process" });
        }
        _ => body = Value::Null,
    }
    if !body.is_null() {
        let token = ("Authorization".to_owned(), format!("Bearer {}", handle.token().unwrap()));
        send(&world.host, "POST", "/registry/register", &[token], Some(body.to_string().as_bytes()), PATIENCE).unwrap();
    }
    let answer = world.call("GET", &format!("/workspaces/{}", handle.id()), None);
    let own: Value = serde_json::from_slice(&answer.body).unwrap();
    let keys = recorded.as_object().unwrap().keys().filter(|key| *key != "what");
    let (mut one, mut other) = (serde_json::Map::new(), serde_json::Map::new());
    for key in keys {
        one.insert(key.clone(), recorded[key].clone());
        other.insert(key.clone(), own[key].clone());
    }
    world.bindings.json(&Value::Object(one), &Value::Object(other), "workspace")
}

/// Counts the rows that a send made. A send that was not recorded is done first.
pub fn rows_made(world: &mut World, what: &str, recorded: &Value) -> Result<(), String> {
    let (target, peer) = (world.workspace("R_SELF"), world.workspace("R_PEER"));
    let name = what.strip_prefix("r: rows that ").unwrap().strip_suffix(" made").unwrap();
    let message = |id: &str, more: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":"1","method":"message/send","params":{{"message":{{"role":"user","messageId":"{id}","parts":[{{"kind":"text","text":"x"}}]}}{more}}}}}"#
        )
        .into_bytes()
    };
    let random: String = (0..3_000).map(|n: u32| char::from(b'a' + (n * 7 % 26) as u8)).collect();
    let body = match name {
        "NUL in a key" => Some(message("nul-key", r#","metadata":{"\u0000":1}"#)),
        "messageId of 3,000 random characters" => Some(message(&random, "")),
        "metadata nested 500 deep" => Some(nested(500)),
        "1e400" => Some(message("too-large", r#","n":1e400"#)),
        "an array (a batch)" => Some([b"[".to_vec(), body_of("x", "(226 bytes)"), b"]".to_vec()].concat()),
        _ => None,
    };
    if let Some(body) = body {
        let count = world.rows("R_SELF", "").len();
        world.bindings.0.insert("rows".to_owned(), count.to_string());
        let headers = [
            ("Authorization".to_owned(), format!("Bearer {}", peer.token().unwrap())),
            ("X-Workspace-ID".to_owned(), peer.id().to_owned()),
        ];
        let path = format!("/workspaces/{}/a2a", target.id());
        world.last = send(&world.host, "POST", &path, &headers, Some(&body), PATIENCE).unwrap();
    }
    let status = world.last.status;
    let made = world.rows("R_SELF", "").len() - world.bindings.0.get("rows").map_or(0, |rows| rows.parse().unwrap());
    if (recorded["status"].is_null() || recorded["status"] == status) && recorded["rows"] == made {
        return Ok(());
    }
    Err(format!("status {status}, {made} rows instead of {recorded}"))
}

/// Asks until an answer is as recorded: what goes on in the background takes its time.
pub fn until(what: &str, mut is_done: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let result = is_done();
        if result.is_ok() || Instant::now() > give_up {
            return result.map_err(|why| format!("{what}: {why}"));
        }
        std::thread::yield_now();
    }
}
