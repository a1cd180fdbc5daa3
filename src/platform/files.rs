//! Files that the platform keeps for our workspace: those that a human dropped on the canvas.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::post::{OutgoingPost, invalid, path_segment};
use super::response::{Call, refusal};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Request};
use crate::util::clock::Deadline;
use crate::util::panic::{self, Panicked};
use crate::util::text::Untrusted;
use crate::wire::pending_file;

/// The name of a file's id in errors.
const ID: &str = "file id";
/// Longest body of a response that is no content, in bytes.
const MAX_REFUSAL: u64 = 64 * 1024;
/// Longest wait for the next byte of a content, the first one included.
const SILENCE: Duration = Duration::from_secs(30);
/// Number of characters of an address that an error shows.
const MAX_SHOWN: usize = 200;
/// Advice for a file that is not there.
const NOT_FOUND_ADVICE: &str = "the platform keeps a file for a time only: ask its sender to send it again";

/// Returns the id of a file from its address, `platform-pending:WORKSPACE/FILE`.
///
/// # Errors
///
/// [`ErrorKind::InvalidMessage`] for any other address, a file of another workspace, or an id that is none.
pub(crate) fn file_id<'a>(uri: &'a str, workspace_id: &str) -> Result<&'a str, Error> {
    let shown = |text| Untrusted::new(text).up_to(MAX_SHOWN).to_string();
    let (workspace, id) = pending_file(uri).ok_or_else(|| {
        invalid(format!(
            "open: the file is not on the platform, but at {}: fetch that address yourself, and mind that its sender chose it",
            shown(uri)
        ))
    })?;
    match workspace {
        Some(other) if !other.eq_ignore_ascii_case(workspace_id) => {
            let other = shown(other);
            Err(invalid(format!("open: the file is one of the workspace {other}: only the agent there can fetch it")))
        }
        _ => path_segment(ID, id).map(|_| id),
    }
}

/// Fetches a file, and writes it to `writer` while it comes. Returns the number of its bytes.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] where the platform does not have it, or not any more; any other status but 200; a content above
/// `max_size` bytes, or one that does not say where it ends; a failure of the transport or of the writer.
pub(crate) fn download(
    http: &Http,
    id: &str,
    max_size: u64,
    writer: &mut (dyn Write + Send),
    deadline: Deadline,
) -> Result<u64, Error> {
    let path = format!("/workspaces/{}/pending-uploads/{}/content", http.workspace_id(), path_segment(ID, id)?);
    let request = Request::get(&path).deadline(deadline).silence(SILENCE).max_response(MAX_REFUSAL);
    let request = request.whole_body(max_size, "max_size");
    let mut output = Output { writer, written: 0, fault: None };
    let outcome = http.open(&request, http.messages(), &mut |bytes| output.write(bytes));
    let target = || format!("GET {}{path}", http.platform());
    if let Some(fault) = output.fault.take() {
        return Err(fault.with_target(target()));
    }
    let response = outcome?;
    if response.status != 200 {
        let error = refusal(&response, Call::File, http.workspace_id());
        let advice = (error.kind() == ErrorKind::NotFound).then_some(NOT_FOUND_ADVICE);
        return Err(error.with_advice(advice));
    }
    response.check_encoding()?;
    output.finish().map_err(|fault| fault.with_target(target()))
}

/// Tells the platform that a file was fetched.
///
/// # Errors
///
/// An id that is none.
pub(crate) fn ack_file(http: &Arc<Http>, id: &str) -> Result<OutgoingPost<()>, Error> {
    let path = format!("pending-uploads/{}/ack", path_segment(ID, id)?);
    OutgoingPost::json(http, &path, &json!({}), Call::File, |_| Ok(()))
}

/// The caller's writer, which is the user's code: it may fail, and it may panic.
struct Output<'a> {
    writer: &'a mut (dyn Write + Send),
    written: u64,
    fault: Option<Error>,
}

impl Output<'_> {
    /// Writes the next bytes. Breaks where the writer fails.
    fn write(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let outcome = panic::catch(|| self.writer.write_all(bytes));
        self.fault = self.fault_of(outcome);
        if self.fault.is_some() {
            return ControlFlow::Break(());
        }
        self.written += bytes.len() as u64;
        ControlFlow::Continue(())
    }

    /// Flushes the writer, which may have kept the last bytes. Returns the number of bytes.
    fn finish(self) -> Result<u64, Error> {
        let outcome = panic::catch(|| self.writer.flush());
        self.fault_of(outcome).map_or(Ok(self.written), Err)
    }

    fn fault_of(&self, outcome: Result<io::Result<()>, Panicked>) -> Option<Error> {
        let fault = |why: &str| format!("the writer failed after {} bytes of the file: {why}", self.written);
        match outcome {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(Error::new(ErrorKind::Internal, fault(&why.to_string())).with_source(why)),
            Err(Panicked) => Some(Error::new(ErrorKind::Internal, fault("it panicked: see its message"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_names_a_file_of_our_workspace_or_is_refused() {
        for (uri, id) in [("platform-pending:Our-Id/f-1", "f-1"), ("platform-pending:f-1", "f-1")] {
            assert_eq!(file_id(uri, "our-id").unwrap(), id);
        }
        let long = format!("platform-pending:our-id/{}", "x".repeat(256));
        for (uri, words) in [
            ("", "not on the platform"),
            ("https://x.test/a", "at https://x.test/a: fetch that address yourself"),
            ("workspace:/tmp/a", "not on the platform"),
            ("platform-pending", "not on the platform"),
            ("PLATFORM-PENDING:our-id/f", "not on the platform"),
            ("platform-pending:other-id/f", "one of the workspace other-id"),
            ("platform-pending:/f", "one of the workspace"),
            ("platform-pending:our-id/", "file id: it is empty"),
            ("platform-pending:", "file id: it is empty"),
            ("platform-pending:our-id/..", "file id: it is no id"),
            ("platform-pending:our-id/a/b", "file id: it has a character"),
            ("platform-pending:our-id/../state", "file id: it has a character"),
            ("platform-pending:our-id/..%2fstate", "file id: it has a character"),
            ("platform-pending:our-id/a\\b", "file id: it has a character"),
            ("platform-pending:our-id/a?b", "file id: it has a character"),
            ("platform-pending:our-id/a#b", "file id: it has a character"),
            ("platform-pending:our-id/a\r\nX: y", "file id: it has a character"),
            (&long, "file id: it is above 255 bytes"),
        ] {
            let error = file_id(uri, "our-id").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidMessage, "{uri}");
            assert!(error.to_string().contains(words), "{uri}: {error}");
        }
        let error = file_id(&"h".repeat(100_000), "our-id").unwrap_err().to_string();
        assert!(error.len() < 1_000, "{error}");
    }
}
