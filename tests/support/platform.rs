//! A platform with an inbox that sorts and pages rows as the real one does. It records the requests.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::{Reaction, Request, Server, WORKSPACE};

pub const SECOND: i64 = 1_000_000;

/// Clones share one state.
#[derive(Clone, Default)]
pub struct Platform(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    /// Sorted by time and order of arrival.
    pub rows: Vec<Entry>,
    /// Current time on the platform, in microseconds since 2026-05-01. Default: the time of the newest row.
    pub now: i64,
    pub ignores_since_id: bool,
    /// True while it answers 410 to each `since_id`.
    pub knows_no_id: bool,
    pub notices: Vec<String>,
    pub messages: Vec<(String, Value)>,
    pub heartbeats: Vec<Value>,
    /// Queries of the inbox.
    pub polls: Vec<String>,
    arrived: u64,
}

#[derive(Clone)]
pub struct Entry {
    pub at: i64,
    pub arrived: u64,
    pub id: String,
    pub row: Value,
}

pub fn id(n: u64) -> String {
    format!("{:08x}-0000-4000-8000-{n:012x}", n.wrapping_mul(0x9e37_79b9) as u32)
}

/// Formats microseconds since 2026-05-01 as the platform does.
pub fn time(at: i64) -> String {
    let (seconds, micros) = (at.div_euclid(SECOND), at.rem_euclid(SECOND));
    let (day, second) = (1 + seconds / 86_400, seconds % 86_400);
    assert!((1..=31).contains(&day) && seconds >= 0, "{at} is not in May");
    format!("2026-05-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z", second / 3_600, second / 60 % 60, second % 60)
}

pub fn micros(time: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let fraction: String =
        time[20..].chars().take_while(char::is_ascii_digit).chain("000000".chars()).take(6).collect();
    let seconds = (part(8..10) - 1) * 86_400 + part(11..13) * 3_600 + part(14..16) * 60 + part(17..19);
    seconds * SECOND + fraction.parse::<i64>().unwrap()
}

impl Platform {
    pub fn new() -> Self {
        Platform::default()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Adds a row from a peer at that microsecond and returns its id. It is numbered, unless the platform is an old one.
    pub fn add(&self, at: i64, peer: &str, text: &str) -> String {
        let parts = json!([{ "kind": "text", "text": text }]);
        let body = json!({ "params": { "message": { "parts": parts } } });
        let mut row = json!({ "source_id": peer, "method": "message/send", "request_body": body });
        if !self.state().ignores_since_id {
            row["seq"] = Value::Null;
        }
        self.add_row(at, row)
    }

    /// Adds a row. One with the `seq` null is numbered.
    pub fn add_row(&self, at: i64, mut row: Value) -> String {
        let mut state = self.state();
        state.arrived += 1;
        let (arrived, id) = (state.arrived, id(state.arrived));
        if row.is_object() {
            let fields = row.as_object_mut().unwrap();
            fields.entry("id").or_insert_with(|| id.clone().into());
            fields.entry("created_at").or_insert_with(|| time(at).into());
            if fields.get("seq") == Some(&Value::Null) {
                fields.insert("seq".to_owned(), arrived.into());
            }
        }
        let place = state.rows.partition_point(|entry| entry.at <= at);
        state.rows.insert(place, Entry { at, arrived, id: id.clone(), row });
        state.now = state.now.max(at);
        id
    }

    /// Adds rows a second apart, the first at `from` seconds, and returns their ids.
    pub fn fill(&self, from: i64, rows: i64, peer: &str) -> Vec<String> {
        (from..from + rows).map(|n| self.add(n * SECOND, peer, &format!("message {n}"))).collect()
    }

    pub fn serve(&self) -> Server {
        let platform = self.clone();
        Server::decide(move |_, request| platform.answer(request))
    }

    pub fn answer(&self, request: &Request) -> Reaction {
        let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut state = self.state();
        if path.ends_with("/activity") {
            assert_eq!(path, format!("/workspaces/{WORKSPACE}/activity"));
            // It has no broadcasts, which are listed beside the messages and not counted.
            if param(query, "type").as_deref() == Some("broadcast_receive") {
                return Reaction::reply(200, "[]");
            }
            state.polls.push(query.to_owned());
            return state.list(query);
        }
        if path.ends_with("/notify") {
            state.notices.push(body()["message"].as_str().unwrap_or_default().to_owned());
            return Reaction::reply(200, "{}");
        }
        if path == "/registry/heartbeat" {
            state.heartbeats.push(body());
            return Reaction::reply(200, "{}");
        }
        if let Some(peer) = path.strip_prefix("/workspaces/").and_then(|rest| rest.strip_suffix("/a2a")) {
            state.messages.push((peer.to_owned(), body()));
            return Reaction::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"thanks"}]}}"#);
        }
        if let Some(peer) = path.strip_prefix("/registry/discover/") {
            return Reaction::reply(200, json!({ "id": peer, "name": "ops-agent", "role": "sre" }).to_string());
        }
        Reaction::reply(404, r#"{"error":"no such endpoint"}"#)
    }
}

pub fn param(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace("%3A", ":").replace("%2B", "+"))
}

impl State {
    fn list(&self, query: &str) -> Reaction {
        assert!(matches!(param(query, "type").as_deref(), None | Some("a2a_receive")), "{query}");
        let limit = param(query, "limit").map_or(100, |limit| limit.parse::<usize>().unwrap()).min(500);
        let since = param(query, "since_id").filter(|_| !self.ignores_since_id);
        let rows: Vec<&Value> = match since {
            Some(since) => {
                let Some(place) = self.rows.iter().position(|entry| entry.id == since && !self.knows_no_id) else {
                    return Reaction::reply(410, r#"{"error":"since_id cursor not found"}"#);
                };
                let before = param(query, "before_ts").map_or(i64::MAX, |before| micros(&before));
                let behind = self.rows[place + 1..].iter().filter(|entry| entry.at < before);
                behind.take(limit).map(|entry| &entry.row).collect()
            }
            None => {
                let before = param(query, "before_ts").map_or(i64::MAX, |before| micros(&before));
                let oldest = param(query, "since_secs")
                    .map_or(i64::MIN, |secs| self.now - secs.parse::<i64>().unwrap() * SECOND);
                let is_requested = |entry: &&Entry| entry.at < before && entry.at >= oldest;
                self.rows.iter().rev().filter(is_requested).take(limit).map(|entry| &entry.row).collect()
            }
        };
        Reaction::reply(200, serde_json::to_vec(&rows).unwrap())
    }
}
