//! When, where and how a run was made: for the caption of what it brought.

use std::env::args;
use std::fs::read_to_string;
use std::process::Command;

/// What was asked for after `--`.
pub struct Options {
    /// A short run that only shows that it works.
    pub smoke: bool,
    /// Write the chart anew.
    pub svg: bool,
}

impl Options {
    pub fn from_args() -> Self {
        let asked = |option: &str| args().any(|arg| arg == option);
        Options { smoke: asked("--test"), svg: asked("--svg") && !asked("--test") }
    }
}

/// The date, the machine and the compiler.
pub fn machine() -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown CPU", |(_, model)| model.trim());
    let virtual_one = if cpu.contains("hypervisor") { ", virtual" } else { "" };
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let rustc = said("rustc", &["--version"]);
    let rustc = rustc.split(" (").next().unwrap_or_default();
    format!("{}, {model} ({cores} cores{virtual_one}), {rustc}", said("date", &["-u", "+%F"]))
}

/// The command that runs a bench of this package.
pub fn command(bench: &str) -> String {
    format!("cargo bench --manifest-path benches/peers/Cargo.toml --bench {bench}")
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or(format!("no {program}"), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
