//! One file, three programs: the service, `zerotier-cli`, `zerotier-idtool`.

use std::ffi::{OsStr, OsString};

use zt::cli::{self, Screen};

/// What the file is run as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Personality {
    Service,
    Cli,
    Idtool,
}

fn main() {
    let mut all: Vec<OsString> = Vec::new();
    for argument in std::env::args_os() {
        all.push(argument);
    }
    let (program, arguments) = match all.split_first() {
        Some((program, arguments)) => (program.as_os_str(), arguments),
        None => (OsStr::new("zerotier-one"), &[][..]),
    };
    let (personality, shift) = personality(program, arguments);
    let arguments = arguments.get(shift..).unwrap_or_default();
    let program = program.to_string_lossy();

    let mut screen = Screen::default();
    let status = match personality {
        Personality::Service => zt::service::run(arguments, &program),
        Personality::Cli => cli::run(&program, arguments, &mut screen).into(),
        Personality::Idtool => cli::idtool::run(&program, arguments, &mut screen).into(),
    };
    std::process::exit(status);
}

/// What to be, and how many arguments say so.
///
/// differs from 1.14.1: only the base name counts, so a directory called zerotier-cli does not.
fn personality(program: &OsStr, arguments: &[OsString]) -> (Personality, usize) {
    let program = program.as_encoded_bytes();
    let base = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
    for &(name, personality) in &[
        ("zerotier-idtool", Personality::Idtool),
        ("zerotier-cli", Personality::Cli),
    ] {
        let mut parts = base.windows(name.len());
        if parts.any(|part| part.eq_ignore_ascii_case(name.as_bytes())) {
            return (personality, 0);
        }
    }
    match arguments.first().and_then(|a| a.to_str()) {
        Some("idtool" | "-i") => (Personality::Idtool, 1),
        Some("cli") => (Personality::Cli, 1),
        // Which the CLI ignores.
        _ if arguments.iter().any(|a| a == "-q") => (Personality::Cli, 0),
        _ => (Personality::Service, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(program: &str, arguments: &[&str]) -> (Personality, usize) {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        personality(program.as_ref(), &arguments)
    }

    #[test]
    fn the_base_name_decides_then_the_first_argument() {
        use Personality::{Cli, Idtool, Service};
        assert_eq!(of("/usr/bin/zerotier-cli", &["info"]), (Cli, 0));
        assert_eq!(of("ZEROTIER-CLI", &[]), (Cli, 0));
        assert_eq!(of("./zerotier-idtool.real", &[]), (Idtool, 0));
        assert_eq!(
            of("/opt/zerotier-cli-build/zerotier-one", &[]),
            (Service, 0)
        );
        assert_eq!(of("/opt/zerotier-cli/x", &["/home"]), (Service, 0));
        assert_eq!(of("zerotier-one", &["cli", "info"]), (Cli, 1));
        assert_eq!(of("zerotier-one", &["-q", "info"]), (Cli, 0));
        assert_eq!(of("zerotier-one", &["-D/h", "-q", "info"]), (Cli, 0));
        assert_eq!(of("zerotier-one", &["-i", "generate"]), (Idtool, 1));
        assert_eq!(of("zerotier-one", &["-U", "-i"]), (Service, 0));
        assert_eq!(of("", &[]), (Service, 0));
    }
}
