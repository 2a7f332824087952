//! What the harness does to a service that it started: `python3 tests/services restart postgres` and the like.

use std::io::Write as _;
use std::process::Stdio;

use crate::services::Services;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services");

/// Runs a command of the harness, such as `restart postgres`.
///
/// # Panics
/// When it fails.
pub async fn harness(arguments: &[&str]) {
    let output = tokio::process::Command::new("python3")
        .arg(FOLDER)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("python3 starts");
    assert!(
        output.status.success(),
        "`{}` of the harness fails: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A service that stands still, with its connections open, until it is let go on: at the latest when this is dropped, so
/// that a test which fails meanwhile does not take all that follow with it.
#[must_use = "the service goes on when this is dropped"]
pub struct StandsStill<'a>(Option<&'a str>);

/// Lets a service of ours stand still.
///
/// # Panics
/// When the harness cannot.
pub async fn stand_still(service: &str) -> StandsStill<'_> {
    harness(&["pause", service]).await;
    StandsStill(Some(service))
}

impl StandsStill<'_> {
    /// Lets it go on.
    ///
    /// # Panics
    /// When the harness cannot.
    pub async fn go_on(mut self) {
        if let Some(service) = self.0.take() {
            harness(&["resume", service]).await;
        }
    }
}

impl Drop for StandsStill<'_> {
    fn drop(&mut self) {
        if let Some(service) = self.0 {
            let _ = std::process::Command::new("python3")
                .args([FOLDER, "resume", service])
                .stdin(Stdio::null())
                .status();
        }
    }
}

/// Whether the harness started a service itself. One that the caller named is somebody's own: it is not restarted,
/// and the test says that it was left out.
pub fn is_ours(service: &str) -> bool {
    let ours = Services::folder().join(format!("{service}.json")).is_file();
    if !ours {
        let _ = writeln!(
            std::io::stderr(),
            "left out: {service} was named by the environment, and is not restarted"
        );
    }
    ours
}
