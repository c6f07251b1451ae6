//! `connect`: the control protocol at standard input and output, authenticated (service 6.5).
//!
//! For scripts where `nc` knows no Unix sockets, and for people. Both directions are read while
//! the other waits: a reply that nobody takes must not keep a request from being sent.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::REFUSED;
use super::client::Failure;
use super::commands::Run;
use crate::os::file;

const BUFFER_BYTES: usize = 4096;

pub(super) fn run(run: &mut Run<'_>, _: &str) {
    let parts = run.take_client().into_parts();
    let (greeting, mut stream) = run.must(parts);
    run.screen.print_now(&greeting);
    if stream.set_nonblocking(true).is_err() {
        run.fail(LOST);
    }
    relay(&mut stream, file::standard(0), run);
}

const LOST: Failure = Failure::Protocol(&"the connection was lost");

/// Until the service closes. The end of the input is passed on, so that the replies to what was
/// asked are still read.
fn relay(stream: &mut UnixStream, input: BorrowedFd<'_>, run: &mut Run<'_>) {
    let mut buffer = [0; BUFFER_BYTES];
    let (mut asked, mut sent) = (Vec::with_capacity(BUFFER_BYTES), 0);
    let mut input_ended = false;
    loop {
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, sent < asked.len());
        let source = PollFd::new(input, PollFlags::POLLIN);
        let mut fds = [PollFd::new(stream.as_fd(), wanted), source];
        // One request at a time in our hands: the rest waits where it is.
        let reads = !input_ended && sent == asked.len();
        let watched = if reads { 2 } else { 1 };
        let watched = fds.get_mut(..watched).unwrap_or_default();
        match poll(watched, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => run.fail(LOST),
            Ok(_) => {}
        }
        let [ours, theirs] = &fds;
        let [ours, theirs] = [ours.any(), theirs.any()];
        if ours == Some(true) {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    run.screen.print_now(buffer.get(..n).unwrap_or_default());
                    if !run.screen.flush() {
                        return;
                    }
                }
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(_) => run.fail(LOST),
            }
        }
        if reads && theirs == Some(true) {
            let n = match nix::unistd::read(input, &mut buffer) {
                Ok(n) => n,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => run.end(REFUSED),
            };
            asked.clear();
            asked.extend_from_slice(buffer.get(..n).unwrap_or_default());
            sent = 0;
            if n == 0 {
                input_ended = true;
                // It may be closed from the other end already.
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        while sent < asked.len() {
            match stream.write(asked.get(sent..).unwrap_or_default()) {
                Ok(n) => sent += n,
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => break,
                // What it still said is read before the end.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
                    asked.clear();
                    (sent, input_ended) = (0, true);
                }
                Err(_) => run.fail(LOST),
            }
        }
    }
}
