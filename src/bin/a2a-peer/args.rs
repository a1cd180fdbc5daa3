//! The command line.

use std::path::PathBuf;

use a2a_blocking::{Client, ClientBuilder, Error, PeerId};
use clap::{Parser, Subcommand};

/// Ask an A2A platform who a peer is, and send it messages.
///
/// Results go to standard output, everything else to standard error.
#[derive(Parser)]
#[command(version, after_help = ENVIRONMENT)]
pub(crate) struct Args {
    /// The platform's address, http(s)://host[:port][/prefix] [default: $PLATFORM_URL, else port 8080 of
    /// localhost, or inside Docker of host.docker.internal]
    #[arg(long, global = true, value_name = "URL")]
    platform: Option<String>,

    /// The id of your own workspace [default: $WORKSPACE_ID]
    #[arg(long, global = true, value_name = "ID")]
    workspace: Option<String>,

    /// A file with the bearer token on one line [default: .auth_token in $CONFIGS_DIR, else in /configs]
    #[arg(long, global = true, value_name = "PATH")]
    token_file: Option<PathBuf>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log to standard error why a lookup brought nothing (RUST_LOG=… sets what is logged exactly)
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const ENVIRONMENT: &str = "\
Exit status: 0 all is well, 1 a peer has no record or the call failed, 2 bad usage or settings, 3 (send) queued.

Examples:
  a2a-peer demo
  a2a-peer --platform http://localhost:8080 --workspace my-team enrich 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c
  a2a-peer --json enrich $(cat peers.txt) | jq .record.name
  git diff | a2a-peer send 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c -
  a2a-peer poll --json | jq .text";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Who are these? A table of id, name, role and status
    ///
    /// Each peer is looked up as a poller's callback would: at most one request, 2 s in all. With --json
    /// each line is {"peer", "record", "ms"}; `record` is null where there is none.
    Enrich {
        /// Peer ids: 8-4-4-4-12 hex digits
        #[arg(required = true, value_name = "PEER", value_parser = peer_id)]
        peers: Vec<PeerId>,
    },
    /// One uncached lookup, 10 s in all, with the error where there is one
    ///
    /// With --json the line is {"peer", "record", "ms"}, and where there is no record also
    /// "error": {"kind", "status", "message"}.
    Discover {
        /// A peer id: 8-4-4-4-12 hex digits
        #[arg(value_name = "PEER", value_parser = peer_id)]
        peer: PeerId,
    },
    /// Who are my peers? A table of what the registry lists for this workspace
    ///
    /// With --json each line is {"peer", "record"}; `peer` is null where an entry has no valid id.
    Peers,
    /// What does the platform have on my own workspace?
    Info,
    /// Send a text to a peer and print its answer
    ///
    /// The answer's text goes to standard output. Exit status: 0 a reply, 3 queued (the platform delivers it
    /// later), 1 an error, 2 bad usage. Ctrl-C ends it, with what is known of the delivery. With --json the
    /// line is {"peer", "text", "reply", "ms"}; `reply` is the whole answer as it came.
    Send {
        /// A peer id: 8-4-4-4-12 hex digits
        #[arg(value_name = "PEER", value_parser = peer_id)]
        peer: PeerId,
        /// The text; - reads it from standard input
        text: String,
        /// The time for all attempts and pauses together, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        timeout: u64,
        /// How often it is tried at the most
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        attempts: u32,
        /// The conversation that it belongs to
        #[arg(long, value_name = "ID")]
        context: Option<String>,
    },
    /// Print what arrives in my own inbox, until Ctrl-C
    ///
    /// A line each: when, from whom, what; with --json {"activity_id", "kind", "peer", "sender", "text", "method",
    /// "created_at", "attempt", "row"}. What was printed is not printed again the next time: the cursor remembers
    /// where it was, and without one it begins with the last 600 s. Exit status: 0, also after Ctrl-C; 1 the workspace
    /// was removed, or with --once the poll failed; 2 bad usage.
    Poll {
        /// Print what is there now, and end
        #[arg(long)]
        once: bool,
        /// Answer each message with this text
        #[arg(long, value_name = "TEXT")]
        reply_with: Option<String>,
        /// Where to remember what was printed [default: beside the token file]
        #[arg(long, value_name = "PATH")]
        cursor: Option<PathBuf>,
        /// How long to wait between two polls, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
        interval: f64,
    },
    /// See it work, with nothing to set up: an embedded platform, two workspaces' pollers, some hundred messages
    Demo,
}

/// A function, so that the message of clap is ours and not its source.
fn peer_id(text: &str) -> Result<PeerId, Error> {
    PeerId::parse(text)
}

fn seconds(text: &str) -> Result<f64, String> {
    let in_range = |seconds: &f64| (0.01..=86_400.0).contains(seconds);
    text.parse().ok().filter(in_range).ok_or_else(|| "it takes a number from 0.01 to 86400".to_owned())
}

impl Args {
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let mut builder = ClientBuilder::from_env();
        if let Some(url) = &self.platform {
            builder = builder.platform_url(url);
        }
        if let Some(id) = &self.workspace {
            builder = builder.workspace_id(id);
        }
        if let Some(path) = &self.token_file {
            builder = builder.token_file(path);
        }
        builder.build()
    }

    /// The demo brings a platform of its own: an address that it ignored would mislead.
    pub(crate) fn refuse_platform(&self) -> Result<(), String> {
        if self.platform.is_none() && self.workspace.is_none() && self.token_file.is_none() {
            return Ok(());
        }
        Err("demo brings its own platform: leave out --platform, --workspace and --token-file".to_owned())
    }
}
