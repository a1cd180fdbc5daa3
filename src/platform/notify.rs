//! A notice to the human on the canvas of our workspace.

use std::sync::Arc;

use serde_json::json;

use super::attempt::{Attempt, FailedAttempt, check_request_size, delivery_of};
use super::response::{notice_answer, notice_lost};
use crate::error::{Delivery, Error};
use crate::http::{Http, Pool, Request, RequestBody};
use crate::util::clock::Deadline;
use crate::util::text::strip;

/// Longest response that is read, in bytes. Only its status is used.
const MAX_RESPONSE: u64 = 64 * 1024;

/// A notice that is ready to be sent.
#[derive(Clone)]
pub(crate) struct OutgoingNotice {
    http: Arc<Http>,
    path: String,
    target: String,
    body: RequestBody,
}

impl OutgoingNotice {
    /// # Errors
    ///
    /// An empty or blank text, or a request above 1 MiB.
    pub(crate) fn new(http: &Arc<Http>, text: &str) -> Result<Self, Error> {
        let path = format!("/workspaces/{}/notify", http.workspace_id());
        let target = format!("POST {}{path}", http.platform());
        if strip(text).is_empty() {
            return Err(Error::blank_text());
        }
        let body = RequestBody::new(json!({ "message": text }).to_string().into_bytes());
        check_request_size(body.len(), &target)?;
        Ok(OutgoingNotice { http: http.clone(), path, target, body })
    }
}

impl Attempt for OutgoingNotice {
    type Answer = ();

    fn target(&self) -> &str {
        &self.target
    }

    fn run(&self, pool: &Pool, deadline: Deadline) -> Result<(), FailedAttempt> {
        let request = Request::post(&self.path, &self.body).deadline(deadline).max_response(MAX_RESPONSE);
        let response = self.http.execute(&request, pool).map_err(|error| notice_lost(error, &self.body))?;
        notice_answer(&response)
    }

    fn delivery(&self) -> Delivery {
        delivery_of(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::error::ErrorKind;

    #[test]
    fn notice_that_the_platform_would_not_take_is_refused() {
        let client = Client::builder().workspace_id("w").build().unwrap();
        let refused = |text: &str| OutgoingNotice::new(client.http(), text).err().map(|error| error.kind());
        for empty in ["", " \n", "\u{a0}\u{1c}"] {
            assert_eq!(refused(empty), Some(ErrorKind::InvalidMessage), "{empty:?}");
        }
        let longest = 1024 * 1024 - r#"{"message":""}"#.len();
        assert_eq!(refused(&"x".repeat(longest)), None);
        assert_eq!(refused(&"x".repeat(longest + 1)), Some(ErrorKind::TooLarge));
    }
}
