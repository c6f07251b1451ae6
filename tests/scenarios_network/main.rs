//! Scenarios of networks with a controller, in virtual time, each with its number where it has
//! one. Members are nodes behind a root; the controller is simulated, and so are members that
//! must say what no honest node says.
#![allow(missing_docs)]

#[path = "../sim/mod.rs"]
mod sim;

mod asking;
mod chunks;
mod lab;
mod members;
mod restart;
