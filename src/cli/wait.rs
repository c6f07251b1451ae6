//! `wait <nwid> [seconds]`: returns when a network is OK, for scripts that start things.

use std::thread;
use std::time::Duration;

use super::REFUSED;
use super::changes::NO_NETWORK_ID;
use super::client::{Client, Failure};
use super::commands::Run;
use crate::base::{Mono, NetworkId};
use crate::os::clock;

const DEFAULT_SECONDS: u64 = 60;
/// Between two tries to reach a service that is still starting.
const RETRY_MS: u64 = 250;

pub(super) fn run(run: &mut Run<'_>, _: &str) {
    let id = run.arg(0);
    if NetworkId::parse(id).is_none() {
        run.malformed(format_args!("{NO_NETWORK_ID}"));
    }
    let seconds = match run.arg(1) {
        "" => Ok(DEFAULT_SECONDS),
        text => text.parse(),
    };
    let Ok(seconds) = seconds else {
        run.malformed(format_args!("invalid format: must be a number of seconds"));
    };
    let until = clock::mono().after(seconds.saturating_mul(1000));
    connect(run, until);
    run.ask(false, &["monitor", "network"]);
    loop {
        let reply = run.ask(false, &["get", id, "status"]);
        if !reply.is_ok() {
            run.no_such(&reply);
        }
        if reply.text() == "OK" {
            return;
        }
        // Any event will do: the status is asked for, so a lost one does no harm.
        let came = run.connect().and_then(|client| next_event(client, until));
        if !run.must(came) {
            let (program, status) = (run.program, reply.text());
            run.screen.tell(format_args!(
                "{program}: {id} is {status} after {seconds} seconds"
            ));
            run.end(REFUSED);
        }
    }
}

fn connect(run: &mut Run<'_>, until: Mono) {
    while let Err(failure) = run.connect() {
        let may_come = matches!(failure, Failure::NoService | Failure::Connection(..));
        if !may_come || left(until) <= RETRY_MS {
            run.fail(failure);
        }
        // Nothing else is to be done in this process.
        thread::sleep(Duration::from_millis(RETRY_MS));
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
        Err(Failure::Connection(_, &"timed out")) => return Ok(false),
        Err(failure) => return Err(failure),
    };
    if line.is_empty() {
        return Err(Failure::Protocol(&"the service has stopped"));
    }
    Ok(true)
}

fn left(until: Mono) -> u64 {
    until.since(clock::mono())
}
