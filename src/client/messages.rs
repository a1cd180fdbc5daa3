//! What a client says: messages to peers, and notices to its own human.

use std::time::Duration;

use super::Client;
use crate::error::{Delivery, Error, guard};
use crate::peer::PeerRef;
use crate::platform::{OutgoingMessage, OutgoingNotice};
use crate::retry::RetryPolicy;
use crate::send::{SendOptions, send};
use crate::wire::{Message, Reply};

impl Client {
    /// Sends a text to a peer and waits for the answer: up to five attempts, 600 s in all
    /// ([`RetryPolicy::new`](crate::RetryPolicy::new)).
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

    /// Sends a message of any parts to a peer, as [`send`](Client::send) does.
    ///
    /// # Errors
    ///
    /// As [`send_with`](Client::send_with).
    pub fn send_message(&self, peer: impl PeerRef, message: Message) -> Result<Reply, Error> {
        self.send_with(peer, &message, &SendOptions::new())
    }

    /// Sends a message with options of its own: when to try again, the budget, a token that ends it.
    ///
    /// An attempt connects within 30 s, writes within 30 s, and hears from the peer every 300 s, inside
    /// what is left of the budget. Only failures of the transport are tried again, unless the policy says
    /// otherwise: not a status, not an answer. Every attempt has the same request and message id, so that
    /// a receiver can tell a repeat, and a connection of its own. A 401 has the token read again, and the
    /// request made once more if it changed.
    ///
    /// ```no_run
    /// use a2a_blocking::{Delivery, Message, RetryPolicy, SendOptions};
    ///
    /// # let client = a2a_blocking::Client::from_env()?;
    /// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// let once_only = SendOptions::new().retry(RetryPolicy::new().only_undelivered());
    /// match client.send_with(peer, &Message::from("restart node 7"), &once_only) {
    ///     Ok(reply) => println!("{}", reply.text()),
    ///     Err(error) if error.delivery() == Delivery::NotSent => println!("nothing happened: {error}"),
    ///     Err(error) => println!("it may have been restarted: {error}"),
    /// }
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With what is known of the [`delivery`](Error::delivery): a text that is no peer id, a message without
    /// parts, a request above 1 MiB ([`TooLarge`](crate::ErrorKind::TooLarge); none of these is sent), the
    /// agent's error ([`Rpc`](crate::ErrorKind::Rpc), [`Agent`](crate::ErrorKind::Agent)), the platform's
    /// ([`Platform`](crate::ErrorKind::Platform), [`Status`](crate::ErrorKind::Status),
    /// [`Unauthorized`](crate::ErrorKind::Unauthorized)), an answer of no known shape
    /// ([`Malformed`](crate::ErrorKind::Malformed)) or above 10 MB, a transport that failed
    /// at the last attempt, or [`Cancelled`](crate::ErrorKind::Cancelled).
    pub fn send_with(&self, peer: impl PeerRef, message: &Message, options: &SendOptions) -> Result<Reply, Error> {
        let peer = peer.try_peer_id()?;
        // Where in a send a panic came is not known.
        let http = &self.inner.http;
        let send = || send(http, &OutgoingMessage::new(http, peer, message, options.silence())?, options);
        guard(|| Ok(send())).unwrap_or_else(|error| Err(error.with_delivery(Delivery::Unknown)))
    }

    /// Says a text to the human on the canvas of our own workspace, in 30 s at the most. It is tried again only
    /// while nothing of it can have arrived.
    ///
    /// # Errors
    ///
    /// With what is known of the [`delivery`](Error::delivery): an empty text
    /// ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)), one above 1 MiB
    /// ([`TooLarge`](crate::ErrorKind::TooLarge); neither is sent), a status that is no yes, a transport that
    /// failed.
    pub fn notify(&self, text: impl AsRef<str>) -> Result<(), Error> {
        let policy = RetryPolicy::new().with_budget(Duration::from_secs(30)).only_undelivered();
        let options = SendOptions::new().retry(policy);
        let http = &self.inner.http;
        let send = || send(http, &OutgoingNotice::new(http, text.as_ref())?, &options);
        // Where in it a panic came is not known.
        guard(|| Ok(send())).unwrap_or_else(|error| Err(error.with_delivery(Delivery::Unknown)))
    }
}
