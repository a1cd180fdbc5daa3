//! The guide: one page for each subject, and whole programs. There is no code here.
//!
//! | page | answers |
//! | --- | --- |
//! | [`enrichment`] | Who is talking? The cache, lookups, the circuit |
//! | [`sending`] | How is a message sent, and was it delivered? |
//! | [`inbox`] | What does a poller promise? Messages, verdicts, the cursor |
//! | [`settings`] | Which settings are there? TLS, the token, features |
//! | [`containers`] | How does it run in a container? Volumes, SIGTERM, health |
//! | [`observability`] | What is logged, counted and serialised? |
//! | [`failure_behaviour`] | What happens when something fails? Errors, troubleshooting |
//! | [`limits_and_memory`] | Which bounds are there? Time, sizes, memory, threads |
//! | [`platform`] | Which endpoints are called, and what becomes of each answer? |
//! | [`stability`] | What may a release change? |
//! | [`migration`] | How does a user of the Python module `a2a_client` move over? |
//! | [`comparison`] | What else is there, and when is it the better choice? |
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

/// Makes each page a module, so that docs.rs shows it.
///
/// Markdown takes the first definition of a link. `links.md` comes first and leads to pages of docs.rs. A page ends with
/// definitions that lead to files, for readers of the repository.
macro_rules! pages {
    ($($page:ident),+ $(,)?) => {$(
        #[doc = include_str!("links.md")]
        #[doc = include_str!(concat!(stringify!($page), ".md"))]
        pub mod $page {}
    )+};
}

pages! {
    enrichment,
    sending,
    inbox,
    settings,
    containers,
    observability,
    failure_behaviour,
    limits_and_memory,
    platform,
    stability,
    migration,
    comparison,
}
