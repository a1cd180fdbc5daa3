//! What an error is, and what is known of the message: two closed sets to act upon.

use crate::util::str_enum::str_enum;

/// What is known of a message after its send failed. The later ones are the stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// It reached nobody: no connection came about, the request was never handed over whole, or the
    /// platform refused it. Sending it again can do no harm.
    NotSent,
    /// The request went out whole, and what became of it is not known.
    Unknown,
    /// The platform has taken it to deliver it later.
    Accepted,
    /// It reached the agent, which answered with an error.
    Delivered,
}

str_enum!(Delivery { NotSent: "not_sent", Unknown: "unknown", Accepted: "accepted", Delivered: "delivered" });

/// What kind of failure an [`Error`](crate::Error) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text that is no peer id. Nothing was sent.
    InvalidPeerId,
    /// A message that cannot be sent: it has no parts, or nests too deep. Nothing was sent.
    InvalidMessage,
    /// A setting that is missing or makes no sense. Nothing was sent.
    Config,
    /// No connection came about: refused, unreachable, or the name does not resolve. Nothing was sent.
    Connect,
    /// The connection broke before the answer was whole.
    Disconnected,
    /// The call's bound ran out.
    Timeout,
    /// TLS failed: a bad certificate, or a peer that does not speak TLS.
    Tls,
    /// What came back is not HTTP, contradicts itself, or has more than 100 headers or 64 KiB of them.
    Protocol,
    /// The platform refused our identity: 401, and where we ask for our own workspace or peers also
    /// 403. It wants another token, or one at all.
    Unauthorized,
    /// The registry's own no: 403, 404 or 410 with a JSON object that has `error`; for our own workspace
    /// or peers any 404.
    NotFound,
    /// Our own workspace was removed: 410. [`Error::removed`](crate::Error::removed) says more.
    Removed,
    /// Any other HTTP status that is no usable answer.
    Status,
    /// A body that is not the JSON it should be.
    Malformed,
    /// A body above the limit of the call: the answer's, by its length or by the memory that its values would take, or
    /// the request's own, which was then not sent.
    TooLarge,
    /// The agent answered with a JSON-RPC error.
    Rpc,
    /// The platform answered with an error of its own, in its own words.
    Platform,
    /// The agent answered with a text that starts with `Agent error:`.
    Agent,
    /// The send was cancelled by its [`CancelToken`](crate::CancelToken).
    Cancelled,
    /// This process could not do its part: no thread or file descriptor was to be had, or the HTTP
    /// client panicked (which is caught).
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
    Cancelled: "cancelled",
    Internal: "internal",
});
