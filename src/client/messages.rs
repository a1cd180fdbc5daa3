//! Calls that send something.

use std::time::Duration;

use super::Client;
use crate::error::{Error, guard_delivery};
use crate::peer::PeerRef;
use crate::platform::{OutgoingMessage, OutgoingNotice};
use crate::retry::RetryPolicy;
use crate::send::{SendOptions, send};
use crate::wire::{Message, Reply};

/// Budget of [`Client::notify`].
const NOTIFY_BUDGET: Duration = Duration::from_secs(30);

/// Messages to peers, and notices to the human.
impl Client {
    /// Sends a text to a peer and waits for the answer: up to five attempts, 600 s in all ([`RetryPolicy::new`]). A task
    /// that failed is an answer, too: [`Task::is_failed`](crate::Task::is_failed).
    ///
    /// ```no_run
    /// # let client = a2a_blocking::Client::from_env()?;
    /// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// println!("{}", client.send(peer, "who is on call tonight?")?.text());
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send_with`](Client::send_with).
    pub fn send(&self, peer: impl PeerRef, text: impl Into<String>) -> Result<Reply, Error> {
        self.send_message(peer, Message::new().text(text))
    }

    /// Like [`send`](Client::send), with a message of any parts.
    ///
    /// # Errors
    ///
    /// As [`send_with`](Client::send_with).
    pub fn send_message(&self, peer: impl PeerRef, message: Message) -> Result<Reply, Error> {
        self.send_with(peer, &message, &SendOptions::new())
    }

    /// Like [`send_message`](Client::send_message), with a retry policy, a cancel token or a progress callback.
    /// [`RetryPolicy`] describes an attempt, and when there is another one.
    ///
    /// # Errors
    ///
    /// Each error says what is known of the message: [`Error::delivery`]. Not sent is a message for a text that is no
    /// peer id, without parts, with blank texts only, or above 1 MiB ([`TooLarge`](crate::ErrorKind::TooLarge)). Else:
    ///
    /// - of the agent: [`Rpc`](crate::ErrorKind::Rpc), [`Agent`](crate::ErrorKind::Agent)
    /// - of the platform: [`Platform`](crate::ErrorKind::Platform), [`Status`](crate::ErrorKind::Status),
    ///   [`Unauthorized`](crate::ErrorKind::Unauthorized)
    /// - an answer of no known shape ([`Malformed`](crate::ErrorKind::Malformed)) or above 10 MB
    /// - a transport that failed at the last attempt, or [`Cancelled`](crate::ErrorKind::Cancelled)
    pub fn send_with(&self, peer: impl PeerRef, message: &Message, options: &SendOptions) -> Result<Reply, Error> {
        let peer = peer.try_peer_id()?;
        let http = &self.inner.http;
        guard_delivery(|| send(http, &OutgoingMessage::new(http, peer, message, options.silence())?, options))
    }

    /// Shows a text to the human on the canvas of the client's own workspace, in at most 30 s. It is tried again only
    /// while nothing of it can have arrived.
    ///
    /// # Errors
    ///
    /// With [`Error::delivery`]: a blank text ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)) or one above 1 MiB
    /// ([`TooLarge`](crate::ErrorKind::TooLarge)), which are not sent; a status that is no success; a failed transport.
    pub fn notify(&self, text: impl AsRef<str>) -> Result<(), Error> {
        let options = SendOptions::new().retry(RetryPolicy::new().with_budget(NOTIFY_BUDGET).only_undelivered());
        let http = &self.inner.http;
        guard_delivery(|| send(http, &OutgoingNotice::new(http, text.as_ref())?, &options))
    }
}
