//! Randomness of the system, once at start.

use super::Error;

/// 32 bytes nobody can guess. May wait for the system's generator to be seeded: an identity made
/// before that would not be worth keeping.
pub fn seed() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Error {
        op: &"getrandom",
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    })?;
    Ok(seed)
}
