//! The ack: the number of the row up to which our workspace has handled its inbox, as the platform keeps it.

use serde_json::{Value, json};

use super::response::{Call, read_object, refusal};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Pool, Request, RequestBody, Response};
use crate::util::clock::Deadline;
use crate::wire::CALL_MEMORY;

/// Longest response that is read, in bytes.
const MAX_RESPONSE: u64 = 64 * 1024;

/// What the platform says of an ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckAnswer {
    /// The rows up to this `seq` are acknowledged. Zero if none are.
    UpTo(i64),
    /// It has no acks.
    Unsupported,
}

/// Acknowledges the rows up to this `seq`, which is not negative.
///
/// The platform's ack only moves forward, so the answer may be a later row. Zero asks for it and changes nothing.
///
/// # Errors
///
/// Any status but 200, 404, 405 and 501, a body without the number, and a failure of the transport.
pub(crate) fn acknowledge(http: &Http, pool: &Pool, seq: i64, deadline: Deadline) -> Result<AckAnswer, Error> {
    let path = format!("/workspaces/{}/activity/ack", http.workspace_id());
    let body = RequestBody::new(json!({ "acked_seq": seq }).to_string().into_bytes());
    let request = Request::post(&path, &body).deadline(deadline).max_response(MAX_RESPONSE);
    let response = http.execute(&request, pool)?;
    read(&response, http.workspace_id())
}

fn read(response: &Response, workspace_id: &str) -> Result<AckAnswer, Error> {
    match response.status {
        200 => last_acked(response).map(AckAnswer::UpTo),
        404 | 405 | 501 => Ok(AckAnswer::Unsupported),
        _ => Err(refusal(response, Call::Own, workspace_id)),
    }
}

/// Reads the number in the body of a 200.
fn last_acked(response: &Response) -> Result<i64, Error> {
    let last = read_object(response, CALL_MEMORY)?.get("last_acked_seq").and_then(Value::as_i64);
    last.ok_or_else(|| {
        let detail = "answered 200 with a body without a number in `last_acked_seq`";
        response.error(ErrorKind::Malformed, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_meaning() {
        let of = |status, body: &str| read(&Response::for_test(status, body), "w").map_err(|error| error.kind());
        assert_eq!(of(200, r#"{"last_acked_seq":7}"#), Ok(AckAnswer::UpTo(7)));
        for status in [404, 405, 501] {
            assert_eq!(of(status, r#"{"error":"not found"}"#), Ok(AckAnswer::Unsupported));
        }
        for body in ["", "[]", "{}", r#"{"last_acked_seq":"7"}"#, r#"{"last_acked_seq":7.5}"#] {
            assert_eq!(of(200, body), Err(ErrorKind::Malformed), "{body}");
        }
        assert_eq!([400, 429, 500].map(|status| of(status, "")), [Err(ErrorKind::Status); 3]);
        assert_eq!(of(401, ""), Err(ErrorKind::Unauthorized));
    }
}
