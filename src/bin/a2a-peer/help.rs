//! What `--help` says beside the options.

/// Under `-h`.
pub(crate) const MORE: &str = "--help tells the exit status, the environment and examples.";

/// Over the options that every command takes.
pub(crate) const GLOBAL: &str = "Options of every command";

/// Under `--help`: no line of a list wider than 80 columns, since what is wrapped is not set in.
pub(crate) const ALL: &str = "\
Exit status:
    0  done; also where the reader of the output leaves early, as head does,
       and in poll after Ctrl-C
    1  refused or failed otherwise: the agent's error, a status that is no
       answer, an output that cannot be written
    2  bad usage or settings; nothing was sent
    3  send: queued, the platform delivers it later
    4  absent: the platform does not know the peer or the workspace, or does
       not show it
    5  unreachable: no such host, refused, no answer in time, a bad certificate
    6  unauthorised: no token, or one that the platform refuses
    7  this workspace was removed
    8  send: it may have been delivered
  130  ended by Ctrl-C; a second Ctrl-C ends it without waiting for anything

Environment (an option comes before its variable; a blank one counts as unset):
  PLATFORM_URL     the platform's address: --platform
  WORKSPACE_ID     the id of your own workspace: --workspace
  CONFIGS_DIR      where the token file .auth_token is [default: /configs]
  A2A_PEER_PROXY   an HTTP proxy to go through, which may be one with a user and
                   password: http://user:password@host:port [default: none]
  MOLECULE_ORG_ID  the organisation, for hosted platforms [default: none]
  RUST_LOG         what is logged, as env_logger reads it; it comes before
                   --verbose [default: a2a_blocking=warn]
  NO_COLOR         no colours; without it there are some on a terminal, unless
                   TERM=dumb or CLICOLOR=0
  COLUMNS          how wide tables are where no terminal says it
                   [default: as wide as it takes, and nothing is cut]

With --json standard output has one JSON document a line, and a failure is the last of them: {\"error\": \
{\"kind\", \"status\", \"message\", \"next\", \"delivery\", \"retry_after\", \"exit\"}}. enrich and doctor tell it in the line of \
the peer or the step. Standard error has the same in words, and the log.

Examples:
  a2a-peer demo
  a2a-peer doctor --platform http://localhost:8080 --workspace my-team
  a2a-peer --json enrich $(cat peers.txt) | jq -r .record.name
  git diff | a2a-peer send 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c -
  a2a-peer poll --json | jq .text";

pub(crate) const ENRICH: &str = "\
With --json each line is {\"peer\", \"record\", \"source\", \"ms\"}: `record` is null where there is none, and `source` says \
why (absent: the registry's own no; failed: no usable answer).

Examples:
  a2a-peer enrich 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c
  a2a-peer enrich --json $(cat peers.txt) | jq -r 'select(.source == \"absent\").peer'";

pub(crate) const DISCOVER: &str = "\
With --json the line is {\"peer\", \"record\", \"ms\"}.

Examples:
  a2a-peer discover 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c
  a2a-peer discover --json 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c | jq -r '.record.url // .error.next'";

pub(crate) const PEERS: &str = "\
With --json each line is {\"peer\", \"record\"}: `peer` is null where an entry has no valid id.

Examples:
  a2a-peer peers | grep offline
  a2a-peer peers --json | jq -r 'select(.record.role == \"sre\").peer'";

pub(crate) const INFO: &str = "\
With --json the line is {\"record\", \"ms\"}.

Examples:
  a2a-peer info
  a2a-peer info --json | jq -r .record.name";

pub(crate) const SEND: &str = "\
With --json the line is {\"peer\", \"text\", \"reply\", \"delivery\", \"ms\"}: `reply` is the whole answer as it came.

Examples:
  a2a-peer send 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c 'who is on call tonight?'
  git diff | a2a-peer send --timeout 60 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c -";

pub(crate) const POLL: &str = "\
With --json each line is {\"activity_id\", \"kind\", \"peer\", \"sender\", \"text\", \"method\", \"created_at\", \"attempt\", \"row\"}.

Examples:
  a2a-peer poll --once
  a2a-peer poll --interval 1 --json | jq -r '.peer + \": \" + .text'
  a2a-peer poll --reply-with 'out of office' --cursor ~/.a2a-cursor.json";

pub(crate) const DOCTOR: &str = "\
With --json each line is {\"step\", \"status\", \"ms\", \"detail\", \"next\"}, and where it failed also {\"error\"}.

Examples:
  a2a-peer doctor
  a2a-peer doctor --json --timeout 2 | jq -r 'select(.status == \"failed\").next'";

pub(crate) const DEMO: &str = "\
It ends by itself in some seconds. Exit status: 0 nothing was lost, twice or garbled, 1 something was, 130 Ctrl-C.

With --json each line is {\"workspace\", \"id\", \"kind\", \"text\", \"record\", \"attempt\", \"done\", \"ms\"}, and the last one the summary.

Example:
  a2a-peer demo | tail -n 12";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  a2a-peer completions bash > ~/.local/share/bash-completion/completions/a2a-peer
  a2a-peer completions zsh > \"${fpath[1]}/_a2a-peer\"
  a2a-peer completions fish > ~/.config/fish/completions/a2a-peer.fish";

pub(crate) const SCHEMA: &str = "\
Example:
  a2a-peer schema | jq '.\"$defs\".error'";
