//! Scenarios in virtual time, each with its number: what real nodes rely on, and our own choices.
//! X is the node under test, R its root; peers are scripted.
#![allow(missing_docs)]

#[path = "../sim/mod.rs"]
mod sim;

mod enemies;
mod frames;
mod hello;
mod lab;
mod paths;
mod relay;
mod storage;
mod time;
mod topology;
mod traversal;
mod whois;
