//! Frames through the descriptor of a tap, as all systems have it.

use std::fs::File;
use std::io::{Read as _, Write as _};

use super::Error;

/// Reads one frame; its length. `None`: there is none. A frame longer than `room` is cut.
pub(super) fn read(mut tap: &File, room: &mut [u8]) -> Result<Option<usize>, Error> {
    loop {
        match tap.read(room) {
            Ok(len) => return Ok(Some(len)),
            Err(error) => match Error::from_io(&"read tap", error) {
                error if error.would_block() => return Ok(None),
                error if error.errno == libc::EINTR => {}
                error => return Err(error),
            },
        }
    }
}

/// Writes one frame.
pub(super) fn write(mut tap: &File, frame: &[u8]) -> Result<(), Error> {
    match tap.write(frame) {
        // A device takes a frame whole or not at all.
        Ok(len) if len == frame.len() => Ok(()),
        Ok(_) => Err(Error {
            op: &"write tap",
            errno: libc::EIO,
        }),
        Err(error) => Err(Error::from_io(&"write tap", error)),
    }
}
