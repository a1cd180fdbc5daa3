//! `a2a-peer`: asks a platform who a peer is, sends messages, and shows the library at work.
#![forbid(unsafe_code)]

mod args;
mod demo;
mod platform;
mod poll;
mod send;
mod show;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use a2a_blocking::{Error, ErrorKind, RetryPolicy};
use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let level = if args.verbose { "a2a_blocking=debug" } else { "a2a_blocking=warn" };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        // At trace level these dump every byte that is sent, the token among them.
        .filter_module("ureq_proto", log::LevelFilter::Warn)
        .filter_module("ureq_proto::util", log::LevelFilter::Warn)
        .init();
    run(&args).unwrap_or_else(|failure| ExitCode::from(report(failure)))
}

/// Says why a command failed: its exit status.
fn report(failure: Failure) -> u8 {
    match failure {
        // Whoever reads our output has seen enough.
        Failure::Output(why) if why.kind() == io::ErrorKind::BrokenPipe => 0,
        Failure::Unprinted(why, code) if why.kind() == io::ErrorKind::BrokenPipe => code,
        Failure::Output(why) => complain(&format!("the output cannot be written: {why}"), 1),
        Failure::Usage(why) => complain(&why, 2),
        Failure::Call(error) if error.kind() == ErrorKind::Config => complain(&error.to_string(), 2),
        Failure::Call(error) => complain(&error.to_string(), 1),
        Failure::Send(error) => {
            // The verdict is ours, and comes first: the words after it are the peer's.
            complain(&format!("{}: {error}", send::known(error.delivery())), 1)
        }
        Failure::Unprinted(why, code) => complain(&format!("delivered, but the answer cannot be written: {why}"), code),
    }
}

/// Why a command did not end by itself.
enum Failure {
    Output(io::Error),
    Usage(String),
    Call(Error),
    /// A message that was to be delivered.
    Send(Error),
    /// A message was delivered, or is queued, as the exit status tells; its answer could not be written.
    Unprinted(io::Error, u8),
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Output(why)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Call(error)
    }
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    match &args.command {
        Command::Enrich { peers } => show::enrich(&args.client()?, peers, args.json, &mut out),
        Command::Discover { peer } => show::discover(&args.client()?, *peer, args.json, &mut out),
        Command::Peers => show::peers(&args.client()?, args.json, &mut out),
        Command::Info => show::info(&args.client()?, args.json, &mut out),
        Command::Send { peer, text, timeout, attempts, context } => {
            let client = args.client()?;
            let message = send::message(text, context.as_deref())?;
            let policy = RetryPolicy::new().attempts(*attempts).budget(Duration::from_secs(*timeout));
            send::send(&client, *peer, &message, policy, args.json, &mut out)
        }
        Command::Poll { once, reply_with, cursor, interval } => {
            let interval = Duration::from_secs_f64(*interval);
            let (reply_with, cursor) = (reply_with.clone(), cursor.clone());
            // Its callback writes by itself.
            drop(out);
            poll::poll(args.client()?, poll::Options { once: *once, reply_with, cursor, interval }, args.json)
        }
        Command::Demo => {
            args.refuse_platform().map_err(Failure::Usage)?;
            demo::run(args.json, &mut out)
        }
    }
}

fn complain(why: &str, code: u8) -> u8 {
    // Nothing is left to do where even this cannot be written.
    let _ = writeln!(io::stderr(), "a2a-peer: {}", text::lines(why));
    code
}
