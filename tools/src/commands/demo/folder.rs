//! The demo's own folder: everything that it writes, and the lock that keeps a second one out.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The log of the roles.
pub(super) const LOG: &str = "demo.log";

/// The folder, held by this process for as long as this lives.
pub(super) struct Folder {
    path: PathBuf,
    /// Locked; the system unlocks it whatever ends the process.
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none and locks it.
    ///
    /// # Errors
    /// When it cannot be written, belongs to somebody else, or another demo has it.
    pub(super) fn take(chosen: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = chosen.unwrap_or_else(default_path);
        make(&path)?;
        let path = path.canonicalize()?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .with_context(|| format!("{} cannot be written; name another with --folder", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                lock.read_to_string(&mut process)?;
                bail!(
                    "another demo (process {}) has the folder {}; stop it, or name another folder with --folder",
                    process.trim(),
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).context("the demo's folder cannot be locked");
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new log.
    pub(super) fn log(&self) -> anyhow::Result<File> {
        Ok(File::create(self.path.join(LOG))?)
    }

    /// A text that was kept, such as the API key; none when there is none.
    pub(super) fn kept(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.path.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Forgets what was kept.
    pub(super) fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.path.join(name));
    }

    /// Keeps a text that nobody else may read.
    pub(super) fn keep(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path.join(name);
        let mut file = File::create(&path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        writeln!(file, "{text}")?;
        Ok(())
    }
}

/// Below the folder for temporary files, so that it needs no home; its name is short, since a path of a socket is. Each
/// user has their own.
fn default_path() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("redline-demo-{user}"))
}

/// Others may not look in, but for the user that Postgres runs as where we are root.
fn make(path: &Path) -> anyhow::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let mode = if is_root { 0o711 } else { 0o700 };
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.with_context(|| {
        format!(
            "the folder {} cannot be made; name one that can be written with --folder",
            path.display()
        )
    })?;
    // In a folder that everybody writes to, somebody may have been there before us.
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "{} is no folder of yours; name another with --folder",
            path.display()
        );
    }
    Ok(())
}
