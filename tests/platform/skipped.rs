//! The lines that are not replayed, each with its reason.

const CUT: &str = "the list was cut, and the workspaces in its rest are not known";
const BUSY: &str = "a figure of a busy database; `late_rows` makes rows late on demand, and a test reads them";

/// File, `what` (up to a `*`), reason.
pub const SKIPPED: &[(&str, &str, &str)] = &[
    ("big-rows", "m: session-search", "a call that no agent makes"),
    ("late-rows", "k*", BUSY),
    ("push-agents", "stream: a message sent through ANOTHER instance on the same database", "there is one instance"),
    ("queue", "q: peers, no header", CUT),
    ("queue", "q: peers of the removed", CUT),
    ("rate-limit", "j: free again", "it takes a minute"),
    ("registration", "c: push, url public", "the words of a resolver that is not asked here"),
    ("removal", "revoked: peers, no token", CUT),
    ("requests", "instructions", "the recorder shortened the text; the line before is the same with one rule"),
    ("stream", "stream: 155 s of idleness", "it takes 155 s"),
];

/// True if a line is meant.
pub fn matches(which: &str, what: &str) -> bool {
    which.strip_suffix('*').map_or(which == what, |start| what.starts_with(start))
}
