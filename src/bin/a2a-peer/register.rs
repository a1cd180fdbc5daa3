//! `register`: registers the workspace in poll mode.

use std::io::Write;
use std::time::Instant;

use a2a_blocking::{AgentCard, Client, Workspace};
use serde_json::{Value, json};

use crate::connection::{ConnectionArgs, TokenFileState};
use crate::exit::{CommandFailure, ExitStatus};
use crate::terminal::note;
use crate::text::{cell, excerpt, json_line, millis};

/// The options of `register` on the command line.
#[derive(clap::Args)]
pub(crate) struct RegisterOptions {
    /// Name on the card [default: $MOLECULE_AGENT_NAME, else as the card is now]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Description on the card [default: $MOLECULE_AGENT_DESCRIPTION, else as the card is now]
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Name of a skill on the card, may be repeated [default: $MOLECULE_AGENT_SKILLS, else as the card is now]
    #[arg(long, value_name = "NAME")]
    skill: Vec<String>,
    /// Register also where the workspace belongs to an agent with a URL
    ///
    /// The URL is wiped: the platform posts nothing to that agent any more.
    #[arg(long)]
    replace: bool,
}

/// Registers the workspace, and prints its id and the card's name.
pub(crate) fn register(
    client: &Client,
    options: &RegisterOptions,
    connection: &ConnectionArgs,
    as_json: bool,
    out: &mut impl Write,
) -> Result<ExitStatus, CommandFailure> {
    let start = Instant::now();
    let workspace = client.workspace()?;
    let url = workspace.get("url").and_then(Value::as_str).unwrap_or_default();
    if !url.is_empty() && !options.replace {
        let url = excerpt(url);
        return Err(CommandFailure::Usage(format!(
            "the workspace belongs to an agent at {url}, to which the platform posts its messages: not registered. \
             --replace wipes the URL and registers"
        )));
    }
    let card = options.card(client, &workspace);
    let has_token = || matches!(connection.token_file_state(), TokenFileState::Present(_));
    let had_token = has_token();
    if options.replace { client.replace_registration(&card) } else { client.register(&card) }?;
    let took = start.elapsed();
    let token_file = (!had_token && has_token()).then(|| connection.token_file().display().to_string());
    let id = client.workspace_id();
    if as_json {
        let line = json!({ "workspace": id, "card": card.as_json(), "token_file": token_file, "ms": millis(took) });
        writeln!(out, "{}", json_line(&line))?;
    } else {
        writeln!(out, "registered {id} as {}", cell(card.name().unwrap_or("its name on the platform"), None))?;
    }
    if let Some(file) = token_file {
        note(&format!("the platform issued a token, which is in {file} now"));
    }
    Ok(ExitStatus::Done)
}

impl RegisterOptions {
    /// Returns the card to register: that of the environment, else the present one, with what the options set.
    fn card(&self, client: &Client, workspace: &Workspace) -> AgentCard {
        let present = || match workspace.get("agent_card") {
            Some(Value::Object(fields)) => AgentCard::from_json(fields.clone()),
            _ => workspace.name().map_or_else(AgentCard::default, AgentCard::new),
        };
        let mut card = client.agent_card().cloned().unwrap_or_else(present);
        if let Some(name) = &self.name {
            card = card.with_field("name", name.as_str().into());
        }
        if let Some(description) = &self.description {
            card = card.with_description(description);
        }
        if !self.skill.is_empty() {
            card = card.with_field("skills", Value::Array(Vec::new()));
        }
        self.skill.iter().fold(card, AgentCard::with_skill)
    }
}
