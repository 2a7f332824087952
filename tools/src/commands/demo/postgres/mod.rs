//! The demo's database: a real Postgres of its own, which nobody else reaches, in the demo's folder.
//!
//! It listens on a socket in that folder and nowhere else. It never runs as root: started by root it belongs to another
//! user. It does not wait for the disk, since a demo need not outlive a power cut.

mod binaries;
mod package;
mod user;

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

use self::binaries::Binaries;
use self::user::User;
use super::folder::Folder;

/// The user and the database inside.
const NAME: &str = "redline";
/// How long it may take to start.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A running Postgres. [`Postgres::stop`] ends it in good order, and dropping this tells it to end; where the demo is killed,
/// the next one ends it.
pub(super) struct Postgres {
    /// Its address.
    pub(super) url: String,
    /// What it is, for a person.
    pub(super) description: String,
    /// How psql gets there.
    pub(super) psql: String,
    server: Child,
}

/// What starts it: its program, its files, and as whom.
struct Place {
    binaries: Binaries,
    /// Data, socket and log.
    home: PathBuf,
    user: Option<User>,
}

impl Postgres {
    /// Starts the one of the folder; makes it first where there is none. `fetch` passes over
    /// what the machine has; `say` is told what takes long.
    ///
    /// # Errors
    /// When there is no Postgres and none can be fetched, or it does not start.
    pub(super) async fn start(folder: &Folder, fetch: bool, say: impl Fn(&str)) -> anyhow::Result<Self> {
        let place = Place {
            binaries: match fetch {
                true => package::fetched(folder.path(), &say).await?,
                false => binaries::find(folder.path(), &say).await?,
            },
            home: folder.path().join("postgres"),
            user: user::to_run_as()?,
        };
        place.make_home()?;
        place.end_what_was_left().await?;
        place.drop_data_of_another_version()?;
        if !place.data().join("PG_VERSION").exists() {
            say("making a database");
            place.initialize().await?;
        }
        say("starting Postgres");
        let server = place.start().await?;
        let socket = place.home.display().to_string();
        let mut postgres = Self {
            url: format!("postgres://{NAME}@localhost/{NAME}?host={socket}&sslmode=disable"),
            description: format!("Postgres {}, {}", place.binaries.version, place.binaries.origin),
            psql: format!("psql -h {socket} -U {NAME} {NAME}"),
            server,
        };
        postgres.wait_until_it_answers(&place).await?;
        Ok(postgres)
    }

    async fn wait_until_it_answers(&mut self, place: &Place) -> anyhow::Result<()> {
        const PAUSE: Duration = Duration::from_millis(20);
        let began = Instant::now();
        let maintenance = self.url.replace(&format!("/{NAME}?"), "/postgres?");
        loop {
            match redline_store::ensure_database(&maintenance, NAME).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if let Some(status) = self.server.try_wait()? {
                        bail!(
                            "the demo's Postgres ended at once ({status}): {}",
                            place.log_tail()
                        );
                    }
                    if began.elapsed() > START_PATIENCE {
                        bail!(
                            "the demo's Postgres does not answer: {error}; {}",
                            place.log_tail()
                        );
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends its sessions and then itself.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(5);
        self.tell_to_end();
        if tokio::time::timeout(PATIENCE, self.server.wait()).await.is_err() {
            self.server.kill().await?;
        }
        Ok(())
    }

    /// "Fast": sessions are ended, what is in memory is written. Harmless once it has ended.
    fn tell_to_end(&self) {
        let id = self.server.id().and_then(|id| i32::try_from(id).ok());
        if let Some(process) = id.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.tell_to_end();
    }
}

impl Place {
    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn log(&self) -> PathBuf {
        self.home.join("postgres.log")
    }

    fn make_home(&self) -> anyhow::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.home)?;
        if let Some(user) = &self.user {
            chown(&self.home, Some(user.uid), Some(user.gid))?;
        }
        // The longest path of a socket that Linux takes, with the socket's own name.
        const LONGEST: usize = 107 - "/.s.PGSQL.5432".len();
        if self.home.as_os_str().len() > LONGEST {
            bail!(
                "the folder {} has too long a name for a socket in it; name a shorter one with --folder",
                self.home.display()
            );
        }
        Ok(())
    }

    fn command(&self, program: &str) -> anyhow::Result<std::process::Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = std::process::Command::new(self.binaries.folder.join(program));
        command
            .current_dir(&self.home)
            // Nothing of the caller's own Postgres, and English messages.
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C of the terminal is for the demo, which then ends this one last.
            .process_group(0);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        Ok(command)
    }

    async fn initialize(&self) -> anyhow::Result<()> {
        // Under another name until it is whole.
        let unfinished = self.home.join("data-unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        let mut command = self.command("initdb")?;
        command.arg("-D").arg(&unfinished).args([
            "-U",
            NAME,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let status = Command::from(command)
            .kill_on_drop(true)
            .status()
            .await
            .with_context(|| self.not_started("initdb"))?;
        if !status.success() {
            bail!("initdb failed ({status}): {}", self.log_tail());
        }
        Ok(fs::rename(unfinished, self.data())?)
    }

    async fn start(&self) -> anyhow::Result<Child> {
        let mut command = self.command("postgres")?;
        command.arg("-D").arg(self.data());
        let socket = format!("unix_socket_directories={}", self.home.display());
        for setting in [
            "listen_addresses=",
            &socket,
            "unix_socket_permissions=0700",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=50",
            "max_wal_size=1GB",
            // Does not wake up when nothing happens.
            "autovacuum_naptime=1min",
            "bgwriter_delay=1s",
            "wal_writer_delay=1s",
        ] {
            command.args(["-c", setting]);
        }
        Command::from(command)
            .spawn()
            .with_context(|| self.not_started("Postgres"))
    }

    /// A demo that was killed leaves its Postgres behind; the lock of the folder says that nobody uses it.
    async fn end_what_was_left(&self) -> anyhow::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let lock = self.data().join("postmaster.pid");
        let began = Instant::now();
        while let Some(process) = fs::read_to_string(&lock)
            .ok()
            .and_then(|text| text.lines().next()?.trim().parse::<i32>().ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            // The process may have ended long ago, and its number be that of another one. Postgres works in its data.
            let works_in = fs::read_link(format!("/proc/{}/cwd", process.as_raw_nonzero())).ok();
            if works_in.is_none() || works_in != self.data().canonicalize().ok() {
                let _ = fs::remove_file(&lock);
                break;
            }
            let signal = match began.elapsed() > PATIENCE / 2 {
                false => rustix::process::Signal::INT,
                true => rustix::process::Signal::QUIT,
            };
            let _ = rustix::process::kill_process(process, signal);
            if began.elapsed() > PATIENCE {
                bail!(
                    "a Postgres of an earlier demo (process {}) does not end; end it and start again",
                    process.as_raw_nonzero()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Another Postgres than the one that made the data cannot read them.
    fn drop_data_of_another_version(&self) -> anyhow::Result<()> {
        let Ok(version) = fs::read_to_string(self.data().join("PG_VERSION")) else {
            // Nothing, or something else.
            let _ = fs::remove_dir_all(self.data());
            return Ok(());
        };
        if version.trim() != self.binaries.major.to_string() {
            fs::remove_dir_all(self.data())?;
        }
        Ok(())
    }

    fn not_started(&self, program: &str) -> String {
        match &self.user {
            Some(user) => format!(
                "{program} cannot be started: as root it runs as the user {}, who must be able to enter {}; name another \
                 folder with --folder",
                user.uid,
                self.home.display()
            ),
            None => format!("{program} cannot be started"),
        }
    }

    /// The last lines of what Postgres said.
    fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

fn tail(log: &Path) -> String {
    const LINES: usize = 5;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    format!("{} says: {}", log.display(), lines[from..].join(" / "))
}
