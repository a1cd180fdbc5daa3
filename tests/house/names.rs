//! One name for one thing.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::assert_none;
use crate::tree::Tree;

/// Names of types that several private modules may have, each with the reason.
const TWICE: &[(&str, &str)] = &[];

/// Type names that more than one place declares. Associated types (`Out`, `Err`, `Target`) are no such types: they are
/// declared inside a trait or an implementation, so only aliases at the start of a line count.
fn types_twice(tree: &Tree, allowed: &[(&str, &str)]) -> Vec<String> {
    let declared =
        Regex::new(r"\b(?:struct|enum|union|trait)\s+([A-Z]\w*)|(?m)^(?:pub(?:\([^)]*\))?\s+)?type\s+([A-Z]\w*)")
            .unwrap();
    let mut places = BTreeMap::<String, Vec<&str>>::new();
    for (name, code) in tree.code() {
        for found in declared.captures_iter(code) {
            places.entry(found.get(1).or(found.get(2)).unwrap().as_str().to_owned()).or_default().push(name);
        }
    }
    places.retain(|name, places| places.len() > 1 && !allowed.iter().any(|(other, _)| other == name));
    places.into_iter().map(|(name, places)| format!("{name} is declared in {}", places.join(", "))).collect()
}

/// Functions whose names differ by an underscore only, such as `lookup` and `look_up`.
fn functions_alike(tree: &Tree) -> Vec<String> {
    let declared = Regex::new(r"\bfn\s+([a-z_]\w*)").unwrap();
    let mut names = BTreeMap::<String, BTreeSet<String>>::new();
    for (_, code) in tree.code() {
        for found in declared.captures_iter(code) {
            names.entry(found[1].replace('_', "")).or_default().insert(found[1].to_owned());
        }
    }
    names
        .into_values()
        .filter(|names| names.len() > 1)
        .map(|names| format!("functions named alike: {names:?}"))
        .collect()
}

#[test]
fn no_two_types_have_one_name() {
    assert_none(&types_twice(Tree::library(), TWICE));
    assert_none(&types_twice(Tree::program(), TWICE));
}

#[test]
fn no_two_functions_differ_by_an_underscore() {
    assert_none(&functions_alike(Tree::library()));
    assert_none(&functions_alike(Tree::program()));
}

#[test]
fn self_test_finds_names_alike() {
    let tree = Tree::of(&[
        ("a.rs", "struct Inner; impl T for X { type Out = u8; } fn lookup() {} pub(crate) type Job = u8;"),
        ("b.rs", "enum Inner {} trait T { type Out; } fn look_up() {}\ntype Job = u8;\n// struct Other;"),
        ("c.rs", "struct Other; #[cfg(test)] mod tests { struct Other; fn oth_er() {} } fn other() {}"),
    ]);
    assert_eq!(types_twice(&tree, &[]), ["Inner is declared in src/a.rs, src/b.rs"]);
    assert_none(&types_twice(&tree, &[("Inner", "a reason")]));
    assert_eq!(functions_alike(&tree), [r#"functions named alike: {"look_up", "lookup"}"#]);
    let aliases = Tree::of(&[("a.rs", "pub(crate) type Job = u8;"), ("b.rs", "type Job = u8;")]);
    assert_eq!(types_twice(&aliases, &[]).len(), 1);
}
