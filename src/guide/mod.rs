//! The guide: one page for each subject, [listed below](#modules), and whole programs. There is no code here.
//!
//! The tests run the programs below as they stand here, against a platform on loopback.
//!
//! # A poller that answers
//!
//! `WORKSPACE_ID`, `PLATFORM_URL` and `CONFIGS_DIR` come from the environment. The cursor is kept beside the token.
//!
//! ```no_run
#![doc = include_str!("../../tests/programs/poller.rs")]
//! ```
//!
//! # A cron job that reports the team's state
//!
//! ```no_run
#![doc = include_str!("../../tests/programs/team.rs")]
//! ```
//!
//! # A bridge between two workspaces
//!
//! Each client has one workspace and its own cache, because one workspace may see peers that another may not.
//!
//! ```no_run
#![doc = include_str!("../../tests/programs/bridge.rs")]
//! ```

/// Makes each page a module, so that docs.rs shows it. The summary of a page is for the list of modules: without it the
/// list would repeat the page's title.
///
/// Markdown takes the first definition of a link. `links.md` comes first and leads to pages of docs.rs. A page ends with
/// definitions that lead to files, for readers of the repository.
macro_rules! pages {
    ($($(#[$summary:meta])+ $page:ident),+ $(,)?) => {$(
        $(#[$summary])+
        #[doc = ""]
        #[doc = include_str!("links.md")]
        #[doc = include_str!(concat!(stringify!($page), ".md"))]
        pub mod $page {}
    )+};
}

pages! {
    /// The sender of a message: the cache, lookups, the circuit.
    enrichment,
    /// Sending a message: attempts, the budget, and whether it was delivered.
    sending,
    /// Tasks and approvals, delegations, files, the platform's rules.
    requests,
    /// A poller's promises: messages, verdicts, the cursor.
    inbox,
    /// All settings: variables, setters, defaults, TLS, the token, features.
    settings,
    /// A poller in a container: volumes, SIGTERM, health.
    containers,
    /// Log lines, metrics and JSON.
    observability,
    /// Every call when something fails: errors, troubleshooting.
    failure_behaviour,
    /// Bounds of time, sizes, memory and threads.
    limits_and_memory,
    /// The platform's protocol: every endpoint, and what becomes of each answer.
    platform,
    /// Changes that a release may make.
    stability,
    /// Migration from the Python module `a2a_client`.
    migration,
    /// Alternatives, and when one of them is the better choice.
    comparison,
}
