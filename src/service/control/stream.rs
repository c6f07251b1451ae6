//! A stream that answers `EAGAIN`, read until it has no more, written until it takes no more.

use std::io::{self, Read, Write};

/// A stream, and what is known of it.
#[derive(Debug)]
pub(crate) struct Stream<S> {
    pub(crate) inner: S,
    state: State,
}

/// What we know of a stream: not yet said that it would block.
#[derive(Debug)]
struct State {
    readable: bool,
    writable: bool,
    /// The other end says no more.
    ended: bool,
}

/// It is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Broken;

impl<S: Read + Write> Stream<S> {
    /// Taken as readable and writable until it says otherwise.
    pub(crate) fn new(inner: S) -> Self {
        let state = State {
            readable: true,
            writable: true,
            ended: false,
        };
        Self { inner, state }
    }

    /// It may be read or written again.
    pub(crate) fn ready(&mut self) {
        self.state.readable = true;
        self.state.writable = true;
    }

    /// Something may come yet.
    pub(crate) fn is_readable(&self) -> bool {
        self.state.readable && !self.state.ended
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.state.writable
    }

    /// All that the other end had to say has been read.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.ended
    }

    /// Reads into `input` behind `len`, until it is full or nothing comes.
    pub(crate) fn fill(&mut self, input: &mut [u8], len: &mut usize) -> Result<(), Broken> {
        let read = &mut |room: &mut [u8]| self.inner.read(room);
        self.state.fill(read, input, len)
    }

    /// Writes `output` from `sent` on, as far as it is taken.
    pub(crate) fn flush(&mut self, output: &[u8], sent: &mut usize) -> Result<(), Broken> {
        let write = &mut |rest: &[u8]| self.inner.write(rest);
        self.state.flush(write, output, sent)
    }
}

impl State {
    fn fill(
        &mut self,
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
        input: &mut [u8],
        len: &mut usize,
    ) -> Result<(), Broken> {
        while self.readable && !self.ended {
            let room = input.get_mut(*len..).unwrap_or_default();
            if room.is_empty() {
                return Ok(());
            }
            match count(read(room), &mut self.readable)? {
                Some(0) => self.ended = true,
                count => *len = (*len + count.unwrap_or(0)).min(input.len()),
            }
        }
        Ok(())
    }

    fn flush(
        &mut self,
        write: &mut dyn FnMut(&[u8]) -> io::Result<usize>,
        output: &[u8],
        sent: &mut usize,
    ) -> Result<(), Broken> {
        while self.writable {
            let rest = output.get(*sent..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            match count(write(rest), &mut self.writable)? {
                Some(0) => return Err(Broken),
                count => *sent = (*sent + count.unwrap_or(0)).min(output.len()),
            }
        }
        Ok(())
    }
}

/// How much went through. `None`: nothing, and not yet again if it would block.
#[inline(never)]
fn count(outcome: io::Result<usize>, is_open: &mut bool) -> Result<Option<usize>, Broken> {
    match outcome.map_err(|e| e.raw_os_error()) {
        Ok(count) => return Ok(Some(count)),
        Err(Some(libc::EAGAIN)) => *is_open = false,
        Err(Some(libc::EINTR)) => {}
        Err(_) => return Err(Broken),
    }
    Ok(None)
}
