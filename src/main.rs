//! One file, three personalities by the base name of argv[0].
fn main() {}
