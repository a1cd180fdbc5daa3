//! The house: which room may import which. Imports point down the table, never up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

/// From the top down. Rooms of one row may import each other, but not in a circle.
const FLOORS: &[&[&str]] = &[
    &["lib"],
    &["bin"],
    &["fuzzing"],
    &["global", "guide", "serde_impl"],
    &["inbox"],
    &["client"],
    &["enrich"],
    &["send"],
    &["cache"],
    &["platform"],
    &["http"],
    &["wire"],
    &["config", "token", "peer", "stats", "cancel", "retry", "error", "util", "test_util"],
];

/// What only some rooms may name.
const EFFECTS: &[(&str, &[&str])] = &[
    (r"\bureq::", &["http"]),
    (r"\benv::|env_var", &["config", "test_util"]),
    (r"\b(Instant|SystemTime)::now\b|coarsetime::|\.elapsed\(\)", &["util"]),
    (r"\bRwLock\b", &["cache", "token"]),
    (r"\bMutex\b|\bCondvar\b", &["inbox", "enrich", "cancel", "cache", "util", "token"]),
    (r"\bTcp(Stream|Listener)\b", &["http"]),
    (r"\bFile::|\bfs::", &["inbox", "token", "test_util"]),
];

/// Each room's code without its tests and comments; the fuzz targets' bodies are there where asked for.
fn rooms(fuzz: bool) -> BTreeMap<String, String> {
    fn walk(dir: &Path, room: Option<&str>, fuzz: bool, rooms: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let room = room.unwrap_or(&stem);
            if path.is_dir() {
                walk(&path, Some(room), fuzz, rooms);
            } else if stem != "tests" && stem != "loom" && (fuzz || stem != "fuzz") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                *rooms.entry(room.to_owned()).or_default() += &code.flat_map(|line| [line, "\n"]).collect::<String>();
            }
        }
    }
    let mut rooms = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, fuzz, &mut rooms);
    rooms
}

fn floor(room: &str) -> usize {
    FLOORS.iter().position(|floor| floor.contains(&room)).unwrap_or_else(|| panic!("{room} has no floor in the table"))
}

fn imports(code: &str) -> BTreeSet<String> {
    // One line an import, and by its whole path, or this table is blind.
    assert!(!code.contains("crate::{") && !code.contains("super::super"), "{code}");
    Regex::new(r"\bcrate::(\w+)").unwrap().captures_iter(code).map(|found| found[1].to_owned()).collect()
}

#[test]
fn imports_point_down() {
    let rooms = rooms(true);
    assert!(rooms.len() > 12, "{:?}", rooms.keys());
    for (room, code) in rooms.iter().filter(|(room, _)| *room != "bin") {
        for other in imports(code).iter().filter(|other| *other != room) {
            assert!(rooms.contains_key(other), "{room} imports {other}, which is no room");
            assert!(floor(room) <= floor(other), "{room} imports {other}, which is above it");
        }
    }
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    let mut left: BTreeMap<String, BTreeSet<String>> = rooms(true)
        .into_iter()
        .filter(|(room, _)| room != "bin")
        .map(|(room, code)| (room.clone(), imports(&code).into_iter().filter(|other| *other != room).collect()))
        .collect();
    while let Some(leaf) = left.iter().find(|(_, others)| others.is_empty()).map(|(room, _)| room.clone()) {
        left.remove(&leaf);
        for others in left.values_mut() {
            others.remove(&leaf);
        }
    }
    assert!(left.is_empty(), "circles among {left:?}");
}

#[test]
fn the_table_of_log_targets_is_true() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let row = Regex::new(r"(?m)^//! \| `a2a_blocking::(\w+)` \| (\w+) \|").unwrap();
    let told: BTreeSet<(String, String)> =
        row.captures_iter(&lib).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
    let call = Regex::new(r"\b(?:log::(error|warn|info|debug|trace)!|log_safe!\(\s*(\w+))").unwrap();
    let mut made = BTreeSet::new();
    for (room, code) in rooms(false).iter().filter(|(room, _)| *room != "bin") {
        for found in call.captures_iter(code) {
            made.insert((room.clone(), found.get(1).or(found.get(2)).unwrap().as_str().to_owned()));
        }
        // A target of its own would be one that the table cannot know.
        assert!(!code.contains("!(target:"), "{room} logs under a target of its own");
    }
    assert_eq!(told, made, "the table in the crate's docs, and what is in src/");
}

#[test]
fn each_effect_has_its_room() {
    for (pattern, allowed) in EFFECTS {
        let pattern = Regex::new(pattern).unwrap();
        for (room, code) in rooms(false).iter().filter(|(room, _)| *room != "bin") {
            let found = pattern.find(code).map(|found| found.as_str());
            assert!(found.is_none() || allowed.contains(&room.as_str()), "{room} names {found:?}");
        }
    }
}
