//! Where no planets and moons are made.

use std::ffi::OsString;

use super::{Outcome, Stop};
use crate::cli::Screen;

pub(super) fn init_moon(_: &[OsString], _: &mut Screen) -> Outcome {
    Err(Stop::text(
        "this build makes no planets and moons: use zerotier-idtool of another".into(),
    ))
}

pub(super) use self::init_moon as generate_moon;
pub(super) use self::init_moon as generate_planet;
