//! The daemon.

pub mod control;
