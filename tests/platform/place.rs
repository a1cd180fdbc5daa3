//! Steps before and after a line, and the observations.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{EventStream, send};
use crate::measure;
use crate::observe::{after_registration, events, raw, rows, rows_made, seqs, until};
use crate::world::{PATIENCE, World};

/// Puts in place what happened between two recorded lines.
pub fn before(world: &mut World, what: &str) {
    match world.file {
        "ack" => before_ack(world, what),
        "big-rows" => measure::before(world, what),
        "duplicates" if what == "d: send 0 to the unregistered" => drop(world.workspace("D_POLL")),
        "first" => before_first(world, what),
        "paging" => before_paging(world, what),
        "push-agents" => before_push(world, what),
        "queue" => before_queue(world, what),
        "registration" if what.starts_with("r: ") && !what.contains("rows that") => {
            let count = world.rows("R_SELF", "").len();
            world.bindings.0.insert("rows".to_owned(), count.to_string());
        }
        "registration" if what == "c: register, wrong token" => {
            after_registration(world, "c: after no agent_card", &json!({})).unwrap();
        }
        "removal" => before_removal(world, what),
        "rows" => before_rows(world, what),
        "states" => before_states(world, what),
        "stream" => before_stream(world, what),
        _ => {}
    }
}

fn text(world: &mut World, from: &str, to: &str, text: &str) {
    let (from, to) = (world.workspace(from), world.workspace(to));
    world.platform.send(&from, &to, text).unwrap();
}

fn before_ack(world: &mut World, what: &str) {
    match what {
        "l: seqs" => (0..4).for_each(|n| text(world, "L_PEER", "L_SELF", &format!("l {n}"))),
        "l: mail summary then, one new message" => text(world, "L_PEER", "L_SELF", "new"),
        _ => {}
    }
}

fn before_first(world: &mut World, what: &str) {
    match what {
        "register upper-case id" => {
            let (alpha, beta) = (world.workspace("ALPHA"), world.workspace("BETA"));
            let ids = [("5c168cf2-8830-4d70-a070-fa68baaa7e1b", alpha), ("a8d4cc14-0256-486d-b459-f3f8f23326e2", beta)];
            world.bindings.0.extend(ids.map(|(id, handle)| (id.to_owned(), handle.id().to_owned())));
        }
        // Its rows were in answers that were cut.
        "inbox since_id" => {
            let row = world.platform.ledger().into_iter().find(|row| row.seq == 27).unwrap();
            world.bindings.0.insert("137971b2-2ec6-4736-b051-8b82641bf20f".to_owned(), row.row_id);
        }
        "inbox before_ts" => {
            world.bindings.0.insert("2026-11-29T14:57:02Z".to_owned(), "2099-01-01T00:00:00Z".to_owned());
        }
        "delegate" => world.platform.hold_background(true),
        "delegation update" => {
            world.platform.hold_background(false);
            world.wait_for_rows("ALPHA", 1, is_result);
        }
        _ => {}
    }
}

fn is_result(row: &Value) -> bool {
    row["method"] == "delegate_result" && row["activity_type"] == "a2a_receive"
}

fn before_paging(world: &mut World, what: &str) {
    if what != "n: since_id of another workspace's row" {
        return;
    }
    (0..7).for_each(|n| text(world, "N_PEER", "N_SELF", &format!("n {n}")));
    text(world, "N_SELF", "N_PEER", "other");
    let id = world.workspace("N_SELF").id().to_owned();
    let report = json!({ "activity_type": "agent_log", "summary": "x" }).to_string();
    world.call("POST", &format!("/workspaces/{id}/activity"), Some(&report));
    let mut bind = |name: &str, at: usize, recorded: &str| {
        let id = serde_json::to_value(&world.rows(name, "")[at]["id"]).unwrap();
        world.bindings.0.insert(recorded.to_owned(), id.as_str().unwrap().to_owned());
    };
    bind("N_PEER", 0, "9745feaf-ec27-47d8-8826-c89292e02d23");
    bind("N_SELF", 0, "6ad3534d-c9bf-4c0c-a055-b6e101ef778d");
    bind("N_SELF", 4, "cf17408b-e16d-4b60-a088-c3ed45b6c435");
}

fn before_push(world: &mut World, what: &str) {
    match what {
        "f2: through BASE" => {
            let handle = world.workspace("F2_SENDER");
            let mut stream = EventStream::open(&world.host, handle.id(), &handle.token().unwrap(), "");
            stream.read_until(|text| text.contains(": ping"));
            world.streams.push(stream);
        }
        "f3: heartbeat" => {
            world.set_instance(Some("DEV"));
            let handle = world.workspace("F3_AGENT");
            let url = format!("http://{}/", world.agent.host);
            let card = json!({ "name": "f3_agent" });
            let body = json!({ "id": handle.id(), "url": url, "agent_card": card, "delivery_mode": "push" });
            let token = ("Authorization".to_owned(), format!("Bearer {}", handle.token().unwrap()));
            send(&world.host, "POST", "/registry/register", &[token], Some(body.to_string().as_bytes()), PATIENCE);
        }
        "f3: it becomes a poller" => world.wait_for_rows("F3_SENDER", 2, is_result),
        _ => {}
    }
}

fn before_queue(world: &mut World, what: &str) {
    match what {
        "e: after expiry" => {
            let (sender, target) = (world.workspace("E_SENDER"), world.workspace("E_TARGET"));
            let part = json!({ "kind": "text", "text": "short" });
            let message = json!({ "role": "user", "messageId": crate::new_id().to_string(), "parts": [part] });
            let params = json!({ "message": message, "expires_in_seconds": 1 });
            let body = json!({ "jsonrpc": "2.0", "id": "1", "method": "message/send", "params": params });
            let token = ("Authorization".to_owned(), format!("Bearer {}", sender.token().unwrap()));
            let path = format!("/workspaces/{}/a2a", target.id());
            let sent = send(&world.host, "POST", &path, &[token], Some(body.to_string().as_bytes()), PATIENCE).unwrap();
            let sent: Value = serde_json::from_slice(&sent.body).unwrap();
            let id = sent["queue_id"].as_str().unwrap().to_owned();
            world.bindings.0.insert("e28e2c9d-1929-487a-9321-efa93408cf97".to_owned(), id);
        }
        "e: after dispatch" => {
            // The second one is to have expired.
            std::thread::sleep(Duration::from_secs(1));
            let handle = world.workspace("E_TARGET");
            let card = json!({ "name": "e_target" });
            let body = json!({ "id": handle.id(), "url": "", "agent_card": card, "delivery_mode": "poll" });
            let token = ("Authorization".to_owned(), format!("Bearer {}", handle.token().unwrap()));
            send(&world.host, "POST", "/registry/register", &[token], Some(body.to_string().as_bytes()), PATIENCE);
            let item = world.bindings.fill("2f20c6ec-f2e4-44fa-a326-3b763a7af033");
            wait_for_item(world, handle.id(), &item);
        }
        "q: workspace, upper-case" => {
            let id = world.workspace("Q_SELF").id().to_owned();
            world.bindings.0.insert("ccff27cd-292c-425a-99d6-7d972384c916".to_owned(), id);
        }
        "q: send, bare params" => text(world, "Q_SELF", "Q_PEER", "\u{fffd}"),
        _ => {}
    }
}

/// Waits until a queued send was dispatched. Returns what the platform says of it.
fn wait_for_item(world: &World, workspace: &str, item: &str) -> Value {
    let mut found = Value::Null;
    until("dispatch", || {
        let answer = world.call("GET", &format!("/workspaces/{workspace}/a2a/queue/{item}"), None);
        found = serde_json::from_slice(&answer.body).unwrap();
        if found["status"] == "completed" { Ok(()) } else { Err(found.to_string()) }
    })
    .unwrap();
    found
}

fn before_removal(world: &mut World, what: &str) {
    match what {
        "revoked: revoke all" => {
            let handle = world.workspace("REVOKED_SELF");
            let mut stream = EventStream::open(&world.host, handle.id(), &handle.token().unwrap(), "");
            stream.read_until(|text| text.contains(": ping"));
            world.streams.push(stream);
        }
        "revoked: register with the old token, first" => world.workspace("REVOKED_TWO").revoke_tokens(),
        _ => {}
    }
}

fn before_rows(world: &mut World, what: &str) {
    match what {
        // The broadcast went to twenty workspaces, the one above all among them.
        "h: broadcast" => (0..18).for_each(|n| drop(world.workspace(&format!("OTHER_{n}")))),
        "h: delegations" => world.wait_for_rows("H_SELF", 1, is_result),
        "h: delegate to self" => world.wait_for_rows("H_SELF", 4, is_result),
        "h: any rows of ours" => world.wait_for_rows("H_SELF", 2, |row| row["status"] == "queued"),
        _ => {}
    }
}

fn before_states(world: &mut World, what: &str) {
    match what {
        "i: state, hibernated" => text(world, "I_PEER", "I_SELF", "to the sleeper"),
        "i: send to a push one that is hibernated" => world.workspace("I_PUSH").set_status("hibernated"),
        "i: send to one over its budget" => world.workspace("I_SELF").over_budget(true),
        _ => {}
    }
}

fn before_stream(world: &mut World, what: &str) {
    match what {
        "a: broadcast" => drop(world.workspace("IDLE")),
        // One who reads only the beginning of each line, as the recorder did.
        "a: 15 MB" | "bigevent: a message of 1000 '<' in the stream" => {
            world.streams.clear();
            open_own_stream(world);
        }
        "stream: second one, Last-Event-ID: 1, Accept-Encoding: gzip" => {
            world.streams.clear();
            open_own_stream(world);
        }
        _ => {}
    }
}

fn open_own_stream(world: &mut World) {
    let handle = world.workspace("A_ALPHA");
    let Some(token) = handle.token() else { return };
    let mut stream = EventStream::open(&world.host, handle.id(), &token, "");
    stream.read_until(|text| text.contains(": ping"));
    world.streams.push(stream);
}

/// Takes from an answer what later lines need.
pub fn after(world: &mut World, what: &str) {
    match (world.file, what) {
        ("first", what) if what.starts_with("create ") => {
            let name = what.split(' ').nth(1).unwrap();
            let handle = world.platform.workspace(name);
            world.adopt(&name.to_uppercase(), &handle);
        }
        ("first", "rotate") => {
            let body: Value = serde_json::from_slice(&world.last.body).unwrap();
            let token = body["connection"]["auth_token"].as_str().unwrap().to_owned();
            world.bindings.0.insert("{TOKEN_ALPHA_2}".to_owned(), token);
        }
        _ => {}
    }
}

/// Makes an observation and compares it with the recorded one.
pub fn observe(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    let recorded = &line["rows"];
    match (world.file, what) {
        (_, what) if what.contains("by SQL") => by_sql(world, what),
        ("ack", "l: seqs" | "l: what activity lists after the ack" | "l: what activity lists") => {
            seqs(world, "L_SELF", "&type=a2a_receive", &line["seqs"])
        }
        ("big-rows" | "refused" | "paging" | "rate-limit" | "late-rows", _) => measure::observe(world, what, line),
        ("duplicates", "d: same queue_id as the first") => {
            // The lines before have bound both to one id.
            let _bound = world.bindings.fill("6426c4e4-5da9-4c30-b72c-9d8786718b30");
            Ok(())
        }
        ("duplicates", "d: queue item left the queue") => {
            let handle = world.workspace("D_LATE");
            let item = world.bindings.fill(line["item"]["queue_id"].as_str().unwrap());
            let own = wait_for_item(world, handle.id(), &item);
            world.bindings.json(&line["item"], &own, "item")
        }
        ("duplicates", "d: rows before registration" | "d: rows after the queue has drained") => {
            rows(world, "D_LATE", "&type=a2a_receive", recorded)
        }
        ("duplicates", "d: rows of the poller") => rows(world, "D_POLL", "&type=a2a_receive", recorded),
        ("duplicates", "d: what the poller sees of it") => rows(world, "D_POLL", "&type=a2a_receive&limit=1", recorded),
        ("push-agents", _) => observe_push(world, what, line),
        ("queue", "e: rows") => rows(world, "E_TARGET", "&type=a2a_receive", recorded),
        ("queue", "q: rows of the peer, whole") => rows(world, "Q_PEER", "&type=a2a_receive", recorded),
        ("registration", what) if what.starts_with("c: after ") => after_registration(world, what, line),
        ("registration", what) if what.starts_with("r: rows that ") => rows_made(world, what, line),
        ("removal", "b: new token: stream") => {
            let token = world.bindings.fill("{TOKEN_7}");
            let id = world.workspace("B_GONE").id().to_owned();
            raw(world, line["raw"].as_str().unwrap(), &id, &token, "")
        }
        ("removal", "revoked: the old stream") => is_open(world),
        ("rows", "h: the callee's rows") => rows(world, "H_PEER", "&type=a2a_receive", recorded),
        ("rows", "h: any rows of ours") => rows(world, "H_SELF", "", recorded),
        ("rows", "h: inbox rows of ours") => rows(world, "H_SELF", "&type=a2a_receive", recorded),
        ("states", "i: its rows") => rows(world, "I_PUSH", "&type=a2a_receive", recorded),
        ("states", _) => observe_stale(world, what, line),
        ("stream", _) => observe_stream(world, what, line),
        ("who", "g: rows") => rows(world, "G_TARGET", "&type=a2a_receive", recorded),
        ("who", "g: tenant: rows") => rows(world, "G_TENANT", "&type=a2a_receive", recorded),
        ("who", "g: combined: rows") => rows(world, "G_COMB", "&type=a2a_receive", recorded),
        _ => Err(format!("no way to observe it: {line:.200}")),
    }
}

/// Sets what the recorder set in the database.
fn by_sql(world: &mut World, what: &str) -> Result<(), String> {
    let name = match what {
        what if what.starts_with("c: ") => "C_ONE",
        "purge: by SQL" => {
            world.workspace("PURGE_SELF").purge();
            return Ok(());
        }
        what if what.starts_with("i: hibernate") => "I_SELF",
        what if what.starts_with("i: pause (") => "I_PEER",
        _ => "I_PUSH",
    };
    let status = what.split("status ").nth(1).unwrap().split(',').next().unwrap();
    world.workspace(name).set_status(status);
    Ok(())
}

fn is_open(world: &mut World) -> Result<(), String> {
    let stream = world.streams.last_mut().unwrap();
    stream.events(0);
    if stream.is_closed { Err("it was closed".to_owned()) } else { Ok(()) }
}

fn observe_push(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    let recorded = &line["rows"];
    if let Some(text_of_it) = what.strip_prefix("f: rows of the agent after: ") {
        world.set_instance(Some("DEV"));
        let newest = world
            .rows_json("F_AGENT")
            .first()
            .map(|row| row["request_body"]["params"]["message"]["parts"][0]["text"].clone());
        if newest.is_none_or(|newest| newest != text_of_it) {
            let (from, to) = (world.workspace("F_SENDER"), world.workspace("F_AGENT"));
            let _whatever_the_agent_does = world.platform.send(&from, &to, text_of_it);
        }
        let count = recorded.as_array().unwrap().len();
        return rows(world, "F_AGENT", &format!("&type=a2a_receive&limit={count}"), recorded);
    }
    match what {
        "f2: rows of the agent" => rows(world, "F2_AGENT", "&type=a2a_receive", recorded),
        "f3: rows of the agent" | "f3: its inbox then (all of them answered already)" => {
            rows(world, "F3_AGENT", "&type=a2a_receive", recorded)
        }
        "f: rows then" => rows(world, "F_AGENT", "&type=a2a_receive&limit=2", recorded),
        "stream: a message sent through the same instance" => events(world, &line["events"], 0),
        "f3: how often it ran" => ran(world, "3a7c0aed-3cd7-4345-85fd-41f75c3980bc", line),
        "f: how often it ran" => ran(world, "de504aaa-6b18-4ac6-87a3-c7ff6e77bdc4", line),
        "f: headers the agent got" => {
            let requests = world.agent.requests.lock().unwrap().clone();
            let id = "de504aaa-6b18-4ac6-87a3-c7ff6e77bdc4";
            let head = &requests.iter().find(|(_, body)| body["params"]["message"]["messageId"] == id).unwrap().0;
            let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
            let own: Value = headers.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
            world.bindings.json(&line["headers"], &own, "headers")
        }
        _ => Err("no way to observe it".to_owned()),
    }
}

fn ran(world: &World, message_id: &str, line: &Value) -> Result<(), String> {
    let times = world.agent.runs(message_id);
    if line["times"] == times { Ok(()) } else { Err(format!("{times} times")) }
}

fn observe_stale(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    let handle = world.workspace("STALE_SELF");
    match what {
        "stale: status" => {
            if line["after_s"] == 0.0 {
                let mut stream = EventStream::open(&world.host, handle.id(), &handle.token().unwrap(), "");
                stream.read_until(|text| text.contains(": ping"));
                world.streams.push(stream);
            } else {
                handle.lapse_heartbeat();
            }
            let path = format!("/workspaces/{}/state", handle.id());
            let mut own = Value::Null;
            until("status", || {
                own = serde_json::from_slice(&world.call("GET", &path, None).body).unwrap();
                if own["status"] == line["state"]["status"] { Ok(()) } else { Err(own.to_string()) }
            })?;
            world.bindings.0.insert("{STALE_SELF}".to_owned(), handle.id().to_owned());
            world.bindings.json(&line["state"], &own, "state")
        }
        "stale: the stream's events meanwhile" => {
            let events = world.streams[0].events(0);
            if events.is_empty() { Ok(()) } else { Err(format!("{events:?}")) }
        }
        _ => Err("no way to observe it".to_owned()),
    }
}

fn observe_stream(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    let handle = world.workspace("A_ALPHA");
    if let Some(recorded) = line["raw"].as_str() {
        let token = match what {
            "stream: bad token" => "nonsense".to_owned(),
            "stream: no token" => String::new(),
            "stream: another's token" => world.workspace("A_BETA").token().unwrap(),
            "stream: admin token" => world.platform.admin_token(),
            _ => world.bindings.fill("{TOKEN_A_ALPHA}"),
        };
        let more = if what.contains("gzip") { "Last-Event-ID: 1\r\nAccept-Encoding: gzip\r\n" } else { "" };
        let known = world.streams.len();
        let result = raw(world, recorded, handle.id(), &token, more);
        if known >= 2 {
            world.streams.truncate(known);
        }
        return result;
    }
    match what {
        "stream: registration" => {
            let body =
                json!({ "id": handle.id(), "url": "", "agent_card": { "name": "alpha" }, "delivery_mode": "poll" });
            let token = ("Authorization".to_owned(), format!("Bearer {}", handle.token().unwrap()));
            send(&world.host, "POST", "/registry/register", &[token], Some(body.to_string().as_bytes()), PATIENCE);
            events(world, &line["events"], 0)
        }
        "stream: a message of 15 MB" => {
            let start = world.streams[0].read_until(|text| text.contains("data: {\"type\":\"A"));
            if start.contains("ACTIVITY_LOGGED") { Ok(()) } else { Err(format!("{start:.300}")) }
        }
        "stream: the second" => {
            let events = world.streams[1].events(2);
            let names: Vec<&str> = events.iter().map(|event| event[15..].split('"').next().unwrap()).collect();
            if names == ["ACTIVITY_LOGGED"; 2] { Ok(()) } else { Err(format!("{names:?}")) }
        }
        "stream: after rotation" | "stream: after delete" => is_open(world),
        "bigevent: a message of 1000 '<' in the stream" => measure::big_event(world, 1_000, line),
        "bigevent: a message of 5000000 '<' in the stream" => measure::big_event(world, 5_000_000, line),
        "slow: events a reader gets that stood still during 300 sends (600 events)" => {
            measure::slow_reader(world, line)
        }
        _ => events(world, &line["events"], 0),
    }
}
