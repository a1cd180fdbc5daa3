//! `a2a-peer`: the command line of the library. It looks up peers, sends messages and shows the library at work.
//!
//! The manual is `README.md` beside this file.
#![forbid(unsafe_code)]

mod advice;
mod args;
mod connection;
mod demo;
mod doctor;
mod environment;
mod exit;
mod help;
mod poll;
mod proxy;
mod queued;
mod records;
mod register;
mod report;
mod requests;
mod send;
mod table;
mod temp_dir;
mod terminal;
mod text;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use a2a_blocking::DelegatedTask;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use args::{Args, Command};
use exit::{CommandFailure, ExitStatus};
use report::{ErrorReport, print_failure};
use requests::RequestFilter;

/// The JSON Schema of the `--json` output.
const SCHEMA: &str = include_str!("schema.json");

fn main() -> ExitCode {
    let args = Arc::new(Args::try_parse().unwrap_or_else(|error| exit_with_usage(&error)));
    start_log(&args);
    run(&args).unwrap_or_else(|failure| print_failure(&failure, &args)).into()
}

fn run(args: &Arc<Args>) -> Result<ExitStatus, CommandFailure> {
    let mut out = io::stdout().lock();
    let client = || args.connection.client();
    match &args.command {
        Command::Enrich { peers } => records::enrich(&client()?, peers, args.json, &mut out),
        Command::Discover { peer } => records::discover(&client()?, *peer, args.json, &mut out),
        Command::Peers => records::peers(&client()?, args.json, &mut out),
        Command::Info => records::info(&client()?, args.json, &mut out),
        Command::Send(send) => send::send(&client()?, send, args.json, &mut out),
        Command::Delegate { peer, task, key } => {
            let client = client()?;
            let task = DelegatedTask::new(send::text(task)?);
            let task = key.iter().fold(task, |task, key| task.idempotency_key(key));
            requests::delegate(&client, *peer, task, args.json, &mut out)
        }
        Command::Register(options) => {
            let client = args.connection.client_to_register()?;
            register::register(&client, options, &args.connection, args.json, &mut out)
        }
        Command::Poll { once, reply_with, cursor, heartbeat, interval, deliver_paused } => {
            // The callback locks standard output on another thread.
            drop(out);
            let options = poll::PollOptions {
                once: *once,
                reply_with: reply_with.clone(),
                cursor: cursor.clone(),
                heartbeat: *heartbeat,
                deliver_paused: *deliver_paused,
                interval: Duration::from_secs_f64(*interval),
            };
            poll::poll(client()?, options, args)
        }
        Command::Requests { all, sent } => {
            let filter = match (all, sent) {
                (_, true) => RequestFilter::Sent,
                (true, false) => RequestFilter::Inbox,
                (false, false) => RequestFilter::Pending,
            };
            requests::requests(&client()?, filter, args.json, &mut out)
        }
        Command::Respond { request, action } => requests::respond(&client()?, request, *action, args.json, &mut out),
        Command::Notify { text, attach } => {
            let client = client()?;
            requests::notify(&client, &send::text(text)?, attach, args.json, &mut out)
        }
        Command::Instructions => requests::instructions(&client()?, args.json, &mut out),
        Command::Doctor { timeout } => doctor::run(args, Duration::from_secs_f64(*timeout), &mut out),
        Command::Demo => {
            args.connection.require_unset()?;
            demo::run(args.json, &mut out)
        }
        Command::Completions { shell } => print(&completions(*shell), &mut out),
        Command::Schema => print(SCHEMA, &mut out),
    }
}

/// Returns the completion script for a shell.
fn completions(shell: Shell) -> String {
    // Generated into memory, because clap_complete panics where standard output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "a2a-peer", &mut script);
    // The bash script spells a hyphen in the program's name in two ways, and then completes no option of a subcommand:
    // https://github.com/clap-rs/clap/issues/6421
    String::from_utf8_lossy(&script).replace("a2a__subcmd__peer", "a2a__peer")
}

fn print(text: &str, out: &mut impl Write) -> Result<ExitStatus, CommandFailure> {
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitStatus::Done)
}

/// Prints clap's text, which is an error, the help or the version, and ends the process.
fn exit_with_usage(error: &clap::Error) -> ! {
    // The arguments were not parsed: this looks for the option in them as they are.
    let wants_json = env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|heading| text.find(heading)).min();
        let message = text[..end.unwrap_or(text.len())].trim_start_matches("error: ").trim_end();
        ErrorReport::new(ExitStatus::Usage, "usage", message).print_json();
    }
    error.exit()
}

fn start_log(args: &Args) {
    let filter = match args.command {
        _ if args.verbose => "a2a_blocking=debug",
        // Its steps report what the log would.
        Command::Doctor { .. } => "a2a_blocking=off",
        // The end of an outage is at info level.
        Command::Poll { .. } => "a2a_blocking=warn,a2a_blocking::inbox=info",
        // Its registry fails on purpose.
        Command::Demo => "a2a_blocking=warn,a2a_blocking::enrich=error",
        _ => "a2a_blocking=warn",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter))
        // The lines of other crates quote platforms, too, and standard error can be a terminal. One record is one line.
        .format(|out, record| {
            let (level, target) = (record.level(), record.target());
            writeln!(out, "[{level:5} {target}] {}", text::cell(&record.args().to_string(), None))
        })
        .init();
}
