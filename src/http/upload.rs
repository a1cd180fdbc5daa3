//! The body of a request, and how much of it was handed over.
//!
//! That tells a message that cannot have been delivered from one that may have been.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::util::sync::Mutex;

/// Content that is read while it is sent, and again where the request is repeated.
pub(crate) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// The body of a request. Clones share its bytes and its state.
#[derive(Clone)]
pub(crate) struct RequestBody {
    content: BodyContent,
    content_type: Arc<str>,
    /// Number of bytes that the HTTP client has read in the last exchange.
    taken: Arc<AtomicUsize>,
    /// True after the connection broke before it took all bytes.
    broken: Arc<AtomicBool>,
}

#[derive(Clone)]
enum BodyContent {
    Bytes(Arc<[u8]>),
    Streamed(Arc<StreamedContent>),
}

/// Content from a reader, with the bytes around it.
struct StreamedContent {
    head: Vec<u8>,
    source: Mutex<Box<dyn ReadSeek>>,
    /// Number of bytes that are read of the source.
    length: usize,
    tail: Vec<u8>,
    /// The reason why the source could not be read.
    fault: Mutex<Option<String>>,
}

impl RequestBody {
    /// Returns a body of JSON.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        RequestBody::of(BodyContent::Bytes(bytes.into()), "application/json")
    }

    /// Returns a body of `head`, the first `length` bytes of `source`, and `tail`.
    pub(crate) fn streamed(
        content_type: &str,
        head: Vec<u8>,
        (source, length): (Box<dyn ReadSeek>, usize),
        tail: Vec<u8>,
    ) -> Self {
        let content = StreamedContent { head, source: Mutex::new(source), length, tail, fault: Mutex::default() };
        RequestBody::of(BodyContent::Streamed(Arc::new(content)), content_type)
    }

    fn of(content: BodyContent, content_type: &str) -> Self {
        RequestBody { content, content_type: content_type.into(), taken: Arc::default(), broken: Arc::default() }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.content {
            BodyContent::Bytes(bytes) => bytes.len(),
            BodyContent::Streamed(content) => content.head.len() + content.length + content.tail.len(),
        }
    }

    pub(super) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Returns the reason why the content could not be read, if that was so in the last exchange.
    pub(crate) fn fault(&self) -> Option<String> {
        match &self.content {
            BodyContent::Bytes(_) => None,
            BodyContent::Streamed(content) => content.fault.lock().clone(),
        }
    }

    /// Returns whether the whole body may have been sent in the last exchange.
    ///
    /// That is so once the HTTP client has read all of it, and the connection has refused no part. Until then no peer can
    /// have a whole request.
    pub(crate) fn may_be_sent(&self) -> bool {
        self.taken.load(SeqCst) >= self.len() && !self.broken.load(SeqCst)
    }

    /// Records that the connection broke before it took all bytes.
    pub(super) fn break_off(&self) {
        self.broken.store(true, SeqCst);
    }

    /// Records that nothing was handed over yet, at the start of an exchange.
    pub(super) fn restart(&self) {
        self.taken.store(0, SeqCst);
        self.broken.store(false, SeqCst);
        if let BodyContent::Streamed(content) = &self.content {
            *content.fault.lock() = None;
        }
    }

    /// Takes all bytes, or as many as there are.
    #[cfg(test)]
    pub(crate) fn read_for_test(&self) {
        let _ = io::copy(&mut self.reader(), &mut io::sink());
    }

    /// Returns a reader of the bytes that were not taken yet. Reading takes them.
    pub(super) fn reader(&self) -> impl Read + use<> {
        BodyReader(self.clone())
    }
}

struct BodyReader(RequestBody);

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.0.taken.load(SeqCst);
        let n = match &self.0.content {
            BodyContent::Bytes(bytes) => copy(bytes.get(taken..), buffer),
            BodyContent::Streamed(content) => content.read_at(taken, buffer)?,
        };
        self.0.taken.store(taken + n, SeqCst);
        Ok(n)
    }
}

impl StreamedContent {
    fn read_at(&self, offset: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(offset) = offset.checked_sub(self.head.len()) else {
            return Ok(copy(self.head.get(offset..), buffer));
        };
        let left = self.length.saturating_sub(offset);
        if left == 0 {
            return Ok(copy(self.tail.get(offset - self.length..), buffer));
        }
        let room = buffer.len().min(left);
        self.read_source(offset, &mut buffer[..room]).inspect_err(|why| *self.fault.lock() = Some(why.to_string()))
    }

    fn read_source(&self, offset: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let mut source = self.source.lock();
        if offset == 0 {
            source.seek(SeekFrom::Start(0))?;
        }
        loop {
            match source.read(buffer) {
                Ok(0) if !buffer.is_empty() => return Err(io::Error::other("it ended before its length")),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

fn copy(left: Option<&[u8]>, buffer: &mut [u8]) -> usize {
    let left = left.unwrap_or_default();
    let n = left.len().min(buffer.len());
    buffer[..n].copy_from_slice(&left[..n]);
    n
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

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

    fn streamed(source: &str, length: usize) -> RequestBody {
        let source = Box::new(Cursor::new(source.as_bytes().to_vec()));
        RequestBody::streamed("text/plain", b"<<".to_vec(), (source, length), b">>".to_vec())
    }

    #[test]
    fn streamed_body_is_the_same_when_it_is_sent_again() {
        for (source, length, whole) in [("content", 7, "<<content>>"), ("content", 3, "<<con>>"), ("", 0, "<<>>")] {
            let body = streamed(source, length);
            for _ in 0..2 {
                body.restart();
                let mut read = String::new();
                assert_eq!(body.reader().read_to_string(&mut read).unwrap(), body.len());
                assert_eq!((read.as_str(), body.may_be_sent(), body.fault()), (whole, true, None));
            }
        }
    }

    #[test]
    fn source_that_ends_early_is_a_fault_and_never_a_whole_body() {
        let body = streamed("con", 7);
        assert!(body.reader().read_to_end(&mut Vec::new()).is_err());
        assert_eq!((body.may_be_sent(), body.fault().as_deref()), (false, Some("it ended before its length")));
        body.restart();
        assert_eq!(body.fault(), None);
    }
}
