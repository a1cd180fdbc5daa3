//! Compares what was recorded with what came: texts and JSON, with ids, times and secrets bound as they turn up.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// A part of a recorded text that may differ: a mask, an id, a time.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\{[A-Z][A-Z0-9_]*\}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00)|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    )
    .unwrap()
});

const ID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";

/// Values of the variables of a recording.
#[derive(Default)]
pub struct Bindings(pub HashMap<String, String>);

impl Bindings {
    /// Replaces the variables of a text that are known.
    pub fn fill(&self, text: &str) -> String {
        let value = |found: &regex::Captures<'_>| self.get(&found[0]).unwrap_or_else(|| found[0].to_owned());
        VARIABLE.replace_all(text, value).into_owned()
    }

    /// The masks in a text.
    pub fn masks(text: &str) -> Vec<String> {
        let found = VARIABLE.find_iter(text).map(|found| found.as_str().to_owned());
        found.filter(|mask| mask.starts_with('{')).collect()
    }

    fn get(&self, variable: &str) -> Option<String> {
        if let Some(value) = self.0.get(variable) {
            return Some(value.clone());
        }
        // An id in upper case stands for the same in upper case.
        let value = self.0.get(&variable.to_lowercase()).filter(|_| !variable.starts_with('{'))?;
        (variable == variable.to_uppercase()).then(|| value.to_uppercase())
    }

    /// Takes ids as they are that a request names and nothing defined.
    pub fn keep_ids(&mut self, text: &str) {
        for found in VARIABLE.find_iter(text) {
            let id = found.as_str();
            if id.len() == 36 && !id.starts_with('{') && id.as_bytes()[8] == b'-' && self.get(id).is_none() {
                self.0.insert(id.to_owned(), id.to_owned());
            }
        }
    }

    /// Compares a text. With `is_prefix` the recorded one is the beginning of the other.
    pub fn text(&mut self, recorded: &str, actual: &str, is_prefix: bool) -> Result<(), String> {
        let (mut rest, mut last, mut bound) = (actual, 0, Vec::new());
        let differs = || Err(format!("{actual:.600}\n      instead of {recorded:.600}"));
        for found in VARIABLE.find_iter(recorded) {
            let Some(after) = rest.strip_prefix(&recorded[last..found.start()]) else { return differs() };
            last = found.end();
            let variable = found.as_str();
            let known = self.get(variable).filter(|_| !is_secret(variable));
            let length = match known {
                Some(value) if after.starts_with(&value) => value.len(),
                Some(_) => return differs(),
                None => length_of(variable, after),
            };
            if length == 0 {
                return differs();
            }
            bound.push((variable.to_owned(), after[..length].to_owned()));
            rest = &after[length..];
        }
        let end = &recorded[last..];
        let is_same = if is_prefix { rest.starts_with(end) } else { rest == end };
        if !is_same {
            return differs();
        }
        self.0.extend(bound.into_iter().filter(|(name, _)| name != "{HOST}"));
        Ok(())
    }

    /// Compares JSON. `seq` and `acked_seq` are bound like ids.
    pub fn json(&mut self, recorded: &Value, actual: &Value, path: &str) -> Result<(), String> {
        match (recorded, actual) {
            (Value::String(recorded), Value::String(actual)) => {
                if path.ends_with("prefix") {
                    return if actual.len() == 8 { Ok(()) } else { Err(format!("{path}: {actual}")) };
                }
                self.text(recorded, actual, false).map_err(|why| format!("{path}: {why}"))
            }
            (Value::Array(recorded), Value::Array(actual)) if recorded.len() == actual.len() => {
                let pairs = recorded.iter().zip(actual).enumerate();
                pairs.into_iter().try_for_each(|(at, (one, other))| self.json(one, other, &format!("{path}[{at}]")))
            }
            (Value::Object(recorded), Value::Object(actual)) => {
                let keys = |fields: &serde_json::Map<String, Value>| fields.keys().cloned().collect::<Vec<_>>();
                if keys(recorded) != keys(actual) {
                    return Err(format!("{path}: keys {:?} instead of {:?}", keys(actual), keys(recorded)));
                }
                recorded.iter().try_for_each(|(key, one)| self.json(one, &actual[key], &format!("{path}.{key}")))
            }
            (Value::Number(recorded), Value::Number(actual)) if path.ends_with("seq") => {
                let known = self.0.entry(format!("seq:{recorded}")).or_insert_with(|| actual.to_string());
                if *known == actual.to_string() { Ok(()) } else { Err(format!("{path}: {actual} instead of {known}")) }
            }
            (Value::Number(recorded), Value::Number(actual)) if path.ends_with("duration_ms") => {
                // How long an agent took is its own affair; none is none.
                let _both = (recorded, actual);
                Ok(())
            }
            // The recorded rest of a minute may have had a second less.
            (Value::Number(recorded), Value::Number(actual)) if path.ends_with("retry_after") => {
                let (recorded, actual) = (recorded.as_u64().unwrap(), actual.as_u64().unwrap());
                if actual <= recorded && recorded - actual < 30 { Ok(()) } else { Err(format!("{path}: {actual}")) }
            }
            (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => Ok(()),
            (one, other) if one == other => Ok(()),
            (one, other) => Err(format!("{path}: {other:.600} instead of {one:.600}")),
        }
    }
}

/// Returns how many bytes of a text the variable takes, or 0 if it begins with none of its shape.
fn length_of(variable: &str, text: &str) -> usize {
    static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let shapes = [
            r"^[0-9.]+:\d+",
            r"^\w{43}",
            &format!("^{ID}"),
            r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z",
            r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00",
        ];
        shapes.iter().map(|shape| Regex::new(shape).unwrap()).collect()
    });
    let shape = match variable {
        "{HOST}" => 0,
        mask if mask.starts_with("{TOKEN") || mask.starts_with("{SECRET") => 1,
        other if other.starts_with('{') || other.as_bytes()[8] == b'-' => 2,
        time if time.ends_with("GMT") => 3,
        time if time.contains('T') => 4,
        _ => 5,
    };
    // No variable is longer. The rest of the text may be.
    let mut most = text.len().min(64);
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    SHAPES[shape].find(&text[..most]).map_or(0, |found| found.len())
}

/// True for secrets that the recorder numbered anew for each workspace. Of those that are masked alike the last one counts.
fn is_secret(mask: &str) -> bool {
    let rest = mask.strip_prefix("{SECRET").or_else(|| mask.strip_prefix("{TOKEN"));
    rest.is_some_and(|rest| rest.trim_matches(['_', '}']).chars().all(|c| c.is_ascii_digit()))
}

/// Puts a space behind each comma and colon outside strings, as the recorder's language does.
pub fn with_spaces(json: &str) -> String {
    let (mut out, mut is_string, mut is_escaped) = (String::new(), false, false);
    for c in json.chars() {
        if c == ' ' && !is_string {
            continue;
        }
        out.push(c);
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_string => is_escaped = true,
            '"' => is_string = !is_string,
            ',' | ':' if !is_string => out.push(' '),
            _ => {}
        }
    }
    out
}
