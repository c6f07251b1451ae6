//! The HTTP API of 1.14.1 (service 4), for pages, monitors and scripts that know only that.
//!
//! It stands on the loopback port beside the control protocol, see [`super::control`], and says
//! the same by the same rows. Left out: the controller, bonding, single sign-on, static files.
//!
//! differs from 1.14.1: one request per connection (`Connection: close`), so nothing is kept for
//! whoever is silent; a POST without `Content-Length` is answered at once (411) and not after five
//! seconds; `/metrics` is subject to the same check of addresses as everything else.
#![forbid(unsafe_code)]

pub mod conn;
pub mod request;
mod routes;
