//! The control socket: `zt-ctl/1` (service 6).
//!
//! A line protocol on a Unix socket in the home directory; being able to connect is the right to
//! command. The same by TCP, behind a challenge and beside HTTP. Nothing here waits: reads and writes are non-blocking, buffers are bounded, and a
//! list is generated as its reader drains it. The daemon is behind [`Host`].
#![forbid(unsafe_code)]

pub mod auth;
mod buffer;
mod commands;
pub mod conn;
mod events;
mod host;
pub mod line;
mod lists;
pub(super) mod lists_json;
mod lists_network;
#[cfg(feature = "metrics")]
pub(super) mod metrics;
mod server;
pub(super) mod stream;
#[cfg(feature = "control-tcp")]
mod tcp;
#[cfg(not(feature = "control-tcp"))]
#[path = "no_tcp.rs"]
mod tcp;

pub use self::commands::Caller;
pub use self::events::{Class, EVENTS_BYTES};
pub use self::host::{
    Frames, Host, InfoRow, Installed, Lag, MoonRow, Net, NetworkRow, PathRow, PeerRow, Refusal,
    RouteRow,
};
pub use self::line::{Code, Field};
pub use self::server::{Access, CONNS_MAX, Server};
pub use self::tcp::{CONNS_MAX as TCP_CONNS_MAX, CONTROL_MAX as TCP_CONTROL_MAX, TcpAccess};
