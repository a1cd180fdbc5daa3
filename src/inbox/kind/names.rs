//! Names of senders, as the platform puts them into the rows that it lists.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::client::Client;
use crate::peer::PeerId;
use crate::util::text::prefix;
use crate::wire::{self, Row, RowSender};

/// Longest name or role that is taken from a row, in bytes.
const MAX_NAME: usize = 1_024;

/// Returns the name and role of a row's sender in the fields of a record, as the platform had them when it listed the row.
///
/// Empty where the row has neither. Each has at most 1,024 bytes: a longer one is cut.
pub(in crate::inbox) fn names_in_row(fields: &Map<String, Value>) -> Map<String, Value> {
    let in_row = |field, name: &str| Some((field, prefix(wire::text_field(fields, name)?, MAX_NAME)));
    let names = [in_row("name", "peer_name"), in_row("role", "peer_role")];
    names.into_iter().flatten().map(|(field, text): (&str, _)| (field.to_owned(), text.into())).collect()
}

/// Puts the names and roles of a page's senders over those that the client has cached.
///
/// They are as of the listing, so this is to be done when a page arrives, and not when its messages are delivered.
pub(in crate::inbox) fn overlay_names<'a>(client: &Client, rows: impl Iterator<Item = &'a Row>) {
    let mut newest = HashMap::new();
    for row in rows {
        if let Some(peer) = sender(&row.fields) {
            newest.insert(peer, &row.fields);
        }
    }
    for (peer, fields) in newest {
        let names = names_in_row(fields);
        if !names.is_empty() {
            client.overlay(peer, &names);
        }
    }
}

/// Returns the peer that the row names as its sender.
pub(super) fn sender(fields: &Map<String, Value>) -> Option<PeerId> {
    if let RowSender::Named(id) = wire::sender(fields) { PeerId::from_text(id) } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_name_is_cut_and_another_value_is_none() {
        let row = json!({ "peer_name": "n".repeat(2_000), "peer_role": 7 });
        let names = names_in_row(row.as_object().unwrap());
        assert_eq!(Value::Object(names), json!({ "name": "n".repeat(MAX_NAME) }));
        assert!(names_in_row(json!({ "peer_name": " " }).as_object().unwrap()).is_empty());
    }
}
