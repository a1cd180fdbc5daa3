//! A platform in the state that a recording begins with, and the exchange of one line with it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::agent::Agent;
use crate::bodies::{body_of, lengthen};
use crate::compare::{Bindings, with_spaces};
use crate::http::{EventStream, RawAnswer, send};

const ORG: &str = "0e0e0e0e-1111-4222-8333-444455556666";
const CONCIERGE: &str = "ea3cfcf1-cb9c-53b4-90fd-c53123569c4a";
/// Workspaces that nobody had registered.
const UNREGISTERED: &[&str] = &["D_LATE", "E_TARGET", "H_UNREG", "I_PUSH", "F3_AGENT"];
/// Workspaces whose names are not those of their masks: others had them.
const NAMES: &[(&str, &str)] =
    &[("C_ONE", "c_one (2)"), ("G_TARGET", "g_target (3)"), ("G_TENANT", "g_tenant (2)"), ("G_COMB", "g_comb (3)")];
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    pub file: &'static str,
    pub platform: Platform,
    pub host: String,
    pub bindings: Bindings,
    pub agent: Agent,
    pub streams: Vec<EventStream>,
    pub last: RawAnswer,
    handles: HashMap<String, WorkspaceHandle>,
}

impl World {
    pub fn new(file: &'static str) -> World {
        let platform = Platform::start().unwrap();
        platform.rate_limit(if file == "rate-limit" { 20 } else { 100_000 });
        platform.instruct("TITLE", "CONTENT (shortened)");
        let host = platform.url().replace("http://", "");
        let mut bindings = Bindings::default();
        for (mask, value) in [
            ("{ADMIN_TOKEN}", platform.admin_token()),
            ("{ORG}", ORG.to_owned()),
            ("{WS_ORG_CONCIERGE}", CONCIERGE.to_owned()),
            ("{WS_NAMELESS}", crate::new_id().to_string()),
        ] {
            bindings.0.insert(mask.to_owned(), value);
        }
        bindings.keep_ids(&format!("{CONCIERGE} {ORG}"));
        let (agent, streams) = (Agent::start(), Vec::new());
        World { file, platform, host, bindings, agent, streams, last: RawAnswer::default(), handles: HashMap::new() }
    }

    /// Sets the platform up as the instance that a line was recorded on.
    pub fn set_instance(&self, instance: Option<&str>) {
        self.platform.combined(instance == Some("DEV"));
        self.platform.public_agents_only(instance != Some("DEV"));
        self.platform.tenant((instance == Some("TENANT")).then_some(ORG));
    }

    /// Returns the workspace of a mask's name, and makes it at first use.
    pub fn workspace(&mut self, name: &str) -> WorkspaceHandle {
        if let Some(handle) = self.handles.get(name) {
            return handle.clone();
        }
        let shown = NAMES.iter().find(|(mask, _)| *mask == name).map(|(_, shown)| (*shown).to_owned());
        let shown = shown.unwrap_or_else(|| name.to_lowercase());
        let is_unregistered = UNREGISTERED.contains(&name);
        let handle = if is_unregistered { self.platform.unregistered(&shown) } else { self.platform.workspace(&shown) };
        if self.file == "organisation" && name == "O_PEER" {
            // A poller, but nobody registered it.
            handle.set_status("awaiting_agent");
        }
        self.adopt(name, &handle);
        handle
    }

    /// Binds the masks of a workspace.
    pub fn adopt(&mut self, name: &str, handle: &WorkspaceHandle) {
        for (mask, value) in [
            (format!("{{{name}}}"), handle.id().to_owned()),
            (format!("{{WS_{name}}}"), handle.id().to_owned()),
            (format!("{{TOKEN_{name}}}"), handle.token().unwrap()),
            (format!("{{SECRET_{name}}}"), handle.inbound_secret().unwrap()),
        ] {
            self.bindings.0.insert(mask, value);
        }
        self.handles.insert(name.to_owned(), handle.clone());
    }

    /// Makes the workspaces that a text names.
    fn make_workspaces(&mut self, text: &str) {
        for (alias, mask) in [("{TOKEN_OF_THE_REMOVED}", "{TOKEN_7}"), ("{ORG_TOKEN}", "{TOKEN_12}")] {
            if let Some(value) = self.bindings.0.get(mask).filter(|_| text.contains(alias)) {
                self.bindings.0.insert(alias.to_owned(), value.clone());
            }
        }
        for mask in Bindings::masks(text) {
            let name = mask.trim_matches(['{', '}']);
            let name = ["TOKEN_", "WS_", "SECRET_"].iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name);
            let is_other = name.chars().all(|c| c.is_ascii_digit()) || matches!(name, "HOST" | "SECRET");
            if !is_other && !self.bindings.0.contains_key(&mask) {
                self.workspace(name);
            }
        }
    }

    pub fn admin(&self) -> Vec<(String, String)> {
        let tenant = ("X-Molecule-Org-Id".to_owned(), ORG.to_owned());
        vec![("Authorization".to_owned(), format!("Bearer {}", self.platform.admin_token())), tenant]
    }

    /// Sends a request of the test's own as an admin.
    pub fn call(&self, method: &str, path: &str, body: Option<&str>) -> RawAnswer {
        send(&self.host, method, path, &self.admin(), body.map(str::as_bytes), PATIENCE).unwrap()
    }

    /// Returns the rows of a workspace, the newest first. Each field is as it came.
    pub fn rows(&mut self, name: &str, query: &str) -> Vec<HashMap<String, Box<RawValue>>> {
        let id = self.workspace(name).id().to_owned();
        let answer = self.call("GET", &format!("/workspaces/{id}/activity?{query}&limit=500"), None);
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub fn rows_json(&mut self, name: &str) -> Vec<Value> {
        let rows = self.rows(name, "&type=a2a_receive");
        rows.iter().map(|row| serde_json::to_value(row).unwrap()).collect()
    }

    /// Waits until the workspace has so many rows that `matches`.
    pub fn wait_for_rows(&mut self, name: &str, count: usize, matches: impl Fn(&Value) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let rows = self.rows(name, "");
            let found = rows.iter().map(|row| serde_json::to_value(row).unwrap()).filter(|row| matches(row)).count();
            if found >= count {
                return;
            }
            assert!(Instant::now() < give_up, "{} rows of {name}", rows.len());
            std::thread::yield_now();
        }
    }

    /// Does the exchange of a line. Returns the differences.
    pub fn exchange(&mut self, line: &Value) -> Result<(), String> {
        let what = line["what"].as_str().unwrap();
        self.set_instance(line["instance"].as_str());
        self.make_workspaces(&line.to_string());
        let request = &line["request"];
        let path = request["path"].as_str().unwrap();
        self.bindings.keep_ids(path);
        let path = self.bindings.fill(path);
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in request["headers"].as_object().unwrap() {
            let value = value.as_str().unwrap().replace("{HOST}", &self.host);
            headers.push((name.clone(), self.bindings.fill(&value)));
        }
        if path.ends_with("/chat/uploads") {
            headers.push(("Content-Type".to_owned(), "multipart/form-data; boundary=boundary".to_owned()));
        }
        let body = self.body(what, &request["body"]);
        // Only one line was recorded without an answer: the sender had gone.
        let patience = if line["status"].is_null() { Duration::from_millis(50) } else { PATIENCE };
        let method = request["method"].as_str().unwrap();
        let answer = send(&self.host, method, &path, &headers, body.as_deref(), patience);
        let Some(answer) = answer else {
            return if line["status"].is_null() { Ok(()) } else { Err("no answer".to_owned()) };
        };
        self.last = answer;
        self.compare(line, path.contains("/peers"))
    }

    fn body(&mut self, what: &str, recorded: &Value) -> Option<Vec<u8>> {
        match recorded {
            Value::Null => None,
            Value::String(length) => Some(body_of(what, length)),
            body => {
                let mut body = body.clone();
                lengthen(&mut body);
                if let Some(acked) = body["acked_seq"].as_u64() {
                    if let Some(seq) = self.bindings.0.get(&format!("seq:{acked}")) {
                        body["acked_seq"] = seq.parse::<u64>().unwrap().into();
                    }
                }
                let agent = if what.contains("nobody listens") { "127.0.0.1:1" } else { self.agent.host.as_str() };
                let text = body.to_string().replace("{HOST}", agent);
                self.bindings.keep_ids(&text);
                Some(self.bindings.fill(&text).into_bytes())
            }
        }
    }

    fn compare(&mut self, line: &Value, is_peers: bool) -> Result<(), String> {
        let answer = self.last.clone();
        if line["status"] != answer.status {
            return Err(format!("status {} instead of {}: {:.300}", answer.status, line["status"], answer.text()));
        }
        for (name, value) in line["headers"].as_object().into_iter().flatten() {
            let (value, own) = (value.as_str().unwrap(), answer.header(name));
            match name.as_str() {
                "Date" | "Connection" => {}
                // The recorder's answers to these had pages of help in them.
                "Transfer-Encoding" if line["what"].as_str().unwrap().contains("rotate") => {}
                "Content-Length" => self.compare_length(line, value, &answer)?,
                // Seconds of a minute that had begun earlier, or later.
                "Retry-After" | "X-Ratelimit-Reset" => {
                    let own: u64 = own.and_then(|own| own.parse().ok()).ok_or(format!("{name}: {own:?}"))?;
                    if own > value.parse().unwrap() {
                        return Err(format!("{name}: {own} instead of {value}"));
                    }
                }
                _ if own == Some(value) => {}
                _ => return Err(format!("{name}: {own:?} instead of {value}")),
            }
        }
        let text = answer.text();
        match &line["body"] {
            Value::String(recorded) if recorded.starts_with("(connection") => {
                let body: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                if body["connection"]["auth_token"].is_string() { Ok(()) } else { Err(text) }
            }
            Value::String(recorded) => {
                let (recorded, is_cut) = cut(recorded);
                let text = if recorded.contains("\": ") { with_spaces(&text) } else { text };
                self.bindings.text(recorded, &text, is_cut)
            }
            recorded => {
                let mut actual: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text:.300}"))?;
                let mut recorded = recorded.clone();
                if is_peers {
                    for list in [&mut actual, &mut recorded] {
                        let name = |peer: &Value| peer["name"].as_str().unwrap().to_owned();
                        list.as_array_mut().into_iter().for_each(|list| list.sort_by_key(name));
                    }
                }
                self.bindings.json(&recorded, &actual, "body")
            }
        }
    }

    /// Compares the length of a body in which nothing varies in length.
    fn compare_length(&self, line: &Value, recorded: &str, answer: &RawAnswer) -> Result<(), String> {
        let body = line["body"].to_string();
        let varies = ["{HOST}", "_at\"", "seq\"", "retry_after", "timestamp\""].iter().any(|part| body.contains(part));
        let own = answer.header("content-length");
        if varies || own == Some(recorded) || line["request"]["method"] == "HEAD" {
            return Ok(());
        }
        Err(format!("Content-Length: {own:?} instead of {recorded}"))
    }
}

/// Splits off the note that a text was cut: `…(3017 characters)`.
pub fn cut(recorded: &str) -> (&str, bool) {
    match recorded.rsplit_once('…') {
        Some((start, rest)) if rest.ends_with("characters)") || rest.ends_with("bytes)") => (start, true),
        _ => (recorded, false),
    }
}
