//! `bond`, `listbonds`: there is no bonding, so what 1.14.1 says without a policy.

use super::commands::{Outcome, Run};
use super::{DONE, REFUSED, USAGE};
use crate::base::Address;

pub(super) fn run(run: &mut Run<'_, '_>) -> Outcome {
    let args: Vec<&str> = run.args.iter().map(String::as_str).collect();
    match args[..] {
        ["list", ..] => list(run),
        ["setmtu", ..] => set_mtu(run, args.get(1..).unwrap_or_default()),
        [peer, "show" | "rotate"] if Address::parse(peer).is_some() => {
            run.connect()?;
            writeln!(run.screen.out, "400 bond {{}}")?;
            Ok(REFUSED)
        }
        _ => {
            writeln!(
                run.screen.out,
                "(bond) command is missing required arguments"
            )?;
            Ok(USAGE)
        }
    }
}

/// With JSON, peers say whether they are bonded.
pub(super) fn list(run: &mut Run<'_, '_>) -> Outcome {
    if run.json {
        return run.list_peers();
    }
    run.connect()?;
    let out = &mut run.screen.out;
    writeln!(
        out,
        "    <peer>                        <bondtype>     <links>"
    )?;
    writeln!(out, "      NONE\t\t\t\tNONE\t    NONE       NONE")?;
    Ok(DONE)
}

fn set_mtu(run: &mut Run<'_, '_>, args: &[&str]) -> Outcome {
    run.connect()?;
    let is_complete = match args {
        [mtu, _interface, ip, ..] => {
            mtu.parse::<u16>().is_ok() && ip.parse::<core::net::IpAddr>().is_ok()
        }
        _ => false,
    };
    let (code, why) = if is_complete {
        (400, "bonding is not in use")
    } else {
        (404, "")
    };
    writeln!(run.screen.out, "{code} Failed to set MTU: {why}")?;
    Ok(REFUSED)
}
