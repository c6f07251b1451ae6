//! `connect`: the control protocol at standard input and output, authenticated (service 6.5).
//!
//! For scripts where `nc` knows no Unix sockets, and for people. Both directions are read while
//! the other waits: a reply that nobody takes must not keep a request from being sent.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::DONE;
use super::client::{Failure, Stream};
use super::commands::{Outcome, Run, Stop};

const BUFFER_BYTES: usize = 4096;

pub(super) fn run(run: &mut Run<'_, '_>) -> Outcome {
    let (greeting, mut stream) = run.connect()?.into_parts()?;
    run.screen.out.write_all(greeting.as_bytes())?;
    run.screen.out.flush()?;
    stream.set_nonblocking().map_err(lost)?;
    relay(&mut stream, &mut io::stdin().lock(), run.screen.out)?;
    Ok(DONE)
}

fn lost(_: io::Error) -> Stop {
    Stop::Failure(Failure::Protocol("the connection was lost"))
}

/// Until the service closes. The end of the input is passed on, so that the replies to what was
/// asked are still read.
fn relay(
    stream: &mut Stream,
    input: &mut (impl Read + AsFd),
    out: &mut dyn Write,
) -> Result<(), Stop> {
    let mut buffer = [0; BUFFER_BYTES];
    let (mut asked, mut sent) = (Vec::with_capacity(BUFFER_BYTES), 0);
    let mut input_ended = false;
    loop {
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, sent < asked.len());
        let source = PollFd::new(input.as_fd(), PollFlags::POLLIN);
        let mut fds = [PollFd::new(stream.as_fd(), wanted), source];
        // One request at a time in our hands: the rest waits where it is.
        let reads = !input_ended && sent == asked.len();
        let watched = if reads { 2 } else { 1 };
        let watched = fds.get_mut(..watched).unwrap_or_default();
        match poll(watched, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(lost(errno.into())),
            Ok(_) => {}
        }
        let [ours, theirs] = fds.map(|fd| fd.any().unwrap_or(false));
        if ours {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    out.write_all(buffer.get(..n).unwrap_or_default())?;
                    out.flush()?;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(lost(e)),
            }
        }
        if reads && theirs {
            let n = input.read(&mut buffer).map_err(Stop::Output)?;
            asked.clear();
            asked.extend_from_slice(buffer.get(..n).unwrap_or_default());
            sent = 0;
            if n == 0 {
                input_ended = true;
                // It may be closed from the other end already.
                let _ = stream.end();
            }
        }
        while sent < asked.len() {
            match stream.write(asked.get(sent..).unwrap_or_default()) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // What it still said is read before the end.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    asked.clear();
                    (sent, input_ended) = (0, true);
                }
                Err(e) => return Err(lost(e)),
            }
        }
    }
}
