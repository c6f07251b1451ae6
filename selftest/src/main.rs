//! zerotier-selftest
fn main() {}
