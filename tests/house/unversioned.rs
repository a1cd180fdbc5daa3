//! The part of `ureq` that a minor version may change: one folder uses it, and its header lists what it uses.

use std::collections::BTreeSet;

use regex::Regex;

use crate::assert_none;
use crate::source::strip_comments;
use crate::tree::Tree;

const FOLDER: &str = "src/http/transport/";
const HEADER: &str = "src/http/transport/mod.rs";

/// Returns the items of `ureq::unversioned` that a code names, as `transport::Buffers`.
fn items(code: &str) -> BTreeSet<String> {
    let path = Regex::new(r"\bunversioned::([a-z_]+)::(\{[^}]*\}|\w+)").unwrap();
    let mut found = BTreeSet::new();
    for captures in path.captures_iter(code) {
        for item in captures[2].trim_matches(['{', '}']).split(',').map(str::trim).filter(|item| !item.is_empty()) {
            found.insert(format!("{}::{item}", &captures[1]));
        }
    }
    found
}

/// Returns the items in the table of a module's header.
fn listed(header: &str) -> BTreeSet<String> {
    let row = Regex::new(r"(?m)^//! \| `([a-z_]+::\w+)` \|").unwrap();
    row.captures_iter(header).map(|captures| captures[1].to_owned()).collect()
}

/// Returns what is wrong: a file elsewhere that names the module, an import that cannot be read, an item that is not in
/// the list, or one in the list that nothing uses. Tests and fuzz targets count.
fn faults(tree: &Tree) -> Vec<String> {
    let (mut faults, mut used, mut list) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (name, text) in tree.texts() {
        let code = strip_comments(text);
        let mentions = code.matches("unversioned").count();
        if !name.starts_with(FOLDER) {
            if mentions > 0 {
                faults.push(format!("{name} names ureq::unversioned, which is for {FOLDER}"));
            }
            continue;
        }
        if name == HEADER {
            list = listed(text);
        }
        if mentions
            != code.matches("unversioned::resolver::").count() + code.matches("unversioned::transport::").count()
        {
            faults.push(format!("{name} names ureq::unversioned without an item: write the whole path to each"));
        }
        used.extend(items(&code));
    }
    faults.extend(used.difference(&list).map(|item| format!("{HEADER} does not list {item}")));
    faults.extend(list.difference(&used).map(|item| format!("{HEADER} lists {item}, which nothing uses")));
    faults
}

#[test]
fn one_folder_uses_unversioned_items_and_lists_them() {
    assert_none(&faults(Tree::library()));
    for tree in [Tree::program(), Tree::soak()] {
        let elsewhere = tree.texts().filter(|(_, text)| strip_comments(text).contains("unversioned"));
        assert_eq!(elsewhere.count(), 0);
    }
}

#[test]
fn self_test_finds_other_files_and_a_list_that_differs() {
    let header = "//! | `transport::Buffers` | bytes |\n//! | `resolver::Resolver` | names |\n";
    let used = "use ureq::unversioned::transport::{\n    Buffers,\n};\nuse ureq::unversioned::resolver::Resolver;";
    let tree = |mod_rs: &str, code: &str| {
        Tree::of(&[("http/transport/mod.rs", &format!("{header}{mod_rs}")), ("http/transport/tcp.rs", code)])
    };
    assert_none(&faults(&tree("mod tcp;", used)));
    assert_none(&faults(&tree("fn f() { ureq::unversioned::transport::Buffers; }", used)));
    for (mod_rs, code) in [
        ("", "use ureq::unversioned::transport::Buffers;"),
        ("use ureq::unversioned::transport::{Either, Buffers};", used),
        ("#[cfg(test)] mod tests { use ureq::unversioned::transport::Either; }", used),
        ("use ureq::unversioned::transport as t;", used),
        ("use ureq::unversioned::{transport::Buffers};", used),
    ] {
        assert!(!faults(&tree(mod_rs, code)).is_empty(), "{mod_rs} {code}");
    }
    let elsewhere = Tree::of(&[("http/mod.rs", "use ureq::unversioned::transport::Buffers;")]);
    assert_eq!(faults(&elsewhere).len(), 1);
}
