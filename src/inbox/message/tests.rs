use serde_json::json;

use super::*;
use crate::peer::Peer;

const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
const SELF: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

fn fields(row: Value) -> Map<String, Value> {
    row.as_object().unwrap().clone()
}

#[test]
fn row_provides_name_and_role_of_its_sender() {
    let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id(SELF).build().unwrap();
    let peer = PeerId::from_text(PEER).unwrap();
    let sender = |row| {
        InboxMessage::new(&client, Row { id: "x".to_owned(), at: None, bytes: 0, fields: fields(row) })
            .sender_in_row(peer)
    };
    let of = |peer: &Peer| (peer.name().map(str::to_owned), peer.role().map(str::to_owned));
    for (row, name, role) in [
        (json!({ "peer_name": "ops" }), Some("ops"), None),
        (json!({ "peer_role": "sre" }), None, Some("sre")),
        (json!({ "peer_name": "ops", "peer_role": "sre" }), Some("ops"), Some("sre")),
    ] {
        let sender = sender(row).unwrap();
        assert_eq!((of(&sender), sender.id()), ((name.map(str::to_owned), role.map(str::to_owned)), Some(PEER)));
    }
    assert_eq!(sender(json!({ "peer_name": null, "peer_role": 7 })), None);
    let delegation =
        |source: &str| sender(json!({ "method": "delegate_result", "source_id": source, "peer_name": "x" }));
    assert_eq!((delegation(SELF), delegation(PEER).is_some()), (None, true), "it is the name of the source");
}
