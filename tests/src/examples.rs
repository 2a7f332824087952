//! The guide's examples of sources, as their readers run them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::door::Door;
use crate::installation::Installation;
use crate::process::Ended;
use crate::services::Services;
use crate::wait::until;

/// How long an example may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A file of docs/guides/examples.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/examples")).join(name)
}

/// The source that sends a file over HTTP.
pub fn http_source(redline: &Installation, door: &Door, file: &Path) -> Command {
    let mut command = python(redline, "http_source.py");
    command
        .arg(file)
        .args(["--url", door.address()])
        .env("REDLINE_KEY", door.key());
    command
}

/// The producer in Python.
pub fn python_producer(redline: &Installation, file: &Path) -> Command {
    let mut command = python(redline, "kafka_producer.py");
    command.arg(file).args(["--topic", &redline.topics.rows]);
    command
}

/// The producer in Java.
pub fn java_producer(redline: &Installation, file: &Path) -> Command {
    let (java, producer) = Services::java_producer();
    let mut command = prepared(redline, &java);
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-jar"])
        .arg(producer)
        .arg(file)
        .arg(&redline.topics.rows);
    command
}

fn python(redline: &Installation, script: &str) -> Command {
    let mut command = prepared(redline, &Services::python());
    command.arg("-B").arg(file("python").join(script));
    command
}

fn prepared(redline: &Installation, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("KAFKA_BOOTSTRAP_SERVERS", &redline.services.kafka)
        .env("SCHEMA_REGISTRY_URL", &redline.services.registry)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub async fn run(redline: &Installation, command: Command) -> Ended {
    Running::start(redline, command).end().await
}

/// A running example.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it.
    pub fn start(redline: &Installation, mut command: Command) -> Self {
        let log = redline
            .folder()
            .join(format!("example-{}.log", uuid::Uuid::new_v4().simple()));
        let file = File::create(&log).expect("a log file can be made");
        let child = command.stderr(file).spawn().expect("an example can be started");
        Self { child, log }
    }

    /// What it has written to its error stream so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says so on its error stream.
    pub async fn wait_for_log(&self, text: &str) {
        until(&format!("the example says `{text}`"), LIMIT, async || {
            let log = self.log();
            if log.contains(text) {
                Ok(())
            } else {
                Err(format!("it says: {log}"))
            }
        })
        .await;
    }

    /// Waits until it ends.
    pub async fn end(self) -> Ended {
        let output = tokio::time::timeout(LIMIT, self.child.wait_with_output())
            .await
            .expect("an example ends")
            .expect("an example can be waited for");
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: fs::read_to_string(&self.log).unwrap_or_default(),
        }
    }
}
