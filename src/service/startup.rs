//! The command line and the order of start (service 1).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::state::DEFAULT_HOME;

/// Port when nobody says.
pub const DEFAULT_PORT: u16 = 9993;

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Run the service.
    Run(Options),
    /// Print the bare version (`-v`).
    BareVersion,
    /// Print name and version (`--version`).
    Version,
    /// Print the help and exit with this status.
    Help(i32),
}

/// How to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The home directory.
    pub home: PathBuf,
    /// UDP port; 0: a random one.
    pub port: u16,
    /// `-U`: any user will do, and rights are not dropped.
    pub any_user: bool,
    /// `-d`: go to the background.
    pub background: bool,
    /// `--new-identity`: set a damaged identity aside and make a new one.
    pub new_identity: bool,
}

/// Reads the arguments behind the program's name. `home` is `$ZEROTIER_HOME`.
///
/// Values are glued to their switch, and only the first letter after the dash counts, as scripts
/// have relied on since 1.0.
pub fn parse(arguments: &[OsString], home: Option<OsString>) -> Request {
    let mut options = Options {
        home: PathBuf::from(DEFAULT_HOME),
        port: DEFAULT_PORT,
        any_user: false,
        background: false,
        new_identity: false,
    };
    if let Some(home) = home.filter(|h| !h.is_empty()) {
        options.home = PathBuf::from(home);
    }
    let mut home_given = false;
    for argument in arguments {
        match argument.as_bytes() {
            b"--version" => return Request::Version,
            b"--new-identity" => options.new_identity = true,
            [b'-', b'p', port @ ..] => match parse_port(port) {
                Some(port) => options.port = port,
                None => return Request::Help(1),
            },
            [b'-', b'U', ..] => options.any_user = true,
            [b'-', b'd', ..] => options.background = true,
            [b'-', b'v', ..] => return Request::BareVersion,
            [b'-', ..] | [] => return Request::Help(0),
            _ if home_given => return Request::Help(0),
            _ => {
                options.home = PathBuf::from(argument);
                home_given = true;
            }
        }
    }
    Request::Run(options)
}

fn parse_port(text: &[u8]) -> Option<u16> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// The help text.
pub fn help(program: &str) -> String {
    format!(
        "zerotier-one {version}\n\
         ZeroTier for routers and small boards\n\
         Licence: Mozilla Public License 2.0\n\
         \n\
         Usage: {program} [-switches] [home directory]\n\
         \n\
         Available switches:\n\
         \x20 -h                - Display this help\n\
         \x20 -v                - Show version\n\
         \x20 -U                - Skip privilege check and do not attempt to drop privileges\n\
         \x20 -p<port>          - Port for UDP (default: {DEFAULT_PORT}, 0 for random)\n\
         \x20 -d                - Fork and run as daemon\n\
         \x20 -i                - Generate and manage identities (zerotier-idtool)\n\
         \x20 -q                - Query API (zerotier-cli)\n\
         \x20 --version         - Show name and version\n\
         \x20 --new-identity    - If the stored identity is damaged, set it aside and make a new one\n\
         \n\
         Default home directory: {DEFAULT_HOME} (or $ZEROTIER_HOME)\n",
        version = super::VERSION,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(arguments: &[&str]) -> Request {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        parse(&arguments, None)
    }

    fn run(arguments: &[&str]) -> Options {
        match ask(arguments) {
            Request::Run(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_glued() {
        let options = run(&["-U", "-p29993", "-d", "/tmp/h", "--new-identity"]);
        assert_eq!(options.home, PathBuf::from("/tmp/h"));
        assert_eq!(options.port, 29993);
        assert!(options.any_user && options.background && options.new_identity);
        assert_eq!(run(&["-p0"]).port, 0);
        assert_eq!(run(&[]).home, PathBuf::from(DEFAULT_HOME));
    }

    #[test]
    fn what_is_wrong_prints_the_help() {
        assert_eq!(ask(&["-p65536"]), Request::Help(1));
        assert_eq!(ask(&["-p"]), Request::Help(1));
        // The blank makes 9993 the home, and the port's value missing.
        assert_eq!(ask(&["-p", "9993"]), Request::Help(1));
        assert_eq!(ask(&["/a", "/b"]), Request::Help(0));
        assert_eq!(ask(&["-h"]), Request::Help(0));
        assert_eq!(ask(&["--what"]), Request::Help(0));
        assert_eq!(ask(&["-v"]), Request::BareVersion);
        assert_eq!(ask(&["-version"]), Request::BareVersion);
        assert_eq!(ask(&["--version"]), Request::Version);
    }

    #[test]
    fn the_environment_gives_the_home_and_the_argument_wins() {
        let from = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            parse(&arguments, Some("/env".into()))
        };
        let Request::Run(options) = from(&[]) else {
            panic!("no run")
        };
        assert_eq!(options.home, PathBuf::from("/env"));
        let Request::Run(options) = from(&["/arg"]) else {
            panic!("no run")
        };
        assert_eq!(options.home, PathBuf::from("/arg"));
    }
}
