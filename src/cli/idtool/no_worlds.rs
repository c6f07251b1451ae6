//! Where planets, moons and certificates are neither made nor shown.

use std::ffi::OsString;

use super::{Outcome, Stop};
use crate::cli::Screen;

pub(super) fn init_moon(_: &[OsString], _: &mut Screen) -> Outcome {
    Err(Stop::text(
        "this build has identities and signatures alone: use zerotier-idtool of another".into(),
    ))
}

pub(super) use self::init_moon as generate_moon;
pub(super) use self::init_moon as generate_planet;
pub(super) use self::init_moon as make_certificate;
pub(super) use self::init_moon as show;
