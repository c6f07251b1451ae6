//! Socket addresses in the kernel's form.

use core::mem::zeroed;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An address that says nothing yet.
pub(super) fn empty() -> libc::sockaddr_storage {
    // SAFETY: integers and arrays of them: all bytes zero is a valid value.
    unsafe { zeroed() }
}

/// Length of the storage, as system calls want it.
pub(super) const STORAGE_LEN: libc::socklen_t =
    size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// Writes an address into the storage; its length there.
pub(super) fn write(storage: &mut libc::sockaddr_storage, address: &SocketAddr) -> libc::socklen_t {
    *storage = empty();
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: the storage is longer than a sockaddr_in, aligned for it, and borrowed.
            let name = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = v4.port().to_be();
            name.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            // SAFETY: the storage is longer than a sockaddr_in6, aligned for it, and borrowed.
            let name = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = v6.port().to_be();
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Reads an address that the kernel wrote. `None`: another family.
pub(super) fn read(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: as in `write`; any bytes are a valid sockaddr_in.
            let name = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as in `write`; any bytes are a valid sockaddr_in6.
            let name = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        let mut storage = empty();
        assert_eq!(read(&storage), None);
        for (text, len) in [
            ("10.1.2.3:9993", size_of::<libc::sockaddr_in>()),
            ("[fe80::1%3]:65535", size_of::<libc::sockaddr_in6>()),
        ] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(write(&mut storage, &address) as usize, len);
            assert_eq!(read(&storage), Some(address));
        }
    }
}
