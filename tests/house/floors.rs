//! Imports point down.

use std::collections::BTreeMap;

use crate::assert_none;
use crate::circles::circles;
use crate::tree::{Tree, is_test_file};

/// The rooms from the top down. Rooms of one floor may import each other, but not in a circle.
const FLOORS: &[&[&str]] = &[
    &["lib"],
    &["fuzzing"],
    &["global", "guide", "serde_impl", "testing"],
    &["inbox"],
    &["client"],
    &["enrich"],
    &["send"],
    &["cache"],
    &["platform"],
    &["http"],
    &["wire"],
    &["config", "token", "retry", "cancel", "peer", "stats", "error"],
    &["util", "test_util"],
];

/// Each room with the rooms that it imports, and one file that does. Fuzz targets count, tests and models do not.
fn room_imports(tree: &Tree) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut rooms = BTreeMap::<String, BTreeMap<String, String>>::new();
    let files = tree.texts().map(|(name, _)| name).filter(|name| !is_test_file(name) || name.ends_with("/fuzz.rs"));
    for name in files {
        let room = rooms.entry(tree.room(name).to_owned()).or_default();
        for import in tree.imports(name) {
            for other in [import.room.as_str(), tree.room(&import.file)] {
                if other != tree.room(name) {
                    room.insert(other.to_owned(), name.to_owned());
                }
            }
        }
    }
    rooms
}

fn upward_imports(tree: &Tree, floors: &[&[&str]]) -> Vec<String> {
    let floor = |room: &str| floors.iter().position(|floor| floor.contains(&room));
    let mut faults = Vec::new();
    for (room, others) in room_imports(tree) {
        let Some(own) = floor(&room) else {
            faults.push(format!("{room} has no floor in the table"));
            continue;
        };
        for (other, file) in others {
            if floor(&other).is_none_or(|other| other < own) {
                faults.push(format!("{file}: {room} imports {other}, which is above it"));
            }
        }
    }
    faults
}

fn circles_of_rooms(tree: &Tree) -> Vec<String> {
    let rooms = room_imports(tree).into_iter();
    circles(&rooms.map(|(room, others)| (room, others.into_keys().collect())).collect())
}

#[test]
fn imports_point_down() {
    let tree = Tree::library();
    assert!(room_imports(tree).len() > 12);
    assert_none(&upward_imports(tree, FLOORS));
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    assert_none(&circles_of_rooms(Tree::library()));
}

#[test]
fn self_test_finds_an_upward_import_and_a_circle() {
    let floors: &[&[&str]] = &[&["lib"], &["high"], &["low", "middle"]];
    let below =
        Tree::of(&[("lib.rs", "mod high; mod low;"), ("high.rs", "use crate::low::X;"), ("low.rs", "struct X;")]);
    assert_none(&upward_imports(&below, floors));
    assert_none(&circles_of_rooms(&below));
    let above = Tree::of(&[
        ("lib.rs", ""),
        ("high.rs", "use crate::low::X;"),
        ("low/mod.rs", "mod a; struct X;"),
        ("low/a.rs", "fn f() { super::super::high::g() }"),
    ]);
    assert_eq!(upward_imports(&above, floors), ["src/low/a.rs: low imports high, which is above it"]);
    assert_eq!(circles_of_rooms(&above).len(), 1);
    let unknown = Tree::of(&[("attic.rs", "")]);
    assert_eq!(upward_imports(&unknown, floors), ["attic has no floor in the table"]);
}
