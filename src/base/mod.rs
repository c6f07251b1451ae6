//! What every layer needs: ids, time, limits, bounded tables. `core` and `alloc` only.
#![forbid(unsafe_code)]

pub mod gate;
pub mod ids;
pub mod limits;
pub mod sorted;
pub mod table;
pub mod time;

pub use ids::{Address, Mac, NetworkId, PacketId};
pub use limits::Limits;
pub use table::{Key, Recent, Slot, Table, least};
pub use time::{Mono, Now, UnixMs, earliest};
