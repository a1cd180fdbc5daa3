//! The command line. Its doc comments are the text of `--help`.

use std::path::PathBuf;

use a2a_blocking::{Error, PeerId};
use clap::{Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::connection::ConnectionArgs;
use crate::help;
use crate::register::RegisterOptions;
use crate::requests::ResponseArg;

/// Look up peers on an A2A platform, send them messages, and read an inbox
///
/// Standard output has the answer and nothing else. Errors, notes and the log go to standard error.
#[derive(Parser)]
#[command(name = "a2a-peer", version, after_help = help::SHORT, after_long_help = help::LONG)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// Print one JSON document per line, errors included
    ///
    /// `a2a-peer schema` describes the documents.
    #[arg(long, global = true, help_heading = help::GLOBAL)]
    pub(crate) json: bool,

    /// Log to standard error why a request failed [default: warnings only]
    ///
    /// $RUST_LOG takes precedence.
    #[arg(long, short, global = true, help_heading = help::GLOBAL)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Look up peers and print a table of id, name, role and status
    ///
    /// Looks up each peer as a poller's callback does: at most one request, 2 s in all.
    #[command(after_help = help::ENRICH)]
    Enrich {
        /// Peer ids, each 8-4-4-4-12 hexadecimal digits
        #[arg(required = true, value_name = "PEER", value_parser = peer_id, value_hint = ValueHint::Other)]
        peers: Vec<PeerId>,
    },
    /// Look up one peer without the cache, and print the error where there is one
    ///
    /// Takes at most 10 s.
    #[command(after_help = help::DISCOVER)]
    Discover {
        /// Peer id, 8-4-4-4-12 hexadecimal digits
        #[arg(value_name = "PEER", value_parser = peer_id, value_hint = ValueHint::Other)]
        peer: PeerId,
    },
    /// List the peers of this workspace in a table
    ///
    /// Takes at most 10 s.
    #[command(after_help = help::PEERS)]
    Peers,
    /// Print the platform's record of your own workspace
    ///
    /// The platform shows it to anybody. If it refuses the token, that is the error after the record. Takes at most 20 s.
    #[command(after_help = help::INFO)]
    Info,
    /// Send a text to a peer and print its answer
    ///
    /// Prints all texts of the answer. Notes on standard error name its files and data, and the state of a task. Ctrl-C
    /// ends the send at once, and the error says where the message may be. On a terminal the answer's control characters
    /// are escaped. A pipe or a file gets it unchanged.
    #[command(after_help = help::SEND)]
    Send(SendArgs),
    /// Give a task to a peer, and print the id of the delegation
    ///
    /// The result comes to your own inbox, as a message of the kind `delegation` with that id. The platform takes the task
    /// before it asks the peer: a peer that it does not have is a failed result later. Takes at most 10 s.
    #[command(after_help = help::DELEGATE)]
    Delegate {
        /// Peer id, 8-4-4-4-12 hexadecimal digits
        #[arg(value_name = "PEER", value_parser = peer_id, value_hint = ValueHint::Other)]
        peer: PeerId,
        /// The task, at most 1 MiB; - reads it from standard input
        #[arg(value_parser = words, value_hint = ValueHint::Other)]
        task: String,
        /// Text of 1 to 255 bytes by which the platform knows the delegation again [default: none]
        ///
        /// A second delegation with it makes nothing new, and is answered as the first was.
        #[arg(long, value_name = "KEY", value_hint = ValueHint::Other)]
        key: Option<String>,
    },
    /// Register your own workspace, so that its messages come to its inbox
    ///
    /// A workspace that was never registered is in push mode: senders get errors, and messages come twice. `poll` with
    /// --heartbeat or --reply-with registers, too, and so does every poller of the library. Without a token the platform
    /// issues one, if none of the workspace lives: it is written to the token file. Takes at most 20 s.
    #[command(after_help = help::REGISTER)]
    Register(RegisterOptions),
    /// Print the messages of your own inbox as they arrive, until Ctrl-C
    ///
    /// Prints a line per message: time, sender, text. The cursor remembers what was printed, and the next run continues
    /// there. Without a cursor it starts with the last 600 s. The cursor is not that of your own program, which still
    /// gets every message: nothing is acknowledged to the platform. A failed poll is repeated. The first of a series is
    /// logged, and so is the end of the series.
    #[command(after_help = help::POLL)]
    Poll {
        /// Print what is there now, and exit
        ///
        /// A failed poll is not repeated: its error is the exit status.
        #[arg(long)]
        once: bool,
        /// Answer each message that is no reply with this text [default: no answer]
        ///
        /// Registers, sends heartbeats and acknowledges what was handled, too. Without a cursor it starts behind what was
        /// acknowledged.
        #[arg(long, value_name = "TEXT", value_parser = words, value_hint = ValueHint::Other)]
        reply_with: Option<String>,
        /// File that remembers what was printed [default: a2a-peer-cursor-WORKSPACE.json, by the token file]
        ///
        /// No other program may use the file.
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
        cursor: Option<PathBuf>,
        /// Register the workspace, and send a heartbeat every 30 s
        ///
        /// Without heartbeats from any program, peers see the workspace as offline.
        #[arg(long, conflicts_with = "once")]
        heartbeat: bool,
        /// Time between two polls, in seconds, 0.01 to 86400
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = poll_seconds)]
        interval: f64,
        /// Print the messages of a paused workspace, too
        ///
        /// They stay at the platform otherwise until it is resumed. --once prints them in any case.
        #[arg(long)]
        deliver_paused: bool,
    },
    /// List the tasks and approvals that your own workspace is asked for
    ///
    /// Prints a table of id, kind, status and title of those that are pending, the newest first. Takes at most 10 s.
    #[command(after_help = help::REQUESTS)]
    Requests {
        /// List also those that are over, and those with a question that you have asked
        #[arg(long, conflicts_with = "sent")]
        all: bool,
        /// List those that your own workspace made
        #[arg(long)]
        sent: bool,
    },
    /// Respond to a task or an approval that your own workspace is asked for
    ///
    /// A task is done or rejected, an approval approved or rejected. Prints nothing. Takes at most 10 s.
    #[command(after_help = help::RESPOND)]
    Respond {
        /// Id of the request, as `requests` prints it
        #[arg(value_name = "REQUEST", value_parser = words, value_hint = ValueHint::Other)]
        request: String,
        /// The response
        action: ResponseArg,
    },
    /// Show a text to the human on the canvas of your own workspace
    ///
    /// Prints nothing. Takes at most 30 s, and 600 s for each file.
    #[command(after_help = help::NOTIFY)]
    Notify {
        /// The text, at most 1 MiB; - reads it from standard input
        #[arg(value_parser = words, value_hint = ValueHint::Other)]
        text: String,
        /// File to upload and show with the text, at most 100 MiB; may be given several times [default: none]
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
        attach: Vec<PathBuf>,
    },
    /// Print the platform's rules for your agent
    ///
    /// On a terminal control characters are escaped. Takes at most 10 s.
    #[command(after_help = help::INSTRUCTIONS)]
    Instructions,
    /// Find out step by step why it does not work
    ///
    /// Checks settings, token, cursor, DNS, TCP, TLS, HTTP, organisation, workspace, authorisation, registration, state, peers,
    /// inbox and event stream. Prints a line per step: the result, the step, the time, and what to do. After a failure it
    /// skips the other steps. With --proxy, DNS and TCP check the proxy. Sends a few GET requests, registers and changes
    /// nothing, and shows no secret.
    #[command(after_help = help::DOCTOR)]
    Doctor {
        /// Time that each step may take, in seconds, 0.1 to 10
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = step_seconds)]
        timeout: f64,
    },
    /// Show the library at work, without any setup
    ///
    /// Runs an embedded platform, the pollers of two workspaces, and 240 messages. Meanwhile the registry stops
    /// answering for a while, and some callbacks fail. Ends with an account of every message.
    #[command(after_help = help::DEMO)]
    Demo,
    /// Print a script that completes this command line in a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Name of the shell
        shell: Shell,
    },
    /// Print the JSON Schema of the --json output
    ///
    /// Its `$defs` has an entry for each subcommand, and `error`.
    #[command(after_help = help::SCHEMA)]
    Schema,
}

/// The arguments of `send`.
#[derive(clap::Args)]
pub(crate) struct SendArgs {
    /// Peer id, 8-4-4-4-12 hexadecimal digits
    #[arg(value_name = "PEER", value_parser = peer_id, value_hint = ValueHint::Other)]
    pub(crate) peer: PeerId,
    /// The text, at most 1 MiB; - reads it from standard input
    #[arg(value_parser = words, value_hint = ValueHint::Other)]
    pub(crate) text: String,
    /// Time for all attempts, the waits between them and that of --wait, in seconds, 1 to 86400
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Maximum number of attempts, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) attempts: u32,
    /// Id of the conversation that the message belongs to [default: none]
    #[arg(long, value_name = "ID", value_parser = words, value_hint = ValueHint::Other)]
    pub(crate) context: Option<String>,
    /// Wait for the end of a message that the platform queues
    ///
    /// Prints the agent's answer, or a note on standard error: the message is in the peer's inbox, expired, failed,
    /// handed over without an answer, or still queued when the time is over.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Send also where PEER is your own workspace
    ///
    /// The message goes to its inbox. `poll` does not print it, since it is your own.
    #[arg(long)]
    pub(crate) own: bool,
}

/// A function of this crate, so that clap prints the error without its source.
fn peer_id(text: &str) -> Result<PeerId, Error> {
    PeerId::parse(text)
}

/// Refuses a text without words before anything is read, sent or acknowledged.
fn words(text: &str) -> Result<String, String> {
    // White space, and the separators that the library counts as such.
    let is_blank = text.chars().all(|c| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c));
    if is_blank { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn poll_seconds(text: &str) -> Result<f64, String> {
    seconds(text, 0.01, 86_400.0)
}

fn step_seconds(text: &str) -> Result<f64, String> {
    seconds(text, 0.1, 10.0)
}

fn seconds(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let in_range = |seconds: &f64| (min..=max).contains(seconds);
    text.parse().ok().filter(in_range).ok_or_else(|| format!("not a number of seconds from {min} to {max}"))
}
