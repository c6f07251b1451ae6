//! The control socket: `zt-ctl/1` (service 6).
//!
//! A line protocol on a Unix socket in the home directory; being able to connect is the right to
//! command. Nothing here waits: reads and writes are non-blocking, buffers are bounded, and a
//! list is generated as its reader drains it. The daemon is behind [`Host`].
#![forbid(unsafe_code)]

pub mod host;
pub mod line;

pub use self::host::{
    Host, InfoRow, Installed, MoonRow, Net, NetworkRow, PathRow, PeerRow, Refusal, RouteRow,
};
pub use self::line::Code;
