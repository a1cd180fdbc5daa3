//! Observations that are figures: sizes, counts, pages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use a2a_blocking::testing::WorkspaceHandle;
use serde_json::{Value, json};

use crate::bodies::nested;
use crate::http::{EventStream, RawAnswer, send};
use crate::observe::seqs;
use crate::world::{PATIENCE, World};

/// The same in order: first the message before the big one, then the one after it.
pub fn before(world: &mut World, what: &str) {
    let (peer, own) = (world.workspace("M_PEER"), world.workspace("M_SELF"));
    match what {
        "m: 15 MB of '<'" => drop(world.platform.send(&peer, &own, "before").unwrap()),
        "m: mail summary" => {
            world.platform.send(&peer, &own, "after").unwrap();
            world.call("POST", &format!("/workspaces/{}/activity/ack", own.id()), Some("{\"acked_seq\":0}"));
        }
        _ => {}
    }
}

pub fn observe(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    match world.file {
        "big-rows" => big_rows(world, what, line),
        "refused" => poison(world, what, line),
        "paging" => paging(world, what, line),
        "rate-limit" => rate_limit(world, what, line),
        _ => sent_at_once(world, line),
    }
}

fn token_of(handle: &WorkspaceHandle) -> Vec<(String, String)> {
    vec![("Authorization".to_owned(), format!("Bearer {}", handle.token().unwrap()))]
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

/// Bytes of a page, as if its row's number had three digits and its times six. Looks at both ends of a long one only.
fn normal_size(text: &str, host: &str) -> usize {
    const END: usize = 16 << 10;
    const TIME: &str = "\"created_at\":\"";
    let short = text.len() <= 2 * END;
    let ends = if short { vec![text] } else { vec![&text[..END], &text[text.len() - END..]] };
    let mut size = text.len();
    let missing = |text: &str, key: &str, end: char, most: usize| {
        let after = text.match_indices(key).map(|(at, _)| &text[at + key.len()..]);
        after.map(|rest| most - rest.find(end).unwrap()).sum::<usize>()
    };
    // The attachments may be before it.
    if let Some(at) = text.find(TIME).filter(|at| *at >= END) {
        size += missing(&text[at..at + 64], TIME, '"', 27);
    }
    for end in ends {
        size += missing(end, ",\"seq\":", ',', 3) + missing(end, TIME, '"', 27);
        // The recorder's platform had a port of four digits.
        size -= end.matches(host).count() * (host.len() - "127.0.0.1:8080".len());
    }
    size
}

fn big_rows(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    let handle = world.workspace("M_SELF");
    let rows = |world: &World, query: &str, more: &[(String, String)]| {
        let path = format!("/workspaces/{}/activity?type=a2a_receive{query}", handle.id());
        let headers = [token_of(&handle), more.to_vec()].concat();
        send(&world.host, "GET", &path, &headers, None, PATIENCE).unwrap()
    };
    if !world.bindings.0.contains_key("before") {
        // The oldest of three. Each list of them has the big one.
        let path = format!("/workspaces/{}/mail/summary", handle.id());
        let summary: Value = serde_json::from_slice(&world.call("GET", &path, None).body).unwrap();
        let oldest = summary["received"].as_array().unwrap().last().unwrap();
        world.bindings.0.insert("before".to_owned(), id_of(oldest));
    }
    let since = format!("&since_id={}", world.bindings.0["before"]);
    let name = what.strip_prefix("m: ").unwrap();
    let answer = match name {
        "one-row page with the big row" => rows(world, &format!("{since}&limit=1"), &[]),
        "the same with include=peer_info" => rows(world, &format!("{since}&limit=1&include=peer_info"), &[]),
        "?limit=0" | "?limit=-1" => rows(world, &format!("{since}&{}", &name[1..]), &[]),
        "Accept-Encoding gzip" => {
            rows(world, &format!("{since}&limit=1"), &[("Accept-Encoding".to_owned(), "gzip".to_owned())])
        }
        "Range bytes=0-999" => {
            rows(world, &format!("{since}&limit=1"), &[("Range".to_owned(), "bytes=0-999".to_owned())])
        }
        "HEAD" => {
            let path = format!("/workspaces/{}/activity", handle.id());
            send(&world.host, "HEAD", &path, &token_of(&handle), None, PATIENCE).unwrap()
        }
        "chat-history" => world.call("GET", &format!("/workspaces/{}/chat-history", handle.id()), None),
        "its one-row page with include=peer_info" => rows(world, "&limit=1&include=peer_info", &[]),
        "its one-row page without" => rows(world, "&limit=1", &[]),
        other => rows(world, &format!("{since}&limit=1&{}", &other[1..]), &[]),
    };
    sized(world, line, &answer)
}

/// Compares a long answer by its status, its headers, its size and its beginning.
fn sized(world: &mut World, line: &Value, answer: &RawAnswer) -> Result<(), String> {
    let mut faults = Vec::new();
    if line["status"] != answer.status {
        faults.push(format!("status {}", answer.status));
    }
    for (name, value) in line["headers"].as_object().into_iter().flatten() {
        if answer.header(name) != value.as_str() {
            faults.push(format!("{name}: {:?}", answer.header(name)));
        }
    }
    let text = answer.text();
    if let Some(head) = line["head"].as_str() {
        // The row after the big one has a time of 26 characters.
        let recorded = line["bytes"].as_u64().unwrap() as usize + usize::from(line["bytes"] == 90_001_269);
        let own = normal_size(&text, &world.host);
        if own != recorded {
            faults.push(format!("{own} bytes instead of {recorded}"));
        }
        // A beginning may end within an escape or a variable.
        let head = head.rsplit_once("\\u").map_or(head, |(head, _)| head);
        let head = head.rsplit_once("},{\"kind\"").map_or(head, |(head, _)| head);
        faults.extend(world.bindings.text(head, &text, true).err());
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

fn poison(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    let depth: usize = what.rsplit_once(" deep").unwrap().0.rsplit(' ').next().unwrap().parse().unwrap();
    let (peer, own) = (world.workspace("PEER"), world.workspace(&format!("POISON_{depth}")));
    world.call("POST", &format!("/workspaces/{}/activity/ack", own.id()), Some("{\"acked_seq\":0}"));
    world.platform.send(&peer, &own, "before").unwrap();
    let path = format!("/workspaces/{}/a2a", own.id());
    let sent = send(&world.host, "POST", &path, &token_of(&peer), Some(&nested(depth)), PATIENCE).unwrap();
    world.platform.send(&peer, &own, "after").unwrap();
    let sent_body: Value = serde_json::from_slice(&sent.body).unwrap();
    if line["send"] != sent.status || line["answer"] != sent_body {
        return Err(format!("{}: {sent_body}", sent.status));
    }
    let list = |world: &World, query: &str| {
        world.call("GET", &format!("/workspaces/{}/activity?type=a2a_receive{query}", own.id()), None)
    };
    let summary = world.call("GET", &format!("/workspaces/{}/mail/summary", own.id()), None);
    let summary: Value = serde_json::from_slice(&summary.body).unwrap();
    let mail = summary["received"].as_array().unwrap();
    let since = format!("&since_id={}", id_of(mail.last().unwrap()));
    let pages = [list(world, ""), list(world, &since), list(world, &format!("{since}&limit=1"))];
    let names = ["no cursor", "since_id of the row before", "limit=1 since_id"];
    for (name, page) in names.into_iter().zip(&pages) {
        let recorded = &line["lists"][name];
        let start = recorded[2].as_str().unwrap().split("\"created_at\":\"").next().unwrap();
        // Names and keys were others. What a level of nesting adds is the same.
        let difference = normal_size(&page.text(), &world.host) as i64 - recorded[1].as_i64().unwrap();
        let known = world.bindings.0.entry(format!("size of {name}, {}", mail.len())).or_insert(difference.to_string());
        let known: i64 = known.parse().unwrap();
        if recorded[0] != page.status || !page.text().starts_with(start) || (known - difference).abs() > 6 {
            return Err(format!("{name}: {} {difference} {known} {:.100}", page.status, page.text()));
        }
    }
    let behind = list(world, &format!("&since_id={}", id_of(&mail[mail.len().min(2) - 1])));
    let behind: Vec<Value> = serde_json::from_slice(&behind.body).unwrap();
    let own_counts = (json!(mail.len()), json!([200, behind.len()]));
    let recorded = (line["mail_summary_rows"].clone(), line["since_id_of_the_poison_row"].clone());
    if own_counts == recorded { Ok(()) } else { Err(format!("{own_counts:?} instead of {recorded:?}")) }
}

fn paging(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    match what {
        "n: paging by before_ts" => {
            seqs(world, "N_SELF", "&type=a2a_receive", &line["all"])?;
            let own: Vec<Value> = back(world, "N_SELF").into_iter().map(|row| json!({ "seq": row["seq"] })).collect();
            let recorded: Value = line["seqs"].as_array().unwrap().iter().map(|seq| json!({ "seq": seq })).collect();
            world.bindings.json(&recorded, &Value::Array(own), "pages")
        }
        "n: since_id and before_ts together" => {
            let rows = world.rows_json("N_SELF");
            let (since, before) = (id_of(&rows[5]), rows[1]["created_at"].as_str().unwrap().to_owned());
            seqs(world, "N_SELF", &format!("&type=a2a_receive&since_id={since}&before_ts={before}"), &line["seqs"])
        }
        "n2: their rows" => {
            let handle = world.workspace("N2");
            world.platform.send(&handle, &handle, "first").unwrap();
            let part = |n: usize| {
                format!("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"f{n}.txt\"\r\n\r\nx\r\n")
            };
            let body = (0..5).map(part).collect::<String>() + "--b--\r\n";
            let mut headers = token_of(&handle);
            headers.push(("Content-Type".to_owned(), "multipart/form-data; boundary=b".to_owned()));
            let path = format!("/workspaces/{}/chat/uploads", handle.id());
            send(&world.host, "POST", &path, &headers, Some(body.as_bytes()), PATIENCE).unwrap();
            let rows = world.rows_json("N2");
            let own = rows[..5].iter().map(|row| {
                json!({ "seq": row["seq"], "created_at": row["created_at"], "name": row["request_body"]["name"] })
            });
            let recorded = line["rows"].as_array().unwrap().iter();
            let recorded: Value =
                recorded.map(|row| json!({ "seq": row[0], "created_at": row[1], "name": row[2] })).collect();
            world.bindings.json(&recorded, &own.collect(), "rows")
        }
        "n2: paging backwards by before_ts, two a page" => {
            let files = back(world, "N2").into_iter().filter(|row| row["method"] == "chat_upload_receive").count();
            if line["listed"] == files { Ok(()) } else { Err(format!("{files} listed")) }
        }
        "n2: paging forwards by since_id, two a page" => {
            let first = world.rows_json("N2").pop().unwrap();
            let (mut since, mut own) = (id_of(&first), Vec::new());
            loop {
                let page = world.rows("N2", &format!("&since_id={since}"));
                let page: Vec<Value> = page.iter().take(2).map(|row| serde_json::to_value(row).unwrap()).collect();
                let Some(last) = page.last() else { break };
                since = id_of(last);
                own.extend(page.into_iter().map(|row| json!({ "seq": row["seq"] })));
            }
            let recorded: Value = line["seqs"].as_array().unwrap().iter().map(|seq| json!({ "seq": seq })).collect();
            world.bindings.json(&recorded, &Value::Array(own), "seqs")
        }
        _ => Err("no way to observe it".to_owned()),
    }
}

/// Pages back by the last row's time, two rows a page.
fn back(world: &mut World, name: &str) -> Vec<Value> {
    let (mut before, mut found) = ("2099-01-01T00:00:00Z".to_owned(), Vec::new());
    let id = world.workspace(name).id().to_owned();
    loop {
        let path = format!("/workspaces/{id}/activity?type=a2a_receive&limit=2&before_ts={before}");
        let page: Vec<Value> = serde_json::from_slice(&world.call("GET", &path, None).body).unwrap();
        let Some(last) = page.last() else { return found };
        before = last["created_at"].as_str().unwrap().to_owned();
        found.extend(page);
    }
}

fn rate_limit(world: &mut World, what: &str, line: &Value) -> Result<(), String> {
    let handle = world.workspace("J_ONE");
    if what == "j: stream while limited" {
        let mut stream = EventStream::open(&world.host, handle.id(), &handle.token().unwrap(), "");
        let own = stream.read_until(|text| text.ends_with('}'));
        let names = |text: &str| -> Vec<String> {
            let head = text.split("\r\n\r\n").next().unwrap();
            let mut names: Vec<String> = head.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        let recorded = line["raw"].as_str().unwrap();
        return if names(&own) == names(recorded) { Ok(()) } else { Err(own) };
    }
    let path = format!("/workspaces/{}/state", handle.id());
    for sent in 1.. {
        let answer = send(&world.host, "GET", &path, &token_of(&handle), None, PATIENCE).unwrap();
        if answer.status != 429 {
            continue;
        }
        let headers = line["headers"].as_object().unwrap();
        let differs = |name: &&String| {
            !matches!(name.as_str(), "Retry-After" | "X-Ratelimit-Reset")
                && answer.header(name) != headers[name.as_str()].as_str()
        };
        let differing: Vec<&String> = headers.keys().filter(differs).collect();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        world.bindings.json(&line["body"], &body, "body")?;
        return if line["after"] == sent && differing.is_empty() {
            Ok(())
        } else {
            Err(format!("{sent}: {differing:?}"))
        };
    }
    Ok(())
}

/// Twenty messages, each sent four times at once: one row a message.
fn sent_at_once(world: &mut World, line: &Value) -> Result<(), String> {
    let (peer, own) = (world.workspace("PEER"), world.workspace("OWN"));
    let (host, token, id) = (world.host.clone(), token_of(&peer), own.id().to_owned());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let send_all = |_| {
            scope.spawn(|| {
                let send_one = |n: usize| {
                    let part = json!({ "kind": "text", "text": "x" });
                    let message = json!({ "role": "user", "messageId": format!("at-once-{n}"), "parts": [part] });
                    let params = json!({ "message": message });
                    let body = json!({ "jsonrpc": "2.0", "id": "1", "method": "message/send", "params": params });
                    let path = format!("/workspaces/{id}/a2a");
                    send(&host, "POST", &path, &token, Some(body.to_string().as_bytes()), PATIENCE).unwrap().status
                };
                (0..20).map(send_one).collect::<Vec<u16>>()
            })
        };
        let senders: Vec<_> = (0..4).map(send_all).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let rows = world.rows("OWN", "").len();
    let is_same = line["rows"] == rows && statuses.iter().all(|status| line["statuses"] == json!([status]));
    if is_same { Ok(()) } else { Err(format!("{rows} rows, {statuses:?}")) }
}

/// Compares the bytes of the stream for a message of so many `<`. Names and ids of the recording are not known.
pub fn big_event(world: &mut World, count: usize, line: &Value) -> Result<(), String> {
    let (peer, own) = (world.workspace("PEER"), world.workspace("BIG"));
    let mut socket = open(world, &own);
    let recorded = line["bytes"].as_u64().unwrap() as usize;
    let read = std::thread::scope(|scope| {
        let sending = scope.spawn(|| world.platform.send(&peer, &own, &"<".repeat(count)).unwrap());
        let (mut all, mut piece, mut tail) = (0_usize, vec![0; 1 << 20], Vec::new());
        // The first event alone is half as long.
        while all + 100 < recorded || !tail.ends_with(b"\n\n\r\n") {
            let read = socket.read(&mut piece).unwrap();
            all += read;
            tail.extend_from_slice(&piece[read.saturating_sub(4)..read]);
            tail.drain(..tail.len().saturating_sub(4));
        }
        sending.join().unwrap();
        all
    });
    if read.abs_diff(recorded) < 100 { Ok(()) } else { Err(format!("{read} bytes instead of {recorded}")) }
}

fn open(world: &World, handle: &WorkspaceHandle) -> TcpStream {
    let mut socket = TcpStream::connect(&world.host).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = handle.token().unwrap();
    let head =
        format!("GET /workspaces/{}/events/stream HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n", handle.id());
    socket.write_all(head.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b": ping\n\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    socket
}

/// A reader that stands still loses events, and no rows.
pub fn slow_reader(world: &mut World, line: &Value) -> Result<(), String> {
    let (peer, own) = (world.workspace("PEER"), world.workspace("SLOW"));
    let mut socket = open(world, &own);
    for _ in 0..300 {
        world.platform.send(&peer, &own, &"x".repeat(40_000)).unwrap();
    }
    let rows = world.rows("SLOW", "").len();
    // All that was not dropped comes now. What comes last is known.
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut all = Vec::new();
    // The end is the timeout.
    let _timed_out = socket.read_to_end(&mut all);
    let events = String::from_utf8_lossy(&all).split('\n').filter(|line| line.starts_with("data: ")).count();
    // How many fit into the sockets' buffers is the system's affair.
    if line["rows"] == rows && (64..600).contains(&events) {
        Ok(())
    } else {
        Err(format!("{events} events, {rows} rows"))
    }
}
