//! The control protocol: lines, connections in memory, and the server on a real socket
//! (service 6).
#![cfg(feature = "os")]

#[path = "../fake_daemon/mod.rs"]
mod fake_daemon;

mod client;
mod connections;
mod on_a_socket;
mod properties;
mod requests;
