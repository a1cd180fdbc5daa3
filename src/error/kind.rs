//! The kinds of an error, the states of a message's delivery, and the details of a removal.

use crate::util::str_enum::str_enum;

/// The state of a message whose send failed. A later variant is a stronger statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// Nobody got the message: there was no connection, the request was not sent whole, or the platform refused it.
    /// Sending it again does no harm.
    NotSent,
    /// The request was sent whole, and its effect is not known.
    Unknown,
    /// The platform accepted the message and delivers it later.
    Accepted,
    /// The agent got the message and answered with an error.
    Delivered,
}

str_enum!(Delivery { NotSent: "not_sent", Unknown: "unknown", Accepted: "accepted", Delivered: "delivered" });

/// The kind of an [`Error`](crate::Error).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text that is no peer id. Nothing was sent.
    InvalidPeerId,
    /// A message that cannot be sent: it has no parts or only blank texts, nests too deep, answers what takes no answer, or
    /// is to our own workspace. Also the address of a file that the platform does not keep for us. Nothing was sent.
    InvalidMessage,
    /// A setting that is missing or cannot be used. Nothing was sent.
    Config,
    /// No connection: refused, unreachable, or the name does not resolve. Nothing was sent.
    Connect,
    /// The connection broke before the answer was complete.
    Disconnected,
    /// The call's timeout passed.
    Timeout,
    /// TLS failed: a bad certificate, or a peer that does not speak TLS.
    Tls,
    /// The answer is not HTTP, contradicts itself, or has more than 100 headers or 64 KiB of them.
    Protocol,
    /// The platform refused our identity: 401, and for our own workspace or peers also 403. A token is missing or is not
    /// valid.
    Unauthorized,
    /// The registry does not know or show it: 403, 404 or 410 in its own words (a text in `error`, and no gateway's
    /// fields), or 503 with `status: removed`. For our own workspace or peers any 404. For a message, a peer that the cache
    /// knows to be removed: it was not sent. For a file, that the platform does not have it, or not any more.
    NotFound,
    /// Our own workspace was removed: the platform says 410 for it, or 404 once it was purged.
    /// [`Error::removed`](crate::Error::removed) has the details.
    ///
    /// The platform answers 401 to each call of a removed workspace, so the client asks for the workspace itself before it
    /// says so. One 401 is `Unauthorized`.
    Removed,
    /// Any other HTTP status that is no usable answer.
    Status,
    /// A body that is not the expected JSON. Of a file, one that does not say where it ends.
    Malformed,
    /// A body above the limit of the call.
    ///
    /// Either the answer's, by its length or by the memory that its values would take, or the request's. Such a request
    /// is not sent.
    TooLarge,
    /// The agent answered with a JSON-RPC error.
    Rpc,
    /// The platform answered with an error, whose text is quoted.
    Platform,
    /// The agent answered with a text that starts with `Agent error:`, with a 4xx or 5xx, or with nothing.
    Agent,
    /// A reply to a peer that seems to answer each of our replies, above
    /// [`PollerBuilder::loop_brake`](crate::PollerBuilder::loop_brake). Nothing was sent.
    LoopBrake,
    /// The send was cancelled by its [`CancelToken`](crate::CancelToken).
    Cancelled,
    /// This process failed: the system gave no thread, file descriptor or random number, the writer of a file failed, or a
    /// panic was caught, as of the HTTP client.
    Internal,
}

str_enum!(ErrorKind {
    InvalidPeerId: "invalid_peer_id",
    InvalidMessage: "invalid_message",
    Config: "config",
    Connect: "connect",
    Disconnected: "disconnected",
    Timeout: "timeout",
    Tls: "tls",
    Protocol: "protocol",
    Unauthorized: "unauthorized",
    NotFound: "not_found",
    Removed: "removed",
    Status: "status",
    Malformed: "malformed",
    TooLarge: "too_large",
    Rpc: "rpc",
    Platform: "platform",
    Agent: "agent",
    LoopBrake: "loop_brake",
    Cancelled: "cancelled",
    Internal: "internal",
});

/// The platform's details on a workspace that was removed.
///
/// ```
/// # let mut platform = mockito::Server::new();
/// # let gone = platform.mock("GET", "/workspaces/my-team").with_status(410);
/// # gone.with_body(r#"{"error": "removed", "id": "my-team", "removed_at": "2026-07-01T09:30:00Z"}"#).create();
/// # let client = a2a_blocking::Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
/// match client.workspace() {
///     Ok(workspace) => println!("we are {}", workspace.name().unwrap_or("?")),
///     Err(error) => match error.removed() {
///         Some(removed) => println!("removed at {:?}: {}", removed.removed_at, removed.hint),
///         None => println!("not now: {error}"),
///     },
/// }
/// # assert!(client.workspace().unwrap_err().removed().is_some());
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkspaceRemoved {
    /// The workspace's id.
    pub id: String,
    /// The time of the removal, as the platform writes it.
    pub removed_at: Option<String>,
    /// A sentence that says what to do.
    pub hint: String,
}
