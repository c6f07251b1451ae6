//! One file, three personalities by the base name of argv[0].

use std::ffi::OsString;

fn main() {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "zerotier-one".into());
    let arguments: Vec<OsString> = arguments.collect();
    std::process::exit(zt::service::run(&arguments, &program.to_string_lossy()));
}
