//! `a2a-peer`: asks a platform who a peer is, sends messages, and shows the library at work.
#![forbid(unsafe_code)]

mod advice;
mod args;
mod demo;
mod doctor;
mod failure;
mod help;
mod interrupt;
mod platform;
mod poll;
mod probe;
mod proxy;
mod route;
mod send;
mod setup;
mod show;
mod table;
mod terminal;
mod text;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use a2a_blocking::RetryPolicy;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use args::{Args, Command};
use failure::{Failure, Trouble, exit, print_json, report};

/// What `--json` prints.
const SCHEMA: &str = include_str!("schema.json");

fn main() -> ExitCode {
    let args = Arc::new(Args::try_parse().unwrap_or_else(|error| refuse(&error)));
    start_log(&args);
    ExitCode::from(run(&args).unwrap_or_else(|failure| report(&failure, &args)))
}

fn run(args: &Arc<Args>) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    let client = || args.setup.client();
    match &args.command {
        Command::Enrich { peers } => show::enrich(&client()?, peers, args.json, &mut out),
        Command::Discover { peer } => show::discover(&client()?, *peer, args.json, &mut out),
        Command::Peers => show::peers(&client()?, args.json, &mut out),
        Command::Info => show::info(&client()?, args.json, &mut out),
        Command::Send { peer, text, timeout, attempts, context } => {
            let client = client()?;
            let message = send::message(text, context.as_deref())?;
            let policy = RetryPolicy::new().with_attempts(*attempts).with_budget(Duration::from_secs(*timeout));
            send::send(&client, *peer, &message, policy, args.json, &mut out)
        }
        Command::Poll { once, reply_with, cursor, heartbeat, interval } => {
            let interval = Duration::from_secs_f64(*interval);
            let (reply_with, cursor) = (reply_with.clone(), cursor.clone());
            let options = poll::Options { once: *once, reply_with, cursor, heartbeat: *heartbeat, interval };
            // Its callback writes by itself.
            drop(out);
            poll::poll(client()?, options, args)
        }
        Command::Doctor { timeout } => doctor::examine(args, Duration::from_secs_f64(*timeout), &mut out),
        Command::Demo => {
            args.setup.refuse()?;
            demo::run(args.json, &mut out)
        }
        Command::Completions { shell } => print(&completions(*shell), &mut out),
        Command::Schema => print(SCHEMA, &mut out),
    }
}

fn completions(shell: Shell) -> String {
    // First into memory: it would panic where the output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "a2a-peer", &mut script);
    // It spells our hyphen in two ways, and bash then finds no subcommand's options: clap-rs/clap#6421.
    String::from_utf8_lossy(&script).replace("a2a__subcmd__peer", "a2a__peer")
}

fn print(text: &str, out: &mut impl Write) -> Result<u8, Failure> {
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit::DONE)
}

/// What `clap` says of a command line that it does not take, or was asked for by `--help`.
fn refuse(error: &clap::Error) -> ! {
    let wants_json = env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        let ends = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
        let why = text[..ends.unwrap_or(text.len())].trim_start_matches("error: ").trim_end();
        print_json(&Trouble::new(exit::USAGE, "usage", why));
    }
    error.exit()
}

fn start_log(args: &Args) {
    let level = match args.command {
        _ if args.verbose => "a2a_blocking=debug",
        // Its steps tell what the warnings would.
        Command::Doctor { .. } => "a2a_blocking=error",
        _ => "a2a_blocking=warn",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        // Not every word in it is ours, and standard error may be a terminal.
        .format(|out, record| {
            let (level, target) = (record.level(), record.target());
            writeln!(out, "[{level:5} {target}] {}", text::lines(&record.args().to_string()))
        })
        .init();
}
