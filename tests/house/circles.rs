//! No circle of imports among the files of a room.

use std::collections::{BTreeMap, BTreeSet};

use crate::assert_none;
use crate::tree::{Tree, is_test_file};

/// Files that count as one: a builder, and what it builds.
const BUILDERS: &[(&str, &str)] = &[
    ("src/inbox/builder/mod.rs", "src/inbox/poller.rs"),
    ("src/client/builder.rs", "src/client/mod.rs"),
    ("src/config/builder.rs", "src/config/mod.rs"),
];

/// Each file with those that it imports of its room, or of the whole crate.
fn file_imports(tree: &Tree, whole: bool) -> BTreeMap<String, BTreeSet<String>> {
    let count_as =
        |name: &str| BUILDERS.iter().find(|(builder, _)| *builder == name).map_or(name, |(_, built)| built).to_owned();
    let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
    for name in tree.texts().map(|(name, _)| name).filter(|name| !is_test_file(name)) {
        let found = tree.imports(name).into_iter().map(|import| import.file);
        let found = found.filter(|other| !is_test_file(other) && (whole || tree.room(other) == tree.room(name)));
        let own = imports.entry(count_as(name)).or_default();
        own.extend(found.map(|other| count_as(&other)).filter(|other| *other != count_as(name)));
    }
    imports
}

/// Returns each set of files, or of rooms, that import each other in circles: those that reach each other.
pub(crate) fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|from| (from.as_str(), reachable(imports, from))).collect();
    let mut sets = BTreeSet::new();
    for (from, reached) in &reach {
        let set: BTreeSet<&str> =
            reached.iter().copied().filter(|other| reach.get(other).is_some_and(|back| back.contains(from))).collect();
        if !set.is_empty() {
            sets.insert(set);
        }
    }
    let edges = |set: &BTreeSet<&str>| -> Vec<String> {
        let inside =
            |from: &&str| imports[*from].iter().filter(|to| set.contains(to.as_str())).cloned().collect::<Vec<_>>();
        set.iter().map(|from| format!("  {from} imports {}", inside(from).join(", "))).collect()
    };
    sets.iter().map(|set| format!("a circle:\n{}", edges(set).join("\n"))).collect()
}

fn reachable<'a>(imports: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = imports[from].iter().map(String::as_str).collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(imports.get(file).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    assert_none(&circles(&file_imports(Tree::library(), false)));
}

#[test]
fn no_files_of_the_program_import_each_other_in_a_circle() {
    assert_none(&circles(&file_imports(Tree::program(), true)));
}

#[test]
fn no_files_of_the_soak_test_import_each_other_in_a_circle() {
    assert_none(&circles(&file_imports(Tree::soak(), true)));
}

#[test]
fn self_test_finds_circles_and_takes_a_builder_for_what_it_builds() {
    let of = |files: &[(&str, &str)]| circles(&file_imports(&Tree::of(files), false));
    let down =
        [("a/mod.rs", "mod b; mod c; use b::B;"), ("a/b.rs", "use super::c::C; struct B;"), ("a/c.rs", "struct C;")];
    assert_none(&of(&down));
    let parent = [("a/mod.rs", "mod b; use b::B; struct A(B);"), ("a/b.rs", "use super::A; struct B;")];
    assert_eq!(of(&parent).len(), 1, "a child that imports from its parent");
    let three = [
        ("a/mod.rs", "mod b; mod c; mod d;"),
        ("a/b.rs", "fn f() { super::c::f() }"),
        ("a/c.rs", "use crate::a::d; fn f() { d::f() }"),
        ("a/d.rs", "fn f() {} mod inline { use super::super::b::f; }"),
    ];
    let found = of(&three);
    assert!(found.len() == 1 && found[0].contains("src/a/d.rs imports src/a/b.rs"), "{found:?}");
    let tests = [("a/mod.rs", "#[cfg(test)] mod tests; struct A;"), ("a/tests.rs", "use super::A;")];
    assert_none(&of(&tests));
    let builder = [
        ("inbox/mod.rs", "mod builder; mod poller;"),
        ("inbox/builder/mod.rs", "use super::poller::P; struct B;"),
        ("inbox/poller.rs", "use super::builder::B; struct P;"),
    ];
    assert_none(&of(&builder));
}
