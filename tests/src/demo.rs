//! `redline demo` in a folder of its own; it needs no service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Ended, Process};
use crate::services::binary;

/// How long a small sheet may take.
const LIMIT: Duration = Duration::from_secs(180);

/// A folder for demos. It is removed with this.
#[derive(Debug)]
pub struct Demo {
    folder: PathBuf,
}

impl Default for Demo {
    fn default() -> Self {
        let name = format!("redline-demo-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        Self {
            folder: std::env::temp_dir().join(name),
        }
    }
}

impl Demo {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = process::command(&binary());
        command.args(["demo", "--rows", "300"]).args(arguments);
        if !arguments.contains(&"--folder") {
            command.arg("--folder").arg(self.folder.join("demo"));
        }
        command
            .env("REDLINE_INGEST__LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied());
        command
    }

    /// Runs a demo of 300 rows to its end.
    pub async fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = tokio::process::Command::from(self.command(arguments, variables));
        command.kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output())
            .await
            .unwrap_or_else(|_| panic!("the demo does not end"))
            .expect("setpriv (package util-linux) starts the binary");
        Ended {
            code: process::code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a demo of 300 rows.
    pub fn start(&self, variables: &[(&str, &str)]) -> Process {
        self.start_with(&[], variables)
    }

    /// The same with arguments.
    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        fs::create_dir_all(&self.folder).expect("a temporary folder can be made");
        Process::start(self.command(arguments, variables), self.folder.join("output.log"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
