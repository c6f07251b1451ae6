//! `zerotier-cli` as it is run: the built program under its names, against nobody and against a
//! service that says what the test wants (service 2).
#![cfg(feature = "os")]

#[cfg(feature = "control-tcp")]
mod by_http;
mod commands;
mod service;
