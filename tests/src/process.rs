//! One process of the binary under test.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// How a process ended, and what it wrote.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A running process. Dropping it kills it; so does the end of the thread that started it, whatever ends that.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// A command for the binary that the kernel kills when the thread that started it is gone.
pub(crate) fn command(binary: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(binary);
    // The settings file says where the services are; a test may still set these for one process.
    for name in [
        "KAFKA_BOOTSTRAP_SERVERS",
        "SCHEMA_REGISTRY_URL",
        "DATABASE_URL",
        "REDIS_URL",
        "REDLINE_CONFIG",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        command.env_remove(name);
    }
    command.stdin(std::process::Stdio::null());
    command
}

impl Process {
    /// Starts a command whose output goes into a file.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let file = fs::File::create(&log).expect("a log file can be made");
        let copy = file.try_clone().expect("a log file can be shared");
        let child = command
            .stdout(file)
            .stderr(copy)
            .spawn()
            .expect("setpriv (package util-linux) starts the binary");
        Self { child, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until its log contains a text; answers the first line with it.
    pub async fn wait_for_log(&mut self, text: &str, limit: Duration) -> String {
        until(&format!("the log says `{text}`"), limit, async || {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(
                ended.is_none(),
                "the process has ended ({ended:?}) before its log said `{text}`:\n{log}"
            );
            Err(format!("it says:\n{log}"))
        })
        .await
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a child can be sent a signal");
    }

    /// SIGSTOP: it stands still, and its connections stay open.
    pub fn stop(&self) {
        self.send(Signal::STOP);
    }

    /// SIGCONT: it goes on.
    pub fn cont(&self) {
        self.send(Signal::CONT);
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then [`Self::exit`].
    pub async fn terminate(self, limit: Duration) -> i32 {
        self.send(Signal::TERM);
        self.exit(limit).await
    }

    /// Waits for its end; answers the exit code, 128 and the signal's number when a signal ended it.
    pub async fn exit(mut self, limit: Duration) -> i32 {
        let status = until("the process ends", limit, async || {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => Ok(status),
                None => Err(format!("it says:\n{}", self.log())),
            }
        })
        .await;
        code(status)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
