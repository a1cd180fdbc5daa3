//! The command line.

use std::path::PathBuf;

use a2a_blocking::{Error, PeerId};
use clap::{Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::help;
use crate::setup::Setup;

/// Ask an A2A platform who a peer is, and send it messages
///
/// Standard output has the answer and nothing else; errors, notes and logs go to standard error.
#[derive(Parser)]
#[command(name = "a2a-peer", version, after_help = help::MORE, after_long_help = help::ALL)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) setup: Setup,

    /// Print one JSON document a line, an error included: `a2a-peer schema` describes them
    #[arg(long, global = true, help_heading = help::GLOBAL)]
    pub(crate) json: bool,

    /// Log to standard error why a lookup brought nothing [default: warnings only; $RUST_LOG comes before it]
    #[arg(long, short, global = true, help_heading = help::GLOBAL)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Who are these? A table of id, name, role and status
    ///
    /// Each peer is looked up as a poller's callback would: at most one request, 2 s in all. Exit status: 0 all have a
    /// record, 4 the platform knows some of them not, or shows them not, 1 some lookup brought no usable answer.
    #[command(after_help = help::ENRICH)]
    Enrich {
        /// Peer ids: 8-4-4-4-12 hex digits
        #[arg(required = true, value_name = "PEER", value_parser = peer_id, value_hint = ValueHint::Other)]
        peers: Vec<PeerId>,
    },
    /// One uncached lookup, 10 s in all, with the error where there is one
    ///
    /// Exit status: 0 there is a record, 4 the platform does not know the peer or does not show it, 5 unreachable,
    /// 6 the token was refused, 1 the platform answers otherwise.
    #[command(after_help = help::DISCOVER)]
    Discover {
        /// A peer id: 8-4-4-4-12 hex digits
        #[arg(value_name = "PEER", value_parser = peer_id, value_hint = ValueHint::Other)]
        peer: PeerId,
    },
    /// Who are my peers? A table of what the registry lists for this workspace
    ///
    /// It takes 10 s in all. Exit status: 0 (also where the list is empty), 4 the workspace is not registered,
    /// 5 unreachable, 6 the token was refused, 1 the platform answers otherwise.
    #[command(after_help = help::PEERS)]
    Peers,
    /// What does the platform have on my own workspace?
    ///
    /// It takes 10 s in all. Exit status: 0 a record, 4 the platform does not know the workspace, 5 unreachable, 6 the
    /// token was refused, 7 the workspace was removed, 1 the platform answers otherwise.
    #[command(after_help = help::INFO)]
    Info,
    /// Send a text to a peer and print its answer
    ///
    /// Exit status: 0 a reply (also one that says that the task failed), 3 queued (the platform delivers it later), 8 it
    /// may have been delivered, 130 Ctrl-C, which ends it at once with what is known of the delivery; otherwise it was
    /// not delivered (2, 4, 5, 6), or the agent answered with an error (1), and the message says which. A terminal gets
    /// the answer with its control characters escaped, a pipe or a file as it came.
    #[command(after_help = help::SEND)]
    Send {
        /// A peer id: 8-4-4-4-12 hex digits
        #[arg(value_name = "PEER", value_parser = peer_id, value_hint = ValueHint::Other)]
        peer: PeerId,
        /// The text, 1 MiB at the most; - reads it from standard input
        #[arg(value_hint = ValueHint::Other)]
        text: String,
        /// The time for all attempts and pauses together, in seconds, 1 to 86400
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        timeout: u64,
        /// How often it is tried at the most, 1 to 100
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        attempts: u32,
        /// The id of the conversation that it belongs to [default: none]
        #[arg(long, value_name = "ID", value_hint = ValueHint::Other)]
        context: Option<String>,
    },
    /// Print what arrives in my own inbox, until Ctrl-C
    ///
    /// A line each: when, from whom, what. What was printed is not printed again the next time: the cursor remembers
    /// where it was, and without one it begins with the last 600 s. It is a cursor of its own: whatever is printed here,
    /// your own program gets, too. Exit status: 0 after Ctrl-C, or with --once when all is printed; 7 the workspace was
    /// removed; with --once also what made the poll fail. Without --once a poll that fails is logged and made again.
    #[command(after_help = help::POLL)]
    Poll {
        /// Print what is there now, and end
        #[arg(long)]
        once: bool,
        /// Answer each message with this text; two who both do so answer each other for ever [default: no answer]
        #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
        reply_with: Option<String>,
        /// Where to remember what was printed [default: a2a-peer-cursor-WORKSPACE.json beside the token file, which no
        /// other program uses]
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
        cursor: Option<PathBuf>,
        /// Tell the platform every 30 s that the workspace is alive. Without it, and without --reply-with, nothing says
        /// so here, and peers see the workspace as offline where no other program of its own runs
        #[arg(long, conflicts_with = "once")]
        heartbeat: bool,
        /// How long to wait between two polls, in seconds, 0.01 to 86400
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = poll_seconds)]
        interval: f64,
    },
    /// Find out why it does not work, step by step
    ///
    /// The steps are settings, token, DNS, TCP, TLS, HTTP, authorisation, registration and peers. A line each: what came
    /// of it, the step, how long it took, and what to do where it failed; after the first failure the rest is skipped.
    /// With --proxy it is the proxy's name and port that DNS and TCP try. Nothing is sent but three GETs, and no secret
    /// is shown. Exit status: 0 no step failed (a warning is no failure), otherwise that of the first failure:
    /// 2 settings or token file, 4 not registered, 5 unreachable, 6 the token was refused, 7 the workspace was removed,
    /// 1 the platform answers otherwise.
    #[command(after_help = help::DOCTOR)]
    Doctor {
        /// How long each step may take, in seconds, 0.1 to 10
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = step_seconds)]
        timeout: f64,
    },
    /// See it work, with nothing to set up
    ///
    /// An embedded platform, two workspaces' pollers and some hundred messages, while the registry dies and comes back and
    /// callbacks fail; at the end an account of every row.
    #[command(after_help = help::DEMO)]
    Demo,
    /// Print the script that completes this command line in a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Which shell's
        shell: Shell,
    },
    /// Print the JSON Schema of what --json prints
    ///
    /// Its `$defs` has one for each subcommand, and `error`.
    #[command(after_help = help::SCHEMA)]
    Schema,
}

/// A function, so that the message of clap is ours and not its source.
fn peer_id(text: &str) -> Result<PeerId, Error> {
    PeerId::parse(text)
}

fn poll_seconds(text: &str) -> Result<f64, String> {
    seconds(text, 0.01, 86_400.0)
}

fn step_seconds(text: &str) -> Result<f64, String> {
    seconds(text, 0.1, 10.0)
}

fn seconds(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let in_range = |seconds: &f64| (least..=most).contains(seconds);
    text.parse().ok().filter(in_range).ok_or_else(|| format!("it takes a number from {least} to {most}"))
}
