//! The source files of one crate, their modules, and what each file imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use crate::source::{strip_comments, strip_test_code};

/// The files of one crate, by their paths below the repository.
pub(crate) struct Tree {
    /// Folder of the crate's root file, with a slash at its end.
    root: String,
    files: BTreeMap<String, File>,
    /// The file of each module.
    modules: BTreeMap<Vec<String>, String>,
}

struct File {
    text: String,
    /// The text without comments, contents of literals and test code.
    code: String,
    module: Vec<String>,
    paths: Vec<ModulePath>,
}

/// A path to another module or to one of its items, as a file names it.
struct ModulePath {
    /// Module that the path is in: that of the file, or an inline one below it.
    module: Vec<String>,
    segments: Vec<String>,
    /// For a `use`: the name that it gives to the item.
    binding: Option<String>,
    /// True for a `pub use` of an item that the file does not use itself.
    is_reexport: bool,
}

/// Target of a path: a file, and its room as the path names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) file: String,
    /// First module of the path, or `lib` for an item of the crate's root.
    pub(crate) room: String,
}

impl Tree {
    /// Reads the library: `src` without `src/bin`.
    pub(crate) fn library() -> &'static Tree {
        static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::read("src/", |path| !path.starts_with("src/bin/")));
        &TREE
    }

    /// Reads the command-line program.
    pub(crate) fn program() -> &'static Tree {
        static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::read("src/bin/a2a-peer/", |_| true));
        &TREE
    }

    /// Reads the endurance test.
    pub(crate) fn soak() -> &'static Tree {
        static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::read("benches/soak/", |_| true));
        &TREE
    }

    fn read(root: &str, is_part: impl Fn(&str) -> bool) -> Tree {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        rust_files(&top.join(root), &mut found);
        let files = found.iter().map(|path| {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().replace('\\', "/");
            (name, fs::read_to_string(path).unwrap())
        });
        let tree = Tree::new(root, files.filter(|(name, _)| is_part(name)));
        assert!(!tree.files.is_empty(), "no files in {root}");
        tree
    }

    /// A tree of these texts, for the self-tests of the checks.
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree::new("src/", files.iter().map(|(name, text)| (format!("src/{name}"), (*text).to_owned())))
    }

    fn new(root: &str, files: impl IntoIterator<Item = (String, String)>) -> Tree {
        let files = files.into_iter().map(|(name, text)| {
            let code = strip_test_code(&strip_comments(&text));
            let module = module_of(name.strip_prefix(root).unwrap());
            let paths = read_paths(&module, &code);
            (name, File { text, code, module, paths })
        });
        let files: BTreeMap<String, File> = files.collect();
        let modules = files.iter().map(|(name, file)| (file.module.clone(), name.clone())).collect();
        Tree { root: root.to_owned(), files, modules }
    }

    /// Returns each file's path and text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(name, file)| (name.as_str(), file.text.as_str()))
    }

    /// Returns each file's path and code, without the files of tests, models and fuzz targets.
    pub(crate) fn code(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(|(name, _)| !is_test_file(name))
            .map(|(name, file)| (name.as_str(), file.code.as_str()))
    }

    /// Returns the room of a file: the first part of its path below the crate's root.
    pub(crate) fn room<'a>(&self, name: &'a str) -> &'a str {
        let below = name.strip_prefix(&self.root).unwrap();
        below.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Returns the imports of a file from other files of the crate.
    pub(crate) fn imports(&self, name: &str) -> BTreeSet<Import> {
        let file = &self.files[name];
        let paths = file.paths.iter().filter(|path| !path.is_reexport);
        let found = paths.filter_map(|path| {
            let (absolute, is_glob) = self.absolute(file, path)?;
            // A module's name alone imports nothing of it: the paths that begin with that name do.
            if self.is_module(&absolute) && path.binding.is_some() && !is_glob {
                return None;
            }
            let room = if self.is_module(absolute.get(..1)?) { absolute[0].clone() } else { "lib".to_owned() };
            Some(Import { file: self.resolve(&absolute, 0)?, room })
        });
        found.filter(|import| import.file != name).collect()
    }

    /// Returns a path from the crate's root, and whether it ended in `*`. `None` if it leads to another crate.
    fn absolute(&self, file: &File, path: &ModulePath) -> Option<(Vec<String>, bool)> {
        let mut segments = path.segments.clone();
        let is_glob = segments.last().is_some_and(|last| last == "*");
        if is_glob {
            segments.pop();
        }
        let mut absolute = path.module.clone();
        let mut rest = segments.iter();
        match segments[0].as_str() {
            "crate" => {
                rest.next();
                absolute.clear();
            }
            "self" | "super" => {
                while let Some(segment) =
                    rest.clone().next().filter(|segment| ["self", "super"].contains(&segment.as_str()))
                {
                    if segment == "super" {
                        absolute.pop()?;
                    }
                    rest.next();
                }
            }
            first => {
                let child: Vec<String> = path.module.iter().cloned().chain([first.to_owned()]).collect();
                if !self.is_module(&child) {
                    // Perhaps a module under a name that a `use` gave to it.
                    let by_name =
                        |other: &&ModulePath| other.binding.as_deref() == Some(first) && other.module == path.module;
                    let bound = file.paths.iter().filter(by_name).find(|other| other.segments != path.segments)?;
                    if path.binding.is_some() && bound.segments[0] == first {
                        return None;
                    }
                    let (module, _) = self.absolute(file, bound)?;
                    if !self.is_module(&module) {
                        return None;
                    }
                    rest.next();
                    absolute = module;
                }
            }
        }
        absolute.extend(rest.cloned());
        Some((absolute, is_glob))
    }

    fn is_module(&self, module: &[String]) -> bool {
        self.modules.contains_key(module)
    }

    fn file_of(&self, module: &[String]) -> Option<&str> {
        self.modules.get(module).map(String::as_str)
    }

    /// Returns the file that defines what a path from the crate's root leads to: re-exports are followed.
    fn resolve(&self, absolute: &[String], depth: usize) -> Option<String> {
        let module = (0..=absolute.len()).rev().find(|length| self.is_module(&absolute[..*length]))?;
        let name = self.file_of(&absolute[..module])?;
        let Some(item) = absolute.get(module).filter(|_| depth < 8) else { return Some(name.to_owned()) };
        let file = &self.files[name];
        let is_bound = |path: &&ModulePath| path.binding.as_ref() == Some(item) && path.module == file.module;
        let reexport = file.paths.iter().find(is_bound).and_then(|path| self.absolute(file, path));
        match reexport {
            Some((target, _)) => {
                let target: Vec<String> = target.into_iter().chain(absolute[module + 1..].iter().cloned()).collect();
                self.resolve(&target, depth + 1)
            }
            None => Some(name.to_owned()),
        }
    }
}

/// Appends the Rust files below a folder, those of build folders apart.
fn rust_files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// True for a file of tests, of a loom model or of a fuzz target.
pub(crate) fn is_test_file(name: &str) -> bool {
    let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
    matches!(stem, "tests" | "loom" | "fuzz") || stem.ends_with("_tests")
}

/// The module of a file, by its path below the crate's root: `a/mod.rs` and `a.rs` are `a`.
fn module_of(below: &str) -> Vec<String> {
    let mut parts: Vec<String> = below.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The identifiers of a text, and `::`; every other character but white space for itself.
fn tokens(code: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
        if is_word(&c) {
            let mut word = String::from(c);
            while let Some(next) = chars.next_if(is_word) {
                word.push(next);
            }
            found.push(word);
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            found.push("::".to_owned());
        } else if !c.is_whitespace() {
            found.push(c.to_string());
        }
    }
    found
}

/// Reads the paths of a file: those of `use`, those that begin with `crate`, `self` or `super`, and all others that have
/// more than one segment.
fn read_paths(module: &[String], code: &str) -> Vec<ModulePath> {
    let tokens = tokens(code);
    let at = |i: usize| tokens.get(i).map_or("", String::as_str);
    let (mut paths, mut used) = (Vec::new(), BTreeSet::new());
    // The braces that are open: those of an inline module with its name.
    let mut open: Vec<Option<String>> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let inline = open.iter().flatten().cloned();
        let here: Vec<String> = module.iter().cloned().chain(inline).collect();
        match at(i) {
            "{" => {
                let is_module = i >= 2 && at(i - 2) == "mod";
                open.push(is_module.then(|| at(i - 1).to_owned()));
            }
            "}" => drop(open.pop()),
            // The path of a visibility, such as `pub(in crate::a)`, imports nothing.
            "pub" if at(i + 1) == "(" => i = (i..tokens.len()).find(|j| at(*j) == ")").unwrap_or(i),
            "use" if at(i + 1) != "<" => {
                let before = tokens[..i].iter().rev().take_while(|token| !matches!(token.as_str(), ";" | "{" | "}"));
                let is_public = before.into_iter().any(|token| token == "pub");
                let end = (i..tokens.len()).find(|j| at(*j) == ";").unwrap_or(tokens.len());
                let mut position = i + 1;
                for (segments, binding) in read_tree(&tokens[..end], &mut position, &[]) {
                    paths.push(ModulePath {
                        module: here.clone(),
                        segments,
                        binding: Some(binding),
                        is_reexport: is_public,
                    });
                }
                i = end;
            }
            word if at(i + 1) == "::" && word != "::" && !matches!(at(i.wrapping_sub(1)), "::" | "." | "'") => {
                let mut segments = vec![word.to_owned()];
                used.insert(word.to_owned());
                while at(i + 1) == "::" && at(i + 2).starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                    segments.push(at(i + 2).to_owned());
                    i += 2;
                }
                if segments.len() > 1 {
                    paths.push(ModulePath { module: here, segments, binding: None, is_reexport: false });
                }
            }
            word => drop(used.insert(word.to_owned())),
        }
        i += 1;
    }
    for path in &mut paths {
        path.is_reexport &= path.binding.as_ref().is_some_and(|name| !used.contains(name));
    }
    paths
}

/// Reads one tree of a `use`, such as `a::{b, c::d as e, self}`: each path with the name that it gives.
fn read_tree(tokens: &[String], at: &mut usize, before: &[String]) -> Vec<(Vec<String>, String)> {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token.as_str() {
            "::" => {}
            "{" => {
                let mut all = Vec::new();
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    all.extend(read_tree(tokens, at, &path));
                    if tokens.get(*at).is_some_and(|token| token == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return all;
            }
            "," | "}" => {
                *at -= 1;
                break;
            }
            "as" => {
                let name = tokens[*at].clone();
                *at += 1;
                return vec![(path, name)];
            }
            "self" if !path.is_empty() => {}
            segment => path.push(segment.to_owned()),
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    vec![(path, name)]
}

#[test]
fn imports_are_read_whatever_their_form() {
    let tree = Tree::of(&[
        ("lib.rs", "mod a; pub use a::A;"),
        ("a/mod.rs", "mod b; mod c; pub use b::B; use c::{C, deep::D as E}; struct A(C, E);"),
        (
            "a/b.rs",
            "use super::c; use super::A; pub(in crate::x) struct B(c::C); /* use crate::x; */ const T: &str = \"crate::y::Z\";",
        ),
        ("a/c/mod.rs", "mod deep; mod inline { use super::super::b::B; } #[cfg(test)] use crate::x::X; struct C;"),
        ("a/c/deep.rs", "fn f(b: crate::a::B) { super::super::A::new() } struct D;"),
        ("x.rs", "use crate::A; use crate::a::*; use std::a::Z;"),
    ]);
    let imports = |name: &str| -> Vec<String> {
        let imports = tree.imports(&format!("src/{name}"));
        imports.into_iter().map(|import| import.file.replacen("src/", "", 1)).collect()
    };
    assert_eq!(imports("lib.rs"), [""; 0], "what is only handed on");
    assert_eq!(imports("a/mod.rs"), ["a/c/deep.rs", "a/c/mod.rs"]);
    assert_eq!(imports("a/b.rs"), ["a/c/mod.rs", "a/mod.rs"]);
    assert_eq!(imports("a/c/mod.rs"), ["a/b.rs"]);
    assert_eq!(imports("a/c/deep.rs"), ["a/b.rs", "a/mod.rs"], "through the re-export");
    assert_eq!(imports("x.rs"), ["a/mod.rs"; 2], "by the names of two rooms");
    let rooms: Vec<String> = tree.imports("src/x.rs").into_iter().map(|import| import.room).collect();
    assert_eq!(rooms, ["a", "lib"]);
}
