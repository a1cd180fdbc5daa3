//! The body of a request, and how much of it was handed over.
//!
//! That tells a message that cannot have been delivered from one that may have been.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// The body of a request. Clones share its bytes and its state.
#[derive(Clone)]
pub(crate) struct RequestBody {
    bytes: Arc<[u8]>,
    /// Number of bytes that the HTTP client has read in the last exchange.
    taken: Arc<AtomicUsize>,
    /// True after the connection broke before it took all bytes.
    broken: Arc<AtomicBool>,
}

impl RequestBody {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        RequestBody { bytes: bytes.into(), taken: Arc::default(), broken: Arc::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether the whole body may have been sent in the last exchange.
    ///
    /// That is so once the HTTP client has read all of it, and the connection has refused no part. Until then no peer can
    /// have a whole request.
    pub(crate) fn may_be_sent(&self) -> bool {
        self.taken.load(SeqCst) >= self.bytes.len() && !self.broken.load(SeqCst)
    }

    /// Records that the connection broke before it took all bytes.
    pub(super) fn break_off(&self) {
        self.broken.store(true, SeqCst);
    }

    /// Records that nothing was handed over yet, at the start of an exchange.
    pub(super) fn restart(&self) {
        self.taken.store(0, SeqCst);
        self.broken.store(false, SeqCst);
    }

    /// Returns a reader of the bytes that were not taken yet. Reading takes them.
    pub(super) fn reader(&self) -> impl Read + use<> {
        BodyReader(self.clone())
    }
}

struct BodyReader(RequestBody);

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let taken = self.0.taken.load(SeqCst);
        let left = self.0.bytes.get(taken..).unwrap_or_default();
        let n = left.len().min(buffer.len());
        buffer[..n].copy_from_slice(&left[..n]);
        self.0.taken.store(taken + n, SeqCst);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_may_be_sent_once_all_of_it_was_taken() {
        let body = RequestBody::new(b"0123456789".to_vec());
        let (mut reader, mut some) = (body.reader(), [0; 4]);
        for (taken, whole) in [(4, false), (4, false), (2, true), (0, true)] {
            assert_eq!((reader.read(&mut some).unwrap(), body.may_be_sent()), (taken, whole));
        }
        body.break_off();
        assert!(!body.clone().may_be_sent(), "the connection broke after it was taken");
        body.restart();
        assert!(!body.clone().may_be_sent(), "clones share the state");
        assert_eq!((body.reader().read(&mut some).unwrap(), &some), (4, b"0123"));
    }
}
