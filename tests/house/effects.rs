//! One place for each effect.

use regex::Regex;

use crate::assert_none;
use crate::tree::Tree;

/// An effect: the code that has it, and the files that may have that code, by the beginnings of their paths.
type Effect = (&'static str, &'static [&'static str]);

const EFFECTS: &[Effect] = &[
    (r"\bureq::", &["src/http/"]),
    (r"\bTcp(Stream|Listener)\b", &["src/http/", "src/testing/"]),
    (r"\benv::|\benv_var\b", &["src/config/", "src/test_util"]),
    (r"\b(Instant|SystemTime)::now\b|\bcoarsetime::|\.elapsed\(\)", &["src/util/clock.rs"]),
    (r"\bRwLock\b", &["src/cache/", "src/token/"]),
    (
        r"\bMutex\b|\bCondvar\b",
        &[
            "src/inbox/",
            "src/enrich/",
            "src/cancel/",
            "src/http/removal.rs",
            "src/http/transport/",
            "src/http/rate_limit.rs",
            "src/http/body.rs",
            "src/http/upload.rs",
            "src/util/",
            "src/token/",
            "src/cache/answers/",
            "src/cache/local/",
            "src/testing/",
        ],
    ),
    (r"\bcatch_unwind\b", &["src/util/panic.rs"]),
    (r"\bFile::|\bfs::|\bOpenOptions\b", &["src/inbox/store/", "src/token/", "src/test_util"]),
];

fn misplaced(tree: &Tree, effects: &[Effect]) -> Vec<String> {
    let mut faults = Vec::new();
    for (pattern, allowed) in effects {
        let pattern = Regex::new(pattern).unwrap();
        for (name, code) in tree.code().filter(|(name, _)| !allowed.iter().any(|start| name.starts_with(start))) {
            if let Some(found) = pattern.find(code) {
                faults.push(format!("{name} has {:?}, which is for {allowed:?}", found.as_str()));
            }
        }
    }
    faults
}

#[test]
fn each_effect_has_its_place() {
    assert_none(&misplaced(Tree::library(), EFFECTS));
}

/// A pattern that nothing matches, or a folder that is gone, would check nothing.
#[test]
fn each_effect_is_found_in_its_place() {
    let tree = Tree::library();
    for (pattern, allowed) in EFFECTS {
        let pattern = Regex::new(pattern).unwrap();
        let is_found =
            tree.code().any(|(name, code)| allowed.iter().any(|at| name.starts_with(at)) && pattern.is_match(code));
        assert!(is_found, "nothing in {allowed:?} has {pattern}");
    }
}

#[test]
fn self_test_finds_each_effect_elsewhere() {
    for code in [
        "use ureq::Agent;",
        "fn f(s: TcpStream) {}",
        "fn f() { std::env::var(\"X\"); }",
        "fn f() { Instant::now(); }",
        "fn f(t: Instant) { t.elapsed(); }",
        "struct S(RwLock<u8>);",
        "struct S(Mutex<u8>);",
        "fn f() { std::panic::catch_unwind(|| ()); }",
        "fn f() { fs::read(\"x\"); }",
    ] {
        assert_eq!(misplaced(&Tree::of(&[("wire/mod.rs", code)]), EFFECTS).len(), 1, "{code}");
        let hidden = format!("// {code}\n#[cfg(test)]\nmod tests {{ {code} }}");
        assert_none(&misplaced(&Tree::of(&[("wire/mod.rs", &hidden), ("wire/tests.rs", code)]), EFFECTS));
    }
}
