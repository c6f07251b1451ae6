//! `wait <nwid> [seconds]`: returns when a network is OK, for scripts that start things.

use std::thread;
use std::time::Duration;

use super::client::{Client, Failure};
use super::commands::{Outcome, Run};
use super::{DONE, REFUSED, USAGE};
use crate::base::{Mono, NetworkId};
use crate::os::clock;

const DEFAULT_SECONDS: u64 = 60;
/// Between two tries to reach a service that is still starting.
const RETRY_MS: u64 = 250;

pub(super) fn run(run: &mut Run<'_, '_>) -> Outcome {
    let id = run.arg(0).to_owned();
    if NetworkId::parse(&id).is_none() {
        writeln!(
            run.screen.err,
            "invalid format: must be a 16-digit (network) ID"
        )?;
        return Ok(USAGE);
    }
    let seconds = match run.arg(1) {
        "" => DEFAULT_SECONDS,
        text => match text.parse() {
            Ok(seconds) => seconds,
            Err(_) => {
                writeln!(
                    run.screen.err,
                    "invalid format: must be a number of seconds"
                )?;
                return Ok(USAGE);
            }
        },
    };
    let until = clock::mono().after(seconds.saturating_mul(1000));
    let mut client = connect(run, until)?;
    client.ask(&["monitor", "network"])?;
    loop {
        let reply = client.ask(&["get", &id, "status"])?;
        if !reply.is_ok() {
            return run.no_such(&reply);
        }
        if reply.text() == "OK" {
            return Ok(DONE);
        }
        // Any event will do: the status is asked for, so a lost one does no harm.
        if !next_event(&mut client, until)? {
            let (program, status) = (run.program, reply.text());
            writeln!(
                run.screen.err,
                "{program}: {id} is {status} after {seconds} seconds"
            )?;
            return Ok(REFUSED);
        }
    }
}

fn connect(run: &Run<'_, '_>, until: Mono) -> Result<Client, Failure> {
    loop {
        match run.connect() {
            Err(Failure::NoService | Failure::Connection(..)) if left(until) > RETRY_MS => {
                // Nothing else is to be done in this process.
                thread::sleep(Duration::from_millis(RETRY_MS));
            }
            outcome => return outcome,
        }
    }
}

/// Waits for one event; `false`: none came in time.
fn next_event(client: &mut Client, until: Mono) -> Result<bool, Failure> {
    let left = left(until);
    if left == 0 {
        return Ok(false);
    }
    client.set_silence(Some(Duration::from_millis(left)))?;
    let line = match client.line() {
        Ok(line) => line,
        Err(Failure::Connection(_, "timed out")) => return Ok(false),
        Err(failure) => return Err(failure),
    };
    if line.is_empty() {
        return Err(Failure::Protocol("the service has stopped"));
    }
    Ok(true)
}

fn left(until: Mono) -> u64 {
    until.since(clock::mono())
}
