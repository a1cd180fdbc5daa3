//! A request's body, and how much of it was handed over: what tells a message that cannot have been
//! delivered from one that may have been.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// The body of a request. Its clones are one upload.
#[derive(Clone)]
pub(crate) struct RequestBody {
    bytes: Arc<[u8]>,
    taken: Arc<AtomicUsize>,
    /// Whether the connection broke before it had taken all.
    broken: Arc<AtomicBool>,
}

impl RequestBody {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        RequestBody { bytes: bytes.into(), taken: Arc::default(), broken: Arc::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the HTTP client has taken all of it in the last exchange, and the connection has not refused
    /// a part, so that it may have been sent. Before that no peer can have a whole request.
    pub(crate) fn may_be_sent(&self) -> bool {
        self.taken.load(SeqCst) >= self.bytes.len() && !self.broken.load(SeqCst)
    }

    /// Marks that the connection broke with a part of it not taken.
    pub(super) fn break_off(&self) {
        self.broken.store(true, SeqCst);
    }

    /// Marks that nothing of it has been handed over: before an exchange.
    pub(super) fn restart(&self) {
        self.taken.store(0, SeqCst);
        self.broken.store(false, SeqCst);
    }

    pub(super) fn reader(&self) -> impl Read + use<> {
        Reader(self.clone())
    }
}

struct Reader(RequestBody);

impl Read for Reader {
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
    fn it_may_be_sent_once_all_of_it_is_taken_and_not_before() {
        let upload = RequestBody::new(b"0123456789".to_vec());
        let (mut reader, mut some) = (upload.reader(), [0; 4]);
        for (taken, whole) in [(4, false), (4, false), (2, true), (0, true)] {
            assert_eq!((reader.read(&mut some).unwrap(), upload.may_be_sent()), (taken, whole));
        }
        upload.break_off();
        assert!(!upload.clone().may_be_sent(), "it was taken for nothing");
        upload.restart();
        assert!(!upload.clone().may_be_sent(), "its clones are one");
        assert_eq!((upload.reader().read(&mut some).unwrap(), &some), (4, b"0123"));
    }
}
