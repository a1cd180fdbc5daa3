//! A scripted socket for the tests of the layers above TCP.

use std::collections::VecDeque;
use std::io::ErrorKind as IoKind;
use std::time::Duration;

use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

/// A socket that accepts a number of writes, then fails each one, and reads scripted answers.
#[derive(Debug)]
pub(super) struct TestSocket {
    buffers: LazyBuffers,
    /// All bytes that were written.
    pub(super) written: Vec<u8>,
    /// Number of writes that still succeed.
    writes_left: usize,
    /// The failure of each later write.
    failure: IoKind,
    /// One entry for each read that returns bytes. Later reads return the end.
    answers: VecDeque<&'static [u8]>,
}

impl TestSocket {
    pub(super) fn new(writes: usize, failure: IoKind, answers: &[&'static [u8]]) -> Self {
        TestSocket {
            buffers: LazyBuffers::new(1024, 1024),
            written: Vec::new(),
            writes_left: writes,
            failure,
            answers: answers.iter().copied().collect(),
        }
    }
}

impl Transport for TestSocket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if timeout.after.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        if self.writes_left == 0 {
            return Err(Error::Io(self.failure.into()));
        }
        self.writes_left -= 1;
        self.written.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let Some(answer) = self.answers.pop_front() else { return Ok(false) };
        self.buffers.input_append_buf()[..answer.len()].copy_from_slice(answer);
        self.buffers.input_appended(answer.len());
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        true
    }
}

/// Returns a timeout of nine seconds for the whole exchange.
pub(super) fn nine_seconds() -> NextTimeout {
    NextTimeout { after: Duration::from_secs(9).into(), reason: Timeout::Global, ..NextTimeout::default() }
}
