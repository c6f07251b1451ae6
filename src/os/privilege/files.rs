//! Users and groups by `/etc/passwd` and `/etc/group`.

use super::User;

/// Of a line: the name, the number and what stands behind it.
fn entry(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let number = fields.nth(1)?.parse().ok()?;
    Some((name, number, fields.next()?))
}

fn number_in<'a>(text: &'a str, name: &str) -> Option<(u32, &'a str)> {
    let mut entries = text.lines().filter_map(entry);
    let (_, number, more) = entries.find(|(known, ..)| *known == name)?;
    Some((number, more))
}

fn user_in(text: &str, name: &str) -> Option<User> {
    let (uid, gid) = number_in(text, name)?;
    let gid = gid.parse().ok()?;
    Some(User { uid, gid })
}

fn groups_in(text: &str, name: &str, user: User) -> Vec<u32> {
    let mut groups = Vec::new();
    for (_, gid, members) in text.lines().filter_map(entry) {
        if gid != user.gid && members.split(',').any(|member| member == name) {
            groups.push(gid);
        }
    }
    groups
}

#[cfg(target_env = "musl")]
mod system {
    use std::path::Path;

    use super::super::User;
    use crate::os::{Error, file};

    /// A file that is not there says nothing.
    fn read(path: &str) -> Result<String, Error> {
        /// Longest file that is read.
        const MAX_BYTES: usize = 1 << 20;
        match file::read_bounded(Path::new(path), MAX_BYTES) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.errno == libc::ENOENT => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// The number of a group by its name.
    pub fn group_id(name: &str) -> Option<u32> {
        let text = read("/etc/group").ok()?;
        super::number_in(&text, name).map(|(gid, _)| gid)
    }

    impl User {
        /// Looks a user up. `None`: there is none of that name.
        pub fn named(name: &str) -> Result<Option<Self>, Error> {
            Ok(super::user_in(&read("/etc/passwd")?, name))
        }
    }

    /// The groups that a user of this name is in, beside its own.
    pub fn groups_of(name: &str, user: User) -> Vec<u32> {
        // A list that cannot be read gives nobody anything.
        super::groups_in(&read("/etc/group").unwrap_or_default(), name, user)
    }
}

#[cfg(target_env = "musl")]
pub use system::{group_id, groups_of};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\nzero:x:bad:7::/:\nzt:x:71:72::/:/bin/false";
        assert_eq!(user_in(users, "zt"), Some(User { uid: 71, gid: 72 }));
        assert_eq!(user_in(users, "zero"), None);
        assert_eq!(user_in(users, "z"), None);
        let groups = "root:x:0:\nzt:x:72:zt\nwheel:x:10:root,zt\n#:\nnet:x:11:zt2\ndial:x:20:zt";
        let user = User { uid: 71, gid: 72 };
        assert_eq!(groups_in(groups, "zt", user), [10, 20]);
        assert_eq!(number_in(groups, "wheel"), Some((10, "root,zt")));
        assert_eq!(number_in(groups, "#"), None);
    }
}
