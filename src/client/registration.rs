//! The registration of our own workspace: the calls, and the steps that a poller makes, too.

use serde_json::{Value, json};

use super::Client;
use crate::error::{Error, ErrorKind, guard};
use crate::http::{Http, Pool};
use crate::platform::{Workspace, register, workspace, workspace_state};
use crate::util::clock::Deadline;
use crate::util::text::Untrusted;
use crate::wire::AgentCard;

/// The rule for a workspace whose agent has a URL, to which the platform posts each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushAgent {
    /// It is not registered: the agent may be another program with our token.
    Keep,
    /// It is registered in poll mode, which wipes the URL.
    Replace,
}

/// Registration. A poller makes it by itself.
impl Client {
    /// Registers the client's own workspace in poll mode with this card, in at most 10 s.
    ///
    /// A workspace that was created without a delivery mode is in push mode until then: senders get 503 or a queued message,
    /// and each message comes twice. The card replaces the one that is there. A poller that is
    /// [spawned](crate::PollerBuilder::spawn) registers by itself.
    ///
    /// The platform answers 200 in cases that are no success, so it is asked before: the workspace must be there, and the
    /// token must be valid for it. **Without a token** the platform issues one if none of the workspace lives. It is then
    /// proven, kept in the token file (created with mode 0600) and used from then on.
    ///
    /// ```no_run
    /// use a2a_blocking::{AgentCard, Client};
    ///
    /// let client = Client::from_env()?;
    /// client.register(&AgentCard::new("ops-agent").with_skill("rota"))?;
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Removed`](ErrorKind::Removed) or [`NotFound`](ErrorKind::NotFound): there is no such workspace (any more).
    ///   Nothing was registered.
    /// - [`Unauthorized`](ErrorKind::Unauthorized): the token is not valid for the workspace, or none was sent and one lives.
    /// - [`Config`](ErrorKind::Config): the workspace belongs to an agent with a URL, see
    ///   [`replace_registration`](Client::replace_registration). Or there is no token, and no file for a new one.
    /// - [`InvalidMessage`](ErrorKind::InvalidMessage): the card has U+0000 or nests deeper than 120 levels.
    /// - Another status, an answer that is no registration, a request above 1 MiB
    ///   ([`TooLarge`](ErrorKind::TooLarge)), a failed transport.
    pub fn register(&self, card: &AgentCard) -> Result<(), Error> {
        guard(|| self.register_as(card, PushAgent::Keep))
    }

    /// Like [`register`](Client::register), also where the workspace belongs to an agent with a URL.
    ///
    /// The URL is wiped: the platform then posts nothing to that agent, and its messages come to our inbox.
    ///
    /// # Errors
    ///
    /// As [`register`](Client::register).
    pub fn replace_registration(&self, card: &AgentCard) -> Result<(), Error> {
        guard(|| self.register_as(card, PushAgent::Replace))
    }

    fn register_as(&self, card: &AgentCard, push_agent: PushAgent) -> Result<(), Error> {
        card.check()?;
        let http = &self.inner.http;
        let deadline = self.inner.deadline();
        let registrar = Registrar { http, gets: http.calls(), posts: http.messages() };
        registrar.workspace(push_agent, deadline)?;
        let card = Value::from(card.as_json().clone());
        // The file may have got a token since the client was built.
        if http.tokens().current().or_else(|| http.tokens().rotated(None, deadline)).is_some() {
            workspace_state(http, http.calls(), None, deadline)?;
            return registrar.register_with_token(&card, deadline);
        }
        let file = http.tokens().reserve()?;
        let token = register(http, http.messages(), &card, deadline)?;
        workspace_state(http, http.calls(), token.as_ref(), deadline)?;
        if let Some(token) = token {
            http.tokens().keep(token, file)?;
        }
        Ok(())
    }
}

/// The steps of a registration, over connections that the caller can shut down.
pub(crate) struct Registrar<'a> {
    pub(crate) http: &'a Http,
    /// Connections for GETs.
    pub(crate) gets: &'a Pool,
    /// Connections for POSTs.
    pub(crate) posts: &'a Pool,
}

impl Registrar<'_> {
    /// Returns our workspace, as the platform has it.
    ///
    /// # Errors
    ///
    /// As [`workspace`], and [`ErrorKind::Config`] where it belongs to a push agent that is to be kept.
    fn workspace(&self, push_agent: PushAgent, deadline: Deadline) -> Result<Workspace, Error> {
        let found = workspace(self.http, self.gets, deadline)?.into_result()?;
        check_push_agent(&found, push_agent)?;
        Ok(found)
    }

    /// Registers with the token that was proven before.
    ///
    /// # Errors
    ///
    /// As [`register`], and [`ErrorKind::Unauthorized`] where the platform issues a token: ours is not one of the
    /// workspace. The new one is dropped.
    pub(crate) fn register_with_token(&self, card: &Value, deadline: Deadline) -> Result<(), Error> {
        match register(self.http, self.posts, card, deadline)? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::Unauthorized,
                "the platform issued a new token, so ours is not one of this workspace, and the new one is not used: make \
                 a token on the platform's canvas (Tokens tab)",
            )
            .with_target(format!("POST {}/registry/register", self.http.platform()))),
        }
    }
}

/// # Errors
///
/// [`ErrorKind::Config`] where the workspace belongs to a push agent that is to be kept.
pub(crate) fn check_push_agent(workspace: &Workspace, push_agent: PushAgent) -> Result<(), Error> {
    let url = workspace.get("url").and_then(Value::as_str).unwrap_or_default();
    if push_agent == PushAgent::Replace || url.is_empty() {
        return Ok(());
    }
    let url = Untrusted::new(url);
    Err(Error::config(format!(
        "register: the workspace belongs to an agent at {url}, to which the platform posts its messages: not registered. \
         Call PollerBuilder::register(true) or Client::replace_registration to poll in its place"
    )))
}

/// Returns the card that a registration sends where the program has none: the one that is there, else the workspace's name.
pub(crate) fn present_card(workspace: &Workspace, workspace_id: &str) -> Value {
    match workspace.get("agent_card") {
        Some(card) if !card.is_null() => card.clone(),
        _ => json!({ "name": workspace.name().filter(|name| !name.is_empty()).unwrap_or(workspace_id) }),
    }
}
