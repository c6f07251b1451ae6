//! Users and groups by the C library.

use nix::unistd::Group;

use super::User;
use crate::os::Error;

/// The number of a group by its name.
pub fn group_id(name: &str) -> Option<u32> {
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid.as_raw())
}

impl User {
    /// Looks a user up. `None`: there is none of that name.
    pub fn named(name: &str) -> Result<Option<Self>, Error> {
        let found = nix::unistd::User::from_name(name).map_err(|e| Error::of(&"getpwnam", e))?;
        Ok(found.map(|user| Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }))
    }
}

/// The groups that a user of this name is in, beside its own.
#[cfg(target_os = "linux")]
pub fn groups_of(name: &str, user: User) -> Vec<u32> {
    let name = std::ffi::CString::new(name).unwrap_or_default();
    let groups = nix::unistd::getgrouplist(&name, nix::unistd::Gid::from_raw(user.gid));
    // A list that cannot be read gives nobody anything.
    let groups = groups.unwrap_or_default().into_iter();
    let groups = groups.map(nix::unistd::Gid::as_raw);
    groups.filter(|gid| *gid != user.gid).collect()
}
