//! UDP sockets and batches of datagrams (speed: system calls decide).
//!
//! `recvmmsg` and `sendmmsg` move many datagrams a call; with UDP offload of Linux one message
//! carries many datagrams of one size: [`SendBatch`] joins what belongs together, [`RecvBatch`]
//! takes it apart. Elsewhere, and on kernels without, each datagram is a call.

use core::mem::{size_of, zeroed};
use core::net::SocketAddr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};

use super::{Error, check};

/// Wanted size of the socket's buffers.
const BUFFER_BYTES: libc::c_int = 1 << 20;

/// Bytes of one receive slot when datagrams may come joined.
const JOINED_MAX: usize = 65_536;
/// Bytes of a send batch: room for two full bursts.
const SEND_BYTES: usize = 128 * 1024;
/// Messages of a send batch.
const SEND_MESSAGES: usize = 64;
/// Datagrams that the kernel takes in one message, and their bytes.
const SEGMENTS_MAX: usize = 64;
const SEGMENTS_BYTES: usize = 65_000;
/// Room for control messages, aligned for the kernel.
const CONTROL_LEN: usize = 64;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct ControlBuffer([u8; CONTROL_LEN]);

/// A bound UDP socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    joins: bool,
}

impl Socket {
    /// Binds to an address, and to a device if one is named and the rights allow it.
    pub fn bind(local: SocketAddr, device: &str) -> Result<Self, Error> {
        let family = if local.is_ipv6() {
            libc::AF_INET6
        } else {
            libc::AF_INET
        };
        // SAFETY: no memory is involved.
        let fd = check("socket", unsafe {
            libc::socket(
                family,
                libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                libc::IPPROTO_UDP,
            )
        })?;
        // SAFETY: the descriptor was made just now and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let raw = fd.as_raw_fd();
        if local.is_ipv6() {
            set(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        #[cfg(target_os = "linux")]
        linux_options(raw, local.is_ipv6(), device);
        #[cfg(not(target_os = "linux"))]
        let _ = device;
        // Less is slower, not wrong.
        let _ = set(raw, libc::SOL_SOCKET, libc::SO_RCVBUF, BUFFER_BYTES);
        let _ = set(raw, libc::SOL_SOCKET, libc::SO_SNDBUF, BUFFER_BYTES);
        let (name, len) = raw_address(&local);
        // SAFETY: `name` holds an address of `len` bytes and lives for the call.
        check("bind", unsafe {
            libc::bind(raw, (&raw const name).cast(), len)
        })?;
        let joins = joins(raw);
        Ok(Self { fd, joins })
    }

    /// Receives what is there, at most a batch; how many messages came. Fewer than a batch holds
    /// means that there was no more.
    pub fn receive(&self, batch: &mut RecvBatch) -> Result<usize, Error> {
        batch.receive(self.fd.as_raw_fd())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(target_os = "linux")]
fn linux_options(fd: RawFd, v6: bool, device: &str) {
    if !device.is_empty() {
        // Without the right to do it the address alone decides (kernels before 5.7).
        // SAFETY: `device` lives for the call.
        unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_BINDTODEVICE,
                device.as_ptr().cast(),
                libc::socklen_t::try_from(device.len()).unwrap_or(0),
            )
        };
    }
    // No don't-fragment: who is in the way of large datagrams cuts them (node 5.7).
    let (level, name) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    };
    let _ = set(fd, level, name, libc::IP_PMTUDISC_DONT);
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER_BYTES);
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER_BYTES);
}

/// The kernel joins and splits datagrams of one size.
#[cfg(target_os = "linux")]
fn joins(fd: RawFd) -> bool {
    set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
        && set(fd, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn joins(_fd: RawFd) -> bool {
    false
}

fn set(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<(), Error> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: `value` lives for the call and has the length given.
    check("setsockopt", unsafe {
        libc::setsockopt(fd, level, name, (&raw const value).cast(), len)
    })
    .map(drop)
}

fn raw_address(address: &SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zero bytes are a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let len = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: a sockaddr_in is shorter than the storage and has no stricter alignment.
            let name = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = v4.port().to_be();
            name.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: a sockaddr_in6 is shorter than the storage and has no stricter alignment.
            let name = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = v6.port().to_be();
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, libc::socklen_t::try_from(len).unwrap_or(0))
}

fn address_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one.
            let name = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(
                ip,
                u16::from_be(name.sin_port),
            )))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is one.
            let name = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(
                ip,
                port,
                0,
                name.sin6_scope_id,
            )))
        }
        _ => None,
    }
}

/// Receive slots, taken once. Pages that no datagram touched are not resident.
pub struct RecvBatch {
    slots: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[ControlBuffer]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[Message]>,
    /// Messages received.
    count: usize,
}

#[cfg(target_os = "linux")]
type Message = libc::mmsghdr;

/// The same shape where the system has no such call.
#[cfg(not(target_os = "linux"))]
struct Message {
    msg_hdr: libc::msghdr,
    msg_len: libc::c_uint,
}

impl RecvBatch {
    /// Room for so many messages.
    pub fn new(messages: usize) -> Self {
        // SAFETY (four times): all zero bytes are valid for these types.
        let name: libc::sockaddr_storage = unsafe { zeroed() };
        let vector: libc::iovec = unsafe { zeroed() };
        Self {
            slots: vec![0; messages.saturating_mul(JOINED_MAX)].into_boxed_slice(),
            names: vec![name; messages].into_boxed_slice(),
            controls: vec![ControlBuffer([0; CONTROL_LEN]); messages].into_boxed_slice(),
            vectors: vec![vector; messages].into_boxed_slice(),
            headers: (0..messages).map(|_| unsafe { zeroed() }).collect(),
            count: 0,
        }
    }

    /// Points the headers at their slots; the kernel has overwritten lengths.
    fn rearm(&mut self) {
        let slots = self.slots.chunks_exact_mut(JOINED_MAX);
        let parts = slots
            .zip(&mut self.names)
            .zip(&mut self.controls)
            .zip(&mut self.vectors);
        for (header, (((slot, name), control), vector)) in self.headers.iter_mut().zip(parts) {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = slot.len();
            let header = &mut header.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_LEN as _;
            header.msg_flags = 0;
        }
    }

    fn receive(&mut self, fd: RawFd) -> Result<usize, Error> {
        self.count = 0;
        self.rearm();
        self.count = match receive_messages(fd, &mut self.headers) {
            Ok(count) => count,
            Err(error) if error.would_block() || error.errno == libc::EINTR => 0,
            Err(error) => return Err(error),
        };
        Ok(self.count)
    }

    /// What was received last: sender and datagram, joined ones taken apart.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let slots = self.slots.chunks_exact_mut(JOINED_MAX);
        let messages = self
            .headers
            .iter()
            .zip(&self.names)
            .zip(slots)
            .take(self.count);
        messages.flat_map(|((header, name), slot)| {
            let len = if header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0 {
                usize::try_from(header.msg_len).unwrap_or(0)
            } else {
                // Longer than any datagram we know.
                0
            };
            let size = segment_size(&header.msg_hdr).unwrap_or(len).max(1);
            let from = address_of(name);
            let bytes = slot.get_mut(..len).unwrap_or_default();
            let pieces = bytes.chunks_mut(size);
            pieces.filter_map(move |piece| from.map(|from| (from, piece)))
        })
    }
}

#[cfg(target_os = "linux")]
fn receive_messages(fd: RawFd, headers: &mut [Message]) -> Result<usize, Error> {
    let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
    // SAFETY: the headers point into slots, names and controls of the same batch, which is
    // borrowed for the call.
    let received = unsafe {
        libc::recvmmsg(
            fd,
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    check("recvmmsg", received).map(|n| usize::try_from(n).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn receive_messages(fd: RawFd, headers: &mut [Message]) -> Result<usize, Error> {
    for (n, header) in headers.iter_mut().enumerate() {
        // SAFETY: as above.
        let len = unsafe { libc::recvmsg(fd, &raw mut header.msg_hdr, libc::MSG_DONTWAIT) };
        match libc::c_uint::try_from(len) {
            Ok(len) => header.msg_len = len,
            Err(_) if n > 0 => return Ok(n),
            Err(_) => return Err(Error::last("recvmsg")),
        }
    }
    Ok(headers.len())
}

/// The size of the datagrams in a joined message.
#[cfg(target_os = "linux")]
fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel has filled in the control buffer that the header points to, and the
    // macros keep to its length.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_UDP && (*control).cmsg_type == libc::UDP_GRO {
                let size = libc::CMSG_DATA(control)
                    .cast::<libc::c_int>()
                    .read_unaligned();
                return usize::try_from(size).ok().filter(|size| *size > 0);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
fn segment_size(_header: &libc::msghdr) -> Option<usize> {
    None
}

/// One message to be sent: one datagram, or several of one size to one place.
#[derive(Clone, Copy)]
struct Entry {
    fd: RawFd,
    to: SocketAddr,
    start: usize,
    len: usize,
    /// Size of all datagrams but the last, which may be shorter.
    segment: usize,
    segments: usize,
    ttl: Option<u8>,
    /// Another datagram may join.
    open: bool,
}

/// Datagrams on their way out: copied in, sent together. Memory is taken once.
pub struct SendBatch {
    bytes: Box<[u8]>,
    used: usize,
    entries: Vec<Entry>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[ControlBuffer]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[Message]>,
    /// A device refused joined datagrams: they leave one by one.
    apart: bool,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendBatch {
    /// An empty batch.
    pub fn new() -> Self {
        // SAFETY (three times): all zero bytes are valid for these types.
        let name: libc::sockaddr_storage = unsafe { zeroed() };
        let vector: libc::iovec = unsafe { zeroed() };
        Self {
            bytes: vec![0; SEND_BYTES].into_boxed_slice(),
            used: 0,
            entries: Vec::with_capacity(SEND_MESSAGES),
            names: vec![name; SEND_MESSAGES].into_boxed_slice(),
            controls: vec![ControlBuffer([0; CONTROL_LEN]); SEND_MESSAGES].into_boxed_slice(),
            vectors: vec![vector; SEND_MESSAGES].into_boxed_slice(),
            headers: (0..SEND_MESSAGES).map(|_| unsafe { zeroed() }).collect(),
            apart: false,
        }
    }

    /// Takes a datagram. `false`: no room; flush first.
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
        let fd = socket.fd.as_raw_fd();
        let joined = match self.entries.last_mut() {
            Some(last)
                if last.open
                    && socket.joins
                    && !self.apart
                    && (last.fd, last.to, last.ttl) == (fd, to, ttl)
                    && len <= last.segment
                    && len > 0
                    && last.segments < SEGMENTS_MAX
                    && last.len.saturating_add(len) <= SEGMENTS_BYTES =>
            {
                last.len += len;
                last.segments += 1;
                last.open = len == last.segment;
                true
            }
            _ => false,
        };
        if !joined {
            if self.entries.len() >= SEND_MESSAGES {
                return false;
            }
            let (start, segment) = (self.used, len);
            self.entries.push(Entry {
                fd,
                to,
                start,
                len,
                segment,
                segments: 1,
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

    /// Sends everything; `failed` hears of what the system did not take. The batch is empty then.
    pub fn flush(&mut self, mut failed: impl FnMut(SocketAddr, Error)) {
        let mut at = 0;
        while let Some(first) = self.entries.get(at).copied() {
            let run = self
                .entries
                .iter()
                .skip(at)
                .take_while(|e| e.fd == first.fd)
                .count();
            self.arm(at, run);
            match send_messages(first.fd, self.headers.get_mut(..run).unwrap_or_default()) {
                Ok(sent) => at += sent.max(1),
                Err(error) if error.errno == libc::EINTR => {}
                // Devices without checksum offload take no joined datagrams (EIO).
                Err(error)
                    if first.segments > 1
                        && matches!(error.errno, libc::EIO | libc::EINVAL | libc::EOPNOTSUPP) =>
                {
                    self.apart = true;
                    self.send_apart(&first, &mut failed);
                    at += 1;
                }
                Err(error) if error.would_block() || error.errno == libc::ENOBUFS => {
                    // No room for the first: none for the rest of this socket.
                    for entry in self.entries.iter().skip(at).take(run) {
                        failed(entry.to, error);
                    }
                    at += run;
                }
                Err(error) => {
                    failed(first.to, error);
                    at += 1;
                }
            }
        }
        self.entries.clear();
        self.used = 0;
    }

    fn send_apart(&mut self, entry: &Entry, failed: &mut impl FnMut(SocketAddr, Error)) {
        let mut start = entry.start;
        let end = entry.start + entry.len;
        while start < end {
            let len = entry.segment.min(end - start).max(1);
            let one = Entry {
                start,
                len,
                segment: len,
                segments: 1,
                ..*entry
            };
            self.point(0, &one);
            if let Err(error) =
                send_messages(entry.fd, self.headers.get_mut(..1).unwrap_or_default())
            {
                failed(entry.to, error);
            }
            start += len;
        }
    }

    fn arm(&mut self, at: usize, count: usize) {
        for n in 0..count {
            if let Some(entry) = self.entries.get(at + n).copied() {
                self.point(n, &entry);
            }
        }
    }

    /// Points header `n` at an entry.
    fn point(&mut self, n: usize, entry: &Entry) {
        let (name, len) = raw_address(&entry.to);
        self.names[n] = name;
        self.vectors[n].iov_base = self.bytes[entry.start..].as_mut_ptr().cast();
        self.vectors[n].iov_len = entry.len;
        let control = &mut self.controls[n];
        let header = &mut self.headers[n].msg_hdr;
        header.msg_name = (&raw mut self.names[n]).cast();
        header.msg_namelen = len;
        header.msg_iov = &raw mut self.vectors[n];
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_LEN as _;
        let used = write_control(header, entry);
        header.msg_controllen = used as _;
        if used == 0 {
            header.msg_control = std::ptr::null_mut();
        }
    }
}

/// Writes the control messages of an entry; their length.
fn write_control(header: &libc::msghdr, entry: &Entry) -> usize {
    let mut used = 0;
    // SAFETY: the header points to a zeroed or formerly used control buffer of `CONTROL_LEN`
    // bytes; two messages of at most 24 bytes are written, and the macros keep to the length.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        if let Some(ttl) = entry.ttl
            && !control.is_null()
        {
            let (level, kind) = if entry.to.is_ipv6() {
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
            } else {
                (libc::IPPROTO_IP, libc::IP_TTL)
            };
            (*control).cmsg_level = level;
            (*control).cmsg_type = kind;
            (*control).cmsg_len = libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as _;
            libc::CMSG_DATA(control)
                .cast::<libc::c_int>()
                .write_unaligned(ttl.into());
            used += libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) as usize;
            control = libc::CMSG_NXTHDR(header, control);
        }
        #[cfg(target_os = "linux")]
        if entry.segments > 1 && !control.is_null() {
            (*control).cmsg_level = libc::SOL_UDP;
            (*control).cmsg_type = libc::UDP_SEGMENT;
            (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
            let segment = u16::try_from(entry.segment).unwrap_or(0);
            libc::CMSG_DATA(control)
                .cast::<u16>()
                .write_unaligned(segment);
            used += libc::CMSG_SPACE(size_of::<u16>() as u32) as usize;
        }
        let _ = control;
    }
    used
}

#[cfg(target_os = "linux")]
fn send_messages(fd: RawFd, headers: &mut [Message]) -> Result<usize, Error> {
    let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
    // SAFETY: the headers point into bytes, names and controls of the same batch, which is
    // borrowed for the call.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
    check("sendmmsg", sent).map(|n| usize::try_from(n).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn send_messages(fd: RawFd, headers: &mut [Message]) -> Result<usize, Error> {
    let Some(header) = headers.first() else {
        return Ok(0);
    };
    // SAFETY: as above.
    if unsafe { libc::sendmsg(fd, &raw const header.msg_hdr, libc::MSG_DONTWAIT) } < 0 {
        return Err(Error::last("sendmsg"));
    }
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Socket, Socket, SocketAddr) {
        let any = |socket: &Socket| {
            // SAFETY: all zero bytes are a valid sockaddr_storage, which lives for the call.
            let mut name: libc::sockaddr_storage = unsafe { zeroed() };
            let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut name).cast(), &raw mut len) };
            address_of(&name).expect("an address")
        };
        let bind = || Socket::bind("127.0.0.1:0".parse().expect("an address"), "").expect("bound");
        let (a, b) = (bind(), bind());
        let to = any(&b);
        (a, b, to)
    }

    /// Sends and receives until everything has come.
    fn through(sizes: &[usize], apart: bool) -> Vec<Vec<u8>> {
        let (a, b, to) = pair();
        let mut batch = SendBatch::new();
        batch.apart = apart;
        let mut arena = RecvBatch::new(32);
        let mut got = Vec::new();
        let mut take = |got: &mut Vec<Vec<u8>>| {
            while b.receive(&mut arena).expect("received") > 0 {
                got.extend(arena.datagrams().map(|(_, bytes)| bytes.to_vec()));
            }
        };
        for (n, size) in sizes.iter().enumerate() {
            let bytes = vec![n as u8; *size];
            let (head, tail) = bytes.split_at(size / 3);
            while !batch.push(&a, to, [head, tail], None) {
                batch.flush(|_, error| panic!("{error}"));
                take(&mut got);
            }
        }
        batch.flush(|_, error| panic!("{error}"));
        take(&mut got);
        got
    }

    #[test]
    fn datagrams_arrive_as_they_were_joined_or_not() {
        let sizes: Vec<usize> = (0..300)
            .map(|n| if n % 7 == 0 { 40 + n } else { 1400 })
            .collect();
        let want: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| vec![n as u8; *size])
            .collect();
        assert_eq!(through(&sizes, false), want);
        assert_eq!(through(&sizes, true), want);
    }

    #[test]
    fn a_port_in_use_is_refused_and_says_so() {
        let (_a, _b, to) = pair();
        assert_eq!(
            Socket::bind(to, "").expect_err("in use").errno,
            libc::EADDRINUSE
        );
    }

    #[test]
    fn a_datagram_that_is_too_long_is_reported_and_the_rest_leaves() {
        let (a, b, to) = pair();
        let mut batch = SendBatch::new();
        assert!(batch.push(&a, to, [&[1; 10], &[]], None));
        assert!(batch.push(&a, to, [&[2; 66_000], &[]], None));
        assert!(batch.push(&a, to, [&[3; 10], &[]], Some(9)));
        let mut errors = Vec::new();
        batch.flush(|_, error| errors.push(error.errno));
        assert_eq!(errors, [libc::EMSGSIZE]);
        let mut arena = RecvBatch::new(8);
        assert_eq!(b.receive(&mut arena).expect("received"), 2);
        assert_eq!(b.receive(&mut arena).expect("nothing"), 0);
    }
}
