//! Calls about tasks and approvals, and the platform's instructions.

use super::Client;
use crate::error::{Error, guard};
use crate::platform::{
    NewRequest, RequestAction, RequestDetails, RequestList, WorkspaceRequest, cancel_request, instructions,
    new_request, request_details, request_message, requests, respond,
};

/// Requests: tasks and approvals that an agent or a person is asked for.
///
/// The calls that change something are tried again only while nothing can have arrived, and their errors say what is known
/// ([`Error::delivery`]). Each takes at most 10 s.
impl Client {
    /// Lists the requests that our workspace made, the newest first, in at most 10 s.
    ///
    /// Entries without an id are left out, with a warning in the log.
    ///
    /// # Errors
    ///
    /// A refused token ([`Unauthorized`](crate::ErrorKind::Unauthorized)), any other status, a body that is no list, one
    /// above 10 MB or too large in memory ([`TooLarge`](crate::ErrorKind::TooLarge)), or a failed transport. A platform that
    /// has no requests answers 404.
    pub fn requests(&self) -> Result<Vec<WorkspaceRequest>, Error> {
        self.list_requests(RequestList::Own)
    }

    /// Lists the requests that were put to our workspace, the newest first, in at most 10 s: those that wait for us, and
    /// those that are over.
    ///
    /// # Errors
    ///
    /// As [`requests`](Client::requests).
    pub fn request_inbox(&self) -> Result<Vec<WorkspaceRequest>, Error> {
        self.list_requests(RequestList::Inbox)
    }

    /// Lists the requests that were put to our workspace and have the status `pending`, the newest first, in at most 10 s.
    /// After a question of ours the status is `info_requested`, and [`request_inbox`](Client::request_inbox) lists it.
    ///
    /// A poller reports them by itself: [`PollerBuilder::on_request`](crate::PollerBuilder::on_request).
    ///
    /// ```
    /// use a2a_blocking::{NewRequest, RequestAction, testing::Platform};
    ///
    /// let platform = Platform::start()?;
    /// let (ops, dev) = (platform.workspace("ops").client().build()?, platform.workspace("dev").client().build()?);
    /// let id = dev.request(&NewRequest::task("Rotate the keys").to_agent(ops.workspace_id())?)?;
    ///
    /// for request in ops.pending_requests()? {
    ///     println!("{:?} asks for {:?}", request.requester_id(), request.title());
    ///     ops.respond(request.id(), RequestAction::Done)?;
    /// }
    /// assert_eq!(dev.request_details(&id)?.request.status(), Some("done"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`requests`](Client::requests).
    pub fn pending_requests(&self) -> Result<Vec<WorkspaceRequest>, Error> {
        self.list_requests(RequestList::Pending)
    }

    fn list_requests(&self, list: RequestList) -> Result<Vec<WorkspaceRequest>, Error> {
        let http = &self.inner.http;
        guard(|| requests(http, http.calls(), list, self.inner.deadline()))
    }

    /// Fetches one request with the messages about it, in at most 10 s. Both sides may.
    ///
    /// # Errors
    ///
    /// An id that is none ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)); a request that does not exist
    /// ([`NotFound`](crate::ErrorKind::NotFound)), or in which we have no part
    /// ([`Status`](crate::ErrorKind::Status), 403); otherwise as [`requests`](Client::requests).
    pub fn request_details(&self, id: impl AsRef<str>) -> Result<RequestDetails, Error> {
        guard(|| request_details(&self.inner.http, id.as_ref(), self.inner.deadline()))
    }

    /// Asks an agent or a person for a task or an approval, in at most 10 s. Returns the request's id.
    ///
    /// Their response changes the [`status`](WorkspaceRequest::status) in [`requests`](Client::requests). No message of the
    /// inbox tells of it.
    ///
    /// # Errors
    ///
    /// With [`Error::delivery`]: a blank title, or a text with U+0000 in it
    /// ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)), or more than 1 MiB
    /// ([`TooLarge`](crate::ErrorKind::TooLarge)), which are not sent; a status that is no success; a body without an id; a
    /// failed transport.
    pub fn request(&self, request: &NewRequest) -> Result<String, Error> {
        self.inner.post(self.inner.settings.call_timeout, || new_request(&self.inner.http, request))
    }

    /// Responds to a request that was put to us, in at most 10 s.
    ///
    /// # Errors
    ///
    /// With [`Error::delivery`]: an id that is none ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)); a request that
    /// does not exist or is over ([`NotFound`](crate::ErrorKind::NotFound)); one that is another's, or an action that is not
    /// of its kind ([`Status`](crate::ErrorKind::Status), 403 and 400); any other status; a failed transport.
    pub fn respond(&self, id: impl AsRef<str>, action: RequestAction) -> Result<(), Error> {
        self.inner.post(self.inner.settings.call_timeout, || respond(&self.inner.http, id.as_ref(), action))
    }

    /// Writes a message about a request to its other side, in at most 10 s. Returns the message's id.
    ///
    /// A recipient's message is a question: the request's status becomes `info_requested`.
    ///
    /// # Errors
    ///
    /// As [`respond`](Client::respond), and for a blank text, one with U+0000 in it, or one above 1 MiB.
    pub fn request_message(&self, id: impl AsRef<str>, text: impl AsRef<str>) -> Result<String, Error> {
        let call = || request_message(&self.inner.http, id.as_ref(), text.as_ref());
        self.inner.post(self.inner.settings.call_timeout, call)
    }

    /// Takes back a request of ours, in at most 10 s.
    ///
    /// # Errors
    ///
    /// As [`respond`](Client::respond).
    pub fn cancel_request(&self, id: impl AsRef<str>) -> Result<(), Error> {
        self.inner.post(self.inner.settings.call_timeout, || cancel_request(&self.inner.http, id.as_ref()))
    }

    /// Fetches the platform's rules for our agent, in at most 10 s: a text in Markdown to put into its prompt, or an empty one.
    ///
    /// ```
    /// # use a2a_blocking::testing::Platform;
    /// # let platform = Platform::start()?;
    /// # platform.instruct("Be kind", "Acknowledge first.");
    /// # let client = platform.workspace("ops").client().build()?;
    /// assert_eq!(client.instructions()?, "\n## Platform-Wide Rules\n\n### Be kind\nAcknowledge first.");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`requests`](Client::requests), and for a body without a text in `instructions`.
    pub fn instructions(&self) -> Result<String, Error> {
        guard(|| instructions(&self.inner.http, self.inner.deadline()))
    }
}
