//! Calls about tasks that our workspace gives to another.

use super::Client;
use crate::error::{Error, guard};
use crate::peer::PeerRef;
use crate::platform::{DelegatedTask, DelegationEntry, DelegationReceipt, delegate, delegations, end_delegation};

/// Delegations: tasks that our workspace gives to another, and whose results come to our inbox.
impl Client {
    /// Gives a task to another workspace, in at most 10 s. Its result comes to the inbox, as a message of the kind
    /// [`Delegation`](crate::InboxMessageKind::Delegation).
    ///
    /// The platform takes the task before it asks the target: a target that it does not have, or that we may not talk to,
    /// is a failed result later. The call is tried again only while nothing of it can have arrived. Give a
    /// [key](DelegatedTask::idempotency_key) to be able to repeat it.
    ///
    /// ```
    /// use a2a_blocking::{DelegatedTask, testing::Platform};
    ///
    /// let platform = Platform::start()?;
    /// let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    /// let client = dev.client().build()?;
    /// let task = DelegatedTask::new("count to three").idempotency_key("k1");
    /// let first = client.delegate(ops.id(), task.clone())?;
    /// let again = client.delegate(ops.id(), task)?;
    /// assert_eq!((again.is_repeat, again.delegation_id), (true, first.delegation_id));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With [`Error::delivery`]. Not sent are a text that is no peer id; our own workspace, which the platform refuses, a
    /// blank text, one with U+0000 in it, or a key of another length than 1 to 255 bytes
    /// ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)); more than 1 MiB
    /// ([`TooLarge`](crate::ErrorKind::TooLarge)). Else a status that is no success, a body without an id, or a failed
    /// transport.
    pub fn delegate(&self, target: impl PeerRef, task: impl Into<DelegatedTask>) -> Result<DelegationReceipt, Error> {
        let (target, task) = (target.try_peer_id()?, task.into());
        self.inner.post(self.inner.settings.call_timeout, || delegate(&self.inner.http, target, &task))
    }

    /// Lists the newest rows of the delegations that our workspace gave, the newest first, in at most 10 s. The platform
    /// lists 100 at most.
    ///
    /// # Errors
    ///
    /// A refused token ([`Unauthorized`](crate::ErrorKind::Unauthorized)), any other status, a body that is no list of
    /// objects, one above 10 MB or too large in memory ([`TooLarge`](crate::ErrorKind::TooLarge)), or a failed transport.
    pub fn delegations(&self) -> Result<Vec<DelegationEntry>, Error> {
        guard(|| delegations(&self.inner.http, self.inner.deadline()))
    }

    /// Ends a delegation that our workspace gave, with its result, in at most 10 s. The result comes to our own inbox.
    ///
    /// Only the workspace that delegated can end it. What the one that was asked says here is taken and reaches nobody.
    ///
    /// # Errors
    ///
    /// With [`Error::delivery`]: an id that is none, or a text with U+0000 in it
    /// ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)), or more than 1 MiB
    /// ([`TooLarge`](crate::ErrorKind::TooLarge)), which are not sent; a status that is no success; a failed transport.
    pub fn complete_delegation(&self, id: impl AsRef<str>, result: impl AsRef<str>) -> Result<(), Error> {
        let call = || end_delegation(&self.inner.http, id.as_ref(), Ok(result.as_ref()));
        self.inner.post(self.inner.settings.call_timeout, call)
    }

    /// Ends a delegation that our workspace gave as failed, with the reason, as
    /// [`complete_delegation`](Client::complete_delegation) does.
    ///
    /// # Errors
    ///
    /// As [`complete_delegation`](Client::complete_delegation).
    pub fn fail_delegation(&self, id: impl AsRef<str>, reason: impl AsRef<str>) -> Result<(), Error> {
        let call = || end_delegation(&self.inner.http, id.as_ref(), Err(reason.as_ref()));
        self.inner.post(self.inner.settings.call_timeout, call)
    }
}
