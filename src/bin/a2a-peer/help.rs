//! The texts of `--help` that follow the list of options.

/// Follows the options of `-h`.
pub(crate) const SHORT: &str = "--help has exit statuses, environment variables and examples.";

/// The heading of the options that every command takes.
pub(crate) const GLOBAL: &str = "Options of every command";

/// Follows the options of `--help`. List items have at most 80 columns: clap does not indent what it wraps.
pub(crate) const LONG: &str = "\
Exit status:
    0  success; also when the reader of the output leaves early, as head does,
       and after Ctrl-C in poll
    1  any other failure: the agent's error, a task that failed, an unexpected
       HTTP status, an output that cannot be written
    2  wrong usage or settings; nothing was sent
    3  send: queued, the platform delivers the message later
    4  absent: the platform does not know the peer or the workspace, or does not
       show it
    5  unreachable: unknown host, connection refused, timeout, bad certificate
    6  unauthorised: no token, or one that the platform refuses
    7  your workspace was removed
    8  send, delegate, notify, respond: the message may have been delivered
  130  Ctrl-C; a second Ctrl-C ends the process at once

Environment (options take precedence; a blank variable counts as unset):
  PLATFORM_URL     the platform's address, as --platform
  WORKSPACE_ID     the id of your own workspace, as --workspace
  MOLECULE_WORKSPACE_TOKEN
                   the bearer token; without it the next variable counts
  MOLECULE_WORKSPACE_TOKEN_FILE
                   file with the bearer token, as --token-file
  CONFIGS_DIR      directory of the token file .auth_token and of the cursor of
                   poll [default: /configs, if that exists, else
                   ~/.molecule-workspace, where the token is looked for last]
  A2A_PEER_PROXY   HTTP proxy, as --proxy, but a user and a password are allowed:
                   http://user:password@host:port [default: none]
  MOLECULE_ORG_ID  your organisation on a hosted platform [default: none]
  MOLECULE_AGENT_NAME         name on the card that `register` and `poll` publish
                   [default: as the card is now]
  MOLECULE_AGENT_DESCRIPTION  its description [default: as the card is now]
  MOLECULE_AGENT_SKILLS       its skills, names with commas between
                   [default: as the card is now]
  RUST_LOG         log filter in the syntax of env_logger; overrides --verbose
                   [default: a2a_blocking=warn; in poll also
                   a2a_blocking::inbox=info, in demo also
                   a2a_blocking::enrich=error; in doctor a2a_blocking=off]
  NO_COLOR         disables colours. They are on for a terminal, unless TERM=dumb
                   or CLICOLOR=0. CLICOLOR_FORCE=1 turns them on elsewhere
  COLUMNS          width of tables where there is no terminal
                   [default: no limit, nothing is cut]

With --json, standard output has one JSON document per line. A failure is the last line: \
{\"error\": {\"kind\", \"status\", \"message\", \"next\", \"delivery\", \"retry_after\", \"exit\"}}. enrich and doctor report \
failures in the line of the peer or the step. Standard error has the same in words, and the log.

Examples:
  a2a-peer demo
  a2a-peer doctor --platform http://localhost:8080 --workspace my-team
  a2a-peer --json enrich $(cat peers.txt) | jq -r .record.name
  git diff | a2a-peer send 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c -
  a2a-peer poll --json | jq .text";

pub(crate) const ENRICH: &str = "\
Exit status:
  0  every peer has a record
  1  some lookup got no usable answer
  4  the platform does not know or does not show some peer

With --json each line is {\"peer\", \"record\", \"source\", \"ms\"}. `record` is null where there is none, and `source` says \
why (absent: the registry does not know or show the peer; failed: no usable answer).

Examples:
  a2a-peer enrich 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c
  a2a-peer enrich --json $(cat peers.txt) | jq -r 'select(.source == \"absent\").peer'";

pub(crate) const DISCOVER: &str = "\
Exit status:
  0  there is a record
  1  any other answer of the platform
  4  the platform does not know or does not show the peer
  5  unreachable
  6  the token was refused
  7  your workspace was removed

With --json the line is {\"peer\", \"record\", \"ms\"}.

Examples:
  a2a-peer discover 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c
  a2a-peer discover --json 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c | jq -r '.record.url // .error.next'";

pub(crate) const PEERS: &str = "\
Exit status:
  0  there is a list, which may be empty
  1  any other answer of the platform
  4  the workspace is not registered
  5  unreachable
  6  the token was refused
  7  your workspace was removed

With --json each line is {\"peer\", \"record\"}. `peer` is null where an entry has no valid id.

Examples:
  a2a-peer peers | grep offline
  a2a-peer peers --json | jq -r 'select(.record.role == \"sre\").peer'";

pub(crate) const INFO: &str = "\
Exit status:
  0  there is a record
  1  any other answer of the platform
  4  the platform does not know the workspace
  5  unreachable
  6  the token was refused
  7  the workspace was removed

With --json the line is {\"record\", \"ms\"}.

Examples:
  a2a-peer info
  a2a-peer info --json | jq -r .record.name";

pub(crate) const SEND: &str = "\
Exit status:
    0  there is a reply
    1  an error of the agent or the platform, or a task without success
    2  wrong usage; not delivered
    3  queued: the platform delivers the message later
    4  no such peer; not delivered
    5  unreachable; not delivered
    6  the token was refused; not delivered
    7  your workspace was removed; not delivered
    8  the message may have been delivered
  130  Ctrl-C

With --wait a message that the platform queued has the status of its end: 0 in the inbox of a peer that polls, 1 expired or \
failed, 3 still queued when the time is over, 8 handed over without an answer, or not known. A reply has its own.

A task is without success if it failed, was rejected or canceled, or requires an authorisation.

With --json the line is {\"peer\", \"text\", \"state\", \"reply\", \"delivery\", \"outcome\", \"queued\", \"ms\"}. `state` \
is that of a task, or null. `reply` is the whole answer, unchanged. `outcome` and `queued` are null without --wait: the \
end of a queued message (pending, expired, answered, in_inbox, lost or failed), and what the platform says of it.

Examples:
  a2a-peer send 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c 'who is on call tonight?'
  git diff | a2a-peer send --timeout 60 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c -
  a2a-peer send --wait --json 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c 'the report' | jq -r .outcome";

pub(crate) const DELEGATE: &str = "\
Exit status:
  0  the platform took the task
  1  the platform refuses it
  2  wrong usage; not delegated
  5  unreachable; not delegated
  6  the token was refused; not delegated
  7  your workspace was removed; not delegated
  8  the task may have been delegated; --key lets you repeat the command

With --json the line is {\"peer\", \"delegation_id\", \"status\", \"is_repeat\", \"ms\"}.

Examples:
  a2a-peer delegate 3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c 'count the tickets of July' --key tickets-2026-07
  a2a-peer poll --json | jq 'select(.kind == \"delegation\") | {delegation_id, text}'";

pub(crate) const REGISTER: &str = "\
Exit status:
  0  registered
  1  any other answer of the platform
  2  wrong usage or settings, or the workspace belongs to an agent with a URL
  4  the platform does not know the workspace; not registered
  5  unreachable
  6  the token was refused; not registered
  7  the workspace was removed; not registered

With --json the line is {\"workspace\", \"card\", \"token_file\", \"ms\"}. `token_file` is null unless the platform issued a \
token, which is in that file then.

Examples:
  a2a-peer register
  a2a-peer register --name ops-agent --description 'knows who is on call' --skill rota --skill paging";

pub(crate) const POLL: &str = "\
Exit status:
  0  after Ctrl-C; with --once when everything is printed
  7  the workspace was removed
With --once also the status of a poll that failed.

With --json each line is \
{\"activity_id\", \"message_id\", \"context_id\", \"task_id\", \"kind\", \"peer\", \"sender\", \"text\", \"method\", \
\"created_at\", \"delivery_attempt\", \"row\"}. `peer` and `message_id` together recognise a message that its sender sent again.

Examples:
  a2a-peer poll --once
  a2a-peer poll --interval 1 --json | jq -r '.peer + \": \" + .text'
  a2a-peer poll --reply-with 'out of office' --cursor ~/.a2a-cursor.json";

pub(crate) const REQUESTS: &str = "\
Exit status:
  0  there is a list, which may be empty
  1  any other answer of the platform
  5  unreachable
  6  the token was refused

With --json each line is {\"request\"}, which is the platform's JSON object.

Examples:
  a2a-peer requests
  a2a-peer requests --sent --json | jq -r '.request | .id + \": \" + .status'";

pub(crate) const RESPOND: &str = "\
Exit status:
  0  responded
  1  the platform refuses the response
  4  no such request, or it is over
  5  unreachable
  6  the token was refused
  8  the response may have been made

With --json the line is {\"request\", \"action\", \"ms\"}.

Example:
  a2a-peer respond 6cae6a3c-e23a-45fe-8aa0-e3f0f448b4b5 done";

pub(crate) const NOTIFY: &str = "\
Exit status:
  0  the platform took it
  1  the platform refuses it
  2  wrong usage, or a file that cannot be read; not delivered
  5  unreachable; not delivered
  6  the token was refused; not delivered
  8  it may have been delivered

With --json the line is {\"text\", \"files\", \"ms\"}. `files` is their number.

Examples:
  a2a-peer notify 'the nightly run has failed' --attach nightly.log
  uptime | a2a-peer notify -";

pub(crate) const INSTRUCTIONS: &str = "\
Exit status:
  0  there is an answer, which may be empty
  1  any other answer of the platform
  5  unreachable
  6  the token was refused

With --json the line is {\"instructions\", \"ms\"}.

Example:
  a2a-peer instructions > rules.md";

pub(crate) const DOCTOR: &str = "\
Exit status:
  0  no step failed; a warning is no failure
  1  any other answer of the platform
  2  settings, token file or cursor
  4  the platform does not have the workspace
  5  unreachable
  6  the token was refused
  7  the workspace was removed

With --json each line is {\"step\", \"status\", \"ms\", \"detail\", \"next\"}. A step that failed also has {\"error\"}.

Examples:
  a2a-peer doctor
  a2a-peer doctor --json --timeout 2 | jq -r 'select(.status == \"failed\").next'";

pub(crate) const DEMO: &str = "\
It takes some seconds.

Exit status:
    0  no message was lost, delivered twice or garbled
    1  some message was
  130  Ctrl-C

With --json each line is \
{\"workspace\", \"id\", \"kind\", \"text\", \"record\", \"delivery_attempt\", \"done\", \"ms\"}. The last line is the summary.

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
