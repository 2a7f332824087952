//! As whom Postgres runs: it refuses to be root.

use std::fs;

use anyhow::Context as _;

/// A user of this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Nobody else, unless we are root: then Postgres's own user, or the one for what needs no rights.
pub(super) fn to_run_as() -> anyhow::Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| find(&users, name))
        .map(Some)
        .context(
            "Postgres cannot run as root, and there is no user `postgres` or `nobody` to run it as; start the demo \
             as another user, or name a Postgres by DATABASE_URL",
        )
}

fn find(users: &str, name: &str) -> Option<User> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        Some(User {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\nbroken\n";
        let nobody = User {
            uid: 65534,
            gid: 65533,
        };
        assert_eq!(find(users, "nobody"), Some(nobody));
        assert_eq!(find(users, "postgres"), None);
    }
}
