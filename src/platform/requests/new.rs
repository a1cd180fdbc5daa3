//! A request that is to be made, and the actions by which one is responded to.

use serde_json::{Value, json};

use crate::error::Error;
use crate::peer::PeerRef;
use crate::platform::post::invalid;
use crate::util::str_enum::str_enum;
use crate::util::text::strip;

/// The action by which a recipient responds to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestAction {
    /// The task is done. Not for an approval.
    Done,
    /// The approval is given. Not for a task.
    Approved,
    /// The task or the approval is refused.
    Rejected,
}

str_enum!(RequestAction { Done: "done", Approved: "approved", Rejected: "rejected" });

/// A task or an approval to ask for: [`Client::request`](crate::Client::request).
///
/// Default: it goes to the people of the workspace's canvas, without detail and priority.
///
/// ```
/// use a2a_blocking::NewRequest;
///
/// let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// let task = NewRequest::task("Rotate the keys").detail("Those of node 7.").to_agent(peer)?;
/// let approval = NewRequest::approval("Deploy to production?").priority(1);
/// # let default = NewRequest::approval("Deploy to production?");
/// # let shown = format!("{default:?}");
/// # assert!(shown.contains(r#"recipient_type: "user", recipient_id: """#), "{shown}");
/// # assert!(shown.contains("detail: None, priority: None"), "{shown}");
/// # let _ = (task, approval);
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct NewRequest {
    kind: &'static str,
    title: String,
    recipient_type: &'static str,
    recipient_id: String,
    detail: Option<String>,
    priority: Option<i64>,
}

impl NewRequest {
    /// Returns a task. Its recipient responds with [`Done`](RequestAction::Done) or [`Rejected`](RequestAction::Rejected).
    pub fn task(title: impl Into<String>) -> Self {
        NewRequest::new("task", title.into())
    }

    /// Returns an approval. Its recipient responds with [`Approved`](RequestAction::Approved) or
    /// [`Rejected`](RequestAction::Rejected).
    pub fn approval(title: impl Into<String>) -> Self {
        NewRequest::new("approval", title.into())
    }

    fn new(kind: &'static str, title: String) -> Self {
        let recipient_id = String::new();
        NewRequest { kind, title, recipient_type: "user", recipient_id, detail: None, priority: None }
    }

    /// Sets the agent that is asked, by its workspace. The platform takes a request to a workspace that it does not have, too.
    ///
    /// # Errors
    ///
    /// [`InvalidPeerId`](crate::ErrorKind::InvalidPeerId) for a text that is no peer id.
    pub fn to_agent(self, peer: impl PeerRef) -> Result<Self, Error> {
        Ok(NewRequest { recipient_type: "agent", recipient_id: peer.try_peer_id()?.to_string(), ..self })
    }

    /// Sets the user that is asked, by the id that the platform gave them. An empty id asks all of the canvas.
    pub fn to_user(self, id: impl Into<String>) -> Self {
        NewRequest { recipient_type: "user", recipient_id: id.into(), ..self }
    }

    /// Sets the text below the title.
    pub fn detail(self, text: impl Into<String>) -> Self {
        NewRequest { detail: Some(text.into()), ..self }
    }

    /// Sets the priority, a number of the platform's.
    pub fn priority(self, priority: i64) -> Self {
        NewRequest { priority: Some(priority), ..self }
    }

    /// Returns the JSON that is sent, without the fields that were not set.
    ///
    /// # Errors
    ///
    /// [`InvalidMessage`](crate::ErrorKind::InvalidMessage) for a blank title.
    pub(super) fn to_json(&self) -> Result<Value, Error> {
        if strip(&self.title).is_empty() {
            return Err(invalid("the request's title is empty: give it words"));
        }
        let mut body = json!({
            "kind": self.kind,
            "title": self.title,
            "recipient_type": self.recipient_type,
            "recipient_id": self.recipient_id,
        });
        if let Some(detail) = &self.detail {
            body["detail"] = detail.as_str().into();
        }
        if let Some(priority) = self.priority {
            body["priority"] = priority.into();
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn json_is_as_recorded() {
        let approval = NewRequest::approval("Deploy?").detail("to production").priority(1).to_json().unwrap();
        let expected = json!({ "kind": "approval", "recipient_type": "user", "recipient_id": "", "title": "Deploy?",
            "detail": "to production", "priority": 1 });
        assert_eq!(approval, expected);
        let peer = "3F2B8C1A-5D4E-4F6A-9B7C-8D9E0F1A2B3C";
        let task = NewRequest::task("Count").to_agent(peer).unwrap().to_json().unwrap();
        let expected = json!({ "kind": "task", "recipient_type": "agent", "recipient_id": peer.to_lowercase(),
            "title": "Count" });
        assert_eq!(task, expected);
        assert_eq!(NewRequest::task("x").to_user("u1").to_json().unwrap()["recipient_id"], "u1");
        assert_eq!(NewRequest::task(" \n").to_json().unwrap_err().kind(), ErrorKind::InvalidMessage);
        assert_eq!(NewRequest::task("x").to_agent("ops").unwrap_err().kind(), ErrorKind::InvalidPeerId);
    }
}
