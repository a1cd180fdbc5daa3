//! The date, machine and command of a run, for the caption of its results.

use std::env::args;
use std::fs::read_to_string;
use std::process::Command;

/// The options after `--`.
pub struct Options {
    /// True for a short run that only shows that the bench works.
    pub smoke: bool,
    /// True if the chart is to be written.
    pub svg: bool,
}

impl Options {
    pub fn from_args() -> Self {
        let is_set = |option: &str| args().any(|arg| arg == option);
        Options { smoke: is_set("--test"), svg: is_set("--svg") && !is_set("--test") }
    }
}

/// Returns the date, the machine and the compiler.
pub fn machine() -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown CPU", |(_, model)| model.trim());
    let hypervisor = if cpu.contains("hypervisor") { ", virtual" } else { "" };
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let rustc = output_of("rustc", &["--version"]);
    let rustc = rustc.split(" (").next().unwrap_or_default();
    format!("{}, {model} ({cores} cores{hypervisor}), {rustc}", output_of("date", &["-u", "+%F"]))
}

/// Returns the command that runs a bench of this package.
pub fn command(bench: &str) -> String {
    format!("cargo bench --manifest-path benches/peers/Cargo.toml --bench {bench}")
}

fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or(format!("no {program}"), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
