//! An agent's card: what a workspace says of its agent.

use serde_json::{Map, Value, json};

use super::message::{MAX_DEPTH, has_nul, is_deeper_than};
use crate::error::{Error, ErrorKind};

/// A card of our own agent: the JSON object that the platform shows to peers and on the canvas.
///
/// A card without a name gets the workspace's from the platform. [`Client::register`](crate::Client::register) publishes it.
///
/// ```
/// use a2a_blocking::AgentCard;
/// use serde_json::json;
///
/// let card = AgentCard::new("ops-agent")
///     .with_description("knows who is on call")
///     .with_skill("rota")
///     .with_version("1.4.0")
///     .with_field("iconUrl", json!("https://ops.example/icon.png"));
/// assert_eq!((card.name(), card.version()), (Some("ops-agent"), Some("1.4.0")));
/// assert_eq!(card.as_json()["skills"], json!([{ "name": "rota" }]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct AgentCard {
    fields: Map<String, Value>,
}

impl AgentCard {
    /// Creates a card with this name.
    pub fn new(name: impl Into<String>) -> Self {
        AgentCard::default().with_field("name", name.into().into())
    }

    /// Creates a card of a JSON object, with its fields as they are.
    pub fn from_json(fields: Map<String, Value>) -> Self {
        AgentCard { fields }
    }

    /// Sets the field `description`. Without one the platform shows the name.
    pub fn with_description(self, description: impl Into<String>) -> Self {
        self.with_field("description", description.into().into())
    }

    /// Adds a skill by its name to the field `skills`, as `{"name": NAME}`.
    ///
    /// A field `skills` that is no list is replaced. For a skill with more fields use
    /// [`with_field`](AgentCard::with_field).
    pub fn with_skill(mut self, name: impl Into<String>) -> Self {
        let skill = json!({ "name": name.into() });
        match self.fields.get_mut("skills") {
            Some(Value::Array(skills)) => skills.push(skill),
            _ => drop(self.fields.insert("skills".to_owned(), json!([skill]))),
        }
        self
    }

    /// Sets the field `version`, the agent's own.
    pub fn with_version(self, version: impl Into<String>) -> Self {
        self.with_field("version", version.into().into())
    }

    /// Sets a field of any name. One of the same name is replaced.
    pub fn with_field(mut self, field: impl Into<String>, value: Value) -> Self {
        self.fields.insert(field.into(), value);
        self
    }

    /// Returns the field `name`, if it is a text.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// Returns the field `description`, if it is a text.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.text("description")
    }

    /// Returns the field `version`, if it is a text.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.text("version")
    }

    /// Returns the whole object.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// # Errors
    ///
    /// [`ErrorKind::InvalidMessage`] for a card that the platform cannot store (U+0000 in a text or a name), or that nests
    /// deeper than 120 levels.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let values = || self.fields.values().collect::<Vec<_>>();
        let reason = if is_deeper_than(values(), MAX_DEPTH) {
            "nests too deep: use at most 120 levels"
        } else if has_nul(Value::from(self.fields.clone()).to_string().as_bytes()) {
            "has a character U+0000, which the platform cannot store: take it out"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidMessage, format!("the agent card {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(card: &AgentCard) -> Option<String> {
        card.check().err().map(|error| error.to_string())
    }

    #[test]
    fn card_that_the_platform_cannot_store_is_refused() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |value, _| json!([value]));
        for bad in [
            AgentCard::new("a\0"),
            AgentCard::new("a").with_field("\0", json!(1)),
            AgentCard::new("a").with_skill("\0"),
            AgentCard::new("a").with_field("x", json!([{ "\0": [] }])),
        ] {
            assert!(refusal(&bad).unwrap().contains("U+0000"), "{bad:?}");
        }
        let deep = AgentCard::new("a").with_field("x", nested(120));
        assert!(refusal(&deep).unwrap().contains("nests too deep"));
        for good in [AgentCard::default(), AgentCard::new("a").with_field("x", nested(119))] {
            assert_eq!(refusal(&good), None);
        }
        let very_deep = AgentCard::new("a").with_field("x", nested(1_000));
        assert!(refusal(&very_deep).unwrap().contains("nests too deep"));
    }

    #[test]
    fn every_setter_reaches_the_object() {
        let card = AgentCard::new("n").with_description("d").with_version("v").with_skill("a").with_skill("b");
        let card = card.with_field("x", json!([1])).with_field("version", json!("w"));
        let expected = json!({ "name": "n", "description": "d", "version": "w",
            "skills": [{ "name": "a" }, { "name": "b" }], "x": [1] });
        assert_eq!(Value::from(card.as_json().clone()), expected);
        assert_eq!((card.name(), card.description(), card.version()), (Some("n"), Some("d"), Some("w")));
        assert_eq!(AgentCard::from_json(card.as_json().clone()), card);
        let replaced = AgentCard::default().with_field("skills", json!("x")).with_skill("a");
        assert_eq!(replaced.as_json()["skills"], json!([{ "name": "a" }]));
    }
}
