//! Where Postgres's programs are: on this machine, or fetched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::package;

/// The oldest that Redline works with.
const OLDEST: u32 = 15;

/// A folder with `initdb` and `postgres`.
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
    /// As it says itself, such as `15.18`.
    pub(super) version: String,
    /// Where it comes from, for a person.
    pub(super) origin: &'static str,
}

/// The newest one of this machine; else the fetched one, which is fetched once.
pub(super) async fn find(home: &Path, say: &impl Fn(&str)) -> anyhow::Result<Binaries> {
    let found = folders()
        .into_iter()
        .filter_map(|folder| look(folder, "of this machine"))
        .max_by_key(|binaries| binaries.major);
    match found {
        Some(binaries) => Ok(binaries),
        None => package::fetched(home, say).await,
    }
}

/// What a folder holds; none when it is not Postgres, or too old.
pub(super) fn look(folder: PathBuf, origin: &'static str) -> Option<Binaries> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let said = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let (major, version) = version(&String::from_utf8_lossy(&said.stdout))?;
    (major >= OLDEST).then_some(Binaries {
        folder,
        major,
        version,
        origin,
    })
}

/// Folders in which packages and people put it.
fn folders() -> BTreeSet<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: BTreeSet<PathBuf> = std::env::split_paths(&path).collect();
    folders.insert(PathBuf::from("/usr/local/pgsql/bin"));
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt", "pgsql-"),
    ] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                folders.insert(entry.path().join("bin"));
            }
        }
    }
    folders
}

/// Major and whole version of what `postgres --version` says.
fn version(said: &str) -> Option<(u32, String)> {
    let version = said.split_whitespace().nth(2)?;
    let major = version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()?;
    Some((major, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_however_it_is_packaged() {
        for (said, expected) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                (15, "15.18"),
            ),
            ("postgres (PostgreSQL) 18.4\n", (18, "18.4")),
            ("postgres (PostgreSQL) 19beta1\n", (19, "19beta1")),
        ] {
            let (major, text) = expected;
            assert_eq!(version(said), Some((major, text.to_owned())));
        }
        assert_eq!(version("something else"), None);
    }
}
