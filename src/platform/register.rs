//! The registration of our workspace, and the card that it publishes.

use serde_json::{Value, json};

use super::attempt::check_request_size;
use super::response::{Call, refusal, unusable_body};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Pool, Request, RequestBody, Response};
use crate::token::Token;
use crate::util::clock::Deadline;
use crate::wire::{self, RECORD_MEMORY};

/// Longest response that is read, in bytes.
const MAX_RESPONSE: u64 = 64 * 1024;
/// Fields of the registry's answers that are secrets: a token of the workspace, and the text by which its holder passes for
/// the human on the canvas.
const SECRETS: [&str; 2] = ["auth_token", "platform_inbound_secret"];

/// Registers our workspace in poll mode, with this card in place of the one that is there.
///
/// Returns the new token where the platform issued one: where none of the workspace lives, anybody gets one.
///
/// # Errors
///
/// A request above `max_request`, any status but 200, a body that is no registration, or a failure of the transport. No error
/// shows a secret of the answer.
pub(crate) fn register(http: &Http, pool: &Pool, card: &Value, deadline: Deadline) -> Result<Option<Token>, Error> {
    let id = http.workspace_id();
    let body = json!({ "id": id, "url": "", "agent_card": card, "delivery_mode": "poll" });
    let mut response = post(http, pool, "/registry/register", &body, deadline)?;
    if response.status != 200 {
        hide_secrets(&mut response);
        return Err(refusal(&response, Call::Own, id));
    }
    let fields = wire::object(&response.body, RECORD_MEMORY);
    // It has secrets, and no error below shows them.
    response.body.clear();
    response.check_encoding()?;
    let fields = fields.map_err(|why| unusable_body(&response, &why))?;
    let malformed = |detail: &str| Err(response.error(ErrorKind::Malformed, detail));
    if fields.get("status").is_none_or(|status| status != "registered") {
        return malformed("answered 200 and does not say that it registered the workspace");
    }
    if fields.get("delivery_mode").is_some_and(|mode| mode != "poll") {
        return malformed("answered with another delivery mode than poll, in which senders do not reach a poller");
    }
    match fields.get("auth_token") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match Token::new(text, "the platform's answer") {
            Ok(Some(token)) => Ok(Some(token)),
            _ => malformed("answered with an `auth_token` that cannot be one"),
        },
        Some(_) => malformed("answered with an `auth_token` that is no text"),
    }
}

/// Publishes a card in place of the one that is there. A success does not prove the token.
///
/// # Errors
///
/// A request above `max_request`, any status but 200, or a failure of the transport.
pub(crate) fn update_card(http: &Http, pool: &Pool, card: &Value, deadline: Deadline) -> Result<(), Error> {
    let id = http.workspace_id();
    let body = json!({ "workspace_id": id, "agent_card": card });
    let mut response = post(http, pool, "/registry/update-card", &body, deadline)?;
    hide_secrets(&mut response);
    if response.status == 200 { Ok(()) } else { Err(refusal(&response, Call::Own, id)) }
}

fn post(http: &Http, pool: &Pool, path: &str, body: &Value, deadline: Deadline) -> Result<Response, Error> {
    let body = RequestBody::new(body.to_string().into_bytes());
    check_request_size(body.len(), http, &format!("POST {}{path}", http.platform()))?;
    http.execute(&Request::post(path, &body).deadline(deadline).max_response(MAX_RESPONSE), pool)
}

/// Drops the body of an answer that has a secret in it, so that no error shows it.
pub(super) fn hide_secrets(response: &mut Response) {
    let has = |name: &str| response.body.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    if SECRETS.into_iter().any(has) {
        response.body.clear();
    }
}
