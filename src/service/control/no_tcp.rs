//! Stands for [`tcp`](super::tcp) in builds without the feature `control-tcp`: nothing can be
//! opened, so nothing of what comes after it is built.

use core::convert::Infallible;
use core::fmt;

use mio::Registry;

use super::auth::Guard;
use super::events::Class;
use super::host::Host;
use crate::base::{Mono, UnixMs};
use crate::os;
use crate::service::settings::Prefix;

/// No connection.
pub const CONNS_MAX: usize = 0;
/// No connection.
pub const CONTROL_MAX: usize = 0;

/// Who would be let in.
#[derive(Debug)]
pub struct TcpAccess {
    /// Its port.
    pub port: u16,
    /// Networks that would manage.
    pub management: Vec<Prefix>,
    /// The tokens.
    pub guard: Guard,
}

/// There is none.
#[derive(Debug)]
pub(super) struct Tcp(Infallible);

impl Tcp {
    pub(super) const TOKENS: usize = 0;

    pub(super) fn open(_: TcpAccess, _: &Registry, _: usize) -> Result<Self, os::Error> {
        Err(os::Error {
            op: &"listen",
            errno: libc::ENOSYS,
        })
    }

    pub(super) fn port(&self) -> u16 {
        match self.0 {}
    }

    pub(super) fn ready(&mut self, _: usize) {
        match self.0 {}
    }

    pub(super) fn turn(&mut self, _: Mono, _: &Registry, _: &mut dyn Host) -> bool {
        match self.0 {}
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        match self.0 {}
    }

    pub(super) fn publish(&mut self, _: UnixMs, _: Class, _: fmt::Arguments<'_>) -> bool {
        match self.0 {}
    }

    pub(super) fn wants(&self, _: Class) -> bool {
        match self.0 {}
    }
}
