//! Calls that send something.

use std::io::{Read, Seek};
use std::time::Duration;

use super::Client;
use crate::error::{Error, ErrorKind, guard, guard_delivery};
use crate::peer::{PeerId, PeerRef};
use crate::platform::{Notice, OutgoingMessage, QueuedState, UploadedFile, outgoing_notice, queued_state, upload};
use crate::send::{SendOptions, send, wait_queued};
use crate::util::clock::Deadline;
use crate::wire::{Message, Queued, Reply};

/// Budget of [`Client::notify`].
const NOTIFY_BUDGET: Duration = Duration::from_secs(30);
/// Budget of [`Client::upload`].
const UPLOAD_BUDGET: Duration = Duration::from_secs(600);

/// Messages to peers, and notices and files for the human.
impl Client {
    /// Sends a text to a peer and waits for the answer: up to five attempts, 600 s in all ([`RetryPolicy::new`](crate::RetryPolicy::new)). A task
    /// that failed is an answer, too: [`Task::is_failed`](crate::Task::is_failed).
    ///
    /// A message that may have arrived is sent again, with the same id: that is what the Python module `a2a_client` does. For
    /// a peer that polls the platform makes one message of it. A peer whose agent has a URL runs it twice, and the platform
    /// waits half an hour for such an agent, so that 300 s of silence are no failure. For such a peer use
    /// [`send_with`](Client::send_with) with [`only_undelivered`](crate::RetryPolicy::only_undelivered), and with
    /// [`silence(None)`](SendOptions::silence) if its tasks take long.
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
    /// [`RetryPolicy`](crate::RetryPolicy) describes an attempt, and when there is another one.
    ///
    /// # Errors
    ///
    /// Each error says what is known of the message: [`Error::delivery`]. Nothing is sent for
    ///
    /// - a text that is no peer id ([`InvalidPeerId`](crate::ErrorKind::InvalidPeerId))
    /// - our own workspace, without [`SendOptions::own`] ([`InvalidMessage`](crate::ErrorKind::InvalidMessage))
    /// - a peer that the cache knows to be removed ([`NotFound`](crate::ErrorKind::NotFound)): the platform would take the
    ///   message and lose it
    /// - a message without parts or with blank texts only ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)), or above
    ///   1 MiB ([`TooLarge`](crate::ErrorKind::TooLarge))
    ///
    /// Else:
    ///
    /// - of the agent: [`Rpc`](crate::ErrorKind::Rpc), and [`Agent`](crate::ErrorKind::Agent), also where it answered with a
    ///   4xx or 5xx
    /// - of the platform: [`Platform`](crate::ErrorKind::Platform), [`Status`](crate::ErrorKind::Status),
    ///   [`Unauthorized`](crate::ErrorKind::Unauthorized), [`Removed`](crate::ErrorKind::Removed)
    /// - an answer of no known shape ([`Malformed`](crate::ErrorKind::Malformed)) or above 10 MB
    /// - a transport that failed at the last attempt, or [`Cancelled`](crate::ErrorKind::Cancelled)
    pub fn send_with(&self, peer: impl PeerRef, message: &Message, options: &SendOptions) -> Result<Reply, Error> {
        let peer = peer.try_peer_id()?;
        self.check_recipient(peer, options)?;
        let http = &self.inner.http;
        guard_delivery(|| send(http, &OutgoingMessage::new(http, peer, message, options.silence_limit())?, options))
    }

    /// Asks what became of a message that the platform queued ([`Reply::Queued`]), in at most 10 s.
    ///
    /// The platform queues a message to a peer whose agent is busy or not there yet. For a peer that polls there is no queue,
    /// and no [`queue_id`](Queued::queue_id): the message is in its inbox.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) where the platform gave no id, or does not know or show the message; a refused
    /// token ([`Unauthorized`](crate::ErrorKind::Unauthorized)); any other status; a body that is no JSON object; a failed
    /// transport.
    pub fn queued(&self, queued: &Queued) -> Result<QueuedState, Error> {
        guard(|| queued_state(&self.inner.http, queued, self.inner.deadline()))
    }

    /// Waits until a message that the platform queued is [finished](QueuedState::is_finished), for at most `timeout` (a day
    /// at most). Returns the last state, which may be [`Pending`](crate::QueuedOutcome::Pending).
    ///
    /// It asks after 0.25 s, then after twice as long each time, and at last every 10 s. A failure that may pass does not end
    /// it. Most messages have no expiry: an agent that stays away leaves them pending.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use a2a_blocking::{Client, QueuedOutcome, Reply};
    ///
    /// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// let client = Client::from_env()?;
    /// if let Reply::Queued(queued) = client.send(peer, "the report, please")? {
    ///     if queued.queue_id().is_some() {
    ///         let state = client.wait_queued(&queued, Duration::from_secs(600))?;
    ///         match (state.outcome(), state.reply()) {
    ///             (_, Some(reply)) => println!("{}", reply.all_text()),
    ///             (QueuedOutcome::InInbox, _) => println!("it is in the peer's inbox"),
    ///             (outcome, _) => println!("{outcome}"),
    ///         }
    ///     }
    /// }
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`queued`](Client::queued), where that will not pass, or where no request brought a state in the time.
    pub fn wait_queued(&self, queued: &Queued, timeout: Duration) -> Result<QueuedState, Error> {
        let deadline = Deadline::after(timeout.min(super::MAX_WAIT));
        guard(|| wait_queued(&self.inner.http, queued, deadline, self.inner.settings.call_timeout))
    }

    /// Shows a text to the human on the canvas of the client's own workspace, in at most 30 s. It is tried again only
    /// while nothing of it can have arrived. [`Notice`] adds files.
    ///
    /// # Errors
    ///
    /// With [`Error::delivery`]: a blank text, or one with U+0000 in it
    /// ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)), or more than 1 MiB
    /// ([`TooLarge`](crate::ErrorKind::TooLarge)), which are not sent; a status that is no success; a failed transport.
    pub fn notify(&self, notice: impl Into<Notice>) -> Result<(), Error> {
        self.inner.post(NOTIFY_BUDGET, || outgoing_notice(&self.inner.http, &notice.into()))
    }

    /// Uploads a file for a [`Notice`], in at most 600 s. It is tried again only while nothing of it can have arrived.
    ///
    /// `content` is read while it is sent, from its beginning to its present end: a file, or a `Cursor` of bytes. Nothing but
    /// a buffer of it is kept in memory. The request may have 100 MiB, of which some 200 bytes surround the content. The
    /// time limit does not end a read that blocks. The pollers of this client do not deliver the file's row in our inbox.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use a2a_blocking::{Client, Notice};
    ///
    /// let client = Client::from_env()?;
    /// let file = client.upload("nightly.log", "text/plain", File::open("/var/log/nightly.log")?)?;
    /// client.notify(Notice::new("The nightly run failed").attach(&file))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With [`Error::delivery`]. Not sent are a name that is empty, has a control character or is above 1,024 bytes; a media
    /// type that is none; a content that cannot be read ([`InvalidMessage`](crate::ErrorKind::InvalidMessage)); more than
    /// 100 MiB ([`TooLarge`](crate::ErrorKind::TooLarge)). Else a status that is no success, a body without the file's
    /// address and name, or a failed transport.
    pub fn upload(
        &self,
        name: impl AsRef<str>,
        media_type: impl AsRef<str>,
        content: impl Read + Seek + Send + 'static,
    ) -> Result<UploadedFile, Error> {
        let upload = || upload(&self.inner.http, name.as_ref(), media_type.as_ref(), content);
        let file = self.inner.post(UPLOAD_BUDGET, upload)?;
        self.inner.own_uploads.add(&file.uri);
        Ok(file)
    }

    /// # Errors
    ///
    /// A recipient that gets nothing: the platform takes a message to a peer that was removed, and loses it.
    fn check_recipient(&self, peer: PeerId, options: &SendOptions) -> Result<(), Error> {
        if PeerId::from_text(self.workspace_id()) == Some(peer) && !options.sends_to_own() {
            let detail = "the message is to our own workspace, whose inbox it would go to: name another peer, or set \
                          `SendOptions::own(true)`";
            return Err(Error::new(ErrorKind::InvalidMessage, detail));
        }
        if self.inner.enricher.is_removed(peer) {
            let detail = "the peer was removed from the platform, which would lose the message: list the peers that are there \
                          (Client::peers)";
            return Err(Error::new(ErrorKind::NotFound, detail).with_target(self.message_url(peer)));
        }
        Ok(())
    }
}
