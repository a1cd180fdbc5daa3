//! A request's body, and how much of it was handed over: what tells a message that cannot have been
//! delivered from one that may have been.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The body of a request. Its clones are one upload.
#[derive(Clone)]
pub(crate) struct Upload {
    bytes: Arc<[u8]>,
    taken: Arc<AtomicUsize>,
}

impl Upload {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Upload { bytes: bytes.into(), taken: Arc::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the HTTP client has taken all of it in the last exchange, so that it may have been sent.
    /// Before that no peer can have a whole request.
    pub(crate) fn may_be_sent(&self) -> bool {
        self.taken.load(SeqCst) >= self.bytes.len()
    }

    /// Marks that nothing of it has been handed over: before an exchange.
    pub(super) fn restart(&self) {
        self.taken.store(0, SeqCst);
    }

    pub(super) fn reader(&self) -> impl Read + use<> {
        Reader(self.clone())
    }
}

struct Reader(Upload);

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
        let upload = Upload::new(b"0123456789".to_vec());
        let (mut reader, mut some) = (upload.reader(), [0; 4]);
        for (taken, whole) in [(4, false), (4, false), (2, true), (0, true)] {
            assert_eq!((reader.read(&mut some).unwrap(), upload.may_be_sent()), (taken, whole));
        }
        upload.restart();
        assert!(!upload.clone().may_be_sent(), "its clones are one");
        assert_eq!((upload.reader().read(&mut some).unwrap(), &some), (4, b"0123"));
    }
}
