//! `zerotier-selftest`: checks a build of ZeroTier on the machine it runs on.
//!
//! Without arguments all sections, one line per test; the first failure ends the run with
//! status 1. `--vectors DIR` runs test vectors, `--bench` measures, `--tap` tries a tap (root).

mod bench;
#[cfg(target_os = "linux")]
mod board;
mod fuzz;
mod sections;
mod vectors;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

const HELP: &str = "\
usage: zerotier-selftest [--bench] [--tap] [--fuzz SECONDS] [--vectors DIR]
  (nothing)       check this build on this machine
  --bench         measure ciphers, key agreement and identities
  --tap           make a tap, bring it up, read and write it (root)
  --fuzz SECONDS  throw changed packets at every parser and at a node
  --vectors DIR   run the test vectors (*.json) of a folder
  --repeat WORK --times N   do one thing N times, for a tool that counts; WORK `list` names them
  --version       print the version
";

#[derive(Default)]
struct Wanted {
    bench: bool,
    tap: bool,
    fuzz: Option<u64>,
    vectors: Option<PathBuf>,
    repeat: Option<String>,
    times: u32,
}

fn arguments() -> Result<Option<Wanted>, lexopt::Error> {
    let mut wanted = Wanted::default();
    let mut parser = lexopt::Parser::from_env();
    let mut out = std::io::stdout();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bench") => wanted.bench = true,
            Long("tap") => wanted.tap = true,
            Long("fuzz") => wanted.fuzz = Some(parser.value()?.parse()?),
            Long("repeat") => wanted.repeat = Some(parser.value()?.string()?),
            Long("times") => wanted.times = parser.value()?.parse()?,
            Long("vectors") => wanted.vectors = Some(parser.value()?.into()),
            Long("version") | Short('v') => {
                let _ = writeln!(out, "{}", zt::VERSION_TEXT);
                return Ok(None);
            }
            Long("help") | Short('h') => {
                let _ = out.write_all(HELP.as_bytes());
                return Ok(None);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(wanted))
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if board::is_init() {
        board::run();
    }
    let wanted = match arguments() {
        Ok(Some(wanted)) => wanted,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            let _ = write!(std::io::stderr(), "zerotier-selftest: {error}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "zerotier-selftest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &Wanted) -> std::io::Result<bool> {
    let mut out = std::io::stdout();
    if let Some(folder) = &wanted.vectors {
        let tally = vectors::run(folder, &mut out)?;
        writeln!(out, "{tally}")?;
        return Ok(tally.failed == 0 && tally.passed > 0);
    }
    if let Some(work) = &wanted.repeat {
        return bench::repeat(&mut out, work, wanted.times);
    }
    sections::report(&mut out)?;
    if wanted.bench {
        return bench::run(&mut out).map(|()| true);
    }
    if let Some(seconds) = wanted.fuzz {
        return fuzz::run(&mut out, seconds).map(|()| true);
    }
    if wanted.tap {
        return sections::tap(&mut out);
    }
    sections::run(&mut out)
}
