//! Tests that hold the manual, `src/bin/a2a-peer/README.md`, against the binary.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::schema::schema;
use crate::support::PEER;
use crate::{SUBCOMMANDS, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/a2a-peer")
}

fn readme() -> String {
    std::fs::read_to_string(folder().join("README.md")).unwrap()
}

/// Returns the first capture of every match.
fn captures(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Returns the first cells of a table's rows, by the table's heading.
fn first_cells(heading: &str) -> BTreeSet<String> {
    let text = readme();
    let rows = text.split(&format!("\n| {heading} | ")).nth(1).unwrap_or_else(|| panic!("no table of {heading}"));
    let rows = rows.split("\n\n").next().unwrap();
    captures(r"(?m)^\| `?([a-z0-9_]+)[^|]* \|", rows)
}

fn words(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn table_of_commands_has_every_subcommand() {
    assert_eq!(first_cells("command"), words(&SUBCOMMANDS));
    let help = run(&["--help"]).out;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut offered = captures(r"(?m)^  ([a-z]+) ", commands);
    assert!(offered.remove("help"));
    assert_eq!(offered, words(&SUBCOMMANDS));
}

#[test]
fn each_subcommand_has_an_example_that_parses() {
    let text = readme();
    // The arguments after the last `a2a-peer` of a line, up to a pipe or a redirection.
    let example = Regex::new(r"a2a-peer ([a-z][^|>]*)").unwrap();
    let mut shown = BTreeSet::new();
    for block in text.split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap().lines().filter(|line| !line.starts_with("mkdir")) {
            let Some(found) = example.captures(line) else { continue };
            let arguments = found[1].replace("$(cat peers.txt)", PEER);
            let arguments: Vec<&str> = arguments.split_whitespace().collect();
            shown.insert(arguments[0].to_owned());
            // clap prints the help of a subcommand only if it accepts the arguments before `--help`.
            let output = run(&[&arguments[..], &["--help"]].concat());
            assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{line}");
        }
    }
    assert_eq!(shown, words(&SUBCOMMANDS));
}

#[test]
fn every_subcommand_named_in_the_text_exists() {
    let named = captures(r"`a2a-peer (?:--json )?([a-z]+)", &readme());
    assert!(!named.is_empty());
    assert!(named.is_subset(&words(&SUBCOMMANDS)), "{named:?}");
}

#[test]
fn table_of_exit_statuses_is_that_of_the_help() {
    let help = run(&["--help"]).out;
    let statuses = help.split("Exit status:").nth(1).unwrap().split("Environment").next().unwrap();
    let statuses = captures(r"(?m)^ {2,4}(\d+)  ", statuses);
    assert_eq!(first_cells("exit status"), statuses);
    // Every status that an error of the JSON output can have, and those of success.
    let schema = schema();
    let mut of_schema: BTreeSet<String> = schema["$defs"]["failure"]["properties"]["exit"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    of_schema.extend(words(&["0", "3"]));
    assert_eq!(of_schema, statuses);
}

#[test]
fn table_of_settings_has_every_variable_of_the_help() {
    let help = run(&["--help"]).out;
    let variables = help.split("Environment").nth(1).unwrap().split("With --json").next().unwrap();
    let variables = captures(r"(?m)^  ([A-Z][A-Z0-9_]+) ", variables);
    assert!(variables.len() >= 8, "{variables:?}");
    let text = readme();
    for variable in variables {
        assert!(text.contains(&format!("| `{variable}` |")), "{variable} has no row");
    }
}

#[test]
fn default_log_filters_are_those_of_the_help() {
    let help = run(&["--help"]).out;
    let of_variable = help.split("  RUST_LOG ").nth(1).unwrap().split("  NO_COLOR ").next().unwrap();
    let text = readme();
    let row = text.lines().find(|line| line.contains("| `RUST_LOG` |")).unwrap();
    let filters = |text: &str| captures(r"(a2a_blocking[a-z:]*=[a-z]+)", text);
    assert_eq!((filters(row), filters(row).len()), (filters(of_variable), 4));
}

#[test]
fn options_are_those_of_the_help() {
    let mut offered = words(&["version"]);
    for command in SUBCOMMANDS {
        offered.extend(captures(r"(?m)^ +(?:-\w, )?--([a-z-]+)", &run(&[command, "--help"]).out));
    }
    let text: String = readme().lines().filter(|line| !line.contains("cargo ")).flat_map(|line| [line, "\n"]).collect();
    let mut named = captures(r"[ `\[(]--([a-z][a-z-]+)", &text);
    // An option of Docker.
    named.remove("add-host");
    assert!(named.is_subset(&offered), "{:?}", named.difference(&offered));
    // Each option but these two is explained.
    named.extend(words(&["version", "help"]));
    assert_eq!(named, offered);
}

#[test]
fn table_of_json_documents_is_that_of_the_schema() {
    let schema = schema();
    let text = readme();
    let row = Regex::new(r"(?m)^\| `([a-z_]+)` \| (`[a-z_]+`(?:, `[a-z_]+`)*) \|$").unwrap();
    let mut documents = BTreeSet::new();
    for found in row.captures_iter(&text) {
        let fields = captures("`([a-z_]+)`", &found[2]);
        let described = schema["$defs"][&found[1]]["properties"].as_object().unwrap_or_else(|| panic!("{}", &found[1]));
        assert_eq!(fields, described.keys().cloned().collect(), "{}", &found[1]);
        documents.insert(found[1].to_owned());
    }
    let offered: BTreeSet<String> = schema["anyOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["$ref"].as_str().unwrap().trim_start_matches("#/$defs/").replace("error", "failure"))
        .collect();
    assert_eq!(documents, offered);
}

#[test]
fn relative_links_resolve() {
    let text = readme();
    let targets = captures(r"\]\(([^)#:]+)\)", &text);
    assert!(targets.contains("schema.json"), "{targets:?}");
    for target in targets {
        assert!(folder().join(&target).exists(), "{target}");
    }
    for anchor in captures(r"\]\(#([^)]+)\)", &text) {
        assert!(text.to_lowercase().contains(&format!("\n## {}\n", anchor.replace('-', " "))), "{anchor}");
    }
}
