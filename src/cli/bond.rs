//! `bond`, `listbonds`: there is no bonding, so what 1.14.1 says without a policy.

use super::USAGE;
use super::commands::Run;
use crate::base::Address;

pub(super) fn run(run: &mut Run<'_>, command: &str) {
    match (run.arg(0), run.arg(1)) {
        ("list", _) => list(run, command),
        ("setmtu", _) => set_mtu(run),
        (peer, "show" | "rotate") if run.args.len() == 2 && Address::parse(peer).is_some() => {
            run.must_connect();
            run.no(format_args!("400 bond {{}}"))
        }
        _ => {
            run.screen
                .line("(bond) command is missing required arguments");
            run.end(USAGE)
        }
    }
}

/// With JSON, peers say whether they are bonded.
pub(super) fn list(run: &mut Run<'_>, command: &str) {
    if run.json {
        return run.list_peers(command);
    }
    run.must_connect();
    run.screen.line(
        "    <peer>                        <bondtype>     <links>\n      \
         NONE\t\t\t\tNONE\t    NONE       NONE",
    );
}

/// `setmtu <mtu> <interface> <ip>`
fn set_mtu(run: &mut Run<'_>) -> ! {
    run.must_connect();
    let is_complete =
        run.arg(1).parse::<u16>().is_ok() && run.arg(3).parse::<core::net::IpAddr>().is_ok();
    let why = if is_complete {
        "400 Failed to set MTU: bonding is not in use"
    } else {
        "404 Failed to set MTU: "
    };
    run.no(format_args!("{why}"))
}
