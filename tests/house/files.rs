//! The size of files.

use crate::assert_none;
use crate::tree::{Tree, is_test_file};

const MOST_LINES: usize = 350;
const FEWEST_LINES: usize = 60;

/// Files that are shorter, each with the reason. Tests, models and fuzz targets may be short.
const SHORT: &[(&str, &str)] = &[
    ("src/util/mod.rs", "declares the modules"),
    ("src/platform/mod.rs", "declares the modules"),
    ("src/wire/mod.rs", "declares the modules"),
    ("src/inbox/mod.rs", "declares the modules"),
    ("src/test_util.rs", "helpers of the unit tests, in a room that all of them import"),
    ("src/cache/jitter.rs", "spreads expiries by peer, apart so that `util` knows no peers"),
    ("src/cache/local/raw_key.rs", "the key type of the thread-local cache, which the table and its users import"),
    ("src/util/random.rs", "one function, which many rooms import"),
    ("src/util/log_safe.rs", "one macro, which every room above imports"),
    ("src/util/panic.rs", "the one place that catches panics"),
    ("src/util/str_enum.rs", "one macro, which every public enum uses"),
];

fn faults(tree: &Tree, short: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, text) in tree.texts() {
        let lines = text.lines().count();
        let is_listed = short.iter().any(|(file, _)| *file == name);
        if lines > MOST_LINES {
            faults.push(format!("{name} has {lines} lines, above {MOST_LINES}"));
        }
        if lines < FEWEST_LINES && !is_listed && !is_test_file(name) {
            faults.push(format!("{name} has {lines} lines: merge it with a neighbour, or list it with the reason"));
        }
        if text.contains("#[path") {
            faults.push(format!("{name} has a #[path]"));
        }
    }
    faults
}

#[test]
fn files_are_neither_long_nor_short_and_lie_where_their_modules_say() {
    assert_none(&faults(Tree::library(), SHORT));
    assert_none(&faults(Tree::program(), SHORT));
}

#[test]
fn each_short_file_of_the_list_exists_and_is_short() {
    let (library, program) = (Tree::library(), Tree::program());
    for (file, _) in SHORT {
        let lines =
            library.texts().chain(program.texts()).find(|(name, _)| name == file).map(|(_, text)| text.lines().count());
        assert!(lines.is_some_and(|lines| lines < FEWEST_LINES), "{file}: {lines:?} lines; take it from the list");
    }
}

#[test]
fn self_test_finds_long_and_short_files_and_paths() {
    let text = |lines: usize| "\n".repeat(lines);
    let (long, most, fewest, few) = (text(351), text(350), text(60), text(59));
    let path = text(100) + "#[path = \"x.rs\"] mod y;";
    let tree = Tree::of(&[
        ("a.rs", &long),
        ("b.rs", &most),
        ("c.rs", &fewest),
        ("d.rs", &few),
        ("e/tests.rs", &few),
        ("f.rs", &path),
        ("g.rs", &few),
    ]);
    let found = faults(&tree, &[("src/g.rs", "a reason")]);
    let named: Vec<&str> = found.iter().map(|fault| fault.split(' ').next().unwrap()).collect();
    assert_eq!(named, ["src/a.rs", "src/d.rs", "src/f.rs"], "{found:?}");
}
