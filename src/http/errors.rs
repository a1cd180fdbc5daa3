//! Errors of the HTTP client, as kinds of our own.

use std::io::ErrorKind as IoKind;

use ureq::{Error as Ureq, Timeout};

use crate::error::{Error, ErrorCause, ErrorKind};
use crate::util::clock::Deadline;

/// Returns the error for an exchange with `target` (method and URL) that failed with `why`.
pub(super) fn failure(target: &str, why: Ureq, deadline: Deadline) -> Error {
    let cause = ErrorCause::new(&why);
    // A read that the deadline cut off can look like a broken connection.
    if deadline.left().is_zero() && !matches!(why, Ureq::Timeout(_)) {
        return timed_out(target).with_source(cause);
    }
    let (kind, httpx_name) = classify(&why);
    let words = match (kind, &why) {
        (ErrorKind::Timeout, _) => "no answer in time".to_owned(),
        (_, Ureq::Io(io)) => ErrorCause::new(io).to_string(),
        _ => cause.to_string(),
    };
    let words = match advice(kind, &words) {
        Some(advice) => format!("{words}; {advice}"),
        None => words,
    };
    Error::new(kind, words).with_target(target).with_httpx_name(httpx_name).with_source(cause)
}

/// Returns the encoding of a body that cannot be decoded.
///
/// Its words tell it: the error has a variant for it only in a build in which `ureq` decodes anything.
pub(super) fn undecodable(why: &Ureq) -> Option<String> {
    let words = why.to_string();
    let (name, _) = words.split_once(" decompression failed: ")?;
    Some(if name == "brotli" { "br" } else { name }.to_owned())
}

/// Returns the error for an exchange with `target` (method and URL) whose time is up.
pub(crate) fn timed_out(target: &str) -> Error {
    Error::new(ErrorKind::Timeout, "no answer in time").with_target(target).with_httpx_name("ReadTimeout")
}

/// Returns the error for an exchange with `target` (method and URL) whose body comes too slowly.
pub(super) fn stalled(target: &str) -> Error {
    let words = "the body came at less than 64 KiB a second for 10 s";
    Error::new(ErrorKind::Timeout, words).with_target(target).with_httpx_name("ReadTimeout")
}

/// Returns what a user can do about an error, where the words of the TLS libraries do not say it.
fn advice(kind: ErrorKind, words: &str) -> Option<&'static str> {
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    match kind {
        ErrorKind::Tls if says(&["expired"]) => Some("the platform's certificate has expired"),
        ErrorKind::Tls if says(&["not valid yet", "not yet valid"]) => {
            Some("the platform's certificate is not valid yet: is this machine's clock right?")
        }
        ErrorKind::Tls if says(&["not valid for", "ostname mismatch", "IP address mismatch"]) => {
            Some("the platform's certificate is for another host")
        }
        // `openssl req -x509` makes such a certificate. Trusting it would not help.
        ErrorKind::Tls if says(&["CaUsedAsEndEntity"]) => Some(
            "the platform shows the certificate of a certificate authority: have the authority sign one for the host, or make \
             one with CA:FALSE in its basicConstraints",
        ),
        ErrorKind::Tls if says(&["UnknownIssuer", "BadSignature", "self-signed", "self signed", "issuer"]) => Some(
            "no trusted authority has signed it: for a private authority set its certificate by \
             ClientBuilder::root_certificates",
        ),
        ErrorKind::Tls if says(&["InvalidContentType", "wrong version number", "http request", "packet length"]) => {
            Some("what answers there does not speak TLS: is its URL http://?")
        }
        // The first byte of a TLS alert, in place of a status line.
        ErrorKind::Protocol if says(&["version"]) => {
            Some("what answers there does not speak HTTP: is its URL https://?")
        }
        _ => None,
    }
}

/// Returns the kind, and httpx's name of such an error, which users of the Python module `a2a_client` know.
fn classify(why: &Ureq) -> (ErrorKind, &'static str) {
    match why {
        Ureq::Timeout(Timeout::Resolve | Timeout::Connect) => (ErrorKind::Timeout, "ConnectTimeout"),
        Ureq::Timeout(Timeout::SendRequest | Timeout::SendBody | Timeout::PerWrite) => {
            (ErrorKind::Timeout, "WriteTimeout")
        }
        Ureq::Timeout(_) => (ErrorKind::Timeout, "ReadTimeout"),
        Ureq::HostNotFound | Ureq::ConnectionFailed => (ErrorKind::Connect, "ConnectError"),
        // The proxy refused to connect us.
        Ureq::ConnectProxyFailed(_) => (ErrorKind::Connect, "ProxyError"),
        Ureq::BodyStalled => (ErrorKind::Disconnected, "RemoteProtocolError"),
        Ureq::Tls(_) | Ureq::TlsRequired => (ErrorKind::Tls, "ConnectError"),
        #[cfg(feature = "rustls")]
        Ureq::Rustls(_) => (ErrorKind::Tls, "ConnectError"),
        // A handshake that broke off. The system's library has no kind for it.
        #[cfg(feature = "native-tls")]
        Ureq::NativeTls(tls) if tls.to_string().to_lowercase().contains("unexpected eof") => {
            (ErrorKind::Disconnected, "RemoteProtocolError")
        }
        #[cfg(feature = "native-tls")]
        Ureq::NativeTls(_) => (ErrorKind::Tls, "ConnectError"),
        Ureq::Io(io) => classify_io(io),
        _ => (ErrorKind::Protocol, "RemoteProtocolError"),
    }
}

fn classify_io(io: &std::io::Error) -> (ErrorKind, &'static str) {
    match io.kind() {
        IoKind::TimedOut | IoKind::WouldBlock => (ErrorKind::Timeout, "ReadTimeout"),
        IoKind::ConnectionRefused
        | IoKind::HostUnreachable
        | IoKind::NetworkUnreachable
        | IoKind::NetworkDown
        | IoKind::AddrNotAvailable
        // A firewall refused it.
        | IoKind::PermissionDenied => (ErrorKind::Connect, "ConnectError"),
        IoKind::UnexpectedEof => (ErrorKind::Disconnected, "RemoteProtocolError"),
        IoKind::BrokenPipe => (ErrorKind::Disconnected, "WriteError"),
        IoKind::ConnectionReset | IoKind::ConnectionAborted | IoKind::NotConnected | IoKind::Interrupted => {
            (ErrorKind::Disconnected, "ReadError")
        }
        IoKind::InvalidData => (ErrorKind::Tls, "ConnectError"),
        // The standard library has no named kind for a name that does not resolve.
        _ if io.to_string().contains("failed to lookup address") => (ErrorKind::Connect, "ConnectError"),
        _ => (ErrorKind::Internal, "ConnectError"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unresolved_name_is_a_connect_error() {
        let why = std::io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(classify_io(&why), (ErrorKind::Connect, "ConnectError"));
        assert_eq!(classify_io(&std::io::Error::other("too many open files")).0, ErrorKind::Internal);
        assert_eq!(classify_io(&IoKind::InvalidData.into()).0, ErrorKind::Tls);
    }

    #[test]
    fn httpx_name_is_kept_beside_the_text() {
        for (why, name) in [
            (Ureq::Timeout(Timeout::Resolve), "ConnectTimeout"),
            (Ureq::Timeout(Timeout::Connect), "ConnectTimeout"),
            (Ureq::Timeout(Timeout::PerWrite), "WriteTimeout"),
            (Ureq::Timeout(Timeout::PerRead), "ReadTimeout"),
            (Ureq::Timeout(Timeout::Global), "ReadTimeout"),
            (Ureq::HostNotFound, "ConnectError"),
            (Ureq::Io(IoKind::ConnectionRefused.into()), "ConnectError"),
            (Ureq::Io(IoKind::ConnectionReset.into()), "ReadError"),
            (Ureq::Io(IoKind::BrokenPipe.into()), "WriteError"),
            (Ureq::Io(IoKind::UnexpectedEof.into()), "RemoteProtocolError"),
        ] {
            let error = failure("POST http://h/", why, Deadline::after(std::time::Duration::from_secs(9)));
            let words = error.to_string().strip_prefix("POST http://h/: ").unwrap_or_default().to_owned();
            assert!(!words.is_empty() && !words.contains(name), "{error}");
            assert_eq!(error.in_httpx_words().to_string(), format!("POST http://h/: {name}: {words}"));
        }
    }
}
