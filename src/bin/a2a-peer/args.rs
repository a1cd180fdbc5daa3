//! The command line.

use std::path::PathBuf;

use a2a_blocking::{Client, ClientBuilder, Error, PeerId};
use clap::{Parser, Subcommand};

/// Ask an A2A platform's registry who a peer is.
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
Exit status: 0 every peer has a record, 1 one has none or the call failed, 2 bad usage or settings.

Examples:
  a2a-peer demo
  a2a-peer --platform http://localhost:8080 --workspace my-team enrich 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c
  a2a-peer --json enrich $(cat peers.txt) | jq .record.name";

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
    /// See it work, with nothing to set up: an embedded platform, two pollers, some hundred pushes
    Demo,
}

/// A function, so that the message of clap is ours and not its source.
fn peer_id(text: &str) -> Result<PeerId, Error> {
    PeerId::parse(text)
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
