//! Documents that repeat the code: the table of log targets, and the links of the Markdown files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::assert_none;
use crate::tree::Tree;

const TARGETS: &str = "src/guide/observability.md";
/// Logs for the rooms that make a `FailureLog`, under their names and at four levels.
const FAILURE_LOG: &str = "src/error/failure_log.rs";
/// Passes a target on.
const LOG_SAFE: &str = "src/util/log_safe.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table of log targets: a room, and a level at which it logs.
fn documented_targets(text: &str) -> BTreeSet<(String, String)> {
    let row = Regex::new(r"(?m)^\| `a2a_blocking::(\w+)` \| (\w+) \|").unwrap();
    row.captures_iter(text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

/// The rooms that log, with the levels at which they do.
fn logged_targets(tree: &Tree) -> BTreeSet<(String, String)> {
    let call =
        Regex::new(r"\b(?:log::(error|warn|info|debug|trace)!|log_safe!\(\s*(error|warn|info|debug|trace)\b)").unwrap();
    let series = Regex::new(r#"FailureLog::new\(\s*"a2a_blocking::(\w+)""#).unwrap();
    for (name, text) in tree.texts() {
        let mut targets = series.captures_iter(text);
        assert!(targets.all(|target| target[1] == *tree.room(name)), "{name} logs under the name of another room");
    }
    let logging = tree.code().filter(|(name, _)| ![FAILURE_LOG, LOG_SAFE].contains(name)).flat_map(|(name, code)| {
        // A target that the code sets itself would be missing from the table.
        assert!(!Regex::new(r"!\(\s*(?:\w+,\s*)?target:").unwrap().is_match(code), "{name} sets a target of the log");
        let mut levels: Vec<String> =
            call.captures_iter(code).map(|found| found.get(1).or(found.get(2)).unwrap().as_str().to_owned()).collect();
        if code.contains("FailureLog::new(") {
            levels.extend(["error", "warn", "info", "debug"].map(str::to_owned));
        }
        levels.into_iter().map(|level| (tree.room(name).to_owned(), level))
    });
    logging.collect()
}

/// Relative links of a Markdown text, without those inside code.
fn links(text: &str) -> Vec<String> {
    let fence = Regex::new(r"(?ms)^ *```.*?^ *```").unwrap();
    let code = Regex::new(r"`[^`\n]*`").unwrap();
    let text = fence.replace_all(text, "");
    let text = code.replace_all(&text, "x");
    let link = Regex::new(r"\]\(([^)\s]+)[^)]*\)|(?m)^\[[^\]]+\]:\s*(\S+)").unwrap();
    let found = link.captures_iter(&text).map(|found| found.get(1).or(found.get(2)).unwrap().as_str().to_owned());
    found.filter(|target| !is_elsewhere(target)).collect()
}

/// A link to another site, or one that rustdoc resolves to an item.
fn is_elsewhere(target: &str) -> bool {
    let is_item = target.contains("::") || target.chars().all(|c| c.is_alphanumeric() || "_()!@".contains(c));
    target.contains("://") || target.starts_with("mailto:") || is_item
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(text: &str, name: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == name)
}

/// Returns the links of a file that lead to nothing. `exists` and `read` take paths below the repository.
fn broken_links(file: &str, text: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let folder = Path::new(file).parent().unwrap();
    let is_broken = |target: &String| {
        let (path, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() { PathBuf::from(file) } else { normalise(&folder.join(path)) };
        match read(&path) {
            None => true,
            // Rustdoc makes the anchors of the guide.
            Some(found) => !heading.is_empty() && !file.starts_with("src/") && !has_anchor(&found, heading),
        }
    };
    links(text).into_iter().filter(is_broken).map(|target| format!("{file}: no {target}")).collect()
}

fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

fn markdown_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != ".git" && name != "node_modules" {
            markdown_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn table_of_log_targets_matches_the_code() {
    let text = fs::read_to_string(root().join(TARGETS)).unwrap();
    assert_eq!(documented_targets(&text), logged_targets(Tree::library()), "{TARGETS} is left, src/ is right");
}

#[test]
fn relative_links_of_markdown_files_exist() {
    if !root().join(".ci").is_dir() {
        // The published package has only some of the files.
        return;
    }
    let mut files = Vec::new();
    markdown_files(root(), &mut files);
    assert!(files.len() > 5, "{files:?}");
    let read = |path: &Path| {
        let path = root().join(path);
        path.exists().then(|| fs::read_to_string(&path).unwrap_or_default())
    };
    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let name = file.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            broken_links(&name, &fs::read_to_string(file).unwrap(), read)
        })
        .collect();
    assert_none(&faults);
}

#[test]
fn self_test_reads_both_sides_of_the_table_of_log_targets() {
    let table = "| target | level |\n| --- | --- | --- |\n| `a2a_blocking::enrich` | debug | each lookup |\n";
    let documented = documented_targets(table);
    let pair = |room: &str, level: &str| (room.to_owned(), level.to_owned());
    assert_eq!(documented, BTreeSet::from([pair("enrich", "debug")]));
    let code = "fn f() { log_safe!(debug, \"x\"); /* log::info!(\"y\") */ }";
    let tree = Tree::of(&[("enrich/mod.rs", code), ("enrich/tests.rs", "fn f() { log::warn!(\"z\"); }")]);
    assert_eq!(logged_targets(&tree), documented);
    let more = Tree::of(&[("enrich/mod.rs", code), ("token.rs", "fn f() { log::warn!(\"z\"); }")]);
    assert_eq!(logged_targets(&more), BTreeSet::from([pair("enrich", "debug"), pair("token", "warn")]));
}

#[test]
fn self_test_finds_broken_links() {
    let text = "[a](b.md) [c](../d.md#one-more) [e](https://x/y) [f](#here) `[g](h.md)` [i](Client::send) [j](Client)\n\
                ```\n[k](l.md)\n```\n## Here\n[m]: n.md\n[o](#nowhere) [p](../d.md#two)";
    let read = |path: &Path| match path.to_str().unwrap() {
        "x/b.md" => Some(String::new()),
        "d.md" => Some("# One more!".to_owned()),
        "x/a.md" => Some(text.to_owned()),
        _ => None,
    };
    let broken = broken_links("x/a.md", text, read);
    assert_eq!(broken, ["x/a.md: no n.md", "x/a.md: no #nowhere", "x/a.md: no ../d.md#two"]);
}
