//! A socket for the tests of what is above one.

use std::collections::VecDeque;
use std::io::ErrorKind as IoKind;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

/// A socket that takes so many writes, and then says this.
#[derive(Debug)]
pub(in crate::http) struct Socket {
    pub(in crate::http) buffers: LazyBuffers,
    pub(in crate::http) written: Vec<u8>,
    pub(in crate::http) takes: usize,
    pub(in crate::http) refusal: IoKind,
    pub(in crate::http) says: VecDeque<&'static [u8]>,
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if timeout.after.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        if self.takes == 0 {
            return Err(Error::Io(self.refusal.into()));
        }
        self.takes -= 1;
        self.written.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let Some(said) = self.says.pop_front() else { return Ok(false) };
        self.buffers.input_append_buf()[..said.len()].copy_from_slice(said);
        self.buffers.input_appended(said.len());
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        true
    }
}
