//! The crates that come with this one, and the `unsafe` code in them and in our tests, as listed in `crates.md`. A new
//! one fails the test until it has a sentence there.
//!
//! `A2A_WRITE=1 cargo test --test crates` rewrites everything but the sentences, which are written by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const LIST: &str = "tests/crates.md";
/// The list is for one target, on whatever machine the test runs.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const UNWRITTEN: &str = "?";
const OURS: &str = "a2a-blocking";
/// The sets of features for which the crates are counted.
const FEATURES: &[(&str, &[&str])] = &[
    ("the default (`rustls`)", &[]),
    ("no features", &["--no-default-features"]),
    ("`native-tls` alone", &["--no-default-features", "--features", "native-tls"]),
    ("`platform-verifier`", &["--features", "platform-verifier"]),
    ("`cli`", &["--features", "cli"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs cargo on the lock file and returns its output. It fetches crates of other features, which a plain `cargo test`
/// does not need. After a `cargo fetch` there is nothing to fetch.
fn cargo(args: &[&str]) -> String {
    let cargo = env::var("CARGO").unwrap_or("cargo".to_owned());
    let mut command = Command::new(cargo);
    let output = command.args(args).arg("--locked").current_dir(root()).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?}: {why}; offline it takes a `cargo fetch` before");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the crates of a tree with their versions, and for each the crates that depend on it. Our own is left out.
fn tree(edges: &str, features: &[&str]) -> BTreeMap<(String, String), BTreeSet<String>> {
    tree_for(TARGET, edges, features)
}

fn tree_for(target: &str, edges: &str, features: &[&str]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let fixed = ["tree", "-e", edges, "--target", target, "--prefix", "depth", "--no-dedupe", "--format", " {p}"];
    let text = cargo(&[&fixed[..], features].concat());
    let (mut tree, mut above) = (BTreeMap::<_, BTreeSet<String>>::new(), Vec::<String>::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let depth: usize = words.next().unwrap().parse().unwrap();
        let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
        above.truncate(depth);
        if let Some(by) = above.last() {
            tree.entry((name.to_owned(), version.to_owned())).or_default().insert(by.clone());
        }
        above.push(name.to_owned());
    }
    tree
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Counts `unsafe` blocks, functions, implementations and traits in a file, without lines that are comments.
fn unsafes(file: &Path) -> usize {
    let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.flat_map(|line| [line, "\n"]).collect::<String>();
    let in_a_name = |(at, _): &(usize, &str)| code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let begins = |(at, word): &(usize, &str)| {
        let rest = code[at + word.len()..].trim_start();
        ["{", "fn", "impl", "trait", "extern"].iter().any(|what| rest.starts_with(what))
    };
    code.match_indices("unsafe").filter(|found| !in_a_name(found) && begins(found)).count()
}

/// Cargo's metadata of each crate in the lock file.
struct Packages(Vec<Value>);

impl Packages {
    fn read() -> Packages {
        let mut metadata: Value =
            serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--all-features"])).unwrap();
        Packages(std::mem::take(metadata["packages"].as_array_mut().unwrap()))
    }

    fn get(&self, (name, version): &(String, String)) -> &Value {
        self.0.iter().find(|package| package["name"] == **name && package["version"] == **version).unwrap()
    }
}

/// Counts the `unsafe` code of each crate.
fn unsafe_crates(crates: impl Iterator<Item = (String, String)>) -> BTreeMap<(String, String), usize> {
    let packages = Packages::read();
    let count = |id: &(String, String)| {
        let manifest = Path::new(packages.get(id)["manifest_path"].as_str().unwrap()).to_owned();
        let mut files = Vec::new();
        rust_files(&manifest.with_file_name("src"), &mut files);
        files.iter().map(|file| unsafes(file)).sum()
    };
    crates.map(|id| (id.clone(), count(&id))).collect()
}

/// Counts the `unsafe` code of our own files that have some.
fn unsafe_files() -> BTreeMap<String, usize> {
    let mut files = Vec::new();
    ["src", "tests", "benches"].iter().for_each(|dir| rust_files(&root().join(dir), &mut files));
    // This file only mentions it.
    files.retain(|file| !file.ends_with(file!()));
    let shown = |file: &PathBuf| file.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    files.iter().map(|file| (shown(file), unsafes(file))).filter(|(_, count)| *count > 0).collect()
}

/// Returns the last column of each row, by its first.
fn sentences(list: &str) -> BTreeMap<String, String> {
    let rows = list.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    cells.filter_map(|row| Some((row.first()?.to_string(), row.last()?.to_string()))).collect()
}

/// Returns the list as it should be, with the existing sentences.
fn list(old: &str) -> String {
    let written = sentences(old);
    let sentence = |what: &str| written.get(what).cloned().unwrap_or(UNWRITTEN.to_owned());
    let mut out = String::from(
        "# The crates that come with this one\n\n`cargo test --test crates` compares the list with the lock file, \
         and fails when it grows.\n`A2A_WRITE=1 cargo test --test crates` rewrites all but the sentences, and puts a \
         `?` where one is missing.\n\n",
    );
    writeln!(out, "## How many\n\nOn {TARGET}, without those that only build scripts and macros use.\n").unwrap();
    writeln!(out, "| features | crates |\n| --- | ---: |").unwrap();
    for (name, features) in FEATURES {
        writeln!(out, "| {name} | {} |", tree("normal,no-proc-macro", features).len()).unwrap();
    }
    let tree = tree("normal,no-proc-macro", &[]);
    let unsafes = unsafe_crates(tree.keys().cloned());
    out += "\n## What each is for\n\nWith the default features. `unsafe`: number of such blocks, functions and implementations in \
            the source, for any\ntarget or feature. This crate has none: the compiler forbids it.\n\n| crate | required by | `unsafe` | purpose |\n| --- | --- | ---: | --- |\n";
    for (id, by) in &tree {
        let (name, version) = id;
        // Each of two versions of a crate has a row.
        let twice = tree.keys().filter(|(other, _)| other == name).count() > 1;
        let shown = if twice { format!("{name} {version}") } else { name.clone() };
        let by = by.iter().map(|by| if by == OURS { "us" } else { by }).collect::<Vec<_>>().join(", ");
        writeln!(out, "| {shown} | {by} | {} | {} |", unsafes[id], sentence(&shown)).unwrap();
    }
    out += "\n## Our own `unsafe`\n\nIn tests and benchmarks only. A comment at each block says why it is sound.\n\n\
            | file | `unsafe` | why |\n| --- | ---: | --- |\n";
    for (file, count) in unsafe_files() {
        writeln!(out, "| {file} | {count} | {} |", sentence(&file)).unwrap();
    }
    out
}

#[test]
fn list_of_crates_matches_the_lock_file() {
    let path = root().join(LIST);
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = list(&old);
    if env::var_os("A2A_WRITE").is_some() {
        fs::write(&path, &new).unwrap();
    }
    // The published package lacks the comparison with other libraries.
    let old: String = match root().join("benches/peers").is_dir() {
        true => old,
        false => {
            old.lines().filter(|line| !line.starts_with("| benches/peers/")).map(|line| format!("{line}\n")).collect()
        }
    };
    let differ = new.lines().filter(|line| !old.lines().any(|other| other == *line));
    let differ: Vec<&str> = differ.chain(old.lines().filter(|line| !new.lines().any(|other| other == *line))).collect();
    let written = env::var_os("A2A_WRITE").is_some();
    assert!(written || differ.is_empty(), "{LIST} is out of date; A2A_WRITE=1 rewrites it. {differ:#?}");
    let missing: Vec<_> = sentences(&new).into_iter().filter(|(_, sentence)| sentence == UNWRITTEN).collect();
    assert!(missing.is_empty(), "{LIST}: these have no sentence yet: {missing:?}");
}

/// Returns whether a licence expression is met by the allowed licences.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    fn any<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
        let mut met = all(words, allowed);
        while words.next_if_eq(&"OR").is_some() {
            met |= all(words, allowed);
        }
        met
    }
    fn all<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
        let mut met = one(words, allowed);
        while words.next_if_eq(&"AND").is_some() {
            met &= one(words, allowed);
        }
        met
    }
    fn one<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
        if words.next_if_eq(&"(").is_some() {
            let met = any(words, allowed);
            return words.next() == Some(")") && met;
        }
        let met = words.next().is_some_and(|licence| allowed.iter().any(|allowed| allowed == licence));
        // An exception only grants more.
        if words.next_if_eq(&"WITH").is_some() {
            words.next();
        }
        met
    }
    any(&mut words, allowed) && words.next().is_none()
}

#[test]
fn licence_expressions_are_evaluated() {
    let allowed = ["MIT", "Apache-2.0"].map(str::to_owned);
    for (expression, is) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND Apache-2.0", true),
        ("MIT AND (GPL-3.0 OR Apache-2.0 WITH LLVM-exception)", true),
        ("GPL-3.0 OR MIT AND ISC", false),
        ("", false),
        ("MIT MIT", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), is, "{expression}");
    }
}

/// Checks the rules of `deny.toml`, as `cargo deny` does where it is installed. With any features and on each target,
/// each crate is from crates.io, under an allowed licence, not banned, and there once.
#[test]
fn dependencies_obey_deny_toml() {
    let Ok(rules) = fs::read_to_string(root().join("deny.toml")) else {
        // The published package lacks the file.
        return;
    };
    // Returns the entries of one of its lists: texts, or tables with a crate.
    let list = |name: &str| -> Vec<String> {
        let (_, rest) = rules.split_once(&format!("\n{name} = [")).unwrap();
        let lines = rest.lines().map(|line| line.trim()).take_while(|line| *line != "]");
        let first = rest.lines().next().unwrap();
        let lines: Vec<&str> = if first.is_empty() { lines.collect() } else { vec![first] };
        let text = lines.into_iter().filter(|line| !line.starts_with('#')).collect::<String>();
        let mark = if text.contains("crate = \"") { "crate = \"" } else { "\"" };
        let step = if mark == "\"" { 2 } else { 1 };
        text.split(mark).skip(1).step_by(step).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let (allowed, banned, twice) = (list("allow"), list("deny"), list("skip"));
    assert!(allowed.contains(&"MIT".to_owned()) && banned.contains(&"tokio".to_owned()), "{allowed:?} {banned:?}");
    let (packages, targets) = (Packages::read(), list("targets"));
    let tree: BTreeSet<_> =
        targets.iter().flat_map(|target| tree_for(target, "normal,build", &["--all-features"]).into_keys()).collect();
    assert!(tree.len() > 42, "{}", tree.len());
    for id in &tree {
        let package = packages.get(id);
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{id:?} is under {licence:?}; see deny.toml");
        assert_eq!(package["source"], "registry+https://github.com/rust-lang/crates.io-index", "{id:?}");
        assert!(!banned.contains(&id.0), "{id:?} is banned by deny.toml");
        let others = tree.iter().filter(|(name, version)| *name == id.0 && *version != id.1);
        let is_known = |version: &str| {
            twice.iter().any(|known| {
                let (name, major) = known.split_once('@').unwrap();
                name == id.0 && version.starts_with(major)
            })
        };
        for other in others {
            assert!(is_known(&id.1) || is_known(&other.1), "{id:?} is there twice, see deny.toml: {other:?}");
        }
    }
}

#[test]
fn crate_has_no_unsafe_code() {
    assert_eq!(unsafe_files().keys().filter(|file| file.starts_with("src/")).count(), 0);
    for root_file in ["src/lib.rs", "src/bin/a2a-peer/main.rs"] {
        assert!(fs::read_to_string(root().join(root_file)).unwrap().contains("#![forbid(unsafe_code)]"), "{root_file}");
    }
}

#[test]
fn unsafe_code_is_counted() {
    let mut found = Vec::new();
    rust_files(&root().join("tests"), &mut found);
    assert!(found.iter().any(|file| file.ends_with("support/mod.rs")));
    assert_eq!(unsafes(&root().join("tests/hit.rs")), 5);
    assert_eq!(unsafes(&root().join("src/lib.rs")), 0, "the name of a lint does not count");
}
