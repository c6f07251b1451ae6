//! Sending.

use core::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};

#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
use libc::IPV6_HOPLIMIT;

use super::super::cmsg::ControlBuffer;
use super::super::memory::Pages;
use super::{Counts, Error, Message, Socket, empty_message, empty_vector, sockaddr};

/// Bytes of a batch: room for two full bursts.
const BATCH_BYTES: usize = 128 * 1024;
/// Messages of a batch, which is also as many datagrams as the kernel takes in one message.
const MESSAGES_MAX: usize = 64;
/// Bytes of joined datagrams: headers must fit the 16 bit length of IP with them.
const JOINED_BYTES: usize = 65_000;
/// Missing in `libc`.
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
const IPV6_HOPLIMIT: libc::c_int = 47;
/// Sockets remembered as refusing joined datagrams.
const REFUSING_MAX: usize = 16;

/// One message to be sent: one datagram, or several of one size to one place.
#[derive(Clone, Copy)]
struct Entry {
    fd: RawFd,
    to: SocketAddr,
    start: usize,
    len: usize,
    /// Size of all datagrams but the last, which may be shorter.
    size: usize,
    datagrams: usize,
    ttl: Option<u8>,
    /// Another datagram may join.
    open: bool,
}

/// Datagrams on their way out: copied in, sent together. Memory is taken once.
pub struct SendBatch {
    bytes: Pages,
    used: usize,
    entries: Vec<Entry>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[ControlBuffer]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[Message]>,
    /// Sockets whose device takes no joined datagrams. A number that is used again by another
    /// socket makes that one slower, not wrong.
    pub(super) refusing: Vec<RawFd>,
    /// The system has no call for several messages.
    one_by_one: bool,
    counts: Counts,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            bytes: Pages::new(BATCH_BYTES),
            used: 0,
            entries: Vec::with_capacity(MESSAGES_MAX),
            names: vec![sockaddr::empty(); MESSAGES_MAX].into_boxed_slice(),
            controls: vec![ControlBuffer::new(); MESSAGES_MAX].into_boxed_slice(),
            vectors: vec![empty_vector(); MESSAGES_MAX].into_boxed_slice(),
            headers: (0..MESSAGES_MAX).map(|_| empty_message()).collect(),
            refusing: Vec::with_capacity(REFUSING_MAX),
            one_by_one: cfg!(not(target_os = "linux")),
            counts: Counts::default(),
        }
    }

    /// Makes one call per message, as on a kernel without `sendmmsg`.
    pub fn set_one_by_one(&mut self) {
        self.one_by_one = true;
    }

    /// What left since the beginning.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a datagram. `false`: no room; flush first. The socket must not be closed before.
    pub fn push(
        &mut self,
        socket: &Socket,
        to: SocketAddr,
        parts: [&[u8]; 2],
        ttl: Option<u8>,
    ) -> bool {
        let len = parts[0].len().saturating_add(parts[1].len());
        let end = self.used.saturating_add(len);
        let Some(room) = self.bytes.get_mut(self.used..end) else {
            return false;
        };
        let fd = socket.as_raw_fd();
        let may_join = socket.splits && !self.refusing.contains(&fd);
        let last = self
            .entries
            .last_mut()
            .filter(|last| may_join && last.open && (last.fd, last.to, last.ttl) == (fd, to, ttl));
        if !last.is_some_and(|last| last.join(len)) {
            if self.entries.len() >= MESSAGES_MAX {
                return false;
            }
            self.entries.push(Entry {
                fd,
                to,
                start: self.used,
                len,
                size: len,
                datagrams: 1,
                ttl,
                open: true,
            });
        }
        let (first, second) = room.split_at_mut(parts[0].len());
        first.copy_from_slice(parts[0]);
        second.copy_from_slice(parts[1]);
        self.used = end;
        true
    }

    /// Sends everything; `failed` hears of each datagram that the system did not take: EAGAIN or
    /// ENOBUFS, no room at present; EMSGSIZE, too long. The batch is empty then.
    pub fn flush(&mut self, mut failed: impl FnMut(SocketAddr, Error)) {
        let mut at = 0;
        while let Some(first) = self.entries.get(at).copied() {
            if first.datagrams > 1 && self.refusing.contains(&first.fd) {
                self.send_apart(&first, &mut failed);
                at += 1;
                continue;
            }
            let run = self.point_run(at);
            match self.send(first.fd, 0..run) {
                Ok(sent) => {
                    let left = self.entries.iter().skip(at).take(sent);
                    self.counts.datagrams += left.map(|e| e.datagrams as u64).sum::<u64>();
                    at += sent.max(1);
                }
                Err(error) if first.datagrams > 1 && refuses_joined(error) => {
                    // EIO: this device computes no checksums. The others: not to that place, as
                    // its path is too narrow for the size.
                    if error.errno == libc::EIO {
                        self.refuse(first.fd);
                    }
                    self.send_apart(&first, &mut failed);
                    at += 1;
                }
                Err(error) if no_room(error) => {
                    // None for the first, so none for the rest of this socket.
                    for entry in self.entries.iter().skip(at).take(run) {
                        (0..entry.datagrams).for_each(|_| failed(entry.to, error));
                    }
                    at += run;
                }
                Err(error) => {
                    (0..first.datagrams).for_each(|_| failed(first.to, error));
                    at += 1;
                }
            }
        }
        self.entries.clear();
        self.used = 0;
    }

    fn refuse(&mut self, fd: RawFd) {
        if self.refusing.len() >= REFUSING_MAX {
            self.refusing.clear();
        }
        self.refusing.push(fd);
    }

    /// Sends the datagrams of an entry as messages of their own.
    fn send_apart(&mut self, entry: &Entry, failed: &mut impl FnMut(SocketAddr, Error)) {
        for n in 0..entry.datagrams {
            let done = n * entry.size;
            let len = entry.size.min(entry.len.saturating_sub(done));
            let one = Entry {
                start: entry.start + done,
                len,
                size: len,
                datagrams: 1,
                ..*entry
            };
            self.point(n, &one);
        }
        let mut at = 0;
        while at < entry.datagrams {
            match self.send(entry.fd, at..entry.datagrams) {
                Ok(sent) => {
                    self.counts.datagrams += sent as u64;
                    at += sent.max(1);
                }
                Err(error) if no_room(error) => {
                    (at..entry.datagrams).for_each(|_| failed(entry.to, error));
                    return;
                }
                Err(error) => {
                    failed(entry.to, error);
                    at += 1;
                }
            }
        }
    }

    /// Points headers at the entries from `at` on that leave through one socket; how many.
    fn point_run(&mut self, at: usize) -> usize {
        let mut run = 0;
        let fd = self.entries.get(at).map(|first| first.fd);
        while let Some(entry) = self.entries.get(at + run).copied() {
            if Some(entry.fd) != fd {
                break;
            }
            self.point(run, &entry);
            run += 1;
        }
        run
    }

    /// Points header `n` at an entry.
    fn point(&mut self, n: usize, entry: &Entry) {
        let name = &mut self.names[n];
        let name_len = sockaddr::write(name, &entry.to);
        let vector = &mut self.vectors[n];
        vector.iov_base = self.bytes[entry.start..].as_mut_ptr().cast();
        vector.iov_len = entry.len;
        let control = &mut self.controls[n];
        let control_len = write_control(control, entry);
        let header = &mut self.headers[n].msg_hdr;
        header.msg_name = core::ptr::from_mut(name).cast();
        header.msg_namelen = name_len;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        header.msg_controllen = control_len as _;
        header.msg_control = if control_len == 0 {
            core::ptr::null_mut()
        } else {
            control.room().0
        };
    }

    /// Sends the messages of these headers; how many left, at least one.
    fn send(&mut self, fd: RawFd, headers: core::ops::Range<usize>) -> Result<usize, Error> {
        let sent = loop {
            let result = if self.one_by_one {
                self.send_first(fd, headers.start)
            } else {
                self.send_all(fd, headers.clone())
            };
            match result {
                Err(error) if error.errno == libc::EINTR => {}
                Err(error) if error.errno == libc::ENOSYS && !self.one_by_one => {
                    self.one_by_one = true;
                }
                other => break other?,
            }
        };
        self.counts.messages += sent as u64;
        Ok(sent)
    }

    #[cfg(target_os = "linux")]
    fn send_all(&mut self, fd: RawFd, headers: core::ops::Range<usize>) -> Result<usize, Error> {
        self.counts.calls += 1;
        let headers = &mut self.headers[headers];
        // SAFETY: the headers point into bytes, names, controls and vectors of this batch, which
        // nobody else uses during the call.
        let sent = unsafe {
            libc::sendmmsg(
                fd,
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent).map_err(|_| Error::last(&"sendmmsg"))
    }

    #[cfg(not(target_os = "linux"))]
    fn send_all(&mut self, fd: RawFd, headers: core::ops::Range<usize>) -> Result<usize, Error> {
        self.send_first(fd, headers.start)
    }

    fn send_first(&mut self, fd: RawFd, header: usize) -> Result<usize, Error> {
        self.counts.calls += 1;
        let header = &raw const self.headers[header].msg_hdr;
        // SAFETY: as with all of them at once.
        if unsafe { libc::sendmsg(fd, header, libc::MSG_DONTWAIT) } < 0 {
            return Err(Error::last(&"sendmsg"));
        }
        Ok(1)
    }
}

impl Entry {
    /// Lets one more datagram in, if the kernel can tell them apart again.
    fn join(&mut self, len: usize) -> bool {
        let fits = (1..=self.size).contains(&len)
            && self.datagrams < MESSAGES_MAX
            && self.len + len <= JOINED_BYTES;
        if fits {
            self.len += len;
            self.datagrams += 1;
            // Only the last one may be shorter.
            self.open = len == self.size;
        }
        fits
    }
}

/// Writes the control messages of an entry; their length.
fn write_control(control: &mut ControlBuffer, entry: &Entry) -> usize {
    let mut end = 0;
    let ttl = entry.ttl.map(|ttl| libc::c_int::from(ttl).to_ne_bytes());
    match (ttl, entry.to) {
        (Some(ttl), SocketAddr::V6(_)) => {
            end = control.write(end, libc::IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl);
        }
        // Elsewhere a datagram of IPv4 cannot have its own: it goes as far as all others.
        (Some(ttl), SocketAddr::V4(_)) if cfg!(target_os = "linux") => {
            end = control.write(end, libc::IPPROTO_IP, libc::IP_TTL, &ttl);
        }
        _ => {}
    }
    #[cfg(target_os = "linux")]
    if entry.datagrams > 1 {
        let size = entry.size as u16;
        end = control.write(end, libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }
    end
}

/// Joined datagrams may get through one by one. EMSGSIZE and EINVAL: a datagram with its headers
/// is longer than what the path takes in one piece; alone it may be fragmented.
const fn refuses_joined(error: Error) -> bool {
    matches!(
        error.errno,
        libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP | libc::ENOPROTOOPT
    )
}

/// The queue is full.
const fn no_room(error: Error) -> bool {
    error.would_block() || error.errno == libc::ENOBUFS
}
